//! Starts that fail, are killed or are interrupted between `start` and the program: the exit status, the error,
//! the state and what is left.

mod common;

use common::observe::{descriptors, is_dumpable, lines};
use common::running::Running;
use common::{Bundle, Done, patience, skip, wait_until};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn sh(script: &str) -> Value {
    json!({"path": "/bin/busybox", "args": ["sh", "-c", script]})
}

fn load(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}.seccomp.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A filter that denies calls with an error.
fn denying(names: &[&str]) -> Value {
    let rule = json!({"names": names, "action": "SCMP_ACT_ERRNO"});
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

/// Leaves the container in the pid namespace of the host.
fn without_pid_namespace(config: &mut Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "pid");
}

/// A writable bundle whose program counts its starts and stays.
fn counting() -> Bundle {
    Bundle::sh("echo x >> /tmp/starts; exec sleep 1000").set("/root/readonly", json!(false))
}

/// A startContainer hook that counts its starts and waits for a file.
fn waiting_hook() -> Value {
    sh("echo x >> /tmp/hooks; while [ ! -e /tmp/go ]; do sleep 0.01; done")
}

fn count(bundle: &Bundle, name: &str) -> usize {
    lines(&bundle.rootfs().join("tmp").join(name)).len()
}

fn launch(bundle: &Bundle, flags: &[&str]) -> Done {
    let (verb, flags) = flags.split_first().unwrap();
    bundle.bounded(&[&[verb, "--bundle", bundle.dir.to_str().unwrap()], flags, &[bundle.id.as_str()]].concat())
}

fn on(bundle: &Bundle, verb: &str) -> Done {
    bundle.bounded(&[verb, &bundle.id])
}

fn status(bundle: &Bundle) -> String {
    let state: Value = serde_json::from_str(&on(bundle, "state").ok()).unwrap();
    state["status"].as_str().unwrap().into()
}

