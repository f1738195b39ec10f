//! `exec` in containers of each shape that `create` knows, and at each time of their lives.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::exec::{end, exec, exec_with, running, start};
use common::running::Running;
use common::{Bundle, SetAtEnd, give, set_namespace, wait_until};
use serde_json::{Value, json};

const OWNER: u32 = 100_000;

fn sleeper() -> Bundle {
    Bundle::new(&["sleep", "1000"])
}

fn without(kind: &str, bundle: Bundle) -> Bundle {
    bundle.with(|config| config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != kind))
}

fn in_user_namespace(bundle: Bundle) -> Bundle {
    give(&bundle.rootfs(), OWNER);
    bundle.with(|config| {
        let map = json!([{ "containerID": 0, "hostID": OWNER, "size": 65_536 }]);
        (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map);
        set_namespace(config, json!({ "type": "user" }));
    })
}

/// A bundle that joins namespaces of a process, by the config's names and those in /proc.
fn joins(bundle: Bundle, pid: &Value, kinds: &[(&str, &str)]) -> Bundle {
    bundle.with(|config| {
        for (kind, name) in kinds {
            set_namespace(config, json!({ "type": kind, "path": format!("/proc/{pid}/ns/{name}") }));
        }
        if kinds.iter().any(|(kind, _)| ["uts", "mount"].contains(kind)) {
            config["hostname"] = json!("");
        }
    })
}

/// All that says where a process is: its namespaces, its cgroups, and its root.
fn place(pid: &str) -> Vec<String> {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let namespace = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_str().unwrap().to_owned();
    let root = format!("root {:?}", identity(&format!("/proc/{pid}/root")));
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    kinds.into_iter().map(namespace).chain([root, cgroups]).collect()
}

fn identity(path: &str) -> (u64, u64) {
    let file = fs::metadata(path).unwrap();
    (file.dev(), file.ino())
}

/// What `/` and a working directory below are, and the container's files.
const LOOK: &str = "pwd; cd /; ls -d bin; [ ! -e etc/shadow ] || echo a root of the host; cat /which; id -u";

/// A further process is where the init is, in its root, and works in the directory that it is given.
#[track_caller]
fn assert_enters(bundle: &Bundle, shape: &str) {
    fs::write(bundle.rootfs().join("which"), &bundle.id).unwrap();
    let said = exec_with(bundle, &["--cwd", "/bin"], &["sh", "-c", LOOK]).ok();
    assert_eq!(said, format!("/bin\nbin\n{}0", bundle.id), "{shape}");
    let (init, file) = (bundle.state()["pid"].to_string(), bundle.dir.join("further"));
    let flags = ["exec", "--pid-file", file.to_str().unwrap(), &bundle.id, "sleep", "1000"];
    // As a child of ferrun, which takes its status, it is gone at once.
    let running = Running::spawn(bundle, &flags);
    wait_until("the pid file", || file.exists());
    let further = fs::read_to_string(&file).unwrap();
    assert_eq!(place(&further), place(&init), "{shape}");
    let own = place("self");
    assert!(place(&init).iter().zip(&own).any(|(one, other)| one != other), "{shape}");
    assert_eq!(identity(&format!("/proc/{further}/cwd")), identity(&format!("/proc/{init}/root")), "{shape}");
    // SAFETY: it is a child of ferrun's, which has not ended.
    unsafe { libc::kill(further.parse().unwrap(), libc::SIGKILL) };
    assert_eq!(running.wait().status, 137, "{shape}");
}

#[track_caller]
fn assert_enters_all(shape: &str, bundle: Bundle) {
    let bundle = start(bundle);
    assert_enters(&bundle, shape);
    end(&bundle);
}

#[test]
fn new_namespaces() {
    need_root!();
    assert_enters_all("plain", sleeper());
    assert_enters_all("user", in_user_namespace(sleeper()));
    let time = |config: &mut Value| {
        set_namespace(config, json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000 } });
    };
    assert_enters_all("time", sleeper().with(time));
    assert_enters_all("user and time", in_user_namespace(sleeper()).with(time));
}

