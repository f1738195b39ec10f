//! Linux 6.18 kills what is born from a cgroup in which all was killed once into another one: the process moves then.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{Bundle, Done, bounded, ferrun_binary};
use serde_json::{Value, json};

/// A cgroup in which all was killed once.
struct Killed(PathBuf);

impl Killed {
    fn new() -> Option<Killed> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let v2 = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4))?;
        let directory = PathBuf::from(v2).join(format!("ferrun-killed-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("cgroup.kill"), "1").unwrap();
        Some(Killed(directory))
    }

    /// Runs ferrun from it.
    fn run(&self, bundle: &Bundle, arguments: &[&str]) -> Done {
        let mut command = Command::new("sh");
        let script = "echo $$ >$1/cgroup.procs; shift; exec \"$@\"";
        command.args(["-c", script, "sh"]).arg(&self.0).arg(ferrun_binary()).arg("--root").arg(bundle.state_root());
        bounded(command.args(arguments))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn namespace(kind: &str, path: Option<&str>) -> impl Fn(&mut Value) {
    let namespace = match path {
        Some(path) => json!({ "type": kind, "path": path }),
        None => json!({ "type": kind }),
    };
    move |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|one| one["type"] != namespace["type"]);
        namespaces.push(namespace.clone());
    }
}

fn user(config: &mut Value) {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map);
    namespace("user", None)(config);
}

#[test]
fn a_container_is_created_whatever_was_killed_in_the_callers_cgroup() {
    need_root!();
    let Some(caller) = Killed::new() else { return common::skip("this host has no cgroup v2") };
    let neighbour = Bundle::new(&["sleep", "1000"]);
    assert_eq!(neighbour.run_detached().status, 0);
    let joined = |kind: &str| format!("/proc/{}/ns/{kind}", neighbour.state()["pid"]);
    let (pid, network) = (joined("pid"), joined("net"));
    let bundle = || Bundle::new(&["cat", "/proc/self/cgroup"]).with(namespace("cgroup", None));
    let without_sysfs = |config: &mut Value| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup");
    };
    for (shape, bundle) in [
        ("plain", bundle()),
        ("user", bundle().with(user)),
        ("pid", bundle().with(namespace("pid", Some(&pid)))),
        ("user and network", bundle().with(user).with(namespace("network", Some(&network))).with(without_sysfs)),
    ] {
        let hook = |name: &str| {
            let said = bundle.dir.join(name);
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo {name} >>{}", said.display())] }])
        };
        let (created, stopped) = (hook("createRuntime"), hook("poststop"));
        let bundle = bundle.set("/hooks/createRuntime", created).set("/hooks/poststop", stopped);
        let done = caller.run(&bundle, &["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{shape}: {done:?}");
        assert!(!done.stdout.is_empty() && done.stdout.lines().all(|line| line.ends_with(":/")), "{shape}: {done:?}");
        for name in ["createRuntime", "poststop"] {
            assert_eq!(fs::read_to_string(bundle.dir.join(name)).unwrap(), format!("{name}\n"), "{shape}");
        }
        bundle.assert_nothing_left(shape);
    }
    neighbour.delete_force();
}
