//! What `exec` gets from elsewhere and hands on: a state of another ferrun, descriptors, sockets, exit statuses.

mod common;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use common::exec::{end, exec, exec_with, running, start};
use common::running::Running;
use common::{Bundle, Done, bounded, ferrun_binary, wait_until};
use serde_json::{Value, json};

fn directory(bundle: &Bundle) -> PathBuf {
    bundle.state_root().join(&bundle.id)
}

/// Changes the line of the state that is on the container.
fn change_state(bundle: &Bundle, change: impl FnOnce(&mut Value)) {
    let file = directory(bundle).join("state.json");
    let text = fs::read_to_string(&file).unwrap();
    let (state, init) = text.split_once('\n').unwrap();
    let mut state: Value = serde_json::from_str(state).unwrap();
    change(&mut state);
    fs::write(&file, format!("{state}\n{init}")).unwrap();
}

/// An older ferrun kept no config: then the bundle's counts, as it is now.
#[test]
fn a_container_of_an_older_ferrun_has_its_bundles_config() {
    need_root!();
    let bundle = start(Bundle::new(&["sleep", "1000"]).set("/process/env", json!(["PATH=/bin", "WHICH=create's"])));
    let which = || exec(&bundle, &["sh", "-c", "echo $WHICH"]);
    let mut config = bundle.config.clone();
    config["process"]["env"] = json!(["PATH=/bin", "WHICH=bundle's"]);
    fs::write(bundle.dir.join("config.json"), config.to_string()).unwrap();
    assert_eq!(which().ok(), "create's");
    fs::remove_file(directory(&bundle).join("config.json")).unwrap();
    assert_eq!(which().ok(), "bundle's");
    // And what an older one did not write of the state.
    change_state(&bundle, |state| {
        for later in ["boot", "resctrl", "unit", "deniesExecve", "noProcess"] {
            state.as_object_mut().unwrap().remove(later);
        }
    });
    assert_eq!(which().ok(), "bundle's");
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    let done = which();
    let told = done.stderr.contains("config.json") && done.stderr.contains("no such file or directory");
    assert!(done.status == 255 && told, "{done:?}");
    end(&bundle);
}

#[test]
fn properties_of_a_state_that_nobody_knows_are_ignored() {
    need_root!();
    let bundle = running();
    change_state(&bundle, |state| {
        state["later"] = json!({ "a": [1, null] });
        state["annotations"] = json!({ "x": "y" });
    });
    assert_eq!(exec(&bundle, &["echo", "entered"]).ok(), "entered");
    end(&bundle);
}

/// What is kept is as hostile as any other file: a link, a fifo, no JSON.
#[test]
fn a_kept_config_that_is_none_is_an_error() {
    need_root!();
    let bundle = running();
    let kept = directory(&bundle).join("config.json");
    let text = fs::read(&kept).unwrap();
    for make in [
        (|path| fs::write(path, "{").unwrap()) as fn(&PathBuf),
        |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        |path| std::os::unix::fs::symlink("/proc/self/environ", path).unwrap(),
        |path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap(),
        |path| fs::create_dir(path).unwrap(),
    ] {
        let _ = fs::remove_file(&kept);
        make(&kept);
        let done = exec(&bundle, &["true"]);
        assert_eq!(done.status, 255, "{done:?}");
    }
    fs::remove_dir(&kept).unwrap();
    fs::write(&kept, text).unwrap();
    assert_eq!(exec(&bundle, &["true"]).status, 0);
    end(&bundle);
}

