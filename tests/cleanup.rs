//! Nothing is left of a container: no mount, cgroup, process or state; after success, after a failure at
//! any step, and after `kill -9` of ferrun at any point; and of a container that makes it hard.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Bundle, Done, FAULT};
use serde_json::{Value, json};

/// A container that runs until it is ended.
fn sleeper() -> Bundle {
    Bundle::new(&["sleep", "1000"])
}

/// The verbs that make containers.
const VERBS: [&str; 2] = ["create", "run"];

/// `ferrun VERB FLAGS` of a bundle.
fn launch(bundle: &Bundle, verb: &str, flags: &[&str]) -> Done {
    bundle.bounded(&[&[verb, "--bundle", bundle.dir.to_str().unwrap()], flags, &[bundle.id.as_str()]].concat())
}

fn plan(bundle: &Bundle) -> Value {
    let explained = bundle.ferrun(&["explain", "--json", "--bundle", bundle.dir.to_str().unwrap()]);
    serde_json::from_str(&explained.ok()).unwrap()
}

/// How many steps a start of this bundle has.
fn steps(bundle: &Bundle) -> usize {
    let plan = plan(bundle);
    let mut numbers: Vec<u64> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "every step has its own number");
    assert!(numbers.len() > 10, "a start has more steps: {plan}");
    numbers.len()
}

#[test]
fn a_run_that_fails_at_any_step_leaves_nothing() {
    need_root!();
    let bundle = sleeper();
    for step in 1..=steps(&bundle) {
        let fault = format!("error@{step}");
        launch(&bundle, "run", &["--fault", &fault]).refused(FAULT);
        bundle.assert_nothing_left(&format!("run --fault {fault}"));
    }
}

/// Where a process beside ferrun opens the sources of binds.
#[test]
fn a_run_in_a_user_namespace_that_fails_or_is_killed_at_a_step_of_the_parent_leaves_nothing() {
    need_root!();
    let bundle = sleeper().with(|config| {
        let ids = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
        config["linux"]["uidMappings"] = ids.clone();
        config["linux"]["gidMappings"] = ids;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        let bind = json!({ "destination": "/tmp", "source": "/etc", "options": ["rbind", "ro"] });
        config["mounts"].as_array_mut().unwrap().push(bind);
    });
    let plan = plan(&bundle);
    let steps = plan["steps"].as_array().unwrap();
    let numbers =
        steps.iter().filter(|step| step["lane"] == "parent" || step["text"].as_str().unwrap().contains("source"));
    for step in numbers.map(|step| step["number"].as_u64().unwrap()) {
        launch(&bundle, "run", &["--fault", &format!("error@{step}")]).refused(FAULT);
        bundle.assert_nothing_left(&format!("error@{step}"));
        assert_eq!(launch(&bundle, "run", &["--fault", &format!("kill@{step}")]).status, -9, "kill@{step}");
        bundle.delete_force().ok();
        bundle.assert_nothing_left_soon(&format!("kill@{step}"));
    }
}

/// A mistake of ferrun's own is one line, and in the init ends nobody else: abort(3) would send its signal to the thread
/// id that the C library remembers, which is the parent's.
#[test]
fn a_panic_at_any_step_is_one_line_and_status_1() {
    need_root!();
    let bundle = sleeper();
    let plan = plan(&bundle);
    for step in plan["steps"].as_array().unwrap() {
        let (number, in_init) = (&step["number"], step["lane"] == "init");
        let done = launch(&bundle, "run", &["--fault", &format!("panic@{number}")]);
        done.refused("ferrun: internal error: panicked at src/launch/fault.rs");
        let lines: Vec<&str> = done.stderr.lines().collect();
        assert!(lines[0].contains(FAULT), "panic@{number}: {done:?}");
        if in_init {
            assert_eq!(lines.len(), 2, "panic@{number}: {done:?}");
            done.fails("");
        } else {
            assert_eq!(lines.len(), 1, "panic@{number}: {done:?}");
            bundle.delete_force().ok();
        }
        bundle.assert_nothing_left_soon(&format!("run --fault panic@{number}"));
    }
}