#[track_caller]
fn wait_for_status(bundle: &Bundle, wanted: &str) {
    let begin = Instant::now();
    while status(bundle) != wanted {
        assert!(begin.elapsed() < patience(10), "still {} and not {wanted}", status(bundle));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The ways to start a program.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Run,
    Detached,
    Created,
}

const WAYS: [Way; 3] = [Way::Run, Way::Detached, Way::Created];

impl Way {
    /// What the last verb returned: one that fails is the last.
    fn go(self, bundle: &Bundle) -> Done {
        match self {
            Way::Run => launch(bundle, &["run"]),
            Way::Detached => launch(bundle, &["run", "--detach"]),
            Way::Created => {
                let created = launch(bundle, &["create"]);
                if created.status == 0 { on(bundle, "start") } else { created }
            }
        }
    }
}

/// Fails unless nothing is left, after `delete` where the container was created before.
#[track_caller]
fn assert_all_gone(bundle: &Bundle, way: Way, case: &str) {
    if way == Way::Created && on(bundle, "state").status == 0 {
        bundle.bounded(&["delete", "--force", &bundle.id]).ok();
    }
    bundle.assert_nothing_left_soon(case);
}

/// Errors in what ferrun printed: a location and a hint follow an error on lines of their own.
fn errors(done: &Done) -> usize {
    done.stderr.lines().filter(|line| line.starts_with("ferrun: ") && !line.contains("warning")).count()
}

#[test]
fn a_program_without_memory_for_its_environment_is_an_error() {
    need_root!();
    let environment: Vec<String> = (0..20_000).map(|number| format!("E{number}=x")).collect();
    for own_pid_namespace in [false, true] {
        for profile in [None, Some(load("docker"))] {
            for way in WAYS {
                let case = format!("{way:?}, own pid namespace {own_pid_namespace}, filter {}", profile.is_some());
                let bundle = counting().with(|config| {
                    config["process"]["env"] = json!(environment);
                    config["process"]["env"].as_array_mut().unwrap().push(json!("PATH=/bin"));
                    config["process"]["rlimits"] = json!([{"type": "RLIMIT_AS", "soft": 1, "hard": 1}]);
                    profile.iter().for_each(|profile| config["linux"]["seccomp"] = profile.clone());
                    if !own_pid_namespace {
                        without_pid_namespace(config);
                    }
                });
                let done = way.go(&bundle);
                assert_eq!((done.status, errors(&done)), (1, 1), "{case}: {done:?}");
                assert_eq!(count(&bundle, "starts"), 0, "{case}");
                assert_all_gone(&bundle, way, &case);
            }
        }
    }
}

#[test]
fn a_start_of_a_container_that_is_killed_during_a_hook_fails() {
    need_root!();
    for own_pid_namespace in [true, false] {
        for profile in [None, Some(load("docker"))] {
            for round in 0..10 {
                let case = format!("own pid namespace {own_pid_namespace}, {}, {round}", profile.is_some());
                let bundle = counting().set("/hooks/startContainer", json!([waiting_hook()])).with(|config| {
                    profile.iter().for_each(|profile| config["linux"]["seccomp"] = profile.clone());
                    if !own_pid_namespace {
                        without_pid_namespace(config);
                    }
                });
                launch(&bundle, &["create"]).ok();
                let start = Running::spawn(&bundle, &["start", &bundle.id]);
                wait_until("the hook", || count(&bundle, "hooks") == 1);
                bundle.bounded(&["kill", &bundle.id, "KILL"]).ok();
                let done = start.wait();
                assert_eq!((done.status, errors(&done)), (1, 1), "{case}: {done:?}");
                assert_eq!(count(&bundle, "starts"), 0, "{case}");
                assert_all_gone(&bundle, Way::Created, &case);
            }
        }
    }
}

/// Whoever else has its end of the channel, as a process that may trace it can have: its death ends the wait.
#[test]
fn an_init_that_is_killed_while_it_is_set_up_fails_the_start() {
    need_root!();
    for (way, kept) in WAYS.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let case = format!("{way:?}, kept: {kept}");
        let bundle = counting();
        let mark = bundle.dir.join("hook");
        let hook = sh(&format!("touch {}; exec sleep 100", mark.display()));
        let bundle = bundle.set("/hooks/createContainer", json!([hook]));
        let done = std::thread::scope(|scope| {
            let start = scope.spawn(|| way.go(&bundle));
            wait_until("the hook", || mark.exists());
            let init = Pid::from_raw(bundle.state()["pid"].as_i64().unwrap() as i32);
            let process = ferrun::sys::pidfd::open(init).unwrap();
            let own = descriptors(init.as_raw().into()).into_iter().map(|(number, _)| number as i32);
            let own = own.filter(|_| kept).map(|number| ferrun::sys::seccomp::descriptor_of(&process, number).unwrap());
            let _kept: Vec<OwnedFd> = own.collect();
            kill(init, Signal::SIGKILL).unwrap();
            start.join().unwrap()
        });
        done.fails("");
        assert_eq!((errors(&done), count(&bundle, "starts")), (1, 0), "{case}: {done:?}");
        assert_all_gone(&bundle, way, &case);
    }
}

