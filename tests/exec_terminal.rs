//! `exec --tty`: terminals as on `run`, of a further process.

mod common;

use std::fs;
use std::process::Stdio;

use common::exec::{end, exec_with, running, start};
use common::terminal::{Console, Foreground, LARGE, SMALL, ends, streams};
use common::{Bundle, patience, wait_until};
use ferrun::sys::terminal::set_size;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// `ferrun exec --tty` of a script on a terminal of the test's.
fn shell(bundle: &Bundle, script: &str) -> Foreground {
    by(&[], bundle, &["sh", "-c", script])
}

fn by(program: &[&str], bundle: &Bundle, words: &[&str]) -> Foreground {
    Foreground::of(program, bundle, &[&["exec", "--tty", &bundle.id], words].concat())
}

/// The pids in the container, on the host.
fn pids(bundle: &Bundle) -> Vec<Value> {
    serde_json::from_str(&bundle.ferrun(&["ps", "--format", "json", &bundle.id]).ok()).unwrap()
}

#[track_caller]
fn assert_alone(bundle: &Bundle, after: &str) {
    wait_until("the end of all but the init", || pids(bundle).len() == 1);
    assert_eq!(pids(bundle), [bundle.state()["pid"].clone()], "{after}");
}

#[test]
fn the_foreground_terminal_is_passed_through() {
    need_root!();
    let bundle = running();
    let script = "trap 'stty size' WINCH; trap 'echo INT' INT; stty size; tty; \
                  while :; do read line && echo \"got $line\"; test \"$line\" != end || exit 7; done";
    let mut exec = shell(&bundle, script);
    exec.screen.wait_for(&format!("{} {}\r\n/dev/pts/0\r\n", SMALL.rows, SMALL.columns));
    assert!(exec.is_raw(), "keys are handled by the container's terminal");
    exec.screen.type_in("typed\r");
    exec.screen.wait_for("typed\r\ngot typed\r\n");
    assert_eq!(exec.screen.seen.matches("typed").count(), 2, "echoed once, by the container: {}", exec.screen.seen);
    set_size(&exec.terminal, LARGE).unwrap();
    // A shell that is just about to read looks at the signal after the line.
    for line in ["one", "two", "three"] {
        exec.screen.type_in(&format!("{line}\r"));
        exec.screen.wait_for(&format!("got {line}"));
    }
    exec.screen.wait_for(&format!("{} {}", LARGE.rows, LARGE.columns));
    exec.screen.type_in("\x03");
    exec.screen.type_in("four\r");
    exec.screen.wait_for("got four");
    exec.screen.wait_for("INT");
    exec.screen.type_in("end\r");
    let (status, seen) = exec.end();
    assert_eq!(status, 7, "{seen}");
    assert_alone(&bundle, "an exec with a terminal");
    end(&bundle);
}

#[test]
fn keys_reach_the_jobs_of_an_interactive_shell() {
    need_root!();
    let bundle = running();
    let mut exec = by(&[], &bundle, &["sh", "-i"]);
    exec.screen.wait_for("# ");
    exec.screen.type_in("sleep 2000\r");
    wait_until("sleep", || common::processes_in(&bundle.dir).iter().any(|one| one.contains("sleep 2000")));
    exec.screen.type_in("\x1a");
    exec.screen.wait_for("Stopped");
    // Twice, as the first may only be answered that there are stopped jobs.
    exec.screen.type_in("kill -9 %1\rexit 5\rexit 5\r");
    let (status, seen) = exec.end();
    assert_eq!(status, 5, "{seen}");
    assert_alone(&bundle, "an interactive shell");
    end(&bundle);
}

#[test]
fn the_terminal_is_as_before_on_every_way_out() {
    need_root!();
    let bundle = running();
    let script = "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done";
    let up = |script: &str| {
        let mut exec = shell(&bundle, script);
        exec.screen.wait_for("up");
        assert!(exec.is_raw());
        exec
    };
    let signal = |exec: &Foreground, signal| kill(Pid::from_raw(exec.ferrun.id() as i32), signal).unwrap();

    let exec = up(script);
    signal(&exec, Signal::SIGTERM);
    let (status, seen) = exec.end();
    assert!(status == 9 && seen.contains("bye\r\n"), "{status} {seen}");

    let exec = up("echo up; sleep 1000");
    signal(&exec, Signal::SIGHUP);
    assert_eq!(exec.end().0, 129, "the program has no handler");

    assert_eq!(up("echo up; sleep 0.2; kill -KILL $$").end().0, 137);
    assert_eq!(up("echo up; sleep 0.2; exit 3").end().0, 3);
    for (words, says) in [
        (&["/missing"][..], "no such file or directory"),
        (&["missing"], "executable file not found in $PATH"),
        (&["/bin"], "is a directory"),
    ] {
        let (status, seen) = by(&[], &bundle, words).end();
        assert!(status == 255 && seen.contains(says), "{status} {seen}");
    }
    assert_alone(&bundle, "failures");

    let exec = up("echo up; sleep 1000");
    bundle.on("kill", &["KILL"]).ok();
    assert_eq!(exec.end().0, 137, "with its container");
    let (status, seen) = shell(&bundle, "true").end();
    assert!(status == 255 && seen.contains("container not running"), "{status} {seen}");
    end(&bundle);

    let bundle = running();
    let mut exec = shell(&bundle, "echo up; sleep 1000");
    exec.screen.wait_for("up");
    bundle.delete_force().ok();
    assert_eq!(exec.end().0, 137, "with its container");
    bundle.assert_nothing_left("delete");
}