#[test]
fn a_create_that_fails_at_any_step_leaves_nothing() {
    need_root!();
    let bundle = sleeper();
    let last = steps(&bundle);
    for step in 1..last {
        let fault = format!("error@{step}");
        launch(&bundle, "create", &["--fault", &fault]).refused(FAULT);
        bundle.assert_nothing_left(&format!("create --fault {fault}"));
    }
    // The last step executes the program, which is for start to do and to report.
    launch(&bundle, "create", &["--fault", &format!("error@{last}")]).ok();
    bundle.start().refused(FAULT);
    bundle.wait_for("stopped");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("a start that failed");
}

#[test]
fn delete_force_cleans_up_after_a_run_killed_at_any_step() {
    need_root!();
    let bundle = sleeper();
    for step in 1..=steps(&bundle) {
        let fault = format!("kill@{step}");
        let done = launch(&bundle, "run", &["--fault", &fault]);
        assert_eq!(done.status, -9, "run --fault {fault} is killed: {done:?}");
        bundle.delete_force().ok();
        bundle.assert_nothing_left_soon(&format!("run --fault {fault}"));
    }
}

#[test]
fn delete_force_cleans_up_after_a_create_killed_at_any_step_and_its_id_is_free_at_once() {
    need_root!();
    let bundle = sleeper();
    // The last step is not create's but start's.
    for step in 1..steps(&bundle) {
        let fault = format!("kill@{step}");
        let done = launch(&bundle, "create", &["--fault", &fault]);
        assert_eq!(done.status, -9, "create --fault {fault} is killed: {done:?}");
        bundle.delete_force().ok();
        launch(&bundle, "create", &[]).ok();
        assert_eq!(bundle.status(), "created", "after create --fault {fault}");
        bundle.delete_force().ok();
        bundle.assert_nothing_left_soon(&format!("create --fault {fault}"));
    }
}

/// A small generator (xorshift): the delays differ from run to run, and a seed repeats them.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("FERRUN_SEED").map_or(now, |seed| seed.parse().unwrap());
        eprintln!("FERRUN_SEED={seed}");
        Random(seed | 1)
    }

    fn below(&mut self, end: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_micros(self.0 % end.as_micros().max(1) as u64)
    }
}

/// Starts `ferrun ARGS` and kills it after a delay.
fn kill_after(bundle: &Bundle, args: &[&str], delay: Duration) {
    let null = std::process::Stdio::null;
    let mut ferrun = bundle.command(args).stdout(null()).stderr(null()).spawn().unwrap();
    // A sleep of that length would be twice as long.
    let begin = Instant::now();
    while begin.elapsed() < delay {
        std::hint::spin_loop();
    }
    ferrun.kill().unwrap();
    ferrun.wait().unwrap();
}

#[test]
fn delete_force_cleans_up_after_a_kill_at_any_moment() {
    need_root!();
    let bundle = sleeper();
    let mut random = Random::new();
    let dir = bundle.dir.to_str().unwrap();
    for round in 0..100 {
        for verb in VERBS {
            let delay = random.below(Duration::from_millis(if round < 50 { 6 } else { 20 }));
            kill_after(&bundle, &[verb, "--bundle", dir, &bundle.id], delay);
            bundle.delete_force().ok();
            bundle.assert_nothing_left_soon(&format!("{verb}, killed after {delay:?}"));
        }
    }
}

#[test]
fn delete_force_cleans_up_after_a_killed_start_and_a_killed_delete() {
    need_root!();
    let bundle = sleeper();
    let mut random = Random::new();
    for _ in 0..40 {
        for args in [&["start"][..], &["delete", "--force"]] {
            launch(&bundle, "create", &[]).ok();
            let delay = random.below(Duration::from_millis(6));
            kill_after(&bundle, &[args, &[&bundle.id]].concat(), delay);
            bundle.delete_force().ok();
            bundle.assert_nothing_left_soon(&format!("{args:?}, killed after {delay:?}"));
        }
    }
}

#[test]
fn success_leaves_nothing() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    launch(&bundle, "run", &[]).ok();
    bundle.assert_nothing_left("run");

    launch(&bundle, "run", &["--keep"]).ok();
    assert_eq!(bundle.status(), "stopped");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("run --keep and delete");

    launch(&bundle, "run", &["--detach"]).ok();
    bundle.wait_for("stopped");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("run --detach and delete");
}