#[test]
fn a_filter_that_denies_execve_and_the_end_is_an_error() {
    need_root!();
    let execve = ["execve", "execveat"];
    let signals = ["kill", "tkill", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "pause"];
    for denied in [&[][..], &["exit"], &["exit_group"], &["exit", "exit_group"]] {
        for with_signals in [false, true] {
            if with_signals && denied.len() < 2 {
                continue;
            }
            let mut names = [&execve[..], denied].concat();
            names.extend(signals.iter().filter(|_| with_signals));
            for (own_pid_namespace, way) in [true, false].into_iter().flat_map(|own| WAYS.map(|way| (own, way))) {
                for no_new_privileges in [false, true] {
                    let case =
                        format!("{way:?}, own pid namespace {own_pid_namespace}, {no_new_privileges}, {names:?}");
                    let bundle = counting().set("/linux/seccomp", denying(&names)).with(|config| {
                        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
                        if !own_pid_namespace {
                            without_pid_namespace(config);
                        }
                    });
                    let done = way.go(&bundle);
                    assert_eq!(done.status, 1, "{case}: {done:?}");
                    let words = done.stderr.contains("seccomp") && done.stderr.contains("execve");
                    assert!(words, "{case}: no \"seccomp\" and \"execve\" in {done:?}");
                    assert_eq!(count(&bundle, "starts"), 0, "{case}");
                    assert_all_gone(&bundle, way, &case);
                }
            }
        }
    }
}

#[test]
fn a_filter_that_denies_execve_and_its_report_is_named() {
    need_root!();
    let names = [
        "execve",
        "execveat",
        "write",
        "writev",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "send",
        "sendto",
        "sendmsg",
        "sendmmsg",
        "splice",
        "tee",
        "vmsplice",
        "sendfile",
        "shutdown",
        "close",
        "close_range",
        "io_uring_enter",
    ];
    for (own_pid_namespace, way) in [true, false].into_iter().flat_map(|own| WAYS.map(|way| (own, way))) {
        for no_new_privileges in [false, true] {
            let case = format!("{way:?}, own pid namespace {own_pid_namespace}, {no_new_privileges}");
            let bundle = Bundle::new(&["true"]).set("/linux/seccomp", denying(&names)).with(|config| {
                config["process"]["env"] = json!(["PATH=/nowhere:/etc:/tmp:/bin:/sbin"]);
                config["process"]["noNewPrivileges"] = json!(no_new_privileges);
                if !own_pid_namespace {
                    without_pid_namespace(config);
                }
            });
            let done = way.go(&bundle);
            let named = done.stderr.lines().filter(|line| line.contains("/linux/seccomp")).count();
            assert_eq!((done.status, errors(&done), named), (1, 1, 1), "{case}: {done:?}");
            assert!(!done.stderr.contains("/nowhere"), "{case}: {done:?}");
            assert_all_gone(&bundle, way, &case);
        }
    }
}

/// As an engine does at its deadline; the hook and the program go on without.
#[test]
fn a_start_that_is_killed_during_a_hook_leaves_a_container_that_can_be_managed() {
    need_root!();
    for round in 0..25 {
        let bundle = counting().set("/hooks/startContainer", json!([waiting_hook()])).with(|config| match round % 4 {
            1 => config["linux"]["seccomp"] = load("docker"),
            2 => config["linux"]["seccomp"] = load("podman"),
            3 => without_pid_namespace(config),
            _ => {}
        });
        launch(&bundle, &["create"]).ok();
        let start = Running::spawn(&bundle, &["start", &bundle.id]);
        wait_until("the hook", || count(&bundle, "hooks") == 1);
        assert_eq!(status(&bundle), "created", "round {round}: the hook runs");
        start.kill();
        assert_eq!(status(&bundle), "created", "round {round}: the hook runs, start is gone");
        let second = (round % 2 == 1).then(|| Running::spawn(&bundle, &["start", &bundle.id]));
        if second.is_some() {
            std::thread::sleep(Duration::from_millis(30));
        }
        assert_eq!(count(&bundle, "starts"), 0, "round {round}");
        std::fs::write(bundle.rootfs().join("tmp/go"), "").unwrap();
        wait_until("the program", || count(&bundle, "starts") > 0);
        wait_for_status(&bundle, "running");
        if let Some(second) = second {
            let done = second.wait();
            assert!(matches!(done.status, 0 | 1), "round {round}: {done:?}");
        }
        let refused = on(&bundle, "delete");
        assert_eq!(refused.status, 1, "round {round}: a running container was deleted: {refused:?}");
        assert_eq!(status(&bundle), "running", "round {round}: after a delete that was refused");
        on(&bundle, "start").error_in_any_words();
        bundle.bounded(&["kill", &bundle.id, "KILL"]).ok();
        wait_for_status(&bundle, "stopped");
        on(&bundle, "delete").ok();
        assert_eq!((count(&bundle, "hooks"), count(&bundle, "starts")), (1, 1), "round {round}");
        bundle.assert_nothing_left_soon("delete");
    }
}

