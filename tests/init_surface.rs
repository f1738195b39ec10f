//! The attack surface of an init beside which code of the image runs, and of the startContainer hooks: open
//! descriptors, the five capability sets, the seccomp filter, no_new_privs, dumpable.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::observe::{Rights, SETS, beside, descriptors, is_dumpable, kind_of_descriptor, parent};
use common::running::Running;
use common::{Bundle, bounded, give, patience, set_namespace, wait_until};
use serde_json::{Value, json};

/// The first of the container's ids on the host in a user namespace.
const FIRST: u32 = 100_000;

const CHOWN: u64 = 1 << 0;
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const AUDIT_WRITE: u64 = 1 << 29;
/// The bounding, permitted and effective set of every container here.
const GRANTED: u64 = CHOWN | KILL | NET_BIND_SERVICE | AUDIT_WRITE;
const INHERITABLE: u64 = KILL | NET_BIND_SERVICE;
const AMBIENT: u64 = KILL;

/// One way to start a container.
#[derive(Clone, Copy)]
struct Case {
    no_new_privileges: bool,
    joined_pid_namespace: bool,
    uid: u32,
    user_namespace: bool,
    run: bool,
}

fn cases() -> Vec<Case> {
    let case = |bits: u32| Case {
        no_new_privileges: bits & 1 != 0,
        joined_pid_namespace: bits & 2 != 0,
        uid: if bits & 4 != 0 { 1000 } else { 0 },
        user_namespace: bits & 8 != 0,
        run: bits & 16 != 0,
    };
    (0..32).map(case).collect()
}

fn load(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}.seccomp.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Allows what the static `true` of busybox calls (strace, as root and as another user), nothing else.
fn only_true(default: &str) -> Value {
    let names = "execve brk arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink readlinkat getrandom \
                 mprotect prctl getuid getgid setuid setgid newfstatat exit_group";
    let names: Vec<&str> = names.split_whitespace().collect();
    json!({"defaultAction": default, "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]})
}

fn sh(script: &str) -> Value {
    json!({"path": "/bin/busybox", "args": ["sh", "-c", script]})
}

fn new_user_namespace(config: &mut Value) {
    set_namespace(config, json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        config["linux"][map] = json!([{"containerID": 0, "hostID": FIRST, "size": 65536}]);
    }
}

/// Running containers whose namespaces are joined.
struct Neighbours {
    plain: Bundle,
    mapped: Bundle,
}

impl Neighbours {
    fn new() -> Neighbours {
        // A shell also reaps the orphans that end in its pid namespace.
        let plain = Bundle::sh("while :; do sleep 1; done");
        let mapped = Bundle::sh("while :; do sleep 1; done").with(new_user_namespace);
        give(&mapped.rootfs(), FIRST);
        for bundle in [&plain, &mapped] {
            bundle.run_detached().ok();
        }
        Neighbours { plain, mapped }
    }

    fn path(bundle: &Bundle, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", bundle.state()["pid"])
    }

    fn end(self) {
        for bundle in [self.plain, self.mapped] {
            bundle.delete_force().ok();
            bundle.assert_nothing_left_soon("the end of a neighbour");
        }
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        let verb = if self.run { "run" } else { "create" };
        let pid_namespace = if self.joined_pid_namespace { "joined" } else { "own" };
        let (user, privileges) = (self.user_namespace, self.no_new_privileges);
        write!(to, "{verb}, uid {}, {pid_namespace} pid namespace, ", self.uid)?;
        write!(to, "user namespace {user}, noNewPrivileges {privileges}")
    }
}

impl Case {
    fn bundle(&self, neighbours: &Neighbours, profile: Option<&Value>, args: &[&str]) -> Bundle {
        let bundle = Bundle::new(args).with(|config| {
            config["root"]["readonly"] = json!(false);
            let process = &mut config["process"];
            process["noNewPrivileges"] = json!(self.no_new_privileges);
            process["user"] = json!({"uid": self.uid, "gid": self.uid});
            let granted = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]);
            process["capabilities"] = json!({
                "bounding": granted, "permitted": granted, "effective": granted,
                "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"], "ambient": ["CAP_KILL"],
            });
            profile.iter().for_each(|profile| config["linux"]["seccomp"] = (*profile).clone());
            match (self.user_namespace, self.joined_pid_namespace) {
                (true, false) => new_user_namespace(config),
                (true, true) => {
                    for kind in ["user", "pid"] {
                        let path = Neighbours::path(&neighbours.mapped, kind);
                        set_namespace(config, json!({"type": kind, "path": path}));
                    }
                }
                (false, true) => {
                    let path = Neighbours::path(&neighbours.plain, "pid");
                    set_namespace(config, json!({"type": "pid", "path": path}));
                }
                (false, false) => {}
            }
        });
        if self.user_namespace {
            give(&bundle.rootfs(), FIRST);
        }
        std::fs::set_permissions(bundle.rootfs().join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
        bundle
    }

    /// The rights before execve(2): those of the config.
    fn of_init(&self, filtered: bool) -> Rights {
        self.rights([INHERITABLE, GRANTED, GRANTED, GRANTED, AMBIENT], filtered)
    }

    /// The rights after execve(2), which grants root all of the bounding set and others the ambient set.
    fn of_program(&self, filtered: bool) -> Rights {
        let held = if self.uid == 0 { GRANTED } else { AMBIENT };
        self.rights([INHERITABLE, held, held, GRANTED, AMBIENT], filtered)
    }

    fn rights(&self, sets: [u64; 5], filtered: bool) -> Rights {
        let seccomp = if filtered { 2 } else { 0 };
        Rights { sets, seccomp, no_new_privileges: u64::from(self.no_new_privileges) }
    }
}