/// Socket activation: sd_listen_fds(3).
#[test]
fn descriptors_of_the_caller_are_passed_on() {
    need_root!();
    let bundle = start(Bundle::new(&["sleep", "1000"]).with(|config| {
        config["process"]["env"].as_array_mut().unwrap().push(json!("LISTEN_FDS=9"));
    }));
    for (name, text) in [("one", "one\n"), ("two", "two\n"), ("three", "three\n")] {
        fs::write(bundle.dir.join(name), text).unwrap();
    }
    let script = "echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | wc -l; cat <&3; cat <&4; cat <&5 || echo closed";
    let exec = |variables: &str, flags: &[&str]| {
        let shell = format!("exec 3<one 4<two 5<three 9</; {variables} exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &shell, "sh"]).arg(ferrun_binary()).arg("--root").arg(bundle.state_root());
        command.arg("exec").args(flags).args([&*bundle.id, "sh", "-c", script]);
        bounded(command.current_dir(&bundle.dir))
    };
    let preserve = ["--preserve-fds", "1"];
    // The streams, the directory that `ls` reads, and what is passed on.
    let done = exec("LISTEN_PID=$$ LISTEN_FDS=1", &preserve);
    assert_eq!(done.stdout, "1 1\n6\none\ntwo\nclosed\n", "{done:?}");
    let done = exec("LISTEN_PID=1 LISTEN_FDS=1", &preserve);
    assert_eq!(done.stdout, "9\n5\none\nclosed\n", "meant for another process: {done:?}");
    assert_eq!(exec("", &["--preserve-fds", "3"]).stdout, "9\n7\none\ntwo\nthree\n");
    for (variables, flags) in [("LISTEN_PID=$$ LISTEN_FDS=9", &[][..]), ("", &["--preserve-fds", "4"])] {
        let done = exec(variables, flags);
        assert!(done.status == 255 && done.stderr.contains("is not open"), "{done:?}");
    }
    for wrong in ["-1", "x", "", "4294967296"] {
        assert_eq!(exec("", &["--preserve-fds", wrong]).status, 255, "{wrong}");
    }
    end(&bundle);
}

/// Of `create` and of a detached `exec`: tests/exec.rs.
#[test]
fn a_run_in_the_foreground_and_an_exec_send_the_descriptor_too() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let path = bundle.dir.join("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap();
    let received = || {
        let (connection, _) = listener.accept().unwrap();
        ferrun::sys::fd::receive(&connection).unwrap().expect("a descriptor")
    };
    let pid_of = |pidfd: &std::os::fd::OwnedFd| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned()
    };
    let dir = bundle.dir.to_str().unwrap();
    let run = Running::spawn(&bundle, &["run", "--pidfd-socket", socket, "--bundle", dir, &bundle.id]);
    let init = received();
    assert_eq!(pid_of(&init), bundle.state()["pid"].to_string());
    let file = bundle.dir.join("pid");
    let flags = ["exec", "--pidfd-socket", socket, "--pid-file", file.to_str().unwrap(), &bundle.id, "sleep", "1000"];
    let further = Running::spawn(&bundle, &flags);
    let pidfd = received();
    wait_until("the pid file", || file.exists());
    assert_eq!(pid_of(&pidfd), fs::read_to_string(&file).unwrap());
    ferrun::sys::pidfd::send_signal(&pidfd, libc::SIGTERM).unwrap();
    assert_eq!(further.wait().status, 143);
    // One that nobody listens on is an error, and the process does not stay.
    drop(listener);
    for path in [socket, "/nowhere/socket"] {
        for detach in [&[][..], &["--detach"]] {
            let done = exec_with(&bundle, &[&["--pidfd-socket", path], detach].concat(), &["sleep", "1000"]);
            assert!(done.status == 255 && done.stderr.contains(path), "{done:?}");
            let pids = bundle.ferrun(&["ps", "--format", "json", &bundle.id]).ok();
            assert_eq!(pids, format!("[{}]", bundle.state()["pid"]));
        }
    }
    ferrun::sys::pidfd::send_signal(&init, libc::SIGKILL).unwrap();
    assert_eq!(run.wait().status, 137);
    bundle.assert_nothing_left("run");
    for verb in [&["run"][..], &["run", "--detach"], &["create"]] {
        let done = bundle.bounded(&[verb, &["--pidfd-socket", socket, "--bundle", dir, &bundle.id]].concat());
        assert!(done.status == 1 && done.stderr.contains(socket), "{verb:?}: {done:?}");
        bundle.assert_nothing_left_soon("a socket that nobody listens on");
    }
}

