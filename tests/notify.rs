//! NOTIFY_SOCKET: the program tells a service manager that it is ready, sd_notify(3).

mod common;

use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};

use common::{Bundle, patience, wait_until};
use serde_json::json;

/// A program that can say so: busybox has none.
const SAY: &str = "import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
say = lambda word: s.sendto(word, os.environ['NOTIFY_SOCKET'])
say(b'STATUS=soon')
say(b'STATUS=now\\nREADY=1\\n')
time.sleep(0.3)
sys.exit(6)";

/// A service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn at(bundle: &Bundle) -> Manager {
        Manager::of(UnixDatagram::bind(bundle.dir.join("manager")).unwrap())
    }

    fn of(socket: UnixDatagram) -> Manager {
        socket.set_read_timeout(Some(patience(20))).unwrap();
        Manager(socket)
    }

    fn hears(&self) -> String {
        let mut message = [0; 100];
        let length = self.0.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    /// The descriptor that comes with a barrier.
    fn barrier(&self) -> OwnedFd {
        ferrun::sys::fd::receive(&self.0).unwrap().unwrap()
    }

    fn hears_nothing_more(&self) {
        self.0.set_nonblocking(true).unwrap();
        assert!(self.0.recv(&mut [0; 100]).is_err());
    }
}

/// The bundle with the host's Python as its program.
fn python() -> Option<Bundle> {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        common::skip("this test needs /usr/bin/python3");
        return None;
    }
    Some(Bundle::new(&["/usr/bin/python3", "-c", SAY]).with(|config| {
        for dir in ["/usr", "/lib", "/lib64"] {
            let mount = json!({"destination": dir, "source": dir, "options": ["rbind", "ro"]});
            config["mounts"].as_array_mut().unwrap().push(mount);
        }
    }))
}

fn command(bundle: &Bundle, verb: &str, flags: &[&str], manager: &str) -> Command {
    let args = [&[verb, "--bundle", bundle.dir.to_str().unwrap()], flags, &[bundle.id.as_str()]].concat();
    let mut command = bundle.command(&args);
    command.env("NOTIFY_SOCKET", manager).stdout(Stdio::null());
    command
}

fn path(bundle: &Bundle) -> String {
    bundle.dir.join("manager").to_str().unwrap().to_owned()
}

#[test]
fn a_foreground_run_tells_when_the_program_is_ready() {
    need_root!();
    for terminal in [false, true] {
        let Some(bundle) = python() else { return };
        let bundle = bundle.set("/process/terminal", json!(terminal)).set("/process/user/uid", json!(1000));
        let manager = Manager::at(&bundle);
        let mut run = command(&bundle, "run", &[], &path(&bundle)).spawn().unwrap();
        assert_eq!(manager.hears(), "READY=1\n");
        assert_eq!(manager.hears(), format!("MAINPID={}\n", bundle.state()["pid"]));
        assert_eq!(run.wait().unwrap().code(), Some(6));
        manager.hears_nothing_more();
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn a_detached_run_waits_until_the_manager_knows() {
    need_root!();
    let Some(bundle) = python() else { return };
    let name = format!("ferrun-{}", bundle.id);
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::of(UnixDatagram::bind_addr(&address).unwrap());
    let mut run = command(&bundle, "run", &["--detach"], &format!("@{name}")).spawn().unwrap();
    assert_eq!(manager.hears(), "READY=1\n");
    assert!(manager.hears().starts_with("MAINPID="));
    let barrier = manager.barrier();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(run.try_wait().unwrap().is_none(), "the manager has not closed it yet");
    drop(barrier);
    assert_eq!(run.wait().unwrap().code(), Some(0));
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn a_manager_without_room_is_waited_for() {
    need_root!();
    let Some(bundle) = python() else { return };
    let manager = Manager::at(&bundle);
    let others = UnixDatagram::unbound().unwrap();
    others.set_nonblocking(true).unwrap();
    let sent = std::iter::from_fn(|| others.send_to(b"other", bundle.dir.join("manager")).ok()).take(100_000).count();
    let mut run = command(&bundle, "run", &[], &path(&bundle)).spawn().unwrap();
    // Time for the word to come, with which ferrun then waits.
    std::thread::sleep(std::time::Duration::from_millis(700));
    (0..sent).for_each(|_| assert_eq!(manager.hears(), "other"));
    assert_eq!(manager.hears(), "READY=1\n");
    assert!(manager.hears().starts_with("MAINPID="));
    assert_eq!(run.wait().unwrap().code(), Some(6));
}

#[test]
fn start_waits_for_the_program_or_its_end() {
    need_root!();
    let Some(bundle) = python() else { return };
    let manager = Manager::at(&bundle);
    assert!(command(&bundle, "create", &[], &path(&bundle)).status().unwrap().success());
    let mut start = bundle.command(&["start", &bundle.id]).env("NOTIFY_SOCKET", path(&bundle)).spawn().unwrap();
    assert_eq!(manager.hears(), "READY=1\n");
    assert_eq!(manager.hears(), format!("MAINPID={}\n", bundle.state()["pid"]));
    drop(manager.barrier());
    assert_eq!(start.wait().unwrap().code(), Some(0));
    bundle.wait_for("stopped");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");

    // One that says nothing is waited for as long as it lives.
    let bundle = Bundle::new(&["sleep", "100"]);
    let manager = Manager::at(&bundle);
    assert!(command(&bundle, "create", &[], &path(&bundle)).status().unwrap().success());
    let mut start = bundle.command(&["start", &bundle.id]).env("NOTIFY_SOCKET", path(&bundle)).spawn().unwrap();
    bundle.wait_for("running");
    assert!(start.try_wait().unwrap().is_none());
    bundle.on("kill", &["KILL"]).ok();
    wait_until("the end of start", || start.try_wait().unwrap().is_some());
    manager.hears_nothing_more();
}

#[test]
fn without_a_manager_nothing_is_there() {
    need_root!();
    let script = "echo [$NOTIFY_SOCKET]; ls -d /run/notify 2>&1 | grep -c No";
    let bundle = Bundle::sh(script).set("/root/readonly", json!(false));
    assert_eq!(bundle.run().ok(), "[]\n1");
    let done = common::bounded(
        bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).env("NOTIFY_SOCKET", ""),
    );
    assert_eq!(done.ok(), "[]\n1", "an empty name is none");
}

#[test]
fn a_manager_that_start_alone_is_given_is_not_told() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    let manager = Manager::at(&bundle);
    bundle.create().ok();
    common::bounded(bundle.command(&["start", &bundle.id]).env("NOTIFY_SOCKET", path(&bundle))).ok();
    assert_eq!(bundle.status(), "running");
    manager.hears_nothing_more();
}

/// It is a directory of the state, with nothing for the container but a way to the socket.
#[test]
fn the_directory_of_the_socket_is_mounted_without_rights() {
    need_root!();
    let bundle = Bundle::sh("cat /proc/self/mountinfo");
    let mut run = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let mounts = common::mount_lines(&common::bounded(run.env("NOTIFY_SOCKET", path(&bundle))).ok());
    let mount = common::mounted_on(&mounts, "/run/notify");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(mount.has(option), "{option}: {mount:?}");
    }
}