/// Deviations from what is expected, each with its case.
struct Deviations {
    found: Vec<String>,
    case: String,
}

impl Deviations {
    fn new() -> Deviations {
        Deviations { found: Vec::new(), case: String::new() }
    }

    fn check(&mut self, is_so: bool, what: impl FnOnce() -> String) {
        if !is_so {
            self.found.push(format!("{}: {}", self.case, what()));
        }
    }

    fn rights(&mut self, who: &str, found: &[Rights], expected: &Rights) {
        self.check(!found.is_empty(), || format!("{who} is gone"));
        for rights in found {
            for (set, (has, wants)) in SETS.iter().zip(rights.sets.iter().zip(expected.sets)) {
                self.check(*has == wants, || format!("{who}: {set} is {has:x}, not {wants:x}"));
            }
            self.check(rights.seccomp == expected.seccomp, || format!("{who}: Seccomp: {}", rights.seccomp));
            let privileges = rights.no_new_privileges;
            self.check(privileges == expected.no_new_privileges, || format!("{who}: NoNewPrivs: {privileges}"));
        }
    }

    fn streams_only(&mut self, who: &str, pid: i64) {
        let begin = Instant::now();
        let mut open = descriptors(pid);
        // The shell itself opens files for a moment.
        while open.len() > 3 && begin.elapsed() < patience(2) {
            open = descriptors(pid);
        }
        let numbers: Vec<u32> = open.iter().map(|(number, _)| *number).collect();
        self.check(numbers == [0, 1, 2], || format!("{who} has open {open:?}"));
    }

    /// Nothing is open but the streams, those after them that were handed over, and one more: after
    /// `create` a fifo of the state directory, in `run` a pipe or socket.
    fn of_init(&mut self, who: &str, bundle: &Bundle, pid: i64, handed: u32, run: bool) {
        let mut open = descriptors(pid);
        open.retain(|(number, _)| *number > 2 + handed);
        let is_right = |(number, target): &(u32, std::path::PathBuf)| {
            let (kind, of_state) = (kind_of_descriptor(pid, *number), target.starts_with(bundle.state_root()));
            if run { matches!(kind, 'p' | 's') && !of_state } else { kind == 'p' && of_state }
        };
        self.check(open.len() == 1 && is_right(&open[0]), || format!("{who} has open {open:?}"));
        self.check(!is_dumpable(pid), || format!("{who} is dumpable"));
    }