#[test]
fn in_the_background_the_terminal_is_left_alone() {
    need_root!();
    let bundle = running();
    let mut exec =
        by(&["sh", "-c", "set -m; \"$@\" & wait $!", "sh"], &bundle, &["sh", "-c", "tty; sleep 0.3; echo end"]);
    exec.screen.wait_for("/dev/pts/0");
    assert!(!exec.is_raw(), "it is the shell's");
    let (status, seen) = exec.end();
    assert!(status == 0 && seen.contains("end"), "{status} {seen}");
    end(&bundle);
}

#[test]
fn after_a_stop_the_terminal_is_raw_again_once_it_is_ferruns() {
    need_root!();
    let bundle = running();
    let job = "set -m; \"$@\"; stty sane; echo stopped; read line; fg; exit $?";
    let script = "echo up; read line; echo \"got $line\"; exit 3";
    let mut exec = by(&["sh", "-c", job, "sh"], &bundle, &["sh", "-c", script]);
    exec.screen.wait_for("up");
    assert!(exec.is_raw());
    exec.signal_to_job(Signal::SIGSTOP);
    exec.screen.wait_for("stopped");
    assert!(!exec.is_raw(), "it is the shell's");
    exec.screen.type_in("\r");
    wait_until("a raw terminal", || exec.is_raw());
    exec.screen.type_in("words\r");
    exec.screen.wait_for("got words");
    let (status, seen) = exec.end();
    assert_eq!(status, 3, "{seen}");
    end(&bundle);
}

#[test]
fn a_closed_window_hangs_the_terminal_up() {
    need_root!();
    let bundle = running();
    // The signal of the closed window is only for the shell, which leads the session.
    let shell = ["sh", "-c", "trap '' HUP; \"$@\"; exit $?", "sh"];
    let mut exec = by(&shell, &bundle, &["sh", "-c", "trap 'exit 5' HUP; echo up; sleep 1000 & wait; exit 6"]);
    exec.screen.wait_for("up");
    drop(exec.screen);
    assert_eq!(ends(&mut exec.ferrun, patience(10)), Some(5));
    end(&bundle);
}

/// A megabyte and a little more.
const LINES: u32 = 170_000;

#[test]
fn everything_that_was_written_is_shown() {
    need_root!();
    let bundle = running();
    let lines: String = (1..=LINES).map(|line| format!("{line}\n")).collect();
    assert!(lines.len() > 1 << 20);
    let count = LINES.to_string();
    for flags in [&[][..], &["--tty"], &["--tty"]] {
        let done = exec_with(&bundle, flags, &["seq", &count]);
        assert!(done.stdout == lines && done.status == 0, "{flags:?}: {} bytes, {}", done.stdout.len(), done.stderr);
    }
    let (status, seen) = by(&[], &bundle, &["seq", &count]).end();
    assert!(seen == lines.replace('\n', "\r\n") && status == 0, "{} bytes, {status}", seen.len());
    end(&bundle);
}

#[test]
fn the_end_of_the_input_is_told() {
    need_root!();
    let bundle = running();
    for (words, input, output, status) in [
        (&["cat"][..], "", "", 0),
        (&["cat"], "one\n", "one\none\n", 0),
        (&["sh", "-c", "cat; cat; exit 4"], "one\n", "one\none\n", 4),
    ] {
        let file = bundle.dir.join("input");
        fs::write(&file, input).unwrap();
        let mut command = bundle.command(&[&["exec", "--tty", &bundle.id], words].concat());
        let mut ferrun = command.stdin(fs::File::open(&file).unwrap()).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(ends(&mut ferrun, patience(10)), Some(status), "{words:?} < {input:?}");
        let mut said = String::new();
        std::io::Read::read_to_string(&mut ferrun.stdout.take().unwrap(), &mut said).unwrap();
        assert_eq!(said, output, "{words:?} < {input:?}");
    }
    end(&bundle);
}

