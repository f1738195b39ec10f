//! create, start, state, kill, delete, run: runtime.md of the OCI runtime spec, "Lifecycle" and "Operations".

mod common;

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{Bundle, Done, bounded};
use nix::sys::signal::{SigHandler, Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// The end of a script that waits for signals: a minute, so that a test that fails does not wait for ever.
const WAIT: &str = "echo ready; i=0; while [ $i -lt 1200 ]; do i=$((i+1)); sleep 0.05; done; exit 99";

/// A `run` in the foreground, whose output is read while it goes on.
struct Foreground {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Foreground {
    /// Runs the bundle and waits until its program has said "ready".
    fn ready(bundle: &Bundle) -> Foreground {
        let args = ["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id];
        let mut child = bundle.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut run = Foreground { child, lines };
        assert_eq!(run.line(), "ready");
        run
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn status(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

/// Without a pid namespace of its own the init is a process as any other: a signal can end it.
fn in_the_hosts_pid_namespace(bundle: Bundle) -> Bundle {
    bundle.with(|config| config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "pid"))
}

/// `kill` does not wait for the end, and nobody who types both waits in between.
#[test]
fn a_container_that_was_killed_just_now_can_be_deleted() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    for _ in 0..10 {
        bundle.run_detached().ok();
        bundle.on("kill", &["KILL"]).ok();
        bundle.on("delete", &[]).ok();
    }
}

#[test]
fn a_container_goes_through_its_states() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.create().ok();
    assert_eq!(bundle.status(), "created");
    let state = bundle.state();
    assert!(state["pid"].as_i64().unwrap() > 1);
    bundle.start().ok();
    let of_start = ["exec.fifo", "start.page"].map(|name| bundle.state_root().join(&bundle.id).join(name));
    assert!(of_start.iter().all(|path| !path.exists()), "what it waited with is of no use any more");
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.state()["pid"], state["pid"], "the init becomes the program");
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    assert_eq!(bundle.state()["pid"], 0);
    bundle.on("delete", &[]).ok();
    bundle.on("state", &[]).refused("does not exist");
    bundle.assert_nothing_left("delete");
}

#[test]
fn the_program_does_not_run_before_start() {
    need_root!();
    let bundle = Bundle::sh("touch /tmp/ran").set("/root/readonly", json!(false));
    let ran = bundle.rootfs().join("tmp/ran");
    bundle.create().ok();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(!ran.exists());
    bundle.start().ok();
    bundle.wait_for("stopped");
    assert!(ran.exists());
}

#[test]
fn wrong_transitions_are_errors_and_change_nothing() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    let check = |status: &str, wrong: &[(&str, &[&str], &str)]| {
        let before = bundle.on("state", &[]).ok();
        assert_eq!(bundle.status(), status);
        for (verb, args, words) in wrong {
            let done = match *verb {
                "create" => bundle.create(),
                "run" => bundle.run(),
                verb => bundle.on(verb, args),
            };
            assert_eq!(done.status, 1, "{verb} of a {status} one: {done:?}");
            assert!(done.stderr.contains(words), "{verb} of a {status} one: {done:?}");
            assert_eq!(bundle.on("state", &[]).ok(), before, "{verb} of a {status} one");
        }
    };
    let taken = "container with given ID already exists";
    bundle.create().ok();
    check("created", &[("create", &[], taken), ("run", &[], taken), ("delete", &[], "that is not stopped: created")]);
    bundle.start().ok();
    check(
        "running",
        &[
            ("create", &[], taken),
            ("run", &[], taken),
            ("start", &[], "cannot start an already running container"),
            ("delete", &[], "that is not stopped: running"),
        ],
    );
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    check(
        "stopped",
        &[
            ("create", &[], taken),
            ("run", &[], taken),
            ("start", &[], "cannot start a container that has stopped"),
            ("kill", &["KILL"], "container not running"),
            ("kill", &["0"], "container not running"),
        ],
    );
    bundle.on("kill", &["--all", "KILL"]).ok();
    assert_eq!(bundle.status(), "stopped");
    bundle.on("delete", &[]).ok();
    bundle.on("delete", &[]).refused("does not exist");
    bundle.assert_nothing_left("delete");
}

#[test]
fn an_id_is_free_again_after_delete() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    for _ in 0..3 {
        bundle.create().ok();
        bundle.start().ok();
        bundle.wait_for("stopped");
        bundle.on("delete", &[]).ok();
        bundle.assert_nothing_left("delete");
    }
}