    /// Fails with one line for each kind of deviation, numbers aside, and the first case of it.
    #[track_caller]
    fn assert_none(self) {
        let mut kinds: BTreeMap<String, (usize, &String)> = BTreeMap::new();
        for line in &self.found {
            let what = line.split_once(": ").map_or("", |(_, what)| what);
            let kind = what.replace(|letter: char| letter.is_ascii_digit(), "");
            kinds.entry(kind).or_insert((0, line)).0 += 1;
        }
        let lines: Vec<String> = kinds.values().map(|(count, first)| format!("{count} times: {first}")).collect();
        assert!(lines.is_empty(), "{} deviations:\n{}", self.found.len(), lines.join("\n"));
    }
}

/// `ferrun run` or `start` of a bundle, in the background.
fn launch(bundle: &Bundle, run: bool) -> Running {
    let dir = bundle.dir.to_str().unwrap();
    match run {
        true => Running::spawn(bundle, &["run", "--bundle", dir, &bundle.id]),
        false => Running::spawn(bundle, &["start", &bundle.id]),
    }
}

/// A hook that reads its state to the end, leaves a child behind and waits.
const HOOK: &str = "cat > /tmp/state; sleep 1001 & touch /tmp/ready; while [ ! -e /tmp/go ]; do sleep 0.02; done";

fn is_program(pid: i64) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x001000\0")
}

/// The processes beside the init while the hook waits: the hook and its child.
fn hook_and_child(init: i64) -> (i64, i64) {
    let mut found = (None, None);
    wait_until("the hook and its child", || {
        let all = beside(init);
        // The shell forks now and then, and what it forked has its command line until execve(2).
        let shells: Vec<i64> = all.iter().filter(|(_, line)| line.starts_with("sh -c cat ")).map(|one| one.0).collect();
        found.0 = shells.iter().copied().find(|pid| parent(*pid).is_some_and(|parent| !shells.contains(&parent)));
        found.1 = all.iter().find(|(_, line)| line == "sleep 1001").map(|one| one.0);
        found.0.is_some() && found.1.is_some()
    });
    (found.0.unwrap(), found.1.unwrap())
}

fn look_at(case: &Case, neighbours: &Neighbours, profile: Option<&Value>, deviations: &mut Deviations) {
    let bundle = case.bundle(neighbours, profile, &["sleep", "1000"]).set("/hooks/startContainer", json!([sh(HOOK)]));
    let (filtered, tmp) = (profile.is_some(), bundle.rootfs().join("tmp"));
    let (of_init, of_program) = (case.of_init(filtered), case.of_program(filtered));
    if !case.run {
        bundle.create().ok();
        let init = bundle.state()["pid"].as_i64().unwrap();
        deviations.rights("created init", &Rights::of(init), &of_init);
        deviations.of_init("created init", &bundle, init, 0, false);
    }
    let mut running = launch(&bundle, case.run);
    wait_until("the hook", || tmp.join("ready").exists() || running.has_ended());
    if !tmp.join("ready").exists() {
        return deviations.check(false, || format!("the hook did not run: {}", running.errors()));
    }
    let init = bundle.state()["pid"].as_i64().unwrap();
    deviations.rights("init during the hook", &Rights::of(init), &of_init);
    deviations.of_init("init during the hook", &bundle, init, 0, case.run);
    let (hook, child) = hook_and_child(init);
    for (who, pid) in [("hook", hook), ("child of the hook", child)] {
        deviations.rights(who, &Rights::of(pid), &of_program);
        deviations.streams_only(who, pid);
    }
    let state: Value = serde_json::from_slice(&std::fs::read(tmp.join("state")).unwrap()).unwrap_or_default();
    deviations.check(state["id"] == bundle.id.as_str(), || format!("the state of the hook is {state}"));
    std::fs::write(tmp.join("go"), "").unwrap();
    wait_until("the program", || is_program(init));
    deviations.rights("program", &Rights::of(init), &of_program);
    deviations.rights("child that the hook left behind", &Rights::of(child), &of_program);
    deviations.check(is_dumpable(init), || "the program is not dumpable".into());
    if !case.run {
        running.wait().ok();
        bundle.delete_force().ok();
    } else {
        bundle.delete_force().ok();
        running.wait();
    }
    bundle.assert_nothing_left_soon("delete --force");
}

