//! Hundreds of starts in a row of each shape of container in which processes wait for each other: none fails.

mod common;

use std::fs::{File, Permissions, create_dir_all, rename, set_permissions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Bundle, ferrun_binary, give, patience, set_namespace, skip};
use nix::pty::openpty;
use serde_json::{Value, json};

/// How many; fewer where programs are slow ($FERRUN_PATIENCE, a factor).
fn starts() -> usize {
    500 / patience(1).as_secs() as usize
}

/// Starts a container again and again, in turn by `run` and by `create` and `start`.
fn start_many(bundle: &Bundle) {
    for number in 0..starts() {
        match number % 2 {
            0 => drop(bundle.run().ok()),
            _ => {
                bundle.create().ok();
                bundle.start().ok();
                bundle.wait_for("stopped");
                bundle.on("delete", &[]).ok();
            }
        }
    }
    bundle.assert_nothing_left_soon("the last start");
}

/// The root of a user namespace, on the host.
const ROOT: u32 = 100_000;

/// A bundle in a user namespace, whose rootfs and source lie below directories that only the host's root, and then only
/// the namespace's root, may enter.
fn below_private_directories(args: &[&str]) -> Bundle {
    let bundle = Bundle::new(args).with(|config| {
        set_namespace(config, json!({"type": "user"}));
        for map in ["uidMappings", "gidMappings"] {
            config["linux"][map] = json!([{"containerID": 0, "hostID": ROOT, "size": 65536}]);
        }
        config["root"] = json!({"path": "hosts/containers/rootfs", "readonly": false});
        let source = json!({"destination": "/data", "source": "hosts/containers/source", "options": ["rbind"]});
        config["mounts"].as_array_mut().unwrap().push(source);
    });
    let hosts = bundle.dir.join("hosts");
    let containers = hosts.join("containers");
    create_dir_all(containers.join("source")).unwrap();
    rename(bundle.rootfs(), containers.join("rootfs")).unwrap();
    give(&containers, ROOT);
    for private in [&bundle.dir, &hosts, &containers] {
        set_permissions(private, Permissions::from_mode(0o700)).unwrap();
    }
    bundle
}

fn keep_mounts(config: &mut Value, is_kept: impl Fn(&Value) -> bool) {
    config["mounts"].as_array_mut().unwrap().retain(is_kept);
}

#[test]
fn in_a_user_namespace() {
    need_root!();
    start_many(&below_private_directories(&["true"]));
}

#[test]
fn in_a_user_namespace_with_one_mount() {
    need_root!();
    start_many(
        &below_private_directories(&["true"])
            .with(|config| keep_mounts(config, |mount| mount["destination"] == "/data")),
    );
}

#[test]
fn in_a_user_namespace_with_a_joined_network() {
    need_root!();
    start_many(&below_private_directories(&["true"]).with(|config| {
        set_namespace(config, json!({"type": "network", "path": "/proc/self/ns/net"}));
        keep_mounts(config, |mount| mount["type"] != "sysfs");
    }));
}

#[test]
fn in_a_joined_user_namespace() {
    need_root!();
    let other = below_private_directories(&["sleep", "100000"]);
    other.run_detached().ok();
    let path = format!("/proc/{}/ns/user", other.state()["pid"]);
    let joining = below_private_directories(&["true"]).with(|config| {
        set_namespace(config, json!({"type": "user", "path": path}));
        for map in ["uidMappings", "gidMappings"] {
            config["linux"].as_object_mut().unwrap().remove(map);
        }
    });
    start_many(&joining);
    other.delete_force().ok();
}

#[test]
fn with_all_hooks() {
    need_root!();
    let bundle = Bundle::new(&["true"]).set("/root/readonly", json!(false));
    let log = bundle.dir.join("hooks");
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let mut hooks = json!({});
    for kind in kinds {
        let log = if kind == "startContainer" { Path::new("/hooks") } else { &log };
        let script = format!("cat >/dev/null; echo {kind} >>{log:?}");
        hooks[kind] = json!([{"path": "/bin/busybox", "args": ["sh", "-c", script]}]);
    }
    let bundle = bundle.set("/hooks", hooks);
    start_many(&bundle);
    let ran = std::fs::read_to_string(log).unwrap() + &std::fs::read_to_string(bundle.rootfs().join("hooks")).unwrap();
    for kind in kinds {
        assert_eq!(ran.lines().filter(|line| *line == kind).count(), starts(), "{kind}");
    }
}

/// All that is printed on a terminal until nobody has its other end any more.
fn printed(master: OwnedFd) -> String {
    let (mut master, mut all, mut piece) = (File::from(master), Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = master.read(&mut piece) {
        all.extend_from_slice(&piece[..length]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn on_a_terminal() {
    need_root!();
    let bundle = Bundle::sh("tty; echo printed").set("/process/terminal", json!(true));
    for _ in 0..starts() {
        let ends = openpty(None, None).unwrap();
        let mut command = Command::new("timeout");
        command.args(["--foreground", &patience(30).as_secs().to_string()]).arg(ferrun_binary()).arg("--root");
        command.arg(bundle.state_root()).args(["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        command.stdin(Stdio::from(ends.slave.try_clone().unwrap())).stdout(Stdio::from(ends.slave));
        let mut run = command.spawn().unwrap();
        drop(command);
        assert_eq!(printed(ends.master), "/dev/pts/0\r\nprinted\r\n");
        assert!(run.wait().unwrap().success());
    }
    bundle.assert_nothing_left_soon("the last start");
}

#[test]
fn with_limits_on_cgroup_v1() {
    need_root!();
    if !Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists() {
        return skip("this test needs cgroup v1");
    }
    let limits = json!({
        "memory": {"limit": 256 << 20}, "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"},
        "pids": {"limit": 100}, "blockIO": {"weight": 500},
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}],
    });
    start_many(&Bundle::new(&["true"]).set("/linux/resources", limits));
}
