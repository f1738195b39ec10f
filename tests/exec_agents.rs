//! `exec` under a filter that asks somebody else: each process has a listener of its own.

mod common;

use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::exec::{end, exec, exec_with, start};
use common::{Bundle, patience};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

/// A bundle whose filter asks about some calls, and where the agent listens.
fn bundle(names: &[&str]) -> (Bundle, UnixListener) {
    let bundle = Bundle::new(&["sleep", "1000"]).set("/annotations", json!({"a": "b"}));
    let socket = bundle.dir.join("agent.sock");
    let rule = json!({"names": names, "action": "SCMP_ACT_NOTIFY"});
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "what you need",
        "syscalls": [rule],
    });
    let listener = UnixListener::bind(&socket).unwrap();
    (bundle.set("/linux/seccomp", profile), listener)
}

/// Takes what ferrun sends: the descriptor, and the container process state.
fn accept(listener: &UnixListener) -> (OwnedFd, Value) {
    let (mut stream, _): (UnixStream, _) = listener.accept().unwrap();
    let mut buffer = [0; 4096];
    let mut space = nix::cmsg_space!([i32; 2]);
    let (length, descriptor) = {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
        let rights = message.cmsgs().unwrap().find_map(|part| match part {
            ControlMessageOwned::ScmRights(list) => Some(list),
            _ => None,
        });
        let list = rights.expect("a descriptor");
        assert_eq!(list.len(), 1);
        // SAFETY: it was received just now, and nothing else owns it.
        (message.bytes, unsafe { OwnedFd::from_raw_fd(list[0]) })
    };
    let mut text = buffer[..length].to_vec();
    stream.read_to_end(&mut text).unwrap();
    (descriptor, serde_json::from_slice(&text).unwrap())
}

/// Answers all calls of one listener with "file exists"; sends the pids that made them.
fn answer(descriptor: OwnedFd, calls: mpsc::Sender<u32>) {
    std::thread::spawn(move || {
        loop {
            // `struct seccomp_notif`: the number of the call, and the pid that makes it.
            let mut call = [0u64; 10];
            // SAFETY: the number of the call says this size.
            if unsafe { libc::ioctl(descriptor.as_raw_fd(), 0xc050_2100, &mut call) } != 0 {
                return;
            }
            let _ = calls.send(call[1] as u32);
            // `struct seccomp_notif_resp`.
            let answer = [call[0], 0, u64::from((-libc::EEXIST).cast_unsigned())];
            // SAFETY: the number of the call says this size.
            unsafe { libc::ioctl(descriptor.as_raw_fd(), 0xc018_2101, &answer) };
        }
    });
}

#[test]
fn each_process_has_a_listener_of_its_own() {
    need_root!();
    for no_new_privileges in [false, true] {
        let (bundle, listener) = bundle(&["mkdir", "mkdirat"]);
        let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let states = std::thread::spawn(move || {
            let mut states = Vec::new();
            for _ in 0..3 {
                let (descriptor, state) = accept(&listener);
                let (sender, calls) = mpsc::channel();
                answer(descriptor, sender);
                states.push((state, calls));
            }
            states
        });
        let bundle = start(bundle);
        let begin = Instant::now();
        let done = exec(&bundle, &["mkdir", "/tmp/d"]);
        assert!(done.status == 1 && done.stderr.contains("File exists"), "{done:?}");
        let pid_file = bundle.dir.join("pid");
        let flags = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
        exec_with(&bundle, &flags, &["sh", "-c", "mkdir /tmp/d; exec sleep 1000"]).ok();
        assert!(begin.elapsed() < patience(4), "nobody waits for an agent that is there: {:?}", begin.elapsed());
        let states = states.join().unwrap();
        let init = &bundle.state()["pid"];
        for (state, _) in &states {
            assert_eq!(state["fds"], json!(["seccompFd"]), "{state}");
            assert_eq!(state["metadata"], "what you need");
            assert_eq!(
                (&state["state"]["id"], &state["state"]["annotations"]),
                (&json!(bundle.id), &json!({"a": "b"}))
            );
            assert_eq!(&state["state"]["pid"], init, "the container's: {state}");
        }
        let of = |index: usize| (states[index].0["pid"].clone(), states[index].0["state"]["status"].clone());
        assert_eq!(of(0), (init.clone(), json!("creating")));
        assert_eq!(of(1).1, "running");
        let further: u32 = std::fs::read_to_string(pid_file).unwrap().parse().unwrap();
        assert_eq!(of(2), (json!(further), json!("running")));
        assert!(states[2].1.recv_timeout(patience(5)).is_ok(), "the call of what it runs");
        assert!(states[0].1.try_recv().is_err(), "the init's agent is asked about the init alone");
        end(&bundle);
    }
}

#[test]
fn an_agent_that_is_gone_or_takes_nothing_is_an_error_and_nothing_is_left() {
    need_root!();
    let (bundle, listener) = bundle(&["mkdir", "mkdirat"]);
    let first = std::thread::spawn(move || (accept(&listener), listener));
    let bundle = start(bundle);
    let (of_init, listener) = first.join().unwrap();
    let alone =
        || bundle.ferrun(&["ps", "--format", "json", &bundle.id]).ok() == format!("[{}]", bundle.state()["pid"]);
    // One that never accepts is asked for a while: its queue takes the connection.
    drop(listener);
    let begin = Instant::now();
    for flags in [&[][..], &["--detach"]] {
        let done = exec_with(&bundle, flags, &["sleep", "1000"]);
        let told = done.stderr.contains("listenerPath") && done.stderr.contains("onnection refused");
        assert!(done.status == 255 && told, "{done:?}");
        assert!(alone(), "{flags:?}");
    }
    assert!(begin.elapsed() < patience(4) + Duration::from_secs(1), "{:?}", begin.elapsed());
    drop(of_init);
    end(&bundle);
}

/// A profile under which the process could only be made with an agent's leave, before that has anything to answer.
#[test]
fn a_profile_that_asks_about_ferruns_own_calls_is_refused_at_once() {
    need_root!();
    for (call, says) in [
        ("clone", "does not allow clone"),
        ("setsid", "does not allow clone"),
        ("ioctl", "does not allow clone"),
        ("close", "does not allow clone"),
        ("exit_group", "does not allow clone"),
        // An agent that is gone answers as if there were no such call.
        ("execve", "unction not implemented"),
    ] {
        let (bundle, listener) = bundle(&["mkdir"]);
        let agent = std::thread::spawn(move || {
            let of_init = accept(&listener);
            // What comes next is taken, and answered by nobody.
            std::thread::spawn(move || drop(accept(&listener)));
            of_init
        });
        let bundle = start(bundle);
        let _of_init = agent.join().unwrap();
        // For the further process alone.
        let kept = bundle.state_root().join(&bundle.id).join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
        config["linux"]["seccomp"]["syscalls"][0]["names"] = json!([call]);
        std::fs::write(&kept, config.to_string()).unwrap();
        let begin = Instant::now();
        let done = exec(&bundle, &["true"]);
        assert!(done.status == 255 && done.stderr.contains(says), "{call}: {done:?}");
        assert!(begin.elapsed() < patience(4), "{call}: {:?}", begin.elapsed());
        end(&bundle);
    }
}