/// A foreground `run` cleans up what was its own, also when it is slow to hear of the end.
#[test]
fn a_run_leaves_another_container_of_its_id_alone() {
    need_root!();
    for bundle in [Bundle::sh(WAIT), in_the_hosts_pid_namespace(Bundle::sh(WAIT))] {
        let run = Foreground::ready(&bundle);
        bundle.wait_for("running");
        run.signal(Signal::SIGSTOP);
        bundle.delete_force().ok();
        bundle.run_detached().ok();
        run.signal(Signal::SIGCONT);
        assert_eq!(run.status(), 137);
        assert_eq!(bundle.status(), "running");
        bundle.delete_force().ok();
        bundle.assert_nothing_left_soon("delete --force");
    }
}

#[test]
fn of_two_deletes_at_once_one_runs_the_hooks() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    let hooks = bundle.dir.join("hooks");
    let script = format!("echo x >> {}", hooks.display());
    let hook = json!([{ "path": "/bin/busybox", "args": ["sh", "-c", script] }]);
    let bundle = bundle.set("/hooks/poststop", hook);
    for round in 1..=30 {
        bundle.create().ok();
        let both = [(); 2].map(|()| common::running::Running::spawn(&bundle, &["delete", "--force", &bundle.id]));
        let both = both.map(common::running::Running::wait);
        assert_eq!(common::observe::lines(&hooks).len(), round, "{both:?}");
        bundle.assert_nothing_left("two deletes");
    }
}

#[test]
fn a_forced_delete_ends_a_container_in_any_state() {
    need_root!();
    let bundle = Bundle::sh("sleep 100 & sleep 100");
    bundle.create().ok();
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force of a created one");
    bundle.run_detached().ok();
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force of a running one");
    bundle.run_detached().ok();
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force of a stopped one");
}

#[test]
fn a_created_container_can_be_killed_and_is_stopped_then() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.create().ok();
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    bundle.start().refused("cannot start a container that has stopped");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn kill_all_of_a_stopped_container_succeeds_without_cgroups_too() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let dir = bundle.dir.to_str().unwrap();
    bundle.ferrun(&["--cgroup-manager", "disabled", "run", "--keep", "--bundle", dir, &bundle.id]).ok();
    assert_eq!(bundle.status(), "stopped");
    bundle.on("kill", &["--all", "KILL"]).ok();
}

#[test]
fn kill_all_reaches_every_process() {
    need_root!();
    let bundle = in_the_hosts_pid_namespace(Bundle::sh(&format!("sleep 100 & sleep 100 & {WAIT}")));
    let run = Foreground::ready(&bundle);
    bundle.ferrun(&["kill", "--all", &bundle.id, "9"]).ok();
    assert_eq!(run.status(), 137);
    bundle.assert_nothing_left("kill --all");
}

#[test]
fn exit_statuses_are_passed_on() {
    need_root!();
    assert_eq!(Bundle::sh("exit 7").run().status, 7);
    assert_eq!(Bundle::sh("exit 0").run().status, 0);
    assert_eq!(Bundle::sh("exit 255").run().status, 255);
    assert_eq!(Bundle::sh("kill -9 $$; sleep 1; exit 3").run().status, 3, "pid 1 is not killed from inside");
}