#[test]
fn delete_force_leaves_nothing_of_a_container_in_any_state() {
    need_root!();
    let bundle = sleeper();
    launch(&bundle, "create", &[]).ok();
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force of a created container");

    launch(&bundle, "run", &["--detach"]).ok();
    bundle.on("delete", &[]).refused("not stopped");
    assert_eq!(bundle.status(), "running", "a delete that was refused changes nothing");
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force of a running container");

    bundle.delete_force().ok(); // engines clean up twice
}

#[test]
fn delete_force_works_without_a_state() {
    need_root!();
    let bundle = sleeper();
    let directory = bundle.state_root().join(&bundle.id);
    for (name, text) in [("", ""), ("creating.json", ""), ("creating.json", "{\"id\":")] {
        std::fs::create_dir_all(&directory).unwrap();
        if !name.is_empty() {
            std::fs::write(directory.join(name), text).unwrap();
        }
        assert_ne!(bundle.on("delete", &[]).status, 0, "without --force a damaged state is an error");
        assert_eq!(bundle.ferrun(&["list", "--quiet"]).ok(), "", "list goes on without it");
        bundle.delete_force().ok();
        bundle.assert_nothing_left(&format!("{name:?} with {text:?} in the state directory"));
    }
}

#[test]
fn a_container_whose_state_is_damaged_is_not_forgotten() {
    need_root!();
    let bundle = sleeper();
    bundle.create().ok();
    let file = bundle.state_root().join(&bundle.id).join("state.json");
    let state = std::fs::read(&file).unwrap();
    std::fs::write(&file, "{").unwrap();
    bundle.delete_force().fails("");
    std::fs::write(&file, state).unwrap();
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn a_container_in_the_cgroup_of_another_outlives_it() {
    need_root!();
    let one = sleeper();
    let path = one.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let other = sleeper().with(|config| config["linux"]["cgroupsPath"] = serde_json::json!(format!("{path}/inner")));
    one.run_detached().ok();
    other.run_detached().ok();
    one.delete_force().fails("EBUSY");
    assert_eq!(other.status(), "running");
    other.delete_force().ok();
    for cgroup in one.cgroups() {
        std::fs::remove_dir(cgroup).unwrap();
    }
    one.assert_nothing_left("delete --force");
}

#[test]
fn delete_force_removes_nothing_that_ferrun_did_not_write() {
    need_root!();
    let bundle = sleeper();
    let alice = bundle.state_root().join(&bundle.id);
    std::fs::create_dir_all(alice.join("letters")).unwrap();
    std::fs::write(alice.join("notes"), "x").unwrap();
    bundle.delete_force().fails("ENOTEMPTY");
    assert!(alice.join("letters").is_dir() && alice.join("notes").is_file(), "--root may name any directory");
    std::fs::remove_dir_all(alice).unwrap();
}

#[test]
fn delete_force_finds_the_processes_of_a_state_that_does_not_name_them() {
    need_root!();
    let bundle = sleeper();
    launch(&bundle, "run", &["--detach"]).ok();
    let state = bundle.state_root().join(&bundle.id).join("state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, text.lines().next().unwrap()).unwrap();
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force without the init's identity");
}

/// The inode of a process's namespace.
fn namespace(pid: &str, kind: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default()
}

#[test]
fn a_container_keeps_no_namespace_and_no_descriptor() {
    need_root!();
    let bundle = sleeper();
    launch(&bundle, "run", &["--detach"]).ok();
    let pid = bundle.state()["pid"].to_string();
    let network = namespace(&pid, "net");
    assert_ne!(network, namespace("self", "net"));
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut descriptors: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    descriptors.sort();
    assert_eq!(descriptors, ["0", "1", "2"], "the program has its streams and no more");

    bundle.delete_force().ok();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
    let holders: Vec<_> = processes.filter(|pid| namespace(pid.to_str().unwrap(), "net") == network).collect();
    assert!(holders.is_empty(), "{holders:?} still have the container's network namespace");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(network.to_str().unwrap()), "the network namespace is mounted");
}

#[test]
fn no_mount_of_a_container_is_ever_seen_on_the_host() {
    need_root!();
    // In a mount namespace of its own, no other test is seen. Shared mounts are what lets one out.
    let script = r#"
        look() { cat /proc/self/mountinfo; }
        look > "$DIR/before"
        for step in $STEPS; do
            "$FERRUN" --root "$DIR/state" run --bundle "$DIR" --fault error@$step "$ID" 2>/dev/null
        done
        look > "$DIR/failed"
        "$FERRUN" --root "$DIR/state" run --detach --bundle "$DIR" "$ID" || exit 1
        look > "$DIR/running"
        "$FERRUN" --root "$DIR/state" delete --force "$ID" || exit 1
        look > "$DIR/deleted""#;
    let bundle = sleeper();
    let numbers: Vec<String> = (1..=steps(&bundle)).map(|step| step.to_string()).collect();
    let mut shell = std::process::Command::new("unshare");
    shell.args(["--mount", "--propagation", "shared", "sh", "-c", script]);
    shell.env("DIR", &bundle.dir).env("ID", &bundle.id).env("FERRUN", common::ferrun_binary());
    common::bounded(shell.env("STEPS", numbers.join(" "))).ok();
    let mounts = |moment: &str| std::fs::read_to_string(bundle.dir.join(moment)).unwrap();
    assert!(mounts("before").contains(" shared:"));
    for moment in ["failed", "running", "deleted"] {
        assert_eq!(mounts(moment), mounts("before"), "{moment}");
    }
    bundle.assert_nothing_left("delete");
}

#[test]
fn a_container_that_ignores_signals_is_deleted() {
    need_root!();
    let stay = "while :; do sleep 1; done";
    let script = format!("trap '' TERM INT HUP QUIT; sh -c 'trap \"\" TERM; {stay}' & {stay}");
    let bundle = Bundle::sh(&script);
    launch(&bundle, "run", &["--detach"]).ok();
    bundle.on("kill", &["TERM"]).ok();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(bundle.status(), "running");
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

/// A container in the host's pid namespace: its processes live on when its init ends.
fn without_pid_namespace(script: &str) -> Bundle {
    Bundle::sh(script).with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    })
}