/// Allows what the static `true` of busybox calls, nothing else.
fn only_true() -> Value {
    let names = "execve brk arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink readlinkat getrandom \
                 mprotect prctl getuid exit_group";
    let names: Vec<&str> = names.split_whitespace().collect();
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]})
}

/// The freezer interrupts the call in which the init waits; the filter decides about its restart.
#[test]
fn a_created_container_can_be_paused_and_resumed_and_still_starts_once() {
    need_root!();
    for no_new_privileges in [false, true] {
        for profile in [Some(load("docker")), Some(load("podman")), Some(only_true()), None] {
            let is_counted = profile != Some(only_true());
            let program = if is_counted { "exec sleep 1000" } else { "" };
            let case = format!("noNewPrivileges {no_new_privileges}, {profile:.60?}");
            let bundle = counting().with(|config| {
                config["process"]["noNewPrivileges"] = json!(no_new_privileges);
                profile.iter().for_each(|profile| config["linux"]["seccomp"] = profile.clone());
                if program.is_empty() {
                    config["process"]["args"] = json!(["/bin/true"]);
                }
            });
            for round in 1..=10 {
                launch(&bundle, &["create"]).ok();
                for _ in 0..3 {
                    on(&bundle, "pause").ok();
                    assert_eq!(status(&bundle), "paused", "{case}, round {round}");
                    on(&bundle, "resume").ok();
                    assert_eq!(status(&bundle), "created", "{case}, round {round}: after resume");
                }
                std::thread::sleep(Duration::from_millis(20));
                assert_eq!(status(&bundle), "created", "{case}, round {round}: after a while");
                assert_eq!(count(&bundle, "starts"), if is_counted { round - 1 } else { 0 }, "{case}, round {round}");
                on(&bundle, "start").ok();
                if is_counted {
                    wait_until("the program", || count(&bundle, "starts") == round);
                } else {
                    wait_for_status(&bundle, "stopped");
                }
                bundle.bounded(&["delete", "--force", &bundle.id]).ok();
                assert_eq!(count(&bundle, "starts"), if is_counted { round } else { 0 }, "{case}, round {round}");
            }
            bundle.assert_nothing_left_soon("delete");
        }
    }
}

/// The sysctl that decides whether a process whose ids change becomes dumpable, set for a while.
struct SuidDumpable(String);

impl SuidDumpable {
    const PATH: &str = "/proc/sys/fs/suid_dumpable";

    fn set(value: &str) -> SuidDumpable {
        let before = std::fs::read_to_string(SuidDumpable::PATH).unwrap();
        std::fs::write(SuidDumpable::PATH, value).unwrap();
        SuidDumpable(before)
    }
}

impl Drop for SuidDumpable {
    fn drop(&mut self) {
        let _ = std::fs::write(SuidDumpable::PATH, self.0.trim());
    }
}