#[test]
fn a_death_by_signal_is_passed_on_as_128_and_its_number() {
    need_root!();
    let bundle = Bundle::sh(WAIT);
    let run = Foreground::ready(&bundle);
    bundle.on("kill", &["KILL"]).ok();
    assert_eq!(run.status(), 137);
    bundle.assert_nothing_left("run");
    for (signal, status) in [("TERM", 143), ("HUP", 129), ("SEGV", 139), ("KILL", 137)] {
        assert_eq!(status_after(signal), status, "{signal}");
    }
}

#[test]
fn a_death_by_a_real_time_signal_is_passed_on_too() {
    need_root!();
    assert_eq!(status_after("RTMIN+3"), 128 + 37);
    assert_eq!(status_after("64"), 128 + 64);
}

/// The exit status of `run` when its program is killed by a signal.
fn status_after(signal: &str) -> i32 {
    let bundle = in_the_hosts_pid_namespace(Bundle::sh(WAIT));
    let run = Foreground::ready(&bundle);
    bundle.on("kill", &[signal]).ok();
    let status = run.status();
    bundle.assert_nothing_left("run");
    status
}

/// Callers that never look at their children ignore SIGCHLD, and the kernel then keeps no exit status.
#[test]
fn the_exit_status_is_passed_on_when_the_caller_ignores_sigchld() {
    need_root!();
    let bundle = Bundle::sh("exit 7");
    let mut command = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    // SAFETY: between fork and exec only one system call is made.
    unsafe {
        command.pre_exec(|| {
            nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn)?;
            Ok(())
        })
    };
    let done = bounded(&mut command);
    assert_eq!(done.status, 7, "{done:?}");
    bundle.assert_nothing_left("run");
}

#[test]
fn kill_takes_numbers_and_names_and_sends_term_by_default() {
    need_root!();
    let bundle = Bundle::sh(&format!(
        "trap 'echo usr1' USR1; trap 'echo hup' HUP; trap 'echo int' INT; trap 'echo rt' 37; trap 'exit 3' TERM; {WAIT}"
    ));
    let mut run = Foreground::ready(&bundle);
    for (signal, said) in [
        ("10", "usr1"),
        ("USR1", "usr1"),
        ("SIGUSR1", "usr1"),
        ("usr1", "usr1"),
        ("sigusr1", "usr1"),
        ("1", "hup"),
        ("SIGHUP", "hup"),
        ("INT", "int"),
        ("37", "rt"),
        ("RTMIN+3", "rt"),
    ] {
        bundle.on("kill", &[signal]).ok();
        assert_eq!(run.line(), said, "{signal}");
    }
    bundle.on("kill", &["0"]).ok();
    bundle.on("kill", &[]).ok();
    assert_eq!(run.status(), 3, "its own status, not 143");
    bundle.assert_nothing_left("run");
}

/// The names of kill(1) in the order of their numbers, from 1 on.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

#[test]
fn every_signal_is_the_one_of_its_name() {
    need_root!();
    let numbers = (1..=64).filter(|number| ![9, 19, 32, 33].contains(number));
    let traps: String = numbers.map(|number| format!("trap 'echo {number}' {number}; ")).collect();
    // A shell that waits without children, whose ends are signals as well.
    let wait = "exec 3<>/dev/shm/fifo; echo ready; while :; do read line <&3; done";
    let bundle = Bundle::sh(&format!("busybox mkfifo /dev/shm/fifo; {traps} {wait}"));
    let mut run = Foreground::ready(&bundle);
    let names = SIGNALS.iter().zip(1..).map(|(name, number)| (format!("SIG{name}"), number));
    let real_time = (34..=64).map(|number| (format!("RTMIN+{}", number - 34), number));
    let from_the_end = (34..=64).map(|number| (format!("SIGRTMAX-{}", 64 - number), number));
    for (name, number) in names.chain(real_time).chain(from_the_end) {
        match number {
            9 => {}
            19 => {
                bundle.on("kill", &[&name]).ok();
                let pid = bundle.state()["pid"].as_i64().unwrap();
                let state = || common::observe::run_state(pid);
                common::wait_until("the stop", || state().as_deref() == Some("T"));
                bundle.on("kill", &["CONT"]).ok();
                assert_eq!(run.line(), "18", "after {name}");
            }
            _ => {
                bundle.on("kill", &[&name]).ok();
                assert_eq!(run.line(), number.to_string(), "{name}");
            }
        }
    }
    bundle.on("kill", &["SIGKILL"]).ok();
    assert_eq!(run.status(), 137);
}