/// Fails unless a hook reports how it failed, with its output.
fn look_at_failure(case: &Case, neighbours: &Neighbours, profile: Option<&Value>, deviations: &mut Deviations) {
    let bundle = case.bundle(neighbours, profile, &["true"]);
    let bundle = bundle.set("/hooks/startContainer", json!([sh("echo out; echo; echo '  err' >&2; exit 3")]));
    if !case.run {
        bundle.create().ok();
    }
    let done = launch(&bundle, case.run).wait();
    let is_hook = done.status == 1 && done.error_in_any_words().to_string() == "/hooks/startContainer/0";
    deviations.check(is_hook && done.stderr.contains("out; err"), || format!("a failing hook: {done:?}"));
    bundle.assert_nothing_left_soon("a failing hook");
}

fn look_at_all(profile: Option<&Value>) {
    let (neighbours, mut deviations) = (Neighbours::new(), Deviations::new());
    for case in cases() {
        deviations.case = format!("{case}");
        look_at(&case, &neighbours, profile, &mut deviations);
        if !case.user_namespace && case.uid == 0 {
            look_at_failure(&case, &neighbours, profile, &mut deviations);
        }
    }
    neighbours.end();
    deviations.assert_none();
}

#[test]
fn without_a_filter() {
    need_root!();
    look_at_all(None);
}

#[test]
fn with_the_default_profile_of_docker() {
    need_root!();
    look_at_all(Some(&load("docker")));
}

#[test]
fn with_the_default_profile_of_containerd() {
    need_root!();
    look_at_all(Some(&load("containerd")));
}

#[test]
fn with_the_default_profile_of_podman() {
    need_root!();
    look_at_all(Some(&load("podman")));
}

/// A profile for which a process of ferrun's own may make no call but execve and exit.
fn with_a_profile_for_true_alone(default: &str) {
    let (neighbours, mut deviations) = (Neighbours::new(), Deviations::new());
    let profile = only_true(default);
    for (case, with_hook) in cases().iter().flat_map(|case| [(case, false), (case, true)]) {
        deviations.case = format!("{case}, hook: {with_hook}");
        let mut bundle = case.bundle(&neighbours, Some(&profile), &["/bin/true"]);
        if with_hook {
            bundle = bundle.set("/hooks/startContainer", json!([{"path": "/bin/true"}]));
        }
        if !case.run {
            bundle.create().ok();
            let init = bundle.state()["pid"].as_i64().unwrap();
            deviations.rights("created init", &Rights::of(init), &case.of_init(true));
            deviations.of_init("created init", &bundle, init, 0, false);
        }
        let done = launch(&bundle, case.run).wait();
        let names_both = done.stderr.contains("/hooks/startContainer/0") && done.stderr.contains("/linux/seccomp");
        // The profile allows ferrun no clone(2), without which there may be no hook.
        let is_right = done.status == 0 || done.status == 1 && with_hook && names_both;
        deviations.check(is_right, || format!("{done:?}"));
        if !case.run && done.status == 0 {
            bundle.wait_for("stopped");
            bundle.on("delete", &[]).ok();
        }
        bundle.assert_nothing_left_soon(&format!("a start ({}): {done:?}", deviations.case));
    }
    neighbours.end();
    deviations.assert_none();
}

#[test]
fn with_a_profile_for_true_alone_that_returns_errors() {
    need_root!();
    with_a_profile_for_true_alone("SCMP_ACT_ERRNO");
}

#[test]
fn with_a_profile_for_true_alone_that_kills() {
    need_root!();
    with_a_profile_for_true_alone("SCMP_ACT_KILL_PROCESS");
}

