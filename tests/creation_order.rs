//! Everything that is created in the container is created before anything is read-only or masked; and what the config
//! mounts somewhere is what is there.

mod common;

use std::os::unix::fs::symlink;

use common::{Bundle, Done};
use serde_json::{Value, json};

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "source": source, "options": options })
}

fn remount(destination: &str, options: &[&str]) -> Value {
    let options = [&["remount"], options].concat();
    json!({ "destination": destination, "options": options })
}

/// A writable root, with further mounts.
fn bundle(script: &str, mounts: &[Value]) -> Bundle {
    let bundle = Bundle::sh(script).set("/root/readonly", json!(false));
    std::fs::create_dir(bundle.dir.join("host")).unwrap();
    bundle.with(|config| config["mounts"].as_array_mut().unwrap().extend_from_slice(mounts))
}

fn with_list(bundle: Bundle, pointer: &str, paths: &[&str]) -> Bundle {
    bundle.set(pointer, json!(paths))
}

/// Fails unless the program was in the directory, and could write neither there nor in any of the others.
#[track_caller]
fn assert_sealed(bundle: &Bundle, cwd: &str) {
    let done = bundle.run();
    assert_eq!(done.stdout, format!("{cwd}\n"), "{done:?}");
    assert!(done.stderr.contains("Read-only file system") && done.status != 0, "{done:?}");
    bundle.assert_nothing_left("run");
}

#[test]
fn the_working_directory_is_created_below_what_becomes_read_only() {
    need_root!();
    for mounts in [
        &[tmpfs("/t", &["ro"])][..],
        &[tmpfs("/t", &["rro"])],
        &[tmpfs("/t", &[]), remount("/t", &["ro"])],
        &[tmpfs("/t", &["ro"]), remount("/t", &["ro", "nosuid"])],
        &[tmpfs("/t", &["rw"]), remount("/t", &["bind", "ro"])],
        &[json!({ "destination": "/t", "type": "ramfs", "source": "ramfs", "options": ["ro"] })],
    ] {
        let bundle = bundle("pwd; touch x", mounts).set("/process/cwd", json!("/t/w/deep"));
        assert_sealed(&bundle, "/t/w/deep");
    }
    let mut paths = with_list(bundle("pwd; touch x", &[]), "/linux/readonlyPaths", &["/t"]);
    std::fs::create_dir(paths.rootfs().join("t")).unwrap();
    symlink("t", paths.rootfs().join("link")).unwrap();
    for (cwd, shown) in [("/t/w", "/t/w"), ("/link/w2", "/t/w2"), ("/t", "/t")] {
        paths = paths.set("/process/cwd", json!(cwd));
        assert_sealed(&paths, shown);
    }
    let root = bundle("pwd; touch x", &[]).set("/root/readonly", json!(true)).set("/process/cwd", json!("/new"));
    assert_sealed(&root, "/new");
    let all = with_list(bundle("pwd; touch x", &[]), "/linux/readonlyPaths", &["/"]).set("/process/cwd", json!("/new"));
    assert_sealed(&all, "/new");
}

#[test]
fn a_working_directory_leads_below_no_mask() {
    need_root!();
    let mut bundle = with_list(bundle("pwd; ls -A; echo end", &[]), "/linux/maskedPaths", &["/hidden"]);
    std::fs::create_dir(bundle.rootfs().join("hidden")).unwrap();
    std::fs::write(bundle.rootfs().join("hidden/secret"), "").unwrap();
    bundle = bundle.set("/process/cwd", json!("/hidden"));
    assert_eq!(bundle.run().ok(), "/hidden\nend");
    for (cwd, reason) in [("/hidden/below", "EROFS /process/cwd"), ("/hidden/secret", "ENOTDIR /process/cwd")] {
        bundle = bundle.set("/process/cwd", json!(cwd));
        bundle.run().fails(reason);
    }
    bundle.assert_nothing_left("run");
}

#[test]
fn mount_points_are_created_in_a_read_only_mount_of_cgroups() {
    need_root!();
    if common::limits::is_v2() {
        return common::skip("cgroup v2 has no tmpfs to create mount points in");
    }
    let script = "echo x > /sys/fs/cgroup/new/file && cat /sys/fs/cgroup/new/file; mkdir /sys/fs/cgroup/other; touch x";
    let mut bundle = bundle(script, &[tmpfs("/sys/fs/cgroup/new", &[])]);
    bundle = bundle.set("/process/cwd", json!("/sys/fs/cgroup/w"));
    let done = bundle.run();
    assert_eq!(done.stdout, "x\n", "{done:?}");
    assert_eq!(done.stderr.matches("Read-only file system").count(), 2, "{done:?}");
    bundle.assert_nothing_left("run");
}