#[test]
fn a_foreground_run_passes_signals_on() {
    need_root!();
    let signals = [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGWINCH,
        Signal::SIGCONT,
        Signal::SIGTSTP,
    ];
    let names = signals.map(|signal| signal.as_str().trim_start_matches("SIG"));
    let traps: String = names.iter().map(|name| format!("trap 'echo {name}' {name}; ")).collect();
    let bundle = Bundle::sh(&format!("{traps} trap 'exit 4' TERM; {WAIT}"));
    let mut run = Foreground::ready(&bundle);
    for (signal, name) in signals.into_iter().zip(names) {
        run.signal(signal);
        assert_eq!(run.line(), name);
    }
    run.signal(Signal::SIGTERM);
    assert_eq!(run.status(), 4);
    bundle.assert_nothing_left("run");
}

/// The C library keeps the first of them for itself.
#[test]
fn a_foreground_run_passes_every_real_time_signal_on() {
    need_root!();
    let traps: String = (34..=64).map(|number| format!("trap 'echo {number}' {number}; ")).collect();
    let bundle = Bundle::sh(&format!("{traps} {WAIT}"));
    let mut run = Foreground::ready(&bundle);
    for number in 34..=64 {
        let pid = run.child.id().to_string();
        assert!(Command::new("/bin/busybox").args(["kill", &format!("-{number}"), &pid]).status().unwrap().success());
        assert_eq!(run.line(), number.to_string());
    }
    bundle.on("kill", &["KILL"]).ok();
    assert_eq!(run.status(), 137);
}

/// Lets a command block every signal and ignore some, as careless callers do.
fn blocking_all(mut command: Command) -> Command {
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            for ignored in [Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGHUP] {
                nix::sys::signal::signal(ignored, SigHandler::SigIgn)?;
            }
            Ok(ferrun::sys::program::all_signals().thread_set_mask()?)
        })
    };
    command
}