#[test]
fn a_hook_that_the_profile_forbids_is_named_with_the_profile() {
    need_root!();
    let neighbours = Neighbours::new();
    let mut deviations = Deviations::new();
    let denied = ["execve", "execveat"];
    for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD"] {
        let rule = json!({"names": denied, "action": action});
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        for case in cases().iter().filter(|case| !case.user_namespace && case.uid == 0) {
            deviations.case = format!("{action}, {case}");
            let bundle = case.bundle(&neighbours, Some(&profile), &["/bin/true"]);
            let bundle = bundle.set("/hooks/startContainer", json!([{"path": "/bin/true"}]));
            // That no program can be executed may be found before.
            let mut done = if case.run { None } else { Some(bundle.create()) };
            if done.as_ref().is_none_or(|done| done.status == 0) {
                done = Some(launch(&bundle, case.run).wait());
            }
            let done = done.unwrap();
            let names_both = done.stderr.contains("/hooks/startContainer/0") && done.stderr.contains("/linux/seccomp");
            deviations.check(done.status == 1 && names_both, || format!("{done:?}"));
            bundle.delete_force().ok();
            bundle.assert_nothing_left_soon("a start");
        }
    }
    neighbours.end();
    deviations.assert_none();
}

#[test]
fn descriptors_that_are_handed_over_are_the_only_ones_beside() {
    need_root!();
    let mut deviations = Deviations::new();
    for (flags, listen) in [("--preserve-fds 2", false), ("", true)] {
        for profile in [None, Some(load("docker"))] {
            for no_new_privileges in [false, true] {
                let handed = if listen { "LISTEN_FDS=2" } else { flags };
                deviations.case = format!("{handed}, noNewPrivileges {no_new_privileges}");
                let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
                    config["process"]["noNewPrivileges"] = json!(no_new_privileges);
                    profile.iter().for_each(|profile| config["linux"]["seccomp"] = profile.clone());
                });
                let mut shell = Command::new("/bin/busybox");
                let script = format!(
                    "exec 3</etc/passwd 4</etc/hostname 5</etc 6<{}
                     export LISTEN_PID=$$
                     exec \"$ferrun\" --root \"$state\" create --bundle \"$bundle\" {flags} \"$id\"",
                    bundle.dir.display()
                );
                shell.args(["sh", "-c", &script]).env("ferrun", common::ferrun_binary());
                shell.env("state", bundle.state_root()).env("bundle", &bundle.dir).env("id", &bundle.id);
                if listen {
                    shell.env("LISTEN_FDS", "2");
                }
                bounded(&mut shell).ok();
                let init = bundle.state()["pid"].as_i64().unwrap();
                deviations.of_init("created init", &bundle, init, 2, false);
                let open = descriptors(init);
                let handed: Vec<&Path> = open.iter().map(|(_, target)| target.as_path()).skip(3).take(2).collect();
                let expected = [Path::new("/etc/passwd"), Path::new("/etc/hostname")];
                deviations.check(handed == expected, || format!("handed over: {open:?}"));
                bundle.start().ok();
                wait_until("the program", || is_program(init));
                bundle.delete_force().ok();
                bundle.assert_nothing_left_soon("delete");
            }
        }
    }
    deviations.assert_none();
}

