//! Hooks: when, where and with what they run, and what their failure does. config.md of the OCI runtime
//! spec, "POSIX-platform Hooks", and runtime.md, "Lifecycle".

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bundle, Done, bounded, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const NAMESPACES: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];
const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that runs a shell script; the name of the program is what makes busybox a shell.
fn sh(script: &str) -> Value {
    json!({"path": "/bin/busybox", "args": ["sh", "-c", script]})
}

fn with_hooks(bundle: Bundle, kind: &str, hooks: &[Value]) -> Bundle {
    bundle.set(&format!("/hooks/{kind}"), json!(hooks)).set("/root/readonly", json!(false))
}

/// A container that runs until it is ended.
fn sleeper() -> Bundle {
    Bundle::new(&["sleep", "100"])
}

/// Where hooks of this kind write to, as they see it: /tmp of the container.
fn seen(bundle: &Bundle, kind: &str) -> String {
    if kind == "startContainer" { "/tmp".into() } else { bundle.rootfs().join("tmp").to_str().unwrap().into() }
}

/// What a hook or the program wrote.
fn written(bundle: &Bundle, name: &str) -> String {
    std::fs::read_to_string(bundle.rootfs().join("tmp").join(name)).unwrap_or_default()
}

fn order(bundle: &Bundle) -> Vec<String> {
    written(bundle, "order").lines().map(str::to_owned).collect()
}

/// A hook that adds a word to the order.
fn noting(bundle: &Bundle, kind: &str, word: &str) -> Value {
    sh(&format!("echo {word} >> {}/order", seen(bundle, kind)))
}

/// A hook that writes down its surroundings.
fn looking(bundle: &Bundle, kind: &str) -> Value {
    let place = seen(bundle, kind);
    let links: String = NAMESPACES.map(|name| format!("readlink /proc/self/ns/{name}; ")).concat();
    sh(&format!(
        "echo {kind} >> {place}/order; tr '\\0' '\\n' < /proc/self/environ > {place}/{kind}.env
         pwd > {place}/{kind}.cwd; ls /proc/self/fd > {place}/{kind}.fd; umask > {place}/{kind}.umask
         {{ {links} }} > {place}/{kind}.ns; cat > {place}/{kind}.state"
    ))
}

/// A bundle with a looking hook of each kind, and a program that looks, too.
fn all_looking() -> Bundle {
    let links: String = NAMESPACES.map(|name| format!("readlink /proc/self/ns/{name}; ")).concat();
    let bundle = Bundle::sh(&format!("echo program >> /tmp/order; {{ {links} }} > /tmp/program.ns; exec sleep 100"));
    let bundle = bundle.set("/annotations", json!({"org.example": "ä\n\"quoted\""}));
    KINDS.into_iter().fold(bundle, |bundle, kind| {
        let hook = looking(&bundle, kind);
        with_hooks(bundle, kind, &[hook])
    })
}

fn run_args(bundle: &Bundle) -> [String; 4] {
    ["run".into(), "--bundle".into(), bundle.dir.to_str().unwrap().into(), bundle.id.clone()]
}

fn bounded_run(bundle: &Bundle) -> Done {
    bounded(&mut bundle.command(&run_args(bundle).each_ref().map(String::as_str)))
}

#[test]
fn each_kind_runs_at_its_time() {
    need_root!();
    let bundle = all_looking();
    bundle.create().ok();
    assert_eq!(order(&bundle), KINDS[..3]);
    bundle.start().ok();
    common::wait_until("the program", || order(&bundle).len() == 6);
    assert_eq!(order(&bundle)[..4], KINDS[..4]);
    let mut last = order(&bundle)[4..].to_vec();
    last.sort();
    assert_eq!(last, ["poststart", "program"], "the program is executed, then both run at once");
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    assert_eq!(order(&bundle).len(), 6);
    bundle.on("delete", &[]).ok();
    assert_eq!(order(&bundle)[6..], ["poststop"]);
    bundle.assert_nothing_left("delete");
}