#[test]
fn processes_that_outlive_their_init_are_killed() {
    need_root!();
    let bundle = without_pid_namespace("sleep 1000 & setsid sleep 1000 & exit 3");
    assert_eq!(launch(&bundle, "run", &[]).status, 3);
    bundle.assert_nothing_left("a foreground run");

    launch(&bundle, "run", &["--detach"]).ok();
    bundle.wait_for("stopped");
    assert!(!common::processes_in(&bundle.dir).is_empty(), "the background processes live on");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete of a stopped container");

    // Three processes that each fork and exit at once are never the same ones twice.
    let bundle = without_pid_namespace("f() { f & }; f; f; f; sleep 1000");
    launch(&bundle, "run", &["--detach"]).ok();
    bundle.bounded(&["delete", "--force", &bundle.id]).ok();
    bundle.assert_nothing_left("delete --force of processes that fork on and on");
}

/// Lets the container write to its own cgroups.
fn with_writable_cgroups(script: &str) -> Bundle {
    Bundle::sh(script).with(|config| {
        for mount in config["mounts"].as_array_mut().unwrap().iter_mut().filter(|mount| mount["type"] == "cgroup") {
            mount["options"] = serde_json::json!(["nosuid", "noexec", "nodev", "rw"]);
        }
    })
}

/// In a script: does something at the root of each of the container's hierarchies.
fn in_each_hierarchy(then: &str) -> String {
    // With quotes: where there is none below, the pattern is no directory, also once `then` has made some.
    format!(
        "for top in /sys/fs/cgroup /sys/fs/cgroup/*/; do cd \"$top\" 2>/dev/null || continue; test -e cgroup.procs || continue; {then}; done"
    )
}