/// The terminals of several processes are several, and the init's console stays the init's.
#[test]
fn each_has_a_terminal_of_its_own() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]).set("/process/terminal", json!(true));
    let console = Console::of(&bundle);
    bundle.create_with(&console.flag()).ok();
    let of_init = console.screen();
    bundle.start().ok();
    let script = "tty; stat -c '%u:%g %a' $(tty); echo tty >/dev/tty; stat -c %t:%T /dev/console; echo up; read line";
    let mut one = shell(&bundle, script);
    one.screen.wait_for("up");
    let mut two = shell(&bundle, "tty; echo up; read line");
    two.screen.wait_for("/dev/pts/2\r\nup");
    let seen = one.screen.seen.clone();
    assert!(seen.starts_with("/dev/pts/1\r\n0:5 620\r\ntty\r\n"), "{seen}");
    assert!(seen.contains("88:0\r\n"), "the console is the init's: {seen}");
    for exec in [&mut one, &mut two] {
        exec.screen.type_in("\r");
    }
    assert_eq!((one.end().0, two.end().0), (0, 0));
    // Without a terminal it has none, not even the init's.
    let done = exec_with(&bundle, &[], &["sh", "-c", "echo no >/dev/tty || tty"]);
    assert!(!done.stdout.contains("/dev/pts") && done.status == 1, "{done:?}");
    drop(of_init);
    end(&bundle);
}

#[test]
fn it_belongs_to_the_user() {
    need_root!();
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    for mapped in [false, true] {
        let bundle = start(Bundle::new(&["sleep", "1000"]).with(|config| {
            if mapped {
                config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
                (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map.clone());
            }
        }));
        let script = "tty; stat -c '%u:%g %a' $(tty); echo tty >/dev/tty; echo out >/dev/stdout";
        let done = exec_with(&bundle, &["--tty", "--user", "1000:1001"], &["sh", "-c", script]);
        assert_eq!(done.ok(), "/dev/pts/0\n1000:5 620\ntty\nout", "mapped: {mapped}");
        end(&bundle);
    }
}

#[test]
fn an_engine_gets_the_terminal_over_its_socket() {
    need_root!();
    let bundle = running();
    let console = Console::of(&bundle);
    let (process, pid_file) = (bundle.dir.join("process.json"), bundle.dir.join("pid"));
    let script =
        "tty; for n in 0 1 2; do test -t $n && echo fd $n; done; stty size; read line; echo \"read $line\"; read line";
    let described = json!({
        "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "terminal": true,
        "consoleSize": { "height": 22, "width": 77 },
    });
    fs::write(&process, described.to_string()).unwrap();
    let [process, pid_file] = [&process, &pid_file].map(|path| path.to_str().unwrap());
    let flags = [&["--process", process, "--detach", "--pid-file", pid_file][..], &console.flag()].concat();
    exec_with(&bundle, &flags, &[]).ok();
    let mut screen = console.screen();
    screen.wait_for("/dev/pts/0\r\nfd 0\r\nfd 1\r\nfd 2\r\n22 77\r\n");
    let pid: Value = fs::read_to_string(pid_file).unwrap().parse::<i64>().unwrap().into();
    assert_eq!(streams(&pid), ["/dev/pts/0", "/dev/pts/0", "/dev/pts/0"], "the other side is not in the container");
    screen.type_in("words\n");
    screen.wait_for("words\r\nread words\r\n");
    // Ctrl-C goes to the foreground group of the terminal.
    screen.type_in("\x03");
    screen.rest();
    assert_alone(&bundle, "Ctrl-C");
    // One whose other side is closed is hung up.
    exec_with(&bundle, &[&["--detach", "--tty"][..], &console.flag()].concat(), &["sleep", "1000"]).ok();
    let screen = console.screen();
    assert_eq!(pids(&bundle).len(), 2);
    drop(screen);
    assert_alone(&bundle, "a hangup");
    end(&bundle);
}

#[test]
fn the_flags_must_fit() {
    need_root!();
    let bundle = running();
    let console = Console::of(&bundle);
    let with = |flags: &[&'static str]| [flags, &console.flag().map(|word| &*word.to_owned().leak())].concat();
    for (flags, says) in [
        (vec!["--detach", "--tty"], "cannot allocate tty if ferrun will detach without setting console socket"),
        (with(&["--tty"]), "cannot use console socket"),
        (with(&["--detach"]), "cannot use console socket"),
        (with(&[]), "cannot use console socket"),
        (vec!["--detach", "--tty", "--console-socket", "/nowhere/socket"], "no such file or directory"),
    ] {
        let done = exec_with(&bundle, &flags, &["sleep", "1000"]);
        assert!(done.status == 255 && done.stderr.contains(says), "{flags:?}: {done:?}");
        assert_alone(&bundle, "a refusal");
    }
    // One that takes the connection and closes it, and one that nobody listens on.
    let refusing = bundle.dir.join("refusing");
    drop(std::os::unix::net::UnixListener::bind(&refusing).unwrap());
    let flags = ["--detach", "--tty", "--console-socket", refusing.to_str().unwrap()];
    let done = exec_with(&bundle, &flags, &["sleep", "1000"]);
    assert!(done.status == 255 && done.stderr.contains("onnection refused"), "{done:?}");
    assert_alone(&bundle, "a refusal");
    end(&bundle);
}