#[test]
fn exit_statuses_are_the_programs_but_255() {
    need_root!();
    let bundle = running();
    for status in [0, 1, 2, 77, 126, 127, 254, 255] {
        assert_eq!(exec(&bundle, &["sh", "-c", &format!("exit {status}")]).status, status);
    }
    for signal in [1, 2, 6, 9, 11, 13, 15] {
        let done = exec(&bundle, &["sh", "-c", &format!("kill -{signal} $$; sleep 1")]);
        assert_eq!(done.status, 128 + signal, "{done:?}");
        assert!(done.stderr.is_empty(), "that is no error of ferrun's: {done:?}");
    }
    let pid_file = bundle.dir.join("missing/pid");
    let pid_file = ["--pid-file", pid_file.to_str().unwrap()];
    let failed = |done: Done| {
        assert_eq!(done.status, 255, "{done:?}");
        assert_eq!(done.stderr.matches("ferrun: ").count(), 1, "{done:?}");
        assert_eq!(done.stdout, "");
    };
    failed(exec(&bundle, &["/missing"]));
    failed(exec(&bundle, &[]));
    failed(exec_with(&bundle, &pid_file, &["true"]));
    failed(exec_with(&bundle, &["--detach", pid_file[0], pid_file[1]], &["sleep", "1000"]));
    failed(bundle.bounded(&["exec", "nosuch", "true"]));
    failed(bundle.bounded(&["exec", "no/id", "true"]));
    // What the command line itself says wrong is no failure of an exec: as for every command.
    assert_eq!(
        bundle.bounded(&["exec", "--nosuch", &bundle.id, "true"]).status,
        bundle.bounded(&["state", "--nosuch"]).status
    );
    let pids = bundle.ferrun(&["ps", "--format", "json", &bundle.id]).ok();
    assert_eq!(pids, format!("[{}]", bundle.state()["pid"]), "what failed is gone");
    end(&bundle);
}

/// A log has one object for a failure, and none for a program's own status.
#[test]
fn a_log_has_the_failure_alone() {
    need_root!();
    let bundle = running();
    let log = bundle.dir.join("log.json");
    let logged = |words: &[&str]| {
        let _ = fs::remove_file(&log);
        let log = log.to_str().unwrap();
        let done = bundle.bounded(&[&["--log", log, "--log-format", "json", "exec", &bundle.id], words].concat());
        (done.status, fs::read_to_string(log).unwrap_or_default())
    };
    assert_eq!(logged(&["sh", "-c", "exit 9"]), (9, String::new()));
    assert_eq!(logged(&["sh", "-c", "kill -9 $$"]), (137, String::new()));
    let (status, text) = logged(&["/missing"]);
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &object["level"]), (255, &json!("error")));
    assert!(object["msg"].as_str().unwrap().contains("no such file or directory"), "{text}");
    end(&bundle);
}

/// As `<(...)` of a shell gives it.
#[test]
fn the_process_may_be_a_descriptor_of_the_caller() {
    need_root!();
    let bundle = running();
    let process = json!({ "args": ["sh", "-c", "ls -l /proc/self/fd"], "cwd": "/", "env": ["PATH=/bin"] });
    fs::write(bundle.dir.join("process.json"), process.to_string()).unwrap();
    let script = "\"$0\" --root \"$1\" exec --process $4 $2 5<$3 63<$3 7</";
    for path in ["/dev/fd/5", "/proc/self/fd/63"] {
        let mut command = Command::new("bash");
        command.args(["-c", script]).arg(ferrun_binary()).arg(bundle.state_root()).arg(&bundle.id);
        let said = bounded(command.arg(bundle.dir.join("process.json")).arg(path)).ok();
        // A heading; the streams and that of the list itself.
        assert_eq!(said.lines().count(), 1 + 4, "{path}: {said}");
    }
    end(&bundle);
}

#[test]
fn words_that_say_nothing_are_nothing() {
    need_root!();
    let bundle = running();
    let done = exec_with(&bundle, &["--user", "", "--cwd", "", "--apparmor", ""], &["--", "id", "-u"]);
    assert_eq!(done.ok(), "0");
    end(&bundle);
}

/// The program is where the init is now.
#[test]
fn an_init_that_was_moved_is_followed() {
    need_root!();
    let bundle = running();
    let own = bundle.cgroups().into_iter().find(|path| path.join("cgroup.type").exists());
    let Some(own) = own else { return common::skip("this host has no cgroup v2") };
    let other = own.with_file_name(format!("ferrun-{}-moved", bundle.id));
    fs::create_dir(&other).unwrap();
    fs::write(other.join("cgroup.procs"), bundle.state()["pid"].to_string()).unwrap();
    fs::remove_dir(&own).unwrap();
    let done = exec(&bundle, &["true"]);
    assert_eq!(bundle.delete_force().status, 0);
    wait_until("the end of the init", || fs::remove_dir(&other).is_ok());
    assert_eq!(done.status, 0, "{done:?}");
}