#[test]
fn each_kind_has_its_namespaces_directory_and_state() {
    need_root!();
    let bundle = all_looking();
    bundle.create().ok();
    let pid = bundle.state()["pid"].as_i64().unwrap();
    bundle.start().ok();
    common::wait_until("the program", || written(&bundle, "program.ns").lines().count() == NAMESPACES.len());
    bundle.delete_force().ok();
    let link = |name| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_str().unwrap().to_owned();
    let ours = NAMESPACES.map(|name| link(name) + "\n").concat();
    let theirs = written(&bundle, "program.ns");
    let (dir, rootfs) = (bundle.dir.to_str().unwrap(), bundle.rootfs());
    let rootfs = rootfs.to_str().unwrap();
    for (kind, namespaces, cwd, status, pid) in [
        ("prestart", &ours, dir, "creating", json!(pid)),
        ("createRuntime", &ours, dir, "creating", json!(pid)),
        ("createContainer", &theirs, rootfs, "creating", json!(1)),
        ("startContainer", &theirs, "/", "created", json!(1)),
        ("poststart", &ours, dir, "running", json!(pid)),
        ("poststop", &ours, dir, "stopped", Value::Null),
    ] {
        assert_eq!(&written(&bundle, &format!("{kind}.ns")), namespaces, "{kind}");
        assert_eq!(written(&bundle, &format!("{kind}.cwd")).trim_end(), cwd, "{kind}");
        assert_eq!(written(&bundle, &format!("{kind}.fd")), "0\n1\n2\n3\n", "{kind}: 3 is the directory itself");
        let state: Value = serde_json::from_str(&written(&bundle, &format!("{kind}.state"))).unwrap();
        assert_eq!(state.get("pid").unwrap_or(&Value::Null), &pid, "{kind}");
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["ociVersion"], bundle.config["ociVersion"], "{kind}");
        assert_eq!(state["id"], bundle.id, "{kind}");
        assert_eq!(state["bundle"], dir, "{kind}");
        assert_eq!(state["annotations"], bundle.config["annotations"], "{kind}");
    }
    assert_eq!(written(&bundle, "createContainer.umask"), "0022\n", "not the init's own");
    assert_eq!(written(&bundle, "startContainer.umask"), "0022\n", "the container's");
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn a_hook_without_an_environment_has_ferruns_and_one_of_startcontainer_the_programs() {
    need_root!();
    let own = json!(["A=1", "no value", "B=", "A=2"]);
    for kind in KINDS {
        let seen = [None, Some(&Value::Null), Some(&json!([])), Some(&own)].map(|env| {
            let bundle = Bundle::new(&["true"]).set("/process/env", json!(["PATH=/bin", "FROM=container"]));
            let mut hook = looking(&bundle, kind);
            env.iter().for_each(|env| hook["env"] = (*env).clone());
            let bundle = with_hooks(bundle, kind, &[hook]);
            let mut run = bundle.command(&run_args(&bundle).each_ref().map(String::as_str));
            bounded(run.env_clear().env("PATH", "/bin").env("FROM", "caller").env("FERRUN_COPY", "1:4")).ok();
            written(&bundle, &format!("{kind}.env"))
        });
        let inside = kind == "startContainer";
        let default = if inside { "PATH=/bin\nFROM=container\nHOME=/root\n" } else { "FROM=caller\nPATH=/bin\n" };
        assert_eq!(seen, [default, default, "", "A=1\nno value\nB=\nA=2\n"], "{kind}");
    }
}

#[test]
fn a_hook_without_arguments_is_called_by_its_path() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let script = bundle.dir.join("hook");
    let out = bundle.dir.join("out");
    let text = format!("#!/bin/busybox sh\necho \"$0 $#\" > {}\n", out.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let bundle = with_hooks(bundle, "prestart", &[json!({"path": script, "args": null, "env": null})]);
    bounded_run(&bundle).ok();
    assert_eq!(std::fs::read_to_string(out).unwrap(), format!("{} 0\n", script.display()));
}

