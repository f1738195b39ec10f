//! The container's cgroups: where they are, what is written there, what is left of them.

mod common;

use std::path::{Path, PathBuf};

use common::{Bundle, mount_lines, mounted_on};
use serde_json::json;

/// A hierarchy of this host: its controllers as /proc/self/cgroup has them, its mount point, our own path.
struct Hierarchy {
    controllers: String,
    mount_point: PathBuf,
    own: String,
}

/// Those that are mounted in the usual places.
fn hierarchies() -> Vec<Hierarchy> {
    let v2_only = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1).map(str::to_owned);
        let (controllers, own) = (fields.next().unwrap(), fields.next().unwrap());
        let name = match controllers.trim_start_matches("name=") {
            "" if v2_only => "",
            "" => "unified",
            name => name,
        };
        Hierarchy { mount_point: Path::new("/sys/fs/cgroup").join(name), controllers, own }
    };
    let all = own.lines().map(line).filter(|one| !v2_only || one.controllers.is_empty());
    all.filter(|one| one.mount_point.join("cgroup.procs").exists()).collect()
}

fn with_controller(name: &str) -> Option<Hierarchy> {
    hierarchies().into_iter().find(|one| one.controllers.split(',').any(|controller| controller == name))
}

/// Where a process is, as `(controllers, path)`.
fn cgroups_of(pid: i64) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let fields =
        |line: &str| line.split_once(':').unwrap().1.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()));
    text.lines().filter_map(fields).collect()
}

/// Creates a container and gives its path in every hierarchy, then deletes it and checks that the
/// directories are gone.
fn paths_of(bundle: &Bundle) -> Vec<(Hierarchy, String)> {
    bundle.create().ok();
    let found = cgroups_of(bundle.state()["pid"].as_i64().unwrap());
    let path = |one: &Hierarchy| found.iter().find(|(name, _)| *name == one.controllers).unwrap().1.clone();
    let paths: Vec<_> = hierarchies().into_iter().map(|one| (path(&one), one)).map(|(path, one)| (one, path)).collect();
    bundle.delete_force().ok();
    for (one, path) in &paths {
        let directory = one.mount_point.join(path.trim_start_matches('/'));
        assert!(!directory.exists() || *path == one.own, "{directory:?} is left");
    }
    paths
}

#[test]
fn the_init_is_in_its_cgroup_in_every_hierarchy() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let wanted = bundle.config["linux"]["cgroupsPath"].as_str().unwrap();
    for (one, path) in paths_of(&bundle) {
        assert_eq!(path, wanted, "in {:?}", one.controllers);
    }
    let nested = bundle.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned() + "/a/b";
    let bundle = Bundle::new(&["true"]).with(|config| config["linux"]["cgroupsPath"] = json!(nested));
    for (one, path) in paths_of(&bundle) {
        assert_eq!(path, nested, "in {:?}", one.controllers);
    }
    bundle.assert_nothing_left("delete");
}

#[test]
fn relative_and_absent_paths_lie_below_the_callers_cgroup() {
    need_root!();
    for relative in [true, false] {
        let bundle = Bundle::new(&["true"]);
        let name = if relative { format!("relative/{}", bundle.id) } else { bundle.id.clone() };
        let bundle = bundle.with(|config| match relative {
            true => config["linux"]["cgroupsPath"] = json!(name),
            false => drop(config["linux"].as_object_mut().unwrap().remove("cgroupsPath")),
        });
        for (one, path) in paths_of(&bundle) {
            // On v2 beside it: a cgroup with processes has no controllers to hand down.
            let base = match one.controllers.as_str() {
                "" => one.own.rsplit_once('/').unwrap().0,
                _ => one.own.trim_end_matches('/'),
            };
            assert_eq!(path, format!("{base}/{name}"), "in {:?}", one.controllers);
        }
    }
}

#[test]
fn no_path_leads_out_of_the_hierarchy() {
    need_root!();
    for up in ["/../../", "/a/../../../", "/./../"] {
        let bundle = Bundle::new(&["true"]);
        let (id, name) = (bundle.id.clone(), format!("ferrun-{}", bundle.id));
        let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = json!(format!("{up}{name}")));
        for (one, path) in paths_of(&bundle) {
            assert_eq!(path, format!("/{name}"), "{up} in {:?}", one.controllers);
        }
        for outside in ["/sys/fs", "/sys", "/"] {
            assert!(!Path::new(outside).join(&name).exists(), "{outside} {id}");
        }
    }
}

#[test]
fn a_path_that_is_not_the_containers_own_is_refused() {
    need_root!();
    // The device rules would be those of the host, or of whatever runs beside ferrun. Only explained:
    // a version that does it must not do it here.
    for path in ["/", "/..", ".", "..", "a/..", "/a/../.."] {
        let bundle = Bundle::new(&["true"]).with(|config| config["linux"]["cgroupsPath"] = json!(path));
        let done = bundle.ferrun(&["explain", "--bundle", bundle.dir.to_str().unwrap()]);
        assert!(done.status == 1 && done.stderr.contains("/linux/cgroupsPath"), "{path:?} is accepted");
    }
}