#[test]
fn a_start_that_fails_leaves_nothing_of_the_socket() {
    need_root!();
    let bundle = Bundle::new(&["/nowhere"]);
    for verb in ["run", "create"] {
        let done = common::bounded(&mut command(&bundle, verb, &[], &path(&bundle)));
        done.error_in_any_words();
        bundle.assert_nothing_left(verb);
    }
}

#[test]
fn what_fails_of_the_socket_is_no_property_of_the_config() {
    need_root!();
    let user = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    for mappings in [json!(null), user] {
        let mut bundle = Bundle::new(&["true"]).set("/root/readonly", json!(false));
        if !mappings.is_null() {
            bundle = bundle.set("/linux/uidMappings", mappings.clone()).set("/linux/gidMappings", mappings);
            let user = json!({"type": "user"});
            bundle = bundle.with(|config| config["linux"]["namespaces"].as_array_mut().unwrap().push(user));
        }
        std::fs::create_dir(bundle.rootfs().join("run")).unwrap();
        std::fs::write(bundle.rootfs().join("run/notify"), "").unwrap();
        let done = common::bounded(&mut command(&bundle, "run", &[], &path(&bundle)));
        done.fails("ENOTDIR");
    }
}

/// An address has room for 107 bytes; an id alone may have 64 digits.
#[test]
fn the_state_root_may_be_longer_than_an_address() {
    need_root!();
    let Some(bundle) = python() else { return };
    let root = bundle.dir.join("r".repeat(120));
    let manager = Manager::at(&bundle);
    let args = |verb: &'static str| {
        let mut command = Command::new(common::ferrun_binary());
        command.arg("--root").arg(&root).arg(verb).stdout(Stdio::null()).env("NOTIFY_SOCKET", path(&bundle));
        command
    };
    let run = args("run").arg("--bundle").arg(&bundle.dir).arg(&bundle.id).status().unwrap();
    assert_eq!((run.code(), manager.hears().as_str()), (Some(6), "READY=1\n"));
    assert!(manager.hears().starts_with("MAINPID="));
    assert!(args("create").arg("--bundle").arg(&bundle.dir).arg(&bundle.id).status().unwrap().success());
    let mut start = args("start").arg(&bundle.id).spawn().unwrap();
    assert_eq!(manager.hears(), "READY=1\n");
    assert!(manager.hears().starts_with("MAINPID="));
    drop(manager.barrier());
    assert!(start.wait().unwrap().success());
    assert!(args("delete").args(["--force", &bundle.id]).status().unwrap().success());
    bundle.assert_nothing_left_soon("delete");
}

/// In a user namespace whose root is the host's, the container's root may undo that its mount is read-only.
#[test]
fn what_the_container_leaves_beside_the_socket_is_removed() {
    need_root!();
    let script =
        "mount -o remount,bind,rw /run/notify && mkdir -p /run/notify/a/b && ln -s / /run/notify/a/link && echo put";
    let ids = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    let bundle = Bundle::sh(script).set("/root/readonly", json!(false)).with(|config| {
        config["linux"]["uidMappings"] = ids.clone();
        config["linux"]["gidMappings"] = ids;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        for set in ["bounding", "effective", "permitted"] {
            let set = config["process"]["capabilities"][set].as_array_mut().unwrap();
            set.extend([json!("CAP_SYS_ADMIN"), json!("CAP_DAC_OVERRIDE")]);
        }
    });
    assert_eq!(common::bounded(&mut command(&bundle, "run", &[], &path(&bundle))).ok(), "put");
    bundle.assert_nothing_left("run");
}