/// While it is set up, the init has its own of what ferrun has open, and neither the state nor what ferrun waits for.
#[test]
fn an_init_that_is_set_up_has_nothing_of_the_state_open() {
    need_root!();
    for (create, own_pid_namespace) in [(true, true), (true, false), (false, true), (false, false)] {
        let bundle = Bundle::new(&["true"]);
        let seen = bundle.dir.join("seen");
        // The state of a hook names the init.
        let hook = sh(&format!(
            "sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' > {0}.pid; ls -l /proc/$(cat {0}.pid)/fd > {0}",
            seen.display()
        ));
        let bundle = bundle.set("/hooks/createRuntime", json!([hook])).with(|config| {
            if !own_pid_namespace {
                let list = config["linux"]["namespaces"].as_array_mut().unwrap();
                list.retain(|namespace| namespace["type"] != "pid");
            }
        });
        let done = if create {
            bundle.create()
        } else {
            bundle.bounded(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id])
        };
        assert_eq!(done.status, 0, "{done:?}");
        let open = std::fs::read_to_string(&seen).unwrap();
        let state = bundle.state_root();
        let of_state: Vec<&str> = open.lines().filter(|line| line.contains(state.to_str().unwrap())).collect();
        // What it waits at after `create`.
        let waits = of_state.iter().filter(|line| line.ends_with("/exec.fifo")).count();
        assert_eq!((of_state.len(), waits), (usize::from(create), usize::from(create)), "{open}");
        assert!(!open.contains("anon_inode:[signalfd]") && !open.contains("pidfd"), "{open}");
        bundle.delete_force().ok();
        bundle.assert_nothing_left_soon("delete");
    }
}

/// Where ferrun itself has no CAP_SYS_PTRACE, others of the same rights could trace an init that is dumpable.
#[test]
fn an_init_that_is_set_up_is_not_dumpable() {
    need_root!();
    for own_pid_namespace in [true, false] {
        let bundle = Bundle::new(&["true"]);
        let (ready, go) = (bundle.dir.join("ready"), bundle.dir.join("go"));
        let wait = format!(
            "cat > {0}.new; mv {0}.new {0}; while [ ! -e {1} ]; do sleep 0.02; done",
            ready.display(),
            go.display()
        );
        let bundle = bundle.set("/hooks/createRuntime", json!([sh(&wait)])).with(|config| {
            if !own_pid_namespace {
                let list = config["linux"]["namespaces"].as_array_mut().unwrap();
                list.retain(|namespace| namespace["type"] != "pid");
            }
        });
        let ferrun = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        let mut run = Command::new("setpriv");
        run.args(["--bounding-set", "-sys_ptrace"]).arg(ferrun.get_program()).args(ferrun.get_args());
        let mut run = run.stdin(std::process::Stdio::null()).spawn().unwrap();
        wait_until("the hook", || ready.exists());
        let state: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        let is_dumpable = is_dumpable(state["pid"].as_i64().unwrap());
        std::fs::write(&go, "").unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(0));
        assert!(!is_dumpable, "own pid namespace: {own_pid_namespace}");
        bundle.assert_nothing_left_soon("run");
    }
}

/// Not one of its ids is root's, to which it could go back.
#[test]
fn an_init_that_waits_is_the_user_alone() {
    need_root!();
    let user = json!({"uid": 1234, "gid": 1235, "additionalGids": [1236]});
    let bundle = Bundle::new(&["true"]).set("/process/user", user);
    bundle.create().ok();
    let status = std::fs::read_to_string(format!("/proc/{}/status", bundle.state()["pid"])).unwrap();
    for ids in ["Uid:\t1234\t1234\t1234\t1234\n", "Gid:\t1235\t1235\t1235\t1235\n", "Groups:\t1236 \n"] {
        assert!(status.contains(ids), "{ids} in {status}");
    }
    bundle.delete_force().ok();
}

/// Combinations that the kernel refuses.
#[test]
fn a_new_user_namespace_cannot_mount_proc_of_a_foreign_pid_namespace() {
    need_root!();
    let neighbours = Neighbours::new();
    let foreign = Neighbours::path(&neighbours.plain, "pid");
    for no_new_privileges in [false, true] {
        for uid in [0, 1000] {
            let case = Case { no_new_privileges, joined_pid_namespace: false, uid, user_namespace: true, run: false };
            let bundle = case.bundle(&neighbours, None, &["true"]);
            let bundle = bundle.with(|config| set_namespace(config, json!({"type": "pid", "path": foreign})));
            let done = bundle.create();
            done.fails("EPERM /mounts/0");
            bundle.assert_nothing_left_soon("create");
        }
    }
    neighbours.end();
}