#[test]
fn namespaces_that_are_the_callers() {
    need_root!();
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        let bundle = without(kind, sleeper());
        assert_enters_all(
            &format!("no {kind}"),
            match kind {
                "uts" => bundle.set("/hostname", json!("")),
                _ => bundle,
            },
        );
    }
}

/// Its root is only at /proc/INIT/root.
#[test]
fn no_mount_namespace() {
    need_root!();
    if !common::mounts_nowhere() {
        return common::skip("mounts without a mount namespace need Linux 6.15");
    }
    assert_enters_all("no mount namespace", without("mount", sleeper()));
    assert_enters_all("neither mount nor pid namespace", without("pid", without("mount", sleeper())));
}

#[test]
fn no_pivot() {
    need_root!();
    let bundle = sleeper();
    bundle.bounded(&["run", "--detach", "--no-pivot", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).ok();
    assert_enters(&bundle, "--no-pivot");
    end(&bundle);
}

#[test]
fn joined_namespaces() {
    need_root!();
    let target = start(sleeper().with(|config| set_namespace(config, json!({ "type": "time" }))));
    let pid = &target.state()["pid"];
    let kinds = [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("time", "time")];
    for kind in kinds {
        assert_enters_all(&format!("joined {kind:?}"), joins(sleeper(), pid, &[kind]));
    }
    assert_enters_all("all joined", joins(sleeper(), pid, &kinds));
    let target = start(in_user_namespace(sleeper()));
    let pid = &target.state()["pid"];
    let owned = || {
        let bundle = sleeper();
        give(&bundle.rootfs(), OWNER);
        bundle
    };
    assert_enters_all("joined user", joins(owned(), pid, &[("user", "user")]));
    let kinds = [("user", "user"), ("pid", "pid"), ("network", "net"), ("ipc", "ipc")];
    assert_enters_all("joined user and those that it owns", joins(owned(), pid, &kinds));
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn joined_mount_namespace() {
    need_root!();
    let mut holder = Command::new("unshare");
    holder.args(["--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 1000"]);
    let mut holder = Ended(holder.stdout(Stdio::piped()).spawn().unwrap());
    std::io::Read::read_exact(holder.0.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    let bundle = joins(sleeper(), &json!(holder.0.id()), &[("mount", "mnt")]).with(|config| {
        // The host's /proc and /sys, whole, are in the namespace.
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let bundle = start(bundle);
    assert_enters(&bundle, "joined mount namespace");
    bundle.delete_force().ok();
    drop(holder);
    bundle.assert_nothing_left("exec");
}

/// The parent of the init may be slow to take its exit status, or never do it.
#[test]
fn one_whose_init_is_a_zombie_is_stopped() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let run = bundle.command(&["run", "--detach", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let mut parent = Command::new("/bin/busybox");
    parent
        .args(["sh", "-c", "\"$@\" && exec /bin/busybox sleep 100", "sh"])
        .arg(run.get_program())
        .args(run.get_args());
    parent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec only one system call is made.
    unsafe { parent.pre_exec(|| Ok(nix::sys::prctl::set_child_subreaper(true)?)) };
    let _parent = Ended(parent.spawn().unwrap());
    wait_until("the container", || bundle.on("state", &[]).status == 0);
    bundle.wait_for("running");
    let pid = bundle.state()["pid"].as_i64().unwrap();
    bundle.on("kill", &["KILL"]).ok();
    wait_until("a zombie", || common::observe::run_state(pid).as_deref() == Some("Z"));
    for flags in [&[][..], &["--detach"], &["--tty"], &["--ignore-paused"]] {
        let done = exec_with(&bundle, flags, &["true"]);
        assert!(done.status == 255 && done.stderr.contains("container not running"), "{flags:?}: {done:?}");
    }
    end(&bundle);
}

#[test]
fn before_it_is_created_it_takes_none_and_from_then_on_it_does() {
    need_root!();
    for (kind, status, enters) in [
        ("prestart", "creating", false),
        ("createRuntime", "creating", false),
        ("createContainer", "creating", false),
        ("startContainer", "created", true),
        ("poststart", "running", true),
    ] {
        let bundle = sleeper().set("/root/readonly", json!(false));
        // Hooks of the container's own see its root, others the host's.
        let (go, at) = match kind {
            "startContainer" => (bundle.rootfs().join("go"), "/".to_owned()),
            _ => (bundle.dir.join("go"), format!("{}/", bundle.dir.display())),
        };
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let path = if kind == "startContainer" { "/bin/sh" } else { "/bin/busybox" };
        let hook = json!({ "path": path, "args": ["sh", "-c", format!("read line <{at}go; true")] });
        let bundle = bundle.set(&format!("/hooks/{kind}"), json!([hook]));
        let dir = bundle.dir.to_str().unwrap().to_owned();
        let run = match kind {
            "startContainer" => {
                bundle.create().ok();
                Running::spawn(&bundle, &["start", &bundle.id])
            }
            _ => Running::spawn(&bundle, &["run", "--detach", "--bundle", &dir, &bundle.id]),
        };
        wait_until("the state", || bundle.on("state", &[]).status == 0);
        bundle.wait_for(status);
        // Opened by the hook, the fifo has a reader.
        let mut writer = None;
        wait_until("the hook", || {
            writer = fs::OpenOptions::new().write(true).custom_flags_nonblock().open(&go).ok();
            writer.is_some()
        });
        let done = exec(&bundle, &["echo", "entered"]);
        match enters {
            true => assert_eq!(done.ok(), "entered", "during {kind}"),
            false => {
                assert!(done.status == 255 && done.stderr.contains("not created yet"), "{kind}: {done:?}");
            }
        }
        drop(writer);
        run.wait().ok();
        assert_eq!(exec(&bundle, &["echo", "entered"]).ok(), "entered", "after {kind}");
        end(&bundle);
    }
}

/// Opening without waiting for the other end.
trait Nonblock {
    fn custom_flags_nonblock(&mut self) -> &mut Self;
}

impl Nonblock for fs::OpenOptions {
    fn custom_flags_nonblock(&mut self) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt;
        self.custom_flags(libc::O_NONBLOCK)
    }
}

#[test]
fn one_that_waits_in_a_paused_container_can_be_given_up() {
    need_root!();
    let bundle = running();
    bundle.on("pause", &[]).ok();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGKILL] {
        let mut waits = Running::spawn(&bundle, &["exec", "--ignore-paused", &bundle.id, "sleep", "1000"]);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!waits.has_ended(), "{}", waits.errors());
        // SAFETY: it is a child of this process.
        unsafe { libc::kill(waits.pid() as i32, signal) };
        let begin = std::time::Instant::now();
        let done = waits.wait();
        assert_ne!(done.status, 0, "{done:?}");
        assert!(begin.elapsed() < common::patience(8), "it stood still: {done:?}");
        assert_eq!(bundle.status(), "paused", "after signal {signal}: {done:?}");
    }
    bundle.on("resume", &[]).ok();
    let alone =
        || bundle.ferrun(&["ps", "--format", "json", &bundle.id]).ok() == format!("[{}]", bundle.state()["pid"]);
    wait_until("the end of those that were given up", alone);
    assert_eq!(exec(&bundle, &["true"]).status, 0);
    end(&bundle);
}

/// Whatever moment the container ends at, an exec ran, was killed with it, or is told that there is no container.
#[test]
fn one_that_ends_meanwhile() {
    need_root!();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let bundle = running();
        let over = std::sync::atomic::AtomicBool::new(false);
        let all = std::thread::scope(|scope| {
            let many = |_| {
                scope.spawn(|| {
                    let mut all = Vec::new();
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        all.push(exec(&bundle, &["true"]));
                    }
                    all.push(exec(&bundle, &["true"]));
                    all
                })
            };
            let threads: Vec<_> = (0..3).map(many).collect();
            let end = SetAtEnd(&over);
            std::thread::sleep(Duration::from_millis(60));
            bundle.on("kill", &["KILL"]).ok();
            bundle.wait_for("stopped");
            drop(end);
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for done in &all {
            let told = done.stderr.contains("container not running");
            assert!(matches!(done.status, 0 | 137) || done.status == 255 && told, "{done:?}");
            seen.insert(done.status);
        }
        end(&bundle);
    }
    assert!(seen.contains(&0) && seen.contains(&255), "{seen:?}");
}