#[test]
fn the_last_word_about_read_only_counts() {
    need_root!();
    let script = |wanted: &str| format!("touch /t/x 2>/dev/null && echo rw || echo ro; true # {wanted}");
    for (mounts, wanted) in [
        (&[tmpfs("/t", &["ro"]), remount("/t", &["rw"])][..], "rw"),
        (&[tmpfs("/t", &["ro"]), remount("/t", &["rrw"])], "rw"),
        (&[tmpfs("/t", &["ro"]), remount("/t", &["nosuid"])], "ro"),
        (&[tmpfs("/t", &[]), remount("/t", &["ro"]), remount("/t", &["rw"])], "rw"),
        (&[tmpfs("/t", &["ro"]), remount("/t", &["rw"]), remount("/t", &["ro"])], "ro"),
    ] {
        let bundle = bundle(&script(wanted), mounts);
        assert_eq!(bundle.run().ok(), wanted, "{mounts:?}");
    }
}

/// Those of the steps of `explain` that make a mount of the config read-only at the end.
fn sealed_at_the_end(mounts: &[Value]) -> Vec<String> {
    let bundle = bundle("true", mounts);
    let plan = bundle.ferrun(&["explain", "--json", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let steps = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["verb"] == "ro" && step["from"].as_str().unwrap_or_default().starts_with("/mounts/"));
    steps.filter_map(|step| Some(step["text"].as_str()?.to_owned())).filter(|text| text != "/sys/fs/cgroup").collect()
}

/// There is one cgroup2, and one journal of a device: neither is to be written to, or sealed for the whole host.
#[test]
fn only_what_is_the_containers_own_is_sealed_at_the_end() {
    let cgroup2 = json!({ "destination": "/cg", "type": "cgroup2", "source": "cgroup2", "options": ["ro"] });
    let disk = |place: &str| json!({ "destination": place, "type": "ext4", "source": "/dev/x", "options": ["ro"] });
    assert_eq!(sealed_at_the_end(&[tmpfs("/t", &["ro"])]), ["/t"]);
    for mount in [cgroup2, disk("/"), disk("/dev"), disk("/disk")] {
        assert!(sealed_at_the_end(std::slice::from_ref(&mount)).is_empty(), "{mount}");
    }
}

#[test]
fn a_mount_of_cgroups_can_be_made_read_only_by_a_remount() {
    need_root!();
    let bundle = bundle("mkdir /sys/fs/cgroup/x || echo held", &[remount("/sys/fs/cgroup", &["ro"])]).with(|config| {
        let list = config["mounts"].as_array_mut().unwrap();
        let cgroup = list.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap();
        cgroup["options"].as_array_mut().unwrap().retain(|option| option != "ro");
    });
    assert_eq!(bundle.run().ok(), "held");
    bundle.assert_nothing_left("run");
}

#[test]
fn a_mount_that_one_on_the_root_covers_is_not_changed_in_the_place_of_another() {
    need_root!();
    let bundle = bundle("true", &[tmpfs("/tmp", &[])]);
    let rootfs = bundle.rootfs();
    let cover = bind(rootfs.to_str().unwrap(), "/", &["bind"]);
    let bundle = bundle.with(|config| {
        config["mounts"].as_array_mut().unwrap().extend([cover, remount("/tmp", &["bind", "ro"])]);
    });
    bundle.run().fails("EINVAL /mounts/9");
    bundle.assert_nothing_left("run");
}

/// What is bound read-only is the host's: nothing is created there.
#[test]
fn a_read_only_bind_gets_no_mount_points() {
    need_root!();
    let mounts = [bind("host", "/data", &["bind", "ro"]), tmpfs("/data/below", &[])];
    let nested = bundle("true", &mounts);
    nested.run().fails("EROFS /mounts/8");
    let cwd = bundle("true", &mounts[..1]).set("/process/cwd", json!("/data/below"));
    cwd.run().fails("EROFS /process/cwd");
    for bundle in [nested, cwd] {
        assert_eq!(std::fs::read_dir(bundle.dir.join("host")).unwrap().count(), 0);
    }
}

#[test]
fn paths_are_clean_wherever_the_config_has_them() {
    need_root!();
    for (cwd, shown) in
        [("/new/../other", "/other"), ("/a/b/..", "/a"), ("/..//./x/", "/x"), ("/../..", "/"), ("/missing/..", "/")]
    {
        let bundle = bundle("pwd; ls -d /new /missing /a/b 2>/dev/null", &[]).set("/process/cwd", json!(cwd));
        assert_eq!(bundle.run().stdout, format!("{shown}\n"), "{cwd}: only what it names is created");
    }
    let script = "cat /etc/secret; touch /etc/x; stat -c %t:%T /dev/there";
    let bundle = bundle(script, &[]).with(|config| {
        config["root"]["path"] = json!("missing/.././rootfs/");
        config["linux"]["maskedPaths"] = json!(["/missing/../etc/secret"]);
        config["linux"]["readonlyPaths"] = json!(["/missing/..//etc/."]);
        config["linux"]["devices"] = json!([{ "path": "/missing/../dev/there", "type": "c", "major": 1, "minor": 3 }]);
    });
    std::fs::write(bundle.rootfs().join("etc/secret"), "told").unwrap();
    let done = bundle.run();
    assert_eq!(done.stdout, "1:3\n", "{done:?}");
    assert!(done.stderr.contains("touch: /etc/x: Read-only file system"), "{done:?}");
    assert!(!bundle.rootfs().join("missing").exists());
    bundle.create().ok();
    assert_eq!(bundle.state()["rootfs"].as_str(), bundle.rootfs().to_str());
}

#[test]
fn what_the_config_mounts_in_dev_is_what_is_there() {
    need_root!();
    let range = json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]);
    for user_namespace in [false, true] {
        for name in
            ["stdin", "stdout", "stderr", "ptmx", "core", "console", "zero", "full", "random", "urandom", "tty", "null"]
        {
            let path = format!("/dev/{name}");
            let bundle = bundle(&format!("cat {path}"), &[bind("file", &path, &["bind"])]);
            std::fs::write(bundle.dir.join("file"), "the config's\n").unwrap();
            let bundle = bundle.with(|config| {
                config["linux"]["maskedPaths"] = json!([]);
                if user_namespace {
                    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
                    config["linux"]["uidMappings"] = range.clone();
                    config["linux"]["gidMappings"] = range.clone();
                }
            });
            // The stream is ferrun's own null device, which the container's replaces.
            let done = bundle.run();
            match name {
                "null" => done.fails(""),
                _ => assert_eq!(done.ok(), "the config's", "{path}"),
            }
            bundle.assert_nothing_left("run");
        }
        let directory = bundle("ls /dev/fd", &[bind("host", "/dev/fd", &["rbind"])]);
        std::fs::write(directory.dir.join("host/the_config's"), "").unwrap();
        assert_eq!(directory.run().ok(), "the_config's");
    }
}

