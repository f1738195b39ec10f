//! Whoever answers the calls that a filter asks about: one that does, one that dies, one that does not listen.

mod common;

use std::fs::{File, OpenOptions};
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use common::observe::descriptors;
use common::running::Running;
use common::{Bundle, Done, wait_until};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

/// A bundle whose filter asks about some calls, and where the agent listens.
fn bundle(names: &[&str], script: &str) -> (Bundle, UnixListener) {
    let bundle = Bundle::sh(script);
    let socket = bundle.dir.join("agent.sock");
    let rule = json!({"names": names, "action": "SCMP_ACT_NOTIFY"});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "syscalls": [rule]});
    let listener = UnixListener::bind(&socket).unwrap();
    (bundle.set("/linux/seccomp", profile), listener)
}

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

/// `run` for at most 30 s.
fn run(bundle: &Bundle) -> Done {
    bundle.bounded(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id])
}

/// Takes what ferrun sends: the descriptor, and a connection with the rest of the state.
fn accept(listener: &UnixListener) -> (OwnedFd, Vec<u8>, UnixStream) {
    let (stream, _) = listener.accept().unwrap();
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
    (descriptor, buffer[..length].to_vec(), stream)
}

/// Waits for a call: `struct seccomp_notif`, of which the first number is the call's own. None: nobody is left.
fn next_call(descriptor: &OwnedFd) -> Option<u64> {
    let mut call = [0u64; 10];
    // SAFETY: the number of the call says this size.
    (unsafe { libc::ioctl(descriptor.as_raw_fd(), 0xc050_2100, &mut call) } == 0).then_some(call[0])
}

