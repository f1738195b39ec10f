//! Mounts of type `cgroup`: what they show, with which options, and where they may lie.

mod common;

use common::{Bundle, MountLine, Report, mount_lines};
use serde_json::{Value, json};

/// A bundle whose one cgroup mount is this.
fn bundle(script: &str, namespace: bool, mount: Value) -> Bundle {
    Bundle::sh(script).with(|config| {
        config["root"]["readonly"] = json!(false);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["type"] != "cgroup");
        mounts.push(mount);
        if !namespace {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "cgroup");
        }
    })
}

fn cgroup(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "cgroup", "source": "cgroup", "options": options })
}

fn below(mountinfo: &str, top: &str) -> Vec<MountLine> {
    mount_lines(mountinfo).into_iter().filter(|mount| mount.point.starts_with(top)).collect()
}

fn is_v1() -> bool {
    std::path::Path::new("/sys/fs/cgroup/devices").exists()
}

#[test]
fn every_part_has_the_options() {
    need_root!();
    for namespace in [true, false] {
        for (options, read_only) in
            [(&["ro"][..], true), (&[], false), (&["rw", "nosuid"], false), (&["rro"], true), (&["ro", "rrw"], false)]
        {
            let found = bundle("cat /proc/self/mountinfo", namespace, cgroup("/cg", options)).run().ok();
            let found = below(&found, "/cg");
            assert_eq!(found.len() > 1, is_v1(), "{found:?}");
            for mount in &found {
                let base = mount.has("nosuid") && mount.has("nodev") && mount.has("noexec");
                // A part of the host's is its slave, where the host's are shared.
                let shared = mount.propagation.iter().any(|with| with.starts_with("shared:"));
                assert!(base && mount.has("ro") == read_only && !shared, "{options:?}: {mount:?}");
            }
        }
    }
    let mode = bundle("stat -c %a /cg", true, cgroup("/cg", &["ro"])).run().ok();
    assert!(["755", "555"].contains(&mode.as_str()), "{mode}");
    let found = bundle("cat /proc/self/mountinfo", true, cgroup("/cg", &["rshared", "rnoatime"])).run().ok();
    for mount in below(&found, "/cg") {
        assert!(mount.has("noatime") && mount.propagation[0].starts_with("shared:"), "{mount:?}");
    }
}

#[test]
fn nothing_above_the_containers_own_is_visible() {
    need_root!();
    if !is_v1() {
        return common::skip("this host has no cgroup v1 hierarchy");
    }
    // With or without a namespace: the processes are the shell and its cat, no way leads up, and nothing is writable.
    let script = "cd /cg/pids && cat cgroup.procs && ls /cg/pids/.. | grep -c '^pids$'; cat /cg/pids/../../proc/1/comm
        mkdir /cg/pids/new; echo 1 > /cg/pids/cgroup.procs; touch /cg/new";
    for namespace in [true, false] {
        let done = bundle(script, namespace, cgroup("/cg", &["ro"])).run();
        assert_eq!(done.stdout, "1\n2\n1\nsh\n", "{done:?}");
        assert_eq!(done.stderr.matches("Read-only file system").count(), 3, "{done:?}");
    }
}

#[test]
fn places_and_options_that_it_cannot_have() {
    need_root!();
    for (mount, reason) in [
        (cgroup("/etc/passwd", &[]), "ENOTDIR /mounts/6"),
        (cgroup("/proc", &[]), "/mounts/6/destination"),
        (cgroup("/proc/sys", &[]), "/mounts/6/destination"),
        (cgroup("/link/fs", &[]), "/mounts/6"),
        (cgroup("/", &[]), "/mounts/6/destination"),
        (cgroup("/cg", &["bogus=1"]), "/mounts/6"),
        (cgroup("/cg", &["tmpcopyup"]), "/mounts/6/options"),
    ] {
        for namespace in [true, false] {
            let bundle = bundle("true", namespace, mount.clone());
            std::os::unix::fs::symlink("proc", bundle.rootfs().join("link")).unwrap();
            let done = bundle.run();
            done.fails(reason);
            bundle.assert_nothing_left(reason);
        }
    }
}

#[test]
fn it_may_lie_anywhere_else() {
    need_root!();
    for destination in ["deep/er", "/link/cg", "/tmp"] {
        let bundle = bundle("cat /proc/self/mountinfo", false, cgroup(destination, &["ro"]));
        std::os::unix::fs::symlink("/etc", bundle.rootfs().join("link")).unwrap();
        let done = bundle.run();
        assert_eq!(Report::warnings(&done.stderr).len(), usize::from(!destination.starts_with('/')), "{done:?}");
        let point = format!("/{}", destination.trim_start_matches('/').replace("link", "etc"));
        assert!(!below(&done.ok(), &point).is_empty(), "{destination}");
    }
}

#[test]
fn configs_without_mounts_have_none() {
    need_root!();
    let bundle = Bundle::sh("ls /proc | wc -l; ls -d /dev/null /dev/zero; echo x > /dev/null").with(|config| {
        config.as_object_mut().unwrap().remove("mounts");
        // Both need a /proc.
        for key in ["maskedPaths", "readonlyPaths"] {
            config["linux"].as_object_mut().unwrap().remove(key);
        }
        config["root"]["readonly"] = json!(false);
    });
    assert_eq!(bundle.run().ok(), "0\n/dev/null\n/dev/zero");
    // Nor a namespace of their own, without which there need not be any mount at all.
    let bundle =
        bundle.with(|config| config.as_object_mut().unwrap().retain(|key, _| key != "linux" && key != "hostname"));
    assert_eq!(bundle.run().ok(), "0\n/dev/null\n/dev/zero");
}