/// ferrun itself blocks signals while it waits.
#[test]
fn the_program_and_hooks_have_no_signal_blocked_or_ignored_whatever_their_caller_does() {
    need_root!();
    // A second command, lest the shell itself be grep, which ignores SIGQUIT.
    let look = "grep -E '^Sig(Blk|Ign):' /proc/self/status; true";
    let none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    for kind in ["createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let bundle = Bundle::sh(look).set("/root/readonly", json!(false));
        let inside = if kind == "startContainer" { "/tmp".into() } else { bundle.rootfs().join("tmp") };
        let script = format!("{{ {look}; }} > {}/hook", inside.display());
        let bundle =
            bundle.set(&format!("/hooks/{kind}"), json!([{"path": "/bin/busybox", "args": ["sh", "-c", script]}]));
        let run = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        let done = bounded(&mut blocking_all(run));
        assert_eq!(done.ok() + "\n", none, "{kind}");
        assert_eq!(std::fs::read_to_string(bundle.rootfs().join("tmp/hook")).unwrap(), none, "{kind}");
    }
    let bundle = Bundle::sh(&format!("{{ {look}; }} > /tmp/program")).set("/root/readonly", json!(false));
    let create = bundle.command(&["create", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    bounded(&mut blocking_all(create)).ok();
    bundle.start().ok();
    bundle.wait_for("stopped");
    assert_eq!(std::fs::read_to_string(bundle.rootfs().join("tmp/program")).unwrap(), none);
}

#[test]
fn a_foreground_run_passes_signals_on_that_its_caller_blocks() {
    need_root!();
    let bundle = Bundle::sh(&format!("trap 'exit 4' TERM; {WAIT}"));
    let run = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let mut child = blocking_all(run).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut run = Foreground { child, lines };
    assert_eq!(run.line(), "ready");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.status(), 4);
    bundle.assert_nothing_left("run");
}

#[test]
fn a_detached_run_returns_while_the_program_runs() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.run_detached().ok();
    assert_eq!(bundle.status(), "running");
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn a_run_that_keeps_its_container_leaves_it_stopped() {
    need_root!();
    let bundle = Bundle::sh("exit 5");
    assert_eq!(bundle.run_with(&["--keep"]).status, 5);
    assert_eq!((bundle.status().as_str(), bundle.state()["pid"].as_i64()), ("stopped", Some(0)));
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn a_foreground_run_leaves_nothing_of_what_the_program_left_running() {
    need_root!();
    for bundle in [Bundle::sh("sleep 100 &"), in_the_hosts_pid_namespace(Bundle::sh("sleep 100 >&- 2>&- &"))] {
        bundle.bounded(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).ok();
        bundle.assert_nothing_left("run");
    }
}

/// A process that does not outlive its test, even one that fails.
struct EndedAtLast(Child);

impl Drop for EndedAtLast {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// The parent of the init may be slow to take its exit status, or never do it.
#[test]
fn a_container_whose_init_is_a_zombie_is_stopped() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    let create = bundle.command(&["create", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let mut parent = Command::new("/bin/busybox");
    parent.args(["sh", "-c", "\"$@\" && exec /bin/busybox sleep 100", "sh"]);
    parent.arg(create.get_program()).args(create.get_args());
    parent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec only one system call is made.
    unsafe { parent.pre_exec(|| Ok(nix::sys::prctl::set_child_subreaper(true)?)) };
    let mut parent = EndedAtLast(parent.spawn().unwrap());
    while bundle.on("state", &[]).status != 0 || bundle.status() != "created" {
        assert!(parent.0.try_wait().unwrap().is_none(), "create failed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = bundle.state()["pid"].as_i64().unwrap();
    bundle.start().ok();
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") Z "), "{stat}");
    assert_eq!(bundle.state()["pid"], 0);
    bundle.on("kill", &["KILL"]).refused("container not running");
    bundle.on("kill", &["--all", "KILL"]).ok();
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn changes_of_the_config_after_create_have_no_effect() {
    need_root!();
    let bundle = Bundle::sh("hostname > /tmp/out").set("/root/readonly", json!(false));
    let bundle = bundle.set("/hostname", json!("before")).set("/annotations", json!({"when": "before"}));
    bundle.create().ok();
    std::fs::write(bundle.dir.join("config.json"), "not json").unwrap();
    assert_eq!(bundle.state()["annotations"]["when"], "before");
    bundle.start().ok();
    bundle.wait_for("stopped");
    assert_eq!(std::fs::read_to_string(bundle.rootfs().join("tmp/out")).unwrap(), "before\n");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn a_container_that_exits_at_once_never_hangs_run() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    for _ in 0..30 {
        bundle.bounded(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).ok();
    }
    bundle.assert_nothing_left("run");
}

#[test]
fn a_container_that_exits_at_once_never_hangs_start() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    for _ in 0..10 {
        bundle.create().ok();
        bundle.bounded(&["start", &bundle.id]).ok();
        bundle.wait_for("stopped");
        bundle.on("delete", &[]).ok();
    }
    bundle.assert_nothing_left("delete");
}

#[test]
fn of_many_starts_at_once_one_succeeds() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.create().ok();
    let starts: Vec<_> = (0..6)
        .map(|_| bundle.command(&["start", &bundle.id]).stderr(Stdio::piped()).spawn().unwrap())
        .map(|child| std::thread::spawn(|| Done::new(child.wait_with_output().unwrap())))
        .collect();
    let done: Vec<Done> = starts.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(done.iter().filter(|done| done.status == 0).count(), 1, "{done:?}");
    for done in done.iter().filter(|done| done.status != 0) {
        done.refused("cannot start an already running container");
    }
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_signal_that_ends_a_process_ends_a_created_container() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.create().ok();
    // What ends no other process does not end it: what is ignored by default, and what stops or continues.
    for signal in ["0", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "WINCH"] {
        bundle.on("kill", &[signal]).ok();
        bundle.on("kill", &["CONT"]).ok();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(bundle.status(), "created", "{signal}");
    }
    for paused in [false, true] {
        if paused {
            bundle.create().ok();
            bundle.on("pause", &[]).ok();
        }
        bundle.on("kill", &["TERM"]).ok();
        bundle.wait_for("stopped");
        bundle.on("delete", &[]).ok();
    }
}

#[test]
fn the_exit_status_is_told_when_something_cannot_be_removed() {
    need_root!();
    let bundle = Bundle::sh("exit 7");
    let alien = bundle.state_root().join(&bundle.id).join("alien");
    let script = format!("touch {}; exit 7", alien.display());
    let bundle = bundle.with(|config| {
        config["process"]["args"] = serde_json::json!(["sh", "-c", script]);
        let state = alien.parent().unwrap().parent().unwrap();
        std::fs::create_dir_all(state).unwrap();
        let mount = serde_json::json!({ "destination": state, "type": "bind", "source": state, "options": ["rbind"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
        config["root"]["readonly"] = serde_json::json!(false);
    });
    let done = bundle.run();
    assert_eq!(done.status, 7, "{done:?}");
    done.warns(&["ENOTEMPTY"]);
    std::fs::remove_file(alien).unwrap();
    bundle.delete_force().ok();
}

/// runtime.md: `create` applies all but `process`, and `start` MUST generate an error if it was not set.
#[test]
fn a_container_without_a_process_can_be_created_but_not_started() {
    need_root!();
    let filter =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]});
    for seccomp in [json!(null), filter] {
        let bundle =
            Bundle::new(&[]).set("/linux/seccomp", seccomp).set("/root/readonly", json!(false)).with(|config| {
                config.as_object_mut().unwrap().remove("process");
                let note = |name: &str| json!([{"path": "/bin/busybox", "args": ["touch", name]}]);
                config["hooks"] =
                    json!({"createRuntime": note("rootfs/tmp/created"), "poststart": note("rootfs/tmp/started")});
            });
        let check = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
        assert!(check.stdout.contains(" /process "), "{check:?}");
        check.ok();
        bundle.ferrun(&["explain", "--bundle", bundle.dir.to_str().unwrap()]).ok();
        let done = bundle.run();
        done.fails("/process");
        assert!(!bundle.rootfs().join("tmp/created").exists(), "nothing has begun");
        bundle.assert_nothing_left("run");

        bundle.create().ok();
        assert!(bundle.rootfs().join("tmp/created").exists());
        assert_eq!(bundle.status(), "created");
        let pid = bundle.state()["pid"].as_i64().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{set}: {status}");
        }
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        for _ in 0..2 {
            bundle.start().fails("");
            assert_eq!((bundle.status().as_str(), bundle.state()["pid"].as_i64()), ("created", Some(pid)));
        }
        assert!(!bundle.rootfs().join("tmp/started").exists());
        bundle.on("kill", &["KILL"]).ok();
        bundle.wait_for("stopped");
        bundle.on("delete", &[]).ok();
        bundle.assert_nothing_left("delete");
        bundle.create().ok();
        bundle.delete_force().ok();
        bundle.assert_nothing_left("delete --force");
    }
}