#[test]
fn createruntime_finds_the_mounts_made_and_the_hosts_tree_still_there() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let (place, rootfs) = (seen(&bundle, "createRuntime"), bundle.rootfs());
    let script = format!(
        "read -r s; pid=${{s##*\\\"pid\\\":}}; pid=${{pid%%,*}}
         grep -c ' {}/dev ' /proc/$pid/mountinfo > {place}/out; readlink /proc/$pid/root >> {place}/out",
        rootfs.display()
    );
    let bundle = with_hooks(bundle, "createRuntime", &[sh(&script)]);
    bounded_run(&bundle).ok();
    assert_eq!(written(&bundle, "out"), "1\n/\n");
}

#[test]
fn a_hook_may_ask_for_the_state() {
    need_root!();
    let binary = common::ferrun_binary();
    for (kind, status) in [("createRuntime", "creating"), ("poststart", "running")] {
        let bundle = sleeper();
        let root = bundle.state_root();
        let script = format!("{} --root {} state {}", binary.display(), root.display(), bundle.id);
        let script = format!("{script} > {}/out", seen(&bundle, kind));
        let bundle = with_hooks(bundle, kind, &[sh(&script)]);
        bundle.run_detached().ok();
        let state: Value = serde_json::from_str(&written(&bundle, "out")).unwrap();
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["pid"], bundle.state()["pid"], "{kind}");
    }
}

/// A bundle with three hooks of a kind, of which the second fails with words on both streams.
fn failing(kind: &str) -> Bundle {
    let bundle = Bundle::sh("echo program >> /tmp/order; exec sleep 100");
    let second = sh("echo out; echo; echo '  err' >&2; exit 3");
    let hooks = [noting(&bundle, kind, "first"), second, noting(&bundle, kind, "third")];
    let stop = noting(&bundle, "poststop", "stop");
    with_hooks(with_hooks(bundle, "poststop", &[stop]), kind, &hooks)
}