#[test]
fn inside_the_cgroup_is_the_root() {
    need_root!();
    let script = "cat /proc/self/cgroup; cat /proc/self/mountinfo";
    let said = Bundle::sh(script).run().ok();
    let (own, mounts): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| !line.contains(" - "));
    assert!(own.iter().all(|line| line.ends_with(":/")) && own.len() >= hierarchies().len(), "{own:?}");
    let mounts = mount_lines(&mounts.join("\n"));
    for mount in mounts.iter().filter(|mount| mount.kind.starts_with("cgroup")) {
        assert_eq!(mount.root, "/", "{mount:?}");
    }
}

#[test]
fn without_a_cgroup_namespace_the_mount_shows_the_containers_part() {
    need_root!();
    if with_controller("devices").is_none() {
        return common::skip("this host has no cgroup v1 hierarchy");
    }
    let bundle = Bundle::sh("cat /proc/self/mountinfo; cat /sys/fs/cgroup/devices/cgroup.procs").with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "cgroup");
    });
    let wanted = bundle.config["linux"]["cgroupsPath"].as_str().unwrap();
    let said = bundle.run().ok();
    let (processes, mounts): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| !line.contains(" - "));
    assert_eq!(processes, ["1"], "its own processes and no other");
    let mount = mount_lines(&mounts.join("\n"));
    let mount = mounted_on(&mount, "/sys/fs/cgroup/devices");
    assert!(mount.root == wanted && mount.has("ro"), "{mount:?}");
}

#[test]
fn cpu_shares_are_written() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| config["linux"]["resources"]["cpu"] = json!({ "shares": 512 }));
    bundle.create().ok();
    let path = bundle.config["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/');
    let (file, wanted) = match with_controller("cpu") {
        Some(cpu) => (cpu.mount_point.join(path).join("cpu.shares"), "512"),
        None => (Path::new("/sys/fs/cgroup").join(path).join("cpu.weight"), "59"),
    };
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), wanted, "{file:?}");
}

#[test]
fn the_device_list_is_written() {
    need_root!();
    let Some(devices) = with_controller("devices") else {
        return common::skip("this host has no cgroup v1 device controller; the filter of v2 cannot be read back");
    };
    let bundle = Bundle::new(&["true"]).with(|config| {
        let rules = json!([{ "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" },
            { "allow": true, "type": "b", "major": 8, "access": "r" }]);
        config["linux"]["resources"]["devices"] = rules;
    });
    bundle.create().ok();
    let path = bundle.config["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/');
    let list = std::fs::read_to_string(devices.mount_point.join(path).join("devices.list")).unwrap();
    let mut found: Vec<&str> = list.lines().collect();
    found.sort_unstable();
    // The two of the config, and what every container may use.
    let mut wanted = [
        "c 10:229 rw",
        "b 8:* r",
        "c *:* m",
        "b *:* m",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:2 rwm",
        "c 10:200 rwm",
        "c 136:* rwm",
    ];
    wanted.sort_unstable();
    // The kernel keeps two exceptions for one device apart or together; what counts is the sum.
    assert_eq!(found.join("\n"), wanted.join("\n"));
}

#[test]
fn a_cgroup_that_was_there_before_is_not_removed() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let top = format!("ferrun-{}", bundle.id);
    for (path, wanted) in [(format!("/{top}"), true), (format!("/{top}/below"), true)] {
        let first = hierarchies().into_iter().next().unwrap();
        let there = first.mount_point.join(&top);
        std::fs::create_dir(&there).unwrap();
        let bundle = Bundle::new(&["true"]).with(|config| config["linux"]["cgroupsPath"] = json!(path));
        bundle.run().ok();
        let left: Vec<PathBuf> =
            hierarchies().iter().map(|one| one.mount_point.join(&top)).filter(|path| path.exists()).collect();
        let empty = std::fs::remove_dir(&there).is_ok();
        assert_eq!((left, empty), (vec![there], wanted), "{path}");
    }
}

#[test]
fn devices_are_limited_without_a_list_too() {
    need_root!();
    // fuse, 10:229, is in nobody's default list.
    let script = "mknod /tmp/fuse c 10 229 && cat /tmp/fuse 2>&1; cat /dev/null && echo null works";
    let bundle = Bundle::sh(script).with(|config| {
        config["linux"]["resources"] = serde_json::json!({});
        config["root"]["readonly"] = serde_json::json!(false);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push("CAP_MKNOD".into());
        }
    });
    let out = bundle.run().ok();
    assert!(out.contains("Operation not permitted") && out.contains("null works"), "{out}");
}

/// The same list with other letters, so that a refusal can only come from the list.
#[test]
fn the_device_list_is_felt() {
    need_root!();
    // kmsg, 1:11, can be opened by everybody to write and with CAP_SYSLOG to read.
    let script = "mknod /tmp/kmsg c 1 11; dd if=/tmp/kmsg count=0 2>/dev/null && echo r; \
                  ( : >/tmp/kmsg ) 2>/dev/null && echo w; cat /dev/null && echo null";
    for (access, wanted) in [("rw", "r\nw\nnull"), ("r", "r\nnull"), ("w", "w\nnull"), ("m", "null")] {
        let bundle = Bundle::sh(script).with(|config| {
            let rules = json!([{ "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 11, "access": access }]);
            config["linux"]["resources"]["devices"] = rules;
            config["root"]["readonly"] = json!(false);
            for set in ["bounding", "effective", "permitted"] {
                let capabilities = config["process"]["capabilities"][set].as_array_mut().unwrap();
                capabilities.extend([json!("CAP_MKNOD"), json!("CAP_SYSLOG")]);
            }
        });
        assert_eq!(bundle.run().ok(), wanted, "{access}");
    }
}