#[test]
fn a_device_of_the_config_wins_over_a_default_link() {
    need_root!();
    let device = |name: &str| json!({ "path": format!("/dev/{name}"), "type": "c", "major": 1, "minor": 3 });
    let bundle = bundle("stat -c %F:%t:%T /dev/stdin /dev/fd; readlink /dev/stdout", &[]);
    let bundle = bundle.set("/linux/devices", json!([device("stdin"), device("fd")]));
    let special = "character special file:1:3";
    assert_eq!(bundle.run().ok(), format!("{special}\n{special}\n/proc/self/fd/1"));
}

#[test]
fn a_thing_of_the_image_in_place_of_a_link_is_named() {
    need_root!();
    let bundle = bundle("true", &[]).with(|config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    });
    std::fs::create_dir_all(bundle.rootfs().join("dev")).unwrap();
    std::fs::write(bundle.rootfs().join("dev/stdout"), "").unwrap();
    bundle.run().fails("/linux/devices");
}

#[test]
fn a_console_that_the_config_mounts_stays_the_console() {
    need_root!();
    let bundle = bundle("[ -c /dev/console ] || cat /dev/console", &[bind("file", "/dev/console", &["bind"])]);
    let bundle = bundle.set("/process/terminal", json!(true));
    std::fs::write(bundle.dir.join("file"), "the config's\n").unwrap();
    let mut command = std::process::Command::new("script");
    let line = "exec \"$ferrun\" --root \"$state\" run --bundle \"$bundle\" \"$id\"";
    command.args(["-qec", line, "/dev/null"]).env("ferrun", common::ferrun_binary()).env("state", bundle.state_root());
    command.env("bundle", &bundle.dir).env("id", &bundle.id).stdin(std::process::Stdio::null());
    let Ok(output) = command.output() else { return common::skip("this test needs script(1)") };
    let done = Done::new(output);
    assert!(done.stdout.contains("the config's"), "{done:?}");
}

#[test]
fn a_tmpfs_has_the_same_mode_at_every_start() {
    need_root!();
    for (options, wanted) in [
        (&["size=64k"][..], "1777 0"),
        (&["uid=7"], "1777 7"),
        (&["ro"], "1777 0"),
        (&["mode=711"], "711 0"),
        (&["mode=0750", "uid=7"], "750 7"),
    ] {
        let bundle = bundle("stat -c '%a %u' /made/here", &[tmpfs("/made/here", options)]);
        for start in 1..=3 {
            assert_eq!(bundle.run_after("umask 077").ok(), wanted, "start {start} with {options:?}");
        }
        let above =
            std::os::unix::fs::PermissionsExt::mode(&bundle.rootfs().join("made").metadata().unwrap().permissions());
        assert_eq!(above & 0o7777, 0o755, "directories above are ordinary ones");
    }
}