#[test]
fn a_failing_hook_of_create_leaves_nothing_but_what_poststop_saw() {
    need_root!();
    for kind in &KINDS[..3] {
        for verb in ["create", "run"] {
            let bundle = failing(kind);
            let done = bundle.bounded(&[verb, "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
            done.fails(&format!("/hooks/{kind}/1"));
            let line = bundle.line_of(&format!("/hooks/{kind}/1"));
            assert_eq!(done.error().place, format!("config.json:{line}"), "{kind}: {done:?}");
            assert_eq!(order(&bundle), ["first", "stop"], "{kind}, {verb}");
            bundle.on("state", &[]).refused("does not exist");
            bundle.assert_nothing_left(&format!("{verb} with {kind}"));
        }
    }
}

#[test]
fn a_failing_hook_of_start_destroys_the_container() {
    need_root!();
    for kind in ["startContainer", "poststart"] {
        let in_order = |bundle: &Bundle| {
            let without = |word: &String| *word != "program" || kind == "startContainer";
            assert_eq!(order(bundle).into_iter().filter(without).collect::<Vec<_>>(), ["first", "stop"], "{kind}");
        };
        let bundle = failing(kind);
        bundle.create().ok();
        let done = bundle.bounded(&["start", &bundle.id]);
        done.fails(&format!("/hooks/{kind}/1"));
        bundle.on("state", &[]).refused("does not exist");
        in_order(&bundle);
        bundle.assert_nothing_left_soon(&format!("start with {kind}"));

        let bundle = failing(kind);
        bounded_run(&bundle).fails(&format!("/hooks/{kind}/1"));
        in_order(&bundle);
        bundle.assert_nothing_left(&format!("run with {kind}"));
        let bundle = failing(kind);
        bundle.run_detached().fails(&format!("/hooks/{kind}/1"));
        bundle.assert_nothing_left_soon(&format!("run --detach with {kind}"));
    }
}

#[test]
fn a_failing_poststop_hook_is_a_warning() {
    need_root!();
    let said = |done: &Done, status: i32| {
        assert_eq!(done.status, status, "{done:?}");
        done.warns(&["/hooks/poststop/1"]);
    };
    let bundle = with_hooks_of_a_stopped_container();
    let run = bounded_run(&bundle);
    said(&run, 5);
    let place = format!("config.json:{} /hooks/poststop/1", bundle.line_of("/hooks/poststop/1"));
    assert!(run.stderr.contains(&place), "no {place} in {run:?}");
    assert_eq!(order(&bundle), ["first", "third"]);
    bundle.assert_nothing_left("run");
    let bundle = with_hooks_of_a_stopped_container();
    bundle.create().ok();
    let log = bundle.dir.join("log");
    said(&bundle.bounded(&["delete", "--force", &bundle.id]), 0);
    assert_eq!(order(&bundle), ["first", "third"]);
    bundle.assert_nothing_left("delete");
    bundle.create().ok();
    bundle.ferrun(&["--log", log.to_str().unwrap(), "delete", "--force", &bundle.id]).ok();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("level=warning") && log.contains("/hooks/poststop/1"), "{log}");
}

fn with_hooks_of_a_stopped_container() -> Bundle {
    let bundle = failing("poststop").set("/process/args", json!(["sh", "-c", "exit 5"]));
    assert_eq!(bundle.config["hooks"]["poststop"].as_array().unwrap().len(), 3);
    bundle
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_its_children() {
    need_root!();
    // In seconds: a slow machine needs more than one to come to the first word.
    let timeout = if common::patience(1).as_secs() > 1 { 4 } else { 1 };
    for kind in KINDS {
        let bundle = failing(kind);
        let script = "sleep 90 & echo waiting; sleep 90";
        let slow = json!({"path": "/bin/busybox", "args": ["sh", "-c", script], "timeout": timeout});
        let bundle = bundle.set(&format!("/hooks/{kind}/1"), slow).set("/process/args", json!(["true"]));
        let begin = Instant::now();
        let done = bounded_run(&bundle);
        assert!(begin.elapsed() > Duration::from_secs(timeout) && begin.elapsed() < common::patience(15), "{kind}");
        let pointer = format!("/hooks/{kind}/1");
        match kind {
            "poststop" => {
                done.warns(&[&pointer]);
                done.ok();
            }
            _ => done.fails(&pointer),
        }
        bundle.assert_nothing_left_soon(&format!("a timeout of {kind}"));
    }
}

#[test]
fn a_hook_that_leaves_its_process_group_is_killed_too() {
    need_root!();
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return common::skip("this test needs /usr/bin/python3");
    }
    let script = "import os, time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(90)";
    let hook = json!({"path": "/usr/bin/python3", "args": ["python3", "-c", script], "timeout": 2});
    let bundle = with_hooks(Bundle::new(&["true"]), "createRuntime", &[hook]);
    bounded_run(&bundle).fails("/hooks/createRuntime/0");
    bundle.assert_nothing_left_soon("a timeout");
}

#[test]
fn a_timeout_beyond_the_end_of_the_clock_is_none() {
    need_root!();
    for kind in KINDS {
        let bundle = Bundle::new(&["true"]);
        let mut hook = noting(&bundle, kind, "here");
        hook["timeout"] = json!(i64::MAX);
        let bundle = with_hooks(bundle, kind, &[hook]);
        bounded_run(&bundle).ok();
        assert_eq!(order(&bundle), ["here"], "{kind}");
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn how_a_hook_failed_is_told() {
    need_root!();
    let long = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; exit 1";
    let bundle = Bundle::new(&["true"]);
    let script = bundle.dir.join("script");
    std::fs::write(&script, "#!/nowhere/sh\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut bundle = bundle;
    for kind in ["createRuntime", "createContainer"] {
        for (hook, errno) in [
            (json!({"path": "/nowhere"}), "ENOENT "),
            (json!({"path": "/etc"}), "EACCES "),
            (json!({"path": "/etc/passwd"}), "EACCES "),
            (json!({"path": script}), "ENOENT "),
            (sh("kill -9 $$"), ""),
            (sh("printf 'a\\033b' >&2; exit 255"), ""),
            (sh(long), ""),
        ] {
            bundle = bundle.set("/hooks", json!({kind: [hook]}));
            let done = bounded_run(&bundle);
            done.fails(&format!("{errno}/hooks/{kind}/0"));
            assert!(done.stderr.len() < 6000, "{done:?}");
            bundle.assert_nothing_left("a failing hook");
        }
    }
}

#[test]
fn changes_of_the_config_after_create_do_not_change_the_hooks() {
    need_root!();
    let bundle = all_looking();
    bundle.create().ok();
    std::fs::write(bundle.dir.join("config.json"), r#"{"ociVersion":"1.0.0","hooks":{}}"#).unwrap();
    bundle.start().ok();
    bundle.delete_force().ok();
    let order = order(&bundle);
    for kind in KINDS {
        assert!(order.iter().any(|word| word == kind), "no {kind} in {order:?}");
    }
}

/// Engines may delete the bundle first; what the hook cleans up is elsewhere.
#[test]
fn poststop_runs_though_the_bundle_is_gone() {
    need_root!();
    let bundle = sleeper();
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", bundle.dir.display()));
    let (out, root, moved) = (beside(".out"), beside(".state"), beside(".moved"));
    let bundle = with_hooks(bundle, "poststop", &[sh(&format!("pwd >> {}", out.display()))]);
    let on = |args: &[&str]| {
        let mut command = Command::new(common::ferrun_binary());
        bounded(command.arg("--root").arg(&root).args(args).arg(&bundle.id))
    };
    on(&["create", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    std::fs::rename(&bundle.dir, &moved).unwrap();
    let deleted = on(&["delete", "--force"]);
    let again = on(&["delete", "--force"]);
    std::fs::rename(&moved, &bundle.dir).unwrap();
    let written = std::fs::read_to_string(&out).unwrap_or_default();
    let _ = (std::fs::remove_file(&out), std::fs::remove_dir(&root));
    deleted.ok();
    again.ok();
    assert_eq!(written, "/\n", "once");
    bundle.assert_nothing_left("delete --force");
}

/// Annotations may be longer than a pipe holds, and nobody has to read them.
#[test]
fn a_state_longer_than_a_pipe_arrives_and_need_not_be_read() {
    need_root!();
    let long = "x".repeat(300_000);
    for kind in KINDS {
        let bundle = Bundle::new(&["true"]).set("/annotations", json!({ "long": long }));
        let count = sh(&format!("wc -c > {}/count", seen(&bundle, kind)));
        let bundle = with_hooks(bundle, kind, &[sh("exec <&-; sleep 0.05"), sh("exit 0"), count]);
        let done = bounded_run(&bundle);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{kind}");
        let count: usize = written(&bundle, "count").trim().parse().unwrap();
        assert!(count > 300_000, "{kind}: {count}");
    }
}

#[test]
fn statuses_are_seen_though_the_caller_ignores_sigchld() {
    need_root!();
    for kind in ["createRuntime", "createContainer", "poststart"] {
        let bundle = failing(kind);
        let run = bundle.command(&run_args(&bundle).each_ref().map(String::as_str));
        let mut shell = Command::new("/bin/busybox");
        shell.args(["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
        bounded(&mut shell).fails(&format!("/hooks/{kind}/1"));
    }
}

#[test]
fn a_hook_has_no_descriptors_and_no_blocked_signals_of_ferruns_or_its_callers() {
    need_root!();
    let look = "grep -E '^Sig(Blk|Ign):' /proc/self/status; ls /proc/self/fd";
    let expected = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0\n1\n2\n3\n";
    // A state that is longer than a pipe comes in another way.
    for (kind, length) in KINDS.iter().flat_map(|kind| [(*kind, 0), (*kind, 100_000)]) {
        let bundle = Bundle::new(&["true"]).set("/annotations", json!({"long": "x".repeat(length)}));
        let hook = sh(&format!("{{ {look}; }} > {}/out", seen(&bundle, kind)));
        let bundle = with_hooks(bundle, kind, &[hook]);
        let run = bundle.command(&run_args(&bundle).each_ref().map(String::as_str));
        let mut shell = Command::new("/bin/busybox");
        shell.args(["sh", "-c", "exec 3</etc/passwd 4</ 9</; exec \"$@\" --preserve-fds 2", "sh"]);
        bounded(shell.arg(run.get_program()).args(run.get_args())).ok();
        assert_eq!(written(&bundle, "out"), expected, "{kind}, {length}");
    }
}

/// A shell opens what it writes to by name: the stream is the container's user's.
#[test]
fn a_hook_of_another_user_can_open_its_streams_again() {
    need_root!();
    let hook = sh("echo opened > /dev/stderr; exit 7");
    let bundle = with_hooks(Bundle::new(&["true"]), "startContainer", &[hook])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bounded(&mut bundle.command(&run_args(&bundle).each_ref().map(String::as_str))).fails("/hooks/startContainer/0");
    bundle.create().ok();
    bundle.bounded(&["start", &bundle.id]).fails("/hooks/startContainer/0");
    bundle.assert_nothing_left("a failing hook");
}

#[test]
fn a_hook_that_prints_much_waits_for_ferrun_and_does_not_fail() {
    need_root!();
    for kind in KINDS {
        let hook = sh("cat > /dev/null; dd if=/dev/zero bs=1024 count=300 2>/dev/null || exit 5");
        let bundle = with_hooks(Bundle::new(&["true"]), kind, &[hook]);
        let done = bounded_run(&bundle);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{kind}");
    }
    // And if it fails, the end is shown and not all of it is kept.
    for kind in KINDS {
        let hook = sh("cat > /dev/null; dd if=/dev/zero bs=1024 count=300 2>/dev/null; echo end; exit 5");
        let done = bounded_run(&with_hooks(Bundle::new(&["true"]), kind, &[hook]));
        assert!(done.stderr.contains("end\n") && done.stderr.len() < 10_000, "{kind}: {} bytes", done.stderr.len());
    }
}

#[test]
fn hooks_that_are_wrong_are_refused_and_unknown_kinds_ignored() {
    need_root!();
    for kind in KINDS {
        for (hook, place) in [
            (json!({"path": "true"}), "/path"),
            (json!({"path": ""}), "/path"),
            (json!({"args": ["x"]}), ""),
            (json!({"path": "/bin/true", "timeout": 0}), "/timeout"),
            (json!({"path": "/bin/true", "timeout": -1}), "/timeout"),
            (json!({"path": "/bin/true", "timeout": 1.5}), "/timeout"),
            (json!({"path": "/bin/true", "env": ["a\0b"]}), "/env/0"),
            (json!("/bin/true"), ""),
        ] {
            let bundle = Bundle::new(&["true"]).set(&format!("/hooks/{kind}"), json!([hook]));
            let done = bundle.run();
            done.fails(&format!("/hooks/{kind}/0{place}"));
            bundle.assert_nothing_left("run");
        }
    }
    Bundle::new(&["true"]).set("/hooks", json!({"prestop": [{"path": 7}], "poststop": null})).run().ok();
}

fn steps(bundle: &Bundle) -> Vec<Value> {
    let text = bundle.ferrun(&["explain", "--json", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    serde_json::from_str::<Value>(&text).unwrap()["steps"].as_array().unwrap().clone()
}

#[test]
fn explain_has_the_hooks_in_their_lanes_and_order() {
    need_root!();
    let bundle = KINDS.into_iter().fold(sleeper(), |bundle, kind| {
        with_hooks(bundle, kind, &[json!({"path": "/hook", "args": ["name", "word"]})])
    });
    let steps = steps(&bundle);
    let rows = steps
        .iter()
        .filter(|step| ["hooks", "wait", "release", "root", "exec"].map(Value::from).contains(&step["verb"]));
    let rows = rows.map(|step| format!("{} {} {}", step["lane"], step["verb"], step["text"]).replace('"', ""));
    let rows: Vec<String> = rows.collect();
    let expected = [
        "parent release the init",
        "init wait for release",
        "init hooks tell the parent",
        "parent wait until the mounts are made",
        "parent hooks prestart /hook word",
        "parent hooks createRuntime /hook word",
        "parent release the init",
        "init wait for release",
        "init hooks createContainer /hook word",
        "init root pivot_root, host's tree unmounted",
        "parent wait until the init is ready",
        "init hooks startContainer /hook word",
        "init exec sleep 100",
        "parent hooks poststart /hook word",
        "parent hooks poststop /hook word",
    ];
    assert_eq!(rows, expected);
    let hook = steps.iter().find(|step| step["from"] == "/hooks/startContainer/0").unwrap();
    assert_eq!(hook["line"], bundle.line_of("/hooks/startContainer/0"));
    let text = bundle.ferrun(&["explain", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    assert!(text.ends_with(" steps, 2 waits"), "{text}");
    let without = Bundle::new(&["true"]);
    let text = without.ferrun(&["explain", "--bundle", without.dir.to_str().unwrap()]).ok();
    assert!(!text.contains("hooks") && text.ends_with(" steps, 1 wait"), "{text}");
}

#[test]
fn a_start_with_hooks_that_fails_or_is_killed_at_any_step_leaves_nothing() {
    need_root!();
    let hook = json!([{"path": "/bin/busybox", "args": ["true"]}]);
    let bundle = KINDS.into_iter().fold(sleeper(), |bundle, kind| bundle.set(&format!("/hooks/{kind}"), hook.clone()));
    let launch = |verb: &str, fault: &str| {
        bundle.bounded(&[verb, "--bundle", bundle.dir.to_str().unwrap(), "--fault", fault, &bundle.id])
    };
    // The last two belong to no lane; create leaves two more to start.
    let last = steps(&bundle).len() - 2;
    for (verb, last) in [("run", last), ("create", last - 2)] {
        for step in 1..=last {
            launch(verb, &format!("error@{step}")).refused(common::FAULT);
            bundle.assert_nothing_left(&format!("{verb} --fault error@{step}"));
            let done = launch(verb, &format!("kill@{step}"));
            assert_eq!(done.status, -9, "{verb} kill@{step}: {done:?}");
            bundle.delete_force().ok();
            bundle.assert_nothing_left_soon(&format!("{verb} --fault kill@{step}"));
        }
    }
}

/// Signals are held back while a foreground `run` sets the container up; one that asks for its end is heard
/// all the same, whoever it is that does not come to an end.
#[test]
fn a_start_that_hangs_can_be_interrupted() {
    need_root!();
    for (kind, signal) in [
        ("createRuntime", Signal::SIGINT),
        ("createContainer", Signal::SIGTERM),
        ("startContainer", Signal::SIGHUP),
        ("poststart", Signal::SIGQUIT),
    ] {
        let bundle = sleeper();
        let hook = sh(&format!("echo x > {}/hangs; exec sleep 100", seen(&bundle, kind)));
        let bundle = with_hooks(bundle, kind, &[hook]);
        let mut command = bundle.command(&run_args(&bundle).each_ref().map(String::as_str));
        let run = command.stderr(Stdio::piped()).spawn().unwrap();
        wait_until(kind, || written(&bundle, "hangs") == "x\n");
        let begin = Instant::now();
        kill(Pid::from_raw(run.id() as i32), signal).unwrap();
        let done = Done::new(run.wait_with_output().unwrap());
        assert!(begin.elapsed() < Duration::from_secs(30), "{kind}: {:?}", begin.elapsed());
        let words = match kind {
            "createRuntime" | "poststart" => "killed, as ferrun was told to end".into(),
            _ => format!("{signal} came before the container's program ran"),
        };
        assert_eq!((done.status, done.stderr.contains(&words)), (1, true), "{kind}: {done:?}");
        bundle.assert_nothing_left(kind);
    }
}