/// Which hook runs is the init's word. Who controls the init cannot keep `start` from ending by taking it back.
#[test]
fn a_hook_that_is_not_named_is_overdue_as_well() {
    need_root!();
    use std::os::unix::fs::FileExt;
    let bundle = counting().set("/hooks/startContainer", json!([waiting_hook()]));
    let bundle = bundle.set("/hooks/startContainer/0/timeout", json!(1));
    launch(&bundle, &["create"]).ok();
    let page = bundle.state_root().join(&bundle.id).join("start.page");
    let page = std::fs::OpenOptions::new().write(true).open(page).unwrap();
    let mut start = Running::spawn(&bundle, &["start", &bundle.id]);
    let begin = Instant::now();
    while !start.has_ended() {
        assert!(begin.elapsed() < patience(15), "start does not end");
        // The third word: no hook runs.
        page.write_all_at(&[0; 4], 8).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    start.wait().fails("/hooks/startContainer/0");
    bundle.assert_nothing_left_soon("start");
}

/// The sysctl is the whole machine's, so only the guest of integration/vm sets it.
#[test]
fn an_init_is_not_dumpable_whatever_fs_suid_dumpable_says() {
    need_root!();
    if std::env::var_os("FERRUN_IN_GUEST").is_none() {
        return skip("fs.suid_dumpable is only changed in the guest (FERRUN_IN_GUEST)");
    }
    let _sysctl = SuidDumpable::set("1");
    for (no_new_privileges, profile) in
        [(false, None), (true, None), (false, Some(load("docker"))), (true, Some(load("docker")))]
    {
        let hook = json!([waiting_hook()]);
        let bundle = counting().set("/hooks/startContainer", hook).with(|config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            profile.iter().for_each(|profile| config["linux"]["seccomp"] = profile.clone());
        });
        let tmp = bundle.rootfs().join("tmp");
        std::fs::set_permissions(&tmp, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
        launch(&bundle, &["create"]).ok();
        let init = bundle.state()["pid"].as_i64().unwrap();
        let created = is_dumpable(init);
        let start = Running::spawn(&bundle, &["start", &bundle.id]);
        wait_until("the hook", || count(&bundle, "hooks") == 1);
        let during_the_hook = is_dumpable(init);
        std::fs::write(tmp.join("go"), "").unwrap();
        start.wait().ok();
        bundle.bounded(&["delete", "--force", &bundle.id]).ok();
        assert_eq!((created, during_the_hook), (false, false), "{no_new_privileges}, {}", profile.is_some());
    }
}

/// A profile that allows everything but these calls.
fn without(names: &[&str], action: &str) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": action}]})
}

/// The kernel begins a wait that is interrupted anew, where it was done.
#[test]
fn a_created_container_that_is_stopped_and_continued_still_starts_once() {
    need_root!();
    for denied in [&["capset"][..], &["capset", "exit"], &["futex", "exit"], &["uselib"]] {
        let bundle = counting().set("/process/noNewPrivileges", json!(false));
        let bundle = bundle.set("/linux/seccomp", without(denied, "SCMP_ACT_ERRNO"));
        bundle.create().ok();
        let pid = bundle.state()["pid"].as_i64().unwrap();
        for signal in [Signal::SIGSTOP, Signal::SIGCONT, Signal::SIGSTOP, Signal::SIGCONT] {
            kill(Pid::from_raw(pid as i32), signal).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!((bundle.status().as_str(), count(&bundle, "starts")), ("created", 0), "{denied:?}");
        let done = bundle.bounded(&["start", &bundle.id]);
        assert_eq!(done.status, 0, "{denied:?}: {done:?}");
        wait_until("the program", || count(&bundle, "starts") == 1);
        bundle.delete_force().ok();
    }
}

#[test]
fn a_hook_needs_no_call_that_it_does_not_make_itself_but_those_that_are_listed() {
    need_root!();
    for (denied, status) in [("close", 0), ("memfd_create", 0), ("pwrite64", 0), ("setpgid", 0), ("write", 1)] {
        let bundle = Bundle::new(&["true"]).set("/hooks/startContainer", json!([{"path": "/bin/true"}]));
        let bundle = bundle.set("/linux/seccomp", without(&[denied, "pwrite64"], "SCMP_ACT_KILL_PROCESS"));
        let done = bundle.bounded(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        assert_eq!(done.status, status, "{denied}: {done:?}");
        let named = done.stderr.contains("/hooks/startContainer/0") && done.stderr.contains("/linux/seccomp");
        assert!(status == 0 || named, "{denied}: {done:?}");
    }
}

#[test]
fn without_room_for_the_thread_that_installs_the_filter_no_hook_runs() {
    need_root!();
    for (hooks, status) in [(json!([]), 0), (json!([{"path": "/bin/true"}]), 1)] {
        let bundle = counting().set("/process/noNewPrivileges", json!(false));
        let bundle = bundle.set("/linux/seccomp", without(&["capset"], "SCMP_ACT_ERRNO"));
        let bundle = bundle.set("/linux/resources/pids", json!({"limit": 1})).set("/hooks/startContainer", hooks);
        let done = bundle.create();
        assert_eq!(done.status, status, "{done:?}");
        assert!(status == 0 || done.stderr.contains("/linux/seccomp"), "{done:?}");
        bundle.delete_force();
        bundle.assert_nothing_left_soon("a create");
    }
}

#[test]
fn a_state_directory_without_room_is_an_error() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let script = "mkdir -p $state && mount -t tmpfs -o size=16k,mode=700 tmpfs $state && exec $ferrun --root $state create \
                  --bundle $bundle $id";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).env("ferrun", common::ferrun_binary());
    command.env("state", bundle.state_root()).env("bundle", &bundle.dir).env("id", &bundle.id);
    let done = common::bounded(&mut command);
    assert_eq!(done.error().errno, "ENOSPC", "{done:?}");
    bundle.assert_nothing_left_soon("a create");
}