#[test]
fn cgroups_that_the_container_made_are_removed() {
    need_root!();
    // The last line: on v2 a cgroup that has processes and children has moved its processes first.
    let nest = "mkdir -p a/b c && cat cpuset.cpus 2>/dev/null >a/cpuset.cpus && cat cpuset.mems >a/cpuset.mems && \
                cat cpuset.cpus >a/b/cpuset.cpus && cat cpuset.mems >a/b/cpuset.mems; echo 1 >a/b/cgroup.procs";
    for end in ["exit 0", "touch /tmp/nested; sleep 1000"] {
        let script = format!("{}; head -n 20 /proc/self/cgroup; {end}", in_each_hierarchy(nest));
        let bundle = with_writable_cgroups(&script).with(|config| config["root"]["readonly"] = false.into());
        if end == "exit 0" {
            let done = launch(&bundle, "run", &[]);
            assert!(
                done.stdout.lines().filter(|line| line.ends_with(":/a/b")).count() > 0,
                "it moved itself: {done:?}"
            );
        } else {
            launch(&bundle, "run", &["--detach"]).ok();
            common::wait_until("the nested cgroups", || bundle.rootfs().join("tmp/nested").exists());
            bundle.delete_force().ok();
        }
        bundle.assert_nothing_left(&format!("nested cgroups, {end}"));
    }
}

#[test]
fn a_container_cannot_make_cgroups_that_are_not_removed() {
    need_root!();
    let long = "n=$(printf %0200d 0); for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                mkdir $n && cd $n || break; done";
    for (what, make) in [("a name that is not UTF-8", r"mkdir $(printf '\377')"), ("paths longer than PATH_MAX", long)]
    {
        let bundle = with_writable_cgroups(&in_each_hierarchy(make));
        let done = launch(&bundle, "run", &[]);
        assert_eq!(bundle.cgroups(), Vec::<PathBuf>::new(), "cgroups with {what} are left: {done:?}");
        bundle.delete_force().ok();
        bundle.assert_nothing_left(what);
    }
}

#[test]
fn a_frozen_container_is_deleted() {
    need_root!();
    // Frozen itself, and below a cgroup that is.
    for below in ["", "/c"] {
        let bundle = sleeper();
        let top = format!("ferrun-{}", bundle.id);
        let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = json!(format!("/{top}{below}")));
        launch(&bundle, "run", &["--detach"]).ok();
        let v1 = Path::new("/sys/fs/cgroup/freezer").join(&top).join("freezer.state");
        let v2 = Path::new("/sys/fs/cgroup").join(&top).join("cgroup.freeze");
        match (v1.exists(), v2.exists()) {
            (true, _) => std::fs::write(&v1, "FROZEN").unwrap(),
            (_, true) => std::fs::write(v2, "1").unwrap(),
            _ => return common::skip("this host cannot freeze cgroups"),
        }
        let done = bundle.delete_force();
        let _ = std::fs::write(v1, "THAWED"); // where that failed
        done.ok();
        bundle.assert_nothing_left("delete --force of a frozen container");
    }
}

/// `ferrun VERB` of a bundle under a limit of the shell; what it prints goes nowhere, so that nobody waits for the init.
fn launch_limited(bundle: &Bundle, verb: &str, limit: &str) -> Option<i32> {
    let script = format!("ulimit {limit} && exec \"$@\" >/dev/null 2>&1 </dev/null");
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script, "bash"]).arg(common::ferrun_binary()).arg("--root").arg(bundle.state_root());
    command.args([verb, "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).status().unwrap().code()
}

#[test]
fn a_start_that_hits_a_limit_of_the_caller_leaves_nothing() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    std::fs::create_dir_all(bundle.state_root()).unwrap();
    let limits = (3..=40).map(|files| format!("-n {files}"));
    let limits: Vec<String> = limits.chain(["-f 0", "-u 0", "-u 1"].map(str::to_owned)).collect();
    for verb in VERBS {
        let mut failed = 0;
        for limit in &limits {
            match launch_limited(&bundle, verb, limit) {
                Some(0) if verb == "run" => {}
                Some(0) => drop(bundle.ferrun(&["delete", "--force", &bundle.id]).ok()),
                // The dynamic loader, before ferrun.
                Some(127) => failed += 1,
                Some(1) => failed += 1,
                other => panic!("{verb} with {limit}: {other:?}"),
            }
            bundle.assert_nothing_left(&format!("{verb} with {limit}"));
        }
        assert!((5..limits.len()).contains(&failed), "{verb}: {failed}");
    }
}
