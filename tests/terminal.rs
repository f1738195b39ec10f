//! Containers with a terminal: over an engine's socket, and in the foreground on a terminal that the test has.

mod common;

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::terminal::{Console, Foreground, LARGE, ends, streams};
use common::{Bundle, Canary, Done, bounded, mount_lines, mounted_on, patience, wait_until};
use ferrun::sys::terminal::set_size;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

fn with_terminal(config: &mut Value) {
    config["process"]["terminal"] = json!(true);
}

fn sh(script: &str) -> Bundle {
    Bundle::sh(script).with(with_terminal)
}

#[test]
fn an_engine_gets_the_terminal_over_its_socket() {
    need_root!();
    let script = "tty; for n in 0 1 2; do test -t $n && echo fd $n; done; stty size; read line; echo \"read $line\"";
    let bundle = sh(script).set("/process/consoleSize", json!({ "height": 22, "width": 77 }));
    let console = Console::of(&bundle);
    bundle.create_with(&console.flag()).ok();
    let mut screen = console.screen();
    let pid = &bundle.state()["pid"];
    let open = streams(pid);
    assert!(!open.iter().any(|link| link.contains("ptmx")), "the other side is not in the container: {open:?}");
    bundle.start().ok();
    screen.wait_for("/dev/pts/0\r\nfd 0\r\nfd 1\r\nfd 2\r\n22 77\r\n");
    assert_eq!(streams(pid), ["/dev/pts/0", "/dev/pts/0", "/dev/pts/0"]);
    screen.type_in("words\n");
    assert!(screen.rest().ends_with("words\r\nread words\r\n"), "nobody has it open after the end");
    bundle.wait_for("stopped");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn a_detached_run_gives_its_terminal_away_too() {
    need_root!();
    let bundle = sh("ps -o tty,args; sleep 1000");
    let console = Console::of(&bundle);
    let flags = [&["--detach"][..], &console.flag()].concat();
    let mut command =
        bundle.command(&[&["run", "--bundle", bundle.dir.to_str().unwrap()], &flags[..], &[&bundle.id]].concat());
    bounded(&mut command).ok();
    let mut screen = console.screen();
    screen.wait_for("136,0  sh -c");
    // Ctrl-C goes to the foreground group of the terminal; pid 1 of the container is not in the way.
    screen.type_in("\x03");
    screen.wait_for("^C");
    // Hung up; a shell that is pid 1 does not end by that.
    drop(screen);
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn the_foreground_terminal_is_passed_through() {
    need_root!();
    let script = "trap 'stty size' WINCH; trap 'echo INT' INT; stty size; tty; \
                  while :; do read line && echo \"got $line\"; test \"$line\" != end || exit 7; done";
    let bundle = sh(script);
    let mut run = Foreground::run(&bundle);
    run.screen.wait_for("11 33\r\n/dev/pts/0\r\n");
    assert!(run.is_raw(), "keys are handled by the container's terminal");
    run.screen.type_in("typed\r");
    run.screen.wait_for("typed\r\ngot typed\r\n");
    assert_eq!(run.screen.seen.matches("typed").count(), 2, "echoed once, by the container: {}", run.screen.seen);
    set_size(&run.terminal, LARGE).unwrap();
    // A shell that is just about to read looks at the signal after the line.
    for line in ["one", "two", "three"] {
        run.screen.type_in(&format!("{line}\r"));
        run.screen.wait_for(&format!("got {line}"));
    }
    run.screen.wait_for("44 111");
    // Nor does it look at this one before.
    run.screen.type_in("\x03");
    run.screen.type_in("four\r");
    run.screen.wait_for("got four");
    run.screen.wait_for("INT");
    run.screen.type_in("end\r");
    let (status, seen) = run.end();
    assert_eq!(status, 7, "{seen}");
}

#[test]
fn keys_reach_the_jobs_of_an_interactive_shell() {
    need_root!();
    let bundle = Bundle::new(&["sh", "-i"]).with(with_terminal);
    let mut run = Foreground::run(&bundle);
    run.screen.wait_for("# ");
    run.screen.type_in("echo $((6*7))\r");
    run.screen.wait_for("42");
    run.screen.type_in("sleep 1000\r");
    wait_until("sleep", || common::processes_in(&bundle.dir).iter().any(|one| one.contains("sleep 1000")));
    run.screen.type_in("\x1a");
    run.screen.wait_for("Stopped");
    // Twice, as the first may only be answered that there are stopped jobs.
    run.screen.type_in("kill -9 %1\rexit 5\rexit 5\r");
    let (status, seen) = run.end();
    assert_eq!(status, 5, "{seen}");
    bundle.assert_nothing_left("run");
}

#[test]
fn the_terminal_is_as_before_after_a_signal_and_after_a_failure() {
    need_root!();
    let bundle = sh("trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done");
    let mut run = Foreground::run(&bundle);
    run.screen.wait_for("up");
    assert!(run.is_raw());
    kill(Pid::from_raw(run.ferrun.id() as i32), Signal::SIGTERM).unwrap();
    let (status, seen) = run.end();
    assert!(status == 9 && seen.contains("bye\r\n"), "{status} {seen}");
    let missing = Bundle::new(&["/missing"]).with(with_terminal);
    let (status, seen) = Foreground::run(&missing).end();
    assert!(status == 1 && seen.contains("no such file or directory"), "{status} {seen}");
    missing.assert_nothing_left("run");
}

#[test]
fn in_the_background_the_terminal_is_left_alone() {
    need_root!();
    let bundle = sh("tty; sleep 0.3; echo end");
    let mut run = Foreground::run_by(&["sh", "-c", "set -m; \"$@\" & wait $!", "sh"], &[], &bundle);
    run.screen.wait_for("/dev/pts/0");
    assert!(!run.is_raw(), "it is the shell's");
    let (status, seen) = run.end();
    assert!(status == 0 && seen.contains("end"), "{status} {seen}");
}

#[test]
fn a_closed_window_hangs_the_terminal_up() {
    need_root!();
    let bundle = sh("trap 'exit 5' HUP; echo up; sleep 1000 & wait; exit 6");
    // The signal of the closed window is only for the shell, which leads the session.
    let mut run = Foreground::run_by(&["sh", "-c", "trap '' HUP; \"$@\"; exit $?", "sh"], &[], &bundle);
    run.screen.wait_for("up");
    drop(run.screen);
    assert_eq!(ends(&mut run.ferrun, patience(10)), Some(5));
    bundle.assert_nothing_left("run");
}

#[test]
fn what_is_typed_waits_while_ferrun_is_in_the_background() {
    need_root!();
    let bundle = sh("trap 'exit 9' HUP; echo up; read line; echo \"got $line\"; exit 3");
    let shell = ["sh", "-c", "set -m; \"$@\"; bg; sleep 1; echo back; fg; exit $?", "sh"];
    let mut run = Foreground::run_by(&shell, &[], &bundle);
    run.screen.wait_for("up");
    run.signal_to_job(Signal::SIGSTOP);
    run.screen.type_in("words\r");
    run.screen.wait_for("got words");
    let seen = &run.screen.seen;
    assert!(seen.find("back") < seen.find("got"), "{seen}");
    let (status, seen) = run.end();
    assert_eq!(status, 3, "{seen}");
    bundle.assert_nothing_left("run");
}

#[test]
fn after_a_stop_the_terminal_is_raw_again_once_it_is_ferruns() {
    need_root!();
    // Straight back to the foreground, and by way of the background.
    for back in ["fg", "bg; echo behind; read line; fg"] {
        let bundle = sh("echo up; read line; echo \"got $line\"; exit 3");
        let script = format!("set -m; \"$@\"; stty sane; echo stopped; read line; {back}; exit $?");
        let mut run = Foreground::run_by(&["sh", "-c", &script, "sh"], &[], &bundle);
        run.screen.wait_for("up");
        assert!(run.is_raw());
        run.signal_to_job(Signal::SIGSTOP);
        run.screen.wait_for("stopped");
        assert!(!run.is_raw(), "it is the shell's");
        run.screen.type_in("\r");
        if back != "fg" {
            run.screen.wait_for("behind");
            std::thread::sleep(Duration::from_millis(300));
            assert!(!run.is_raw(), "it is still the shell's");
            run.screen.type_in("\r");
        }
        wait_until("a raw terminal", || run.is_raw());
        run.screen.type_in("words\r");
        run.screen.wait_for("got words");
        let (status, seen) = run.end();
        assert_eq!(status, 3, "{seen}");
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn a_signal_ends_the_wait_for_a_slow_reader() {
    need_root!();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let bundle = Bundle::new(&["seq", "200000"]).with(with_terminal);
        let mut ferrun = piped(&bundle);
        wait_until_full(&ferrun);
        bundle.on("kill", &["KILL"]).ok();
        bundle.wait_for("stopped");
        std::thread::sleep(Duration::from_millis(200));
        assert!(ferrun.try_wait().unwrap().is_none(), "the rest is still to be shown");
        kill(Pid::from_raw(ferrun.id() as i32), signal).unwrap();
        assert_eq!(ends(&mut ferrun, patience(10)), Some(137), "{signal}");
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn everything_that_was_written_is_shown_and_the_end_of_the_input_is_told() {
    need_root!();
    let lines: String = (1..=20_000).map(|line| format!("{line}\n")).collect();
    for _ in 0..3 {
        let done = Bundle::new(&["seq", "20000"]).with(with_terminal).run();
        assert!(done.stdout == lines && done.status == 0, "{} bytes, {}", done.stdout.len(), done.stderr);
    }
    let bundle = Bundle::new(&["seq", "20000"]).with(with_terminal);
    let (_, seen) = Foreground::run(&bundle).end();
    assert!(seen == lines.replace('\n', "\r\n"), "{} bytes", seen.len());
    for (args, input, output, status) in [
        (&["cat"][..], "", "", 0),
        (&["cat"], "one\n", "one\none\n", 0),
        // Echoed, then sent at the end of the input without a line's end.
        (&["cat"], "part", "partpart", 0),
        (&["sh", "-c", "sleep 0.3; exec cat"], "late\n", "late\nlate\n", 0),
        // Each reader is told.
        (&["sh", "-c", "cat; cat"], "one\n", "one\none\n", 0),
        // One that shows something all the time does not delay it.
        (&["sh", "-c", "while sleep 0.02; do echo; done & cat >/dev/null; exit 6"], "", "", 6),
        // A shell that reads keys, not lines, to which the first end of the input is nothing.
        (&["sh", "-i"], "sleep 0.3\nexit $((2+1))\n", "", 3),
        (&["sh", "-i"], "(exit 4)\n", "", 4),
    ] {
        let bundle = Bundle::new(args).with(with_terminal);
        let done = with_input(&bundle, input);
        assert_eq!(done.status, status, "{args:?} < {input:?}: {done:?}");
        assert!(args.contains(&"-i") || status == 6 || done.stdout == output, "{args:?} < {input:?}: {done:?}");
        bundle.assert_nothing_left("run");
    }
}

/// The keys that a program gets without input if it reads them after so many seconds.
fn keys_after(seconds: &str) -> String {
    let read = "stty -icanon -echo min 0 time 10; dd bs=1 count=8 2>/dev/null | od -An -c";
    let seen = with_input(&sh(&format!("sleep {seconds}; {read}")), "").ok();
    seen.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_program_that_reads_keys_gets_the_end_of_the_input_once() {
    need_root!();
    // It has 100 milliseconds to set the mode, which a busy host may not leave it.
    assert!((0..3).any(|_| keys_after("0.03") == "004"), "VEOF came before the mode was set");
    assert_eq!(keys_after("0.5"), "\\0 004", "one from before the mode was set");
}

#[test]
fn the_end_of_the_input_follows_a_line_at_once() {
    need_root!();
    let follows = |_| {
        let bundle = sh("sleep 0.05; read line; read -t 0 && echo end; true");
        with_input(&bundle, "line\n").ok() == "line\nend"
    };
    assert!((0..3).any(follows));
}

/// `ferrun run` with this on its standard input.
fn with_input(bundle: &Bundle, input: &str) -> Done {
    let file = bundle.dir.join("input");
    std::fs::write(&file, input).unwrap();
    let script = "exec timeout -s KILL \"$limit\" \"$@\" <\"$input\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(common::ferrun_binary()).arg("--root").arg(bundle.state_root());
    command.arg("run").arg("--bundle").arg(&bundle.dir).arg(&bundle.id).env("input", file);
    command.env("limit", patience(20).as_secs().to_string());
    Done::new(command.output().unwrap())
}

#[test]
fn a_program_may_let_go_of_its_terminal_and_come_back() {
    need_root!();
    let script = "exec </dev/null >/dev/null 2>&1; sleep 0.5; echo again >/dev/console; sleep 0.5; exit 3";
    let done = sh(script).run();
    assert!(done.stdout == "again\n" && done.status == 3, "{done:?}");
}

#[test]
fn a_reader_that_leaves_hangs_the_terminal_up() {
    need_root!();
    let bundle = sh("while echo y; do :; done");
    let script = "timeout -s KILL \"$limit\" \"$@\" | head -n 2";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(common::ferrun_binary()).arg("--root").arg(bundle.state_root());
    command.arg("run").arg("--bundle").arg(&bundle.dir).arg(&bundle.id).stdin(Stdio::null());
    command.env("limit", patience(20).as_secs().to_string());
    assert_eq!(Done::new(command.output().unwrap()).ok(), "y\ny");
    bundle.assert_nothing_left("run");
}

/// `ferrun run` without input, its output being a pipe of the test's.
fn piped(bundle: &Bundle) -> Child {
    let mut command = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits until its pipe takes no more, nor the terminal behind it: nothing has come for a second.
fn wait_until_full(child: &Child) {
    let (mut before, mut since) = (0, Instant::now());
    wait_until("a full pipe", || {
        let mut bytes = 0;
        // SAFETY: FIONREAD writes an int.
        unsafe { libc::ioctl(child.stdout.as_ref().unwrap().as_raw_fd(), libc::FIONREAD, &mut bytes) };
        if bytes != before {
            (before, since) = (bytes, Instant::now());
        }
        bytes > 0 && since.elapsed() > Duration::from_secs(1)
    });
}

/// The processor time of a process, in hundredths of a second.
fn ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_reader_that_leaves_costs_nothing_after_it() {
    need_root!();
    let bundle = sh("trap '' HUP; trap 'exit 9' PIPE; echo up; sleep 0.5; echo a; echo b; \
                     for n in 1 2 3 4; do sleep 0.5; done; exit 3");
    let mut ferrun = piped(&bundle);
    let mut up = [0; 3];
    ferrun.stdout.take().unwrap().read_exact(&mut up).unwrap();
    let before = ticks(&ferrun);
    std::thread::sleep(Duration::from_millis(1800));
    let after = ticks(&ferrun);
    assert!(after - before < 50, "{} hundredths of a second", after - before);
    // SIGPIPE is ferrun's own.
    assert_eq!(ends(&mut ferrun, patience(10)), Some(3));
    bundle.assert_nothing_left("run");
}

#[test]
fn the_terminal_belongs_to_the_user() {
    need_root!();
    let script = "stat -c '%u:%g %a' /dev/pts/0; echo tty >/dev/tty; echo console >/dev/console; echo out >/dev/stdout";
    let bundle = sh(script).with(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1001 }));
    assert_eq!(bundle.run().ok(), "1000:5 620\ntty\nconsole\nout");
}

#[test]
fn the_terminal_of_a_user_namespace_is_its_own() {
    need_root!();
    for uid in [0, 1000] {
        let script = "stat -c '%u:%g' /dev/pts/0; tty; echo console >/dev/console; echo tty >/dev/tty";
        let bundle = sh(script).with(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        });
        std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
        assert_eq!(bundle.run().ok(), format!("{uid}:5\n/dev/pts/0\nconsole\ntty"));
    }
}

#[test]
fn the_flags_must_fit_the_config() {
    need_root!();
    let without = Bundle::new(&["true"]);
    let with = Bundle::new(&["true"]).with(with_terminal);
    let console = Console::of(&with);
    with.create().fails("/process/terminal");
    with.run_with(&["--detach"]).fails("/process/terminal");
    with.run_with(&console.flag()).fails("");
    without.run_with(&console.flag()).fails("");
    without.create_with(&console.flag()).fails("");
    without.run_with(&[&["--detach"][..], &console.flag()].concat()).fails("");
    with.create_with(&["--console-socket", "/nowhere/socket"]).fails("ENOENT");
    with.assert_nothing_left("refusals");
    without.assert_nothing_left("refusals");
}

#[test]
fn the_last_size_that_is_known_is_the_one() {
    need_root!();
    let bundle = sh("stty size").set("/process/consoleSize", json!({ "height": 22, "width": 77 }));
    assert_eq!(bundle.run().ok(), "22 77", "no terminal of the caller's");
    let (_, seen) = Foreground::run(&bundle).end();
    assert_eq!(seen, "11 33\r\n", "the caller's terminal");
    let text = bundle.ferrun(&["explain", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    assert!(text.contains("controlling, 77x22") && text.contains("/process/terminal"), "{text}");
}

#[test]
fn nothing_is_left_of_a_start_that_fails_at_the_terminal() {
    need_root!();
    let bundle = sh("true");
    let console = Console::of(&bundle);
    let dir = bundle.dir.to_str().unwrap();
    let plan = bundle.ferrun(&["explain", "--json", "--bundle", dir]).ok();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let number = steps.iter().find(|step| step["verb"] == "terminal").unwrap()["number"].as_u64().unwrap();
    // At the terminal, and after it.
    for number in [number, number + 1] {
        bundle
            .create_with(&[&console.flag()[..], &["--fault", &format!("error@{number}")]].concat())
            .refused(common::FAULT);
        bundle.assert_nothing_left("an error");
        let (status, seen) = Foreground::run_with(&["--fault", &format!("error@{number}")], &bundle).end();
        assert!(status == 1 && seen.contains(common::FAULT), "{status} {seen}");
        let killed = bundle.create_with(&[&console.flag()[..], &["--fault", &format!("kill@{number}")]].concat());
        assert_eq!(killed.status, -1, "{killed:?}");
        bundle.delete_force().ok();
        bundle.assert_nothing_left("a kill");
    }
}

fn on(config: &mut Value, destination: &str, change: impl FnOnce(&mut Vec<Value>, usize)) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    let index = mounts.iter().position(|mount| mount["destination"] == destination).unwrap();
    change(mounts, index);
}

#[test]
fn a_terminal_needs_a_devpts() {
    need_root!();
    let missing = sh("true").with(|config| on(config, "/dev/pts", |mounts, index| drop(mounts.remove(index))));
    missing.run().fails("ENOENT /process/terminal");
    let other =
        sh("true").with(|config| on(config, "/dev/pts", |mounts, index| mounts[index]["type"] = json!("tmpfs")));
    let other = other.with(|config| on(config, "/dev/pts", |mounts, index| mounts[index]["options"] = json!([])));
    other.run().fails("/process/terminal");
    // Another file in the place of its multiplexer, such as the host's.
    let covered = sh("true").with(|config| {
        let mount = json!({"destination": "/dev/pts/ptmx", "source": "/dev/ptmx", "options": ["bind"]});
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    covered.run().fails("EXDEV /process/terminal");
    for bundle in [missing, other, covered] {
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn the_console_is_the_terminal_itself() {
    need_root!();
    let mounts = mount_lines(&sh("cat /proc/self/mountinfo").run().ok());
    let console = mounted_on(&mounts, "/dev/console");
    let pts = mounted_on(&mounts, "/dev/pts");
    assert_eq!((console.root.as_str(), &console.device), ("/0", &pts.device));
    assert!(console.has("noexec") && console.has("nosuid"), "as the devpts: {console:?}");
}

/// It stays in the image.
#[test]
fn the_file_that_the_console_is_mounted_on_is_its_owners_alone() {
    need_root!();
    let bundle = sh("tty </dev/console").with(|config| {
        config["root"]["readonly"] = json!(false);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !["/dev", "/dev/shm", "/dev/mqueue"].iter().any(|one| mount["destination"] == *one));
    });
    assert_eq!(bundle.run().ok(), "/dev/console");
    let file = std::fs::metadata(bundle.rootfs().join("dev/console")).unwrap();
    assert_eq!((file.is_file(), file.len(), file.permissions().mode() & 0o7777), (true, 0, 0o600));
}

// CVE-2025-52565
#[test]
fn a_false_dev_gets_nothing_of_the_hosts() {
    need_root!();
    let remove = |config: &mut Value, names: &[&str]| {
        config["root"]["readonly"] = json!(false);
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !names.iter().any(|name| mount["destination"] == *name));
    };
    for (name, link, mounts) in [
        ("console", "../../canary/secret", &["/dev", "/dev/shm", "/dev/mqueue"][..]),
        ("console", "ABSOLUTE/secret", &["/dev", "/dev/shm", "/dev/mqueue"]),
        ("console", "ABSOLUTE/made", &["/dev", "/dev/shm", "/dev/mqueue"]),
        ("pts", "../../canary", &["/dev", "/dev/shm", "/dev/mqueue"]),
        ("pts", "ABSOLUTE", &["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]),
        ("ptmx", "ABSOLUTE/ptmx", &["/dev", "/dev/shm", "/dev/mqueue"]),
        ("ptmx", "../../canary/ptmx", &["/dev", "/dev/shm", "/dev/mqueue"]),
        ("", "../canary", &["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]),
        ("", "ABSOLUTE", &["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]),
    ] {
        let bundle = sh("echo ran; echo over >/dev/console").with(|config| remove(config, mounts));
        let canary = Canary::beside(&bundle);
        let place = bundle.rootfs().join("dev").join(name);
        let place: PathBuf = place.components().collect();
        if name.is_empty() {
            std::fs::remove_dir(&place).unwrap();
        }
        symlink(link.replace("ABSOLUTE", canary.dir.to_str().unwrap()), &place).unwrap();
        let done = bundle.run();
        let refused = done.status == 1 && done.stderr.contains("ferrun: ");
        assert!(refused || done.stdout == "ran\nover\n", "{name} -> {link}: {done:?}");
        if name == "console" {
            done.fails("/process/terminal");
        }
        canary.assert_alive(&format!("/dev/{name}, a link to {link}"));
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn in_a_dev_that_is_bound_nothing_is_made() {
    need_root!();
    for has_console in [false, true] {
        let bundle = sh("test -e /dev/console && tty </dev/console; echo out").with(|config| {
            config["mounts"] = json!([
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "bind", "source": "dev", "options": ["bind"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance"] },
            ]);
            config["linux"]["maskedPaths"] = json!([]);
        });
        let dev = bundle.dir.join("dev");
        std::fs::create_dir_all(dev.join("pts")).unwrap();
        if has_console {
            std::fs::write(dev.join("console"), "").unwrap();
        }
        let expected = if has_console { "/dev/console\nout" } else { "out" };
        assert_eq!(bundle.run().ok(), expected);
        assert_eq!(dev.join("console").exists(), has_console);
        assert!(!Path::new(&dev).join("null").exists());
    }
}

#[test]
fn the_path_of_the_console_socket_may_be_longer_than_an_address() {
    need_root!();
    let bundle = Bundle::sh("echo shown; sleep 100").set("/process/terminal", json!(true));
    let mut console = Console::of(&bundle);
    let long = bundle.dir.join("c".repeat(120));
    std::fs::create_dir(&long).unwrap();
    for place in [long.join("console"), bundle.dir.join("s".repeat(200))] {
        std::fs::rename(&console.path, &place).unwrap();
        console.path = place;
        bundle.create_with(&console.flag()).ok();
        let mut screen = console.screen();
        bundle.start().ok();
        screen.wait_for("shown");
        bundle.delete_force().ok();
    }
    let missing = long.join("missing");
    bundle.create_with(&["--console-socket", missing.to_str().unwrap()]).fails("ENOENT");
    bundle.assert_nothing_left("create");
}