/// Answers all calls with "file exists"; gives the state that came with the descriptor.
fn agent(listener: &UnixListener) -> Value {
    let (descriptor, mut text, mut stream) = accept(listener);
    stream.read_to_end(&mut text).unwrap();
    std::thread::spawn(move || {
        while let Some(call) = next_call(&descriptor) {
            // `struct seccomp_notif_resp`.
            let answer = [call, 0, u64::from((-libc::EEXIST).cast_unsigned())];
            // SAFETY: the number of the call says this size.
            unsafe { libc::ioctl(descriptor.as_raw_fd(), 0xc018_2101, &answer) };
        }
    });
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn someone_else_answers_calls() {
    need_root!();
    for no_new_privileges in [false, true] {
        for by_create in [false, true] {
            let script = "mkdir /dev/shm/d 2>/proc/self/cwd/dev/shm/said; grep -q exists /dev/shm/said";
            let (bundle, listener) = bundle(&MKDIR, script);
            let flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"];
            let bundle = bundle
                .set("/process/noNewPrivileges", json!(no_new_privileges))
                .set("/annotations", json!({"a": "b"}))
                .set("/linux/seccomp/listenerMetadata", json!("what you need"))
                .set("/linux/seccomp/flags", json!(flags));
            let agent = std::thread::spawn(move || agent(&listener));
            if by_create {
                let done = bundle.create();
                assert_eq!(done.status, 0, "{done:?}");
                assert_eq!(bundle.status(), "created");
                bundle.start().ok();
                bundle.wait_for("stopped");
                bundle.delete_force().ok();
            } else {
                run(&bundle).ok();
            }
            let state = agent.join().unwrap();
            assert_eq!(state["fds"], json!(["seccompFd"]), "{state}");
            assert_eq!(state["metadata"], "what you need");
            assert_eq!(state["state"]["status"], "creating");
            assert_eq!(state["state"]["id"], json!(bundle.id));
            assert_eq!(state["state"]["annotations"]["a"], "b");
            assert_eq!(state["pid"], state["state"]["pid"]);
            bundle.assert_nothing_left_soon("run");
        }
    }
}

#[test]
fn a_listener_that_is_not_there_fails_the_start() {
    need_root!();
    let (bundle, _listener) = bundle(&MKDIR, "true");
    let file = bundle.dir.join("config.json");
    for path in ["/nowhere/agent.sock", file.to_str().unwrap(), "/", &"/long".repeat(30)] {
        let bundle = Bundle::sh("true").set("/linux/seccomp", bundle.config["linux"]["seccomp"].clone());
        let bundle = bundle.set("/linux/seccomp/listenerPath", json!(path));
        for done in [run(&bundle), bundle.create()] {
            let error = done.error();
            assert!(error.pointer == "/linux/seccomp/listenerPath" && !error.errno.is_empty(), "{path}: {done:?}");
            bundle.assert_nothing_left_soon("run");
        }
    }
}

/// What an agent does before it is gone.
enum Agent {
    NeverAccepts,
    Closes,
    TakesTheDescriptor,
    HearsOfACall,
}

fn that_dies(listener: UnixListener, after: Agent) -> JoinHandle<()> {
    std::thread::spawn(move || match after {
        // The program's first call waits by now, or soon.
        Agent::NeverAccepts => std::thread::sleep(common::patience(1)),
        Agent::Closes => drop(listener.accept().unwrap()),
        Agent::TakesTheDescriptor => drop(accept(&listener)),
        Agent::HearsOfACall => assert!(next_call(&accept(&listener).0).is_some()),
    })
}

/// The kernel: a call that nobody can answer any more does not exist.
#[test]
fn calls_fail_once_the_agent_is_gone() {
    need_root!();
    let script = "for name in a b; do mkdir /dev/shm/$name 2>&1; done; true";
    for after in [Agent::NeverAccepts, Agent::TakesTheDescriptor, Agent::HearsOfACall] {
        let (bundle, listener) = bundle(&MKDIR, script);
        let agent = that_dies(listener, after);
        let said = run(&bundle).ok();
        assert_eq!(said.matches("Function not implemented").count(), 2, "{said}");
        agent.join().unwrap();
        bundle.assert_nothing_left("run");
    }
}

/// Before the state is sent, or after it.
#[test]
fn an_agent_that_hangs_up_fails_the_start_or_the_calls() {
    need_root!();
    let (bundle, listener) = bundle(&MKDIR, "mkdir /dev/shm/d 2>&1");
    let agent = that_dies(listener, Agent::Closes);
    let done = run(&bundle);
    let said = done.stdout.contains("Function not implemented")
        || done.error_in_any_words().pointer == "/linux/seccomp/listenerPath";
    assert!(said && done.status == 1, "{done:?}");
    agent.join().unwrap();
    bundle.assert_nothing_left_soon("run");
}

/// Ferrun's own call waits then, and must not wait for a descriptor that ferrun itself has open.
#[test]
fn an_agent_that_dies_while_the_program_is_executed_fails_the_start() {
    need_root!();
    let (bundle, listener) = bundle(&["execve"], "true");
    let agent = that_dies(listener, Agent::HearsOfACall);
    let done = run(&bundle);
    done.fails("ENOSYS /process/args");
    agent.join().unwrap();
    bundle.assert_nothing_left_soon("run");

    let (bundle, listener) = self::bundle(&["execve"], "true");
    let agent = that_dies(listener, Agent::TakesTheDescriptor);
    assert_eq!(bundle.create().status, 0);
    agent.join().unwrap();
    bundle.bounded(&["start", &bundle.id]).fails("ENOSYS /process/args");
    wait_until("the container's end", || bundle.status() == "stopped");
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn an_agent_that_takes_nothing_is_not_waited_for_forever() {
    need_root!();
    // A queue of connections that nobody accepts, and a state that is larger than what a socket holds.
    for (waiting, state) in [(true, 0), (false, 1 << 20)] {
        let (bundle, listener) = bundle(&MKDIR, "true");
        let bundle = bundle.set("/annotations", json!({"a": "b".repeat(state)}));
        // SAFETY: an open descriptor and a number.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let _other = waiting.then(|| UnixStream::connect(bundle.dir.join("agent.sock")).unwrap());
        let done = run(&bundle);
        done.fails("EAGAIN /linux/seccomp/listenerPath");
        bundle.assert_nothing_left_soon("run");
    }
}

#[test]
fn the_path_of_an_agent_may_be_longer_than_an_address() {
    need_root!();
    let (bundle, listener) = bundle(&["personality"], "echo ran");
    let long = bundle.dir.join("a".repeat(120));
    std::fs::rename(bundle.dir.join("agent.sock"), &long).unwrap();
    let bundle = bundle.set("/linux/seccomp/listenerPath", json!(long));
    let agent = std::thread::spawn(move || accept(&listener));
    assert_eq!(run(&bundle).ok(), "ran");
    drop(agent.join().unwrap());
    bundle.assert_nothing_left_soon("run");
}

/// The descriptor's number is the init's word, and the page for it is writable for whoever controls the init.
#[test]
fn an_agent_is_given_a_listener_and_nothing_else_of_the_init() {
    need_root!();
    for round in 0..20 {
        let (bundle, listener) = bundle(&MKDIR, "mkdir /dev/shm/d 2>/dev/null");
        listener.set_nonblocking(true).unwrap();
        // The number of the standard output and one more, before the init writes its own.
        let page = bundle.state_root().join(&bundle.id).join("start.page");
        let forge = format!("printf '\\002' | dd of={} bs=1 seek=4 conv=notrunc 2>/dev/null", page.display());
        let hook = json!([{"path": "/bin/busybox", "args": ["sh", "-c", forge]}]);
        let bundle = bundle.set("/hooks/createRuntime", hook);
        let done = bundle.create();
        let received = listener.accept().map(|(stream, _)| ferrun::sys::fd::receive(&stream).unwrap());
        let received = received.ok().flatten();
        if let Some(descriptor) = &received {
            assert!(ferrun::sys::seccomp::is_listener(descriptor), "round {round}: {done:?}");
        }
        match done.status {
            0 => assert!(received.is_some(), "round {round}: {received:?}"),
            _ => done.fails("/linux/seccomp"),
        }
        let mut word = [0; 4];
        if done.status == 0 {
            File::open(&page).unwrap().read_exact_at(&mut word, 4).unwrap();
            assert_eq!(word, [u8::MAX; 4], "round {round}: the init still waits");
        }
        bundle.delete_force().ok();
        bundle.assert_nothing_left_soon("create");
    }
}

/// The page of a foreground `run` has no name: this is its file among ferrun's own.
fn page_of(run: &Running) -> File {
    let pid = i64::from(run.pid());
    let is_page = |target: &Path| target.to_string_lossy().contains("memfd:start.page");
    let page = descriptors(pid).into_iter().find(|(_, target)| is_page(target)).expect("a page").0;
    OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/fd/{page}")).unwrap()
}

/// What the page says of a listener once the agent has it is the word of whoever controls the init by then.
#[test]
fn a_listener_is_taken_once() {
    need_root!();
    let (bundle, listener) = bundle(&MKDIR, "true");
    let wait = "touch /tmp/hook; while [ ! -e /tmp/go ]; do sleep 0.01; done";
    let hook = json!([{"path": "/bin/busybox", "args": ["sh", "-c", wait]}]);
    let bundle = bundle.set("/hooks/startContainer", hook).set("/root/readonly", json!(false));
    let agent = std::thread::spawn(move || (accept(&listener), listener));
    let run = Running::spawn(&bundle, &["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let (_descriptor, listener) = agent.join().unwrap();
    let tmp = bundle.rootfs().join("tmp");
    wait_until("the hook", || tmp.join("hook").exists());
    // The number of the standard output and one more: no listener, which would be an error.
    let page = page_of(&run);
    page.write_all_at(&2u32.to_ne_bytes(), 4).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(tmp.join("go"), "").unwrap();
    run.wait().ok();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "the agent is called twice");
    bundle.assert_nothing_left_soon("run");
}

/// The pid in the first part of a state.
fn pid_in(part: &[u8]) -> nix::unistd::Pid {
    let text = String::from_utf8_lossy(part);
    let number = text.split_once("\"pid\":").unwrap().1.split(',').next().unwrap().parse().unwrap();
    nix::unistd::Pid::from_raw(number)
}

/// The state is longer than what a socket holds, so that ferrun still sends it when the init is dead.
#[test]
fn an_init_that_is_killed_while_its_listener_is_handed_over_fails_the_create() {
    need_root!();
    let (bundle, listener) = bundle(&MKDIR, "true");
    let bundle = bundle.set("/annotations", json!({"a": "b".repeat(1 << 20)}));
    let killer = std::thread::spawn(move || {
        let (_descriptor, first, mut stream) = accept(&listener);
        nix::sys::signal::kill(pid_in(&first), nix::sys::signal::Signal::SIGKILL).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let done = bundle.bounded(&["create", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    killer.join().unwrap();
    done.fails("");
    bundle.assert_nothing_left_soon("create");
}

/// It waits in user space, under its filter, for ferrun to take the descriptor.
#[test]
fn an_init_whose_listener_nobody_takes_ends() {
    need_root!();
    let (bundle, listener) = bundle(&MKDIR, "true");
    let bundle = bundle.set("/annotations", json!({"a": "b".repeat(1 << 20)}));
    let create = ["create", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id];
    let create = Running::spawn(&bundle, &create);
    let (_descriptor, first, _stream) = accept(&listener);
    create.kill();
    let pid = pid_in(&first).as_raw().into();
    let begin = std::time::Instant::now();
    while common::observe::run_state(pid).is_some_and(|state| state != "Z") {
        assert!(begin.elapsed() < common::patience(20), "the init waits for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    bundle.delete_force().ok();
    bundle.assert_nothing_left_soon("delete");
}