/// What the init maps can be reopened by a hook with CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE.
#[test]
fn a_start_page_that_a_hook_cuts_ends_nobody_else() {
    need_root!();
    let cut = "for f in /proc/1/map_files/*; do busybox truncate -s 0 $f; done; exit 0";
    for run in [false, true] {
        let sets = json!(["CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE"]);
        let mut bundle =
            counting().set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", cut]}]));
        for set in ["bounding", "effective", "permitted"] {
            bundle = bundle.set(&format!("/process/capabilities/{set}"), sets.clone());
        }
        let done = match run {
            true => bundle.bounded(&["run", "--detach", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]),
            false => {
                bundle.create().ok();
                bundle.bounded(&["start", &bundle.id])
            }
        };
        assert!(matches!(done.status, 0 | 1), "run: {run}: {done:?}");
        bundle.delete_force();
        bundle.assert_nothing_left_soon("a start");
    }
}

/// Without a pid namespace of its own no signal spares the init.
#[test]
fn a_hook_that_reads_no_state_does_not_end_the_init() {
    need_root!();
    let hook = json!([{"path": "/bin/busybox", "args": ["true"]}]);
    let bundle = Bundle::new(&["true"]).with(without_pid_namespace).set("/hooks/createContainer", hook);
    let bundle = bundle.set("/annotations", json!({"large": "x".repeat(200_000)}));
    for _ in 0..20 {
        assert_eq!(launch(&bundle, &["run"]).status, 0);
    }
}

#[test]
fn the_engines_environment_and_arguments_are_not_the_containers_to_read() {
    need_root!();
    let look = "tr '\\0' '\\n' < /proc/1/environ > /tmp/environ; tr '\\0' ' ' < /proc/1/cmdline > /tmp/cmdline";
    let mut bundle = Bundle::new(&["true"]).set("/root/readonly", json!(false));
    bundle = bundle.set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", look]}]));
    for set in ["bounding", "effective", "permitted"] {
        bundle = bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_SYS_PTRACE"]));
    }
    let mut run = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let done = common::bounded(run.env("SECRET_OF_THE_ENGINE", "1"));
    assert_eq!(done.status, 0, "{done:?}");
    for name in ["environ", "cmdline"] {
        let text = std::fs::read_to_string(bundle.rootfs().join("tmp").join(name)).unwrap();
        assert!(!text.contains("SECRET") && !text.contains("ferrun"), "{name}: {text:?}");
    }
}
