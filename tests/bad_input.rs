//! Everything that a caller or an author of a config.json can get wrong: each is refused with status 1 for its
//! reason, and nothing of the container is left behind.

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};

use common::{Bundle, Done, skip};
use serde_json::{Value, json};

/// A bundle that would run.
fn sound() -> Bundle {
    Bundle::new(&["true"])
}

/// Fails unless `run` and `create` both refuse the bundle for this reason and leave nothing.
#[track_caller]
fn refused(bundle: &Bundle, reason: &str) {
    bundle.run().fails(reason);
    bundle.assert_nothing_left("run");
    bundle.create().fails(reason);
    bundle.assert_nothing_left("create");
}

/// Fails unless the bundle is refused with that value at that pointer, and told so with its line.
#[track_caller]
fn refused_at(pointer: &str, value: Value) {
    let bundle = sound().set(pointer, value);
    assert_eq!(bundle.run().error().place, format!("config.json:{}", bundle.line_of(pointer)));
    refused(&bundle, pointer);
}

/// Fails unless the bundle is refused with that value at that pointer, because of it or of a part of it.
#[track_caller]
fn refused_below(pointer: &str, value: Value) {
    let bundle = sound().set(pointer, value);
    let error = bundle.run().error();
    assert!(error.pointer.starts_with(pointer) && error.place.starts_with("config.json:"), "{error:?}");
    refused(&bundle, &error.pointer);
}

#[test]
fn a_bundle_that_is_not_there() {
    need_root!();
    let bundle = sound();
    for verb in ["run", "create", "explain"] {
        let missing = bundle.dir.join("nowhere");
        let mut args = vec![verb, "--bundle", missing.to_str().unwrap()];
        args.extend((verb != "explain").then_some(bundle.id.as_str()));
        bundle.ferrun(&args).fails("ENOENT");
        bundle.assert_nothing_left(verb);
    }
}

/// The kernel would call it /tmp.
#[test]
fn a_bundle_whose_mount_is_gone_is_not_another_directory() {
    need_root!();
    let bundle = Bundle::new(&["echo", "ran"]);
    let done = bundle.run_after(
        "mkdir $bundle/gone; mount -t tmpfs none $bundle/gone; mkdir $bundle/gone/tmp; cd $bundle/gone/tmp
        cp $bundle/config.json .; umount -l $bundle/gone; \"$ferrun\" explain 2>&1 || true; cd /",
    );
    assert_eq!(done.ok(), "ferrun: bundle \".\": no such file or directory\nran");
}

#[test]
fn a_bundle_without_config_json() {
    need_root!();
    let bundle = sound();
    std::fs::remove_file(bundle.dir.join("config.json")).unwrap();
    refused(&bundle, "ENOENT");
    std::fs::create_dir(bundle.dir.join("config.json")).unwrap();
    refused(&bundle, "EISDIR");
}

#[test]
fn the_bundle_is_the_working_directory_unless_it_is_named() {
    need_root!();
    let bundle = sound();
    let elsewhere = bundle.command(&["run", &bundle.id]).current_dir(bundle.rootfs()).output().unwrap();
    Done::new(elsewhere).fails("ENOENT");
    let there = bundle.command(&["run", &bundle.id]).current_dir(&bundle.dir).output().unwrap();
    Done::new(there).ok();
}

#[test]
fn a_config_that_is_not_json_is_told_by_line_and_column() {
    need_root!();
    let bundle = sound();
    let config = bundle.dir.join("config.json");
    let cut = "{\n  \"ociVersion\": \"1.0.0\"";
    for (text, line, column) in [
        ("", 1, 0),
        ("not json\n", 1, 2),
        ("{\n  \"ociVersion\": \"1.0.0\",,\n}\n", 2, 25),
        ("{\n  \"ociVersion\": \"1.0.0\",\n}\n", 3, 1),
        ("{\n\n  'ociVersion': \"1.0.0\"\n}\n", 3, 3),
        ("{\"ociVersion\": \"1.0.0\"}\n}\n", 2, 1),
        (cut, 2, 23),
    ] {
        std::fs::write(&config, text).unwrap();
        let error = bundle.run().error();
        assert!(error.sentence.contains(&format!("line {line}, column {column}")), "{error:?}");
        assert_eq!(error.place, format!("config.json:{line}"));
        refused(&bundle, "");
    }
}

#[test]
fn a_config_that_is_no_object_is_refused() {
    need_root!();
    let bundle = sound();
    for text in ["null", "[]", "\"x\"", "1", "[\"1.3.0\"]"] {
        std::fs::write(bundle.dir.join("config.json"), text).unwrap();
        let error = bundle.run().error();
        assert_eq!(error.place, "config.json:1", "{text}");
        refused(&bundle, &error.pointer);
    }
}

#[test]
fn a_property_of_the_wrong_type_is_told_by_pointer_and_line() {
    need_root!();
    let mut wrongly = String::new();
    for (pointer, wrong) in [
        ("/ociVersion", json!(1)),
        ("/process", json!("sh")),
        ("/process", json!([])),
        ("/process/terminal", json!("no")),
        ("/process/args", json!("sh")),
        ("/process/args/1", json!(7)),
        ("/process/args/0", json!(null)),
        ("/process/env", json!({})),
        ("/process/env/0", json!(1)),
        ("/process/cwd", json!(["/"])),
        ("/process/user/uid", json!("root")),
        ("/process/user/uid", json!(-1)),
        ("/process/user/gid", json!(4294967296u64)),
        ("/process/user/additionalGids/0", json!("wheel")),
        ("/process/user", json!([0, 0])),
        ("/process/noNewPrivileges", json!(1)),
        ("/process/oomScoreAdj", json!(0.5)),
        ("/process/capabilities", json!(true)),
        ("/process/capabilities/bounding", json!("CAP_KILL")),
        ("/process/capabilities/bounding/1", json!(5)),
        ("/process/rlimits/0/soft", json!("many")),
        ("/process/rlimits/0/type", json!("RLIMIT_NOTHING")),
        ("/process/rlimits/0/type", json!(7)),
        ("/root", json!("rootfs")),
        ("/root", json!(["rootfs"])),
        ("/root/path", json!(1)),
        ("/root/readonly", json!("yes")),
        ("/hostname", json!(1)),
        ("/mounts", json!("proc")),
        ("/mounts/0", json!("proc")),
        ("/mounts/0", json!(["/proc", "proc"])),
        ("/mounts/1/destination", json!(null)),
        ("/mounts/2/options", json!("ro")),
        ("/mounts/2/options/1", json!(1)),
        ("/annotations/a", json!(1)),
        ("/domainname", json!(1)),
        ("/process/apparmorProfile", json!(1)),
        ("/process/selinuxLabel", json!([])),
        ("/process/scheduler", json!("SCHED_FIFO")),
        ("/process/scheduler/policy", json!(1)),
        ("/process/ioPriority", json!([])),
        ("/process/execCPUAffinity", json!("0")),
        ("/process/execCPUAffinity/initial", json!(0)),
        ("/process/user/username", json!(1)),
        ("/linux/mountLabel", json!(1)),
        ("/linux/sysctl", json!([])),
        ("/linux/sysctl/net.core.somaxconn", json!(1)),
        ("/linux/intelRdt", json!(true)),
        ("/linux/intelRdt/schemata", json!("L3:0=f")),
        ("/linux/memoryPolicy", json!("MPOL_BIND")),
        ("/linux/personality", json!("LINUX32")),
        ("/linux", json!(1)),
        ("/linux", json!([])),
        ("/linux/namespaces", json!("pid")),
        ("/linux/namespaces/3", json!(["uts"])),
        ("/linux/namespaces/3/type", json!("net")),
        ("/linux/cgroupsPath", json!(1)),
        ("/linux/maskedPaths/4", json!(false)),
        ("/linux/resources/devices/0/allow", json!("no")),
        ("/linux/resources/cpu/shares", json!("half")),
    ] {
        let bundle = sound().set("/process/user/additionalGids", json!([5])).set(pointer, wrong.clone());
        let place = format!("config.json:{} {pointer}\n", bundle.line_of(pointer));
        let done = bundle.run();
        if done.status != 1 || !done.stderr.starts_with("ferrun: ") || !done.stderr.contains(&place) {
            wrongly += &format!("{wrong} at {pointer}: {done:?}\n");
        }
        bundle.assert_nothing_left("run");
    }
    assert_eq!(wrongly, "");
}

#[test]
fn an_oci_version_other_than_1_is_refused() {
    need_root!();
    for version in ["", "1", "1.0", "0.9.0", "2.0.0", "latest"] {
        refused_at("/ociVersion", json!(version));
    }
    let last = sound();
    std::fs::write(last.dir.join("config.json"), "{\n  \"ociVersion\": \"2.0.0\"\n}\n").unwrap();
    assert_eq!(last.run().error().place, "config.json:2");
    refused(&last, "/ociVersion");
    let none = sound().with(|config| drop(config.as_object_mut().unwrap().remove("ociVersion")));
    refused(&none, "");
}

#[test]
fn a_container_without_a_program_is_refused() {
    need_root!();
    for nothing in [json!([]), json!(null)] {
        refused_at("/process/args", nothing.clone());
        sound().set("/process/args", nothing).run().refused("args must not be empty");
    }
    refused_at("/process/args/0", json!(""));
    let none = sound().with(|config| drop(config.as_object_mut().unwrap().remove("process")));
    // It can be created (tests/lifecycle.rs), but not run.
    none.run().fails("/process");
    none.assert_nothing_left("run");
}

#[test]
fn a_rootfs_that_is_no_directory_is_refused() {
    need_root!();
    refused(&sound().set("/root/path", json!("nowhere")), "ENOENT /root/path");
    refused_at("/root/path", json!("config.json"));
    refused_at("/root/path", json!(""));
    let none = sound().with(|config| drop(config.as_object_mut().unwrap().remove("root")));
    refused(&none, "/root");
}

#[test]
fn a_rootfs_that_is_a_symlink_is_refused() {
    need_root!();
    // A slash at the end makes the kernel follow the link.
    for path in ["link", "./link", "link/", "link//"] {
        let bundle = sound().set("/root/path", json!(path));
        symlink("rootfs", bundle.dir.join("link")).unwrap();
        refused(&bundle, "/root/path");
    }
}

#[test]
fn ids_that_are_no_name_of_a_directory_are_refused_by_every_command() {
    need_root!();
    let bundle = sound();
    let dir = bundle.dir.to_str().unwrap();
    // What `delete --force ..` would take with it.
    let beside = bundle.dir.join("beside");
    std::fs::create_dir(&beside).unwrap();
    let long = "a".repeat(256);
    for id in ["", ".", "..", "a/b", "/", "../beside", "a b", " ", "a\n", "a:b", "a@b", "a*", "ä", "a\\b", &long] {
        for args in [
            &["run", "--bundle", dir][..],
            &["create", "--bundle", dir],
            &["state"],
            &["start"],
            &["kill"],
            &["delete"],
            &["delete", "--force"],
        ] {
            let done = bundle.ferrun(&[args, &[id]].concat());
            match id {
                "" => done.fails(""),
                _ => done.refused("invalid container ID format"),
            }
        }
    }
    bundle.assert_nothing_left("invalid ids");
    assert!(beside.exists());
}

#[test]
fn ids_of_all_allowed_characters_are_accepted() {
    need_root!();
    let bundle = sound();
    for id in ["A-Za_z0.9+x", "...", "0", &"a".repeat(255)] {
        bundle.ferrun(&["run", "--bundle", bundle.dir.to_str().unwrap(), id]).ok();
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn an_id_that_exists_is_refused_and_its_container_untouched() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.create().ok();
    let before = bundle.state();
    bundle.create().refused("container with given ID already exists");
    bundle.run().refused("container with given ID already exists");
    assert_eq!(bundle.state(), before);
    assert!(!bundle.cgroups().is_empty());
    bundle.start().ok();
}

#[test]
fn a_second_start_is_refused() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.create().ok();
    bundle.start().ok();
    bundle.start().refused("cannot start an already running container");
    assert_eq!(bundle.status(), "running");
}

#[test]
fn kill_of_a_stopped_container_is_refused() {
    need_root!();
    let bundle = sound();
    bundle.run_with(&["--keep"]).ok();
    bundle.on("kill", &["KILL"]).refused("container not running");
}

#[test]
fn delete_of_a_running_container_is_refused() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.run_detached().ok();
    bundle.on("delete", &[]).refused(&format!("cannot delete container {} that is not stopped: running", bundle.id));
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_container_that_is_missing_is_told_by_every_command_but_a_forced_delete() {
    need_root!();
    let bundle = sound();
    for verb in ["state", "start", "kill", "delete"] {
        bundle.on(verb, &[]).refused("does not exist");
    }
    let done = bundle.delete_force();
    assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (0, "", ""), "delete --force");
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn an_unknown_signal_is_refused() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.run_detached().ok();
    for signal in ["", "SIG", "NOTHING", "65", "-1", "9 ", "SIGSIGKILL"] {
        bundle.on("kill", &[signal]).fails("");
    }
    assert_eq!(bundle.status(), "running");
}

#[test]
fn ids_that_the_kernel_reads_as_unchanged_are_refused() {
    need_root!();
    for pointer in ["/process/user/uid", "/process/user/gid"] {
        refused_at(pointer, json!(4294967295u32));
    }
    let bundle = sound().set("/process/user/additionalGids", json!([5, 4294967295u32]));
    refused(&bundle, "/process/user/additionalGids/1");
}

#[test]
fn values_out_of_range_are_refused() {
    need_root!();
    for (pointer, value) in [
        ("/process/cwd", json!("tmp")),
        ("/process/env/0", json!("NOVALUE")),
        ("/process/env/0", json!("=x")),
        ("/process/args/0", json!("a\0b")),
        ("/process/oomScoreAdj", json!(1001)),
        ("/process/user/umask", json!(0o10000)),
        ("/process/rlimits/0", json!({"type": "RLIMIT_CORE", "soft": 2, "hard": 1})),
        ("/process/rlimits/1", json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1})),
        ("/mounts/1/type", json!(null)),
        ("/linux/namespaces/6", json!({"type": "network"})),
        ("/hostname", json!("a".repeat(65))),
        ("/linux/maskedPaths/0", json!("proc/kcore")),
        ("/linux/rootfsPropagation", json!("rsharedd")),
        ("/linux/readonlyPaths/0", json!("proc/sys")),
        ("/domainname", json!("a".repeat(65))),
    ] {
        refused_at(pointer, value);
    }
    let data = sound().set("/mounts/0/options", json!(["nodev", "bind", "size=1"]));
    assert_eq!(data.run().error().place, format!("config.json:{}", data.line_of("/mounts/0/options/2")));
    refused(&data, "/mounts/0/options/2");
    for (key, wrong) in [("access", json!("rx")), ("type", json!("x")), ("major", json!(-2))] {
        let pointer = format!("/linux/resources/devices/0/{key}");
        refused(&sound().set(&pointer, wrong), &pointer);
    }
    let without_uts = sound().set("/linux/namespaces", json!([{"type": "mount"}]));
    refused(&without_uts, "/hostname");
}

#[test]
fn scheduling_that_the_kernel_would_refuse_or_pass_over_is_refused() {
    need_root!();
    for (pointer, value) in [
        ("/process/scheduler/policy", json!("SCHED_NORMAL")),
        ("/process/scheduler", json!({"nice": 1})),
        ("/process/scheduler/flags", json!(["SCHED_RESET_ON_FORK"])),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20})),
        ("/process/scheduler", json!({"policy": "SCHED_FIFO"})),
        ("/process/scheduler", json!({"policy": "SCHED_RR", "priority": 100})),
        ("/process/scheduler", json!({"policy": "SCHED_BATCH", "priority": 1})),
        ("/process/scheduler", json!({"policy": "SCHED_IDLE", "runtime": 1})),
        ("/process/scheduler", json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1999})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_NONE", "priority": 0})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
        ("/process/execCPUAffinity/initial", json!("0-")),
        ("/process/execCPUAffinity/final", json!("3-1")),
        ("/process/execCPUAffinity/final", json!("99999")),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_NONE"})),
        ("/linux/memoryPolicy", json!({"nodes": "0"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL", "nodes": "0"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "a"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F"]})),
        ("/linux/personality", json!({"domain": "BSD"})),
        ("/linux/personality", json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]})),
    ] {
        refused_below(pointer, value);
    }
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    need_root!();
    for (name, escaped) in [
        ("kernel.core_pattern", "kernel.core_pattern"),
        ("vm/swappiness", "vm~1swappiness"),
        ("kernel.hostname", "kernel.hostname"),
        ("net/../kernel/core_pattern", "net~1..~1kernel~1core_pattern"),
        ("net.//.kernel", "net.~1~1.kernel"),
        ("net.ipv4..x", "net.ipv4..x"),
        ("net/", "net~1"),
        ("", ""),
        ("user.max_user_namespaces", "user.max_user_namespaces"),
    ] {
        let bundle = sound().with(|config| config["linux"]["sysctl"] = json!({ name: "1" }));
        let pointer = format!("/linux/sysctl/{escaped}");
        assert_eq!(bundle.run().error().place, format!("config.json:{}", bundle.line_of(&pointer)));
        refused(&bundle, &pointer);
    }
    for (name, kind) in [("net.ipv4.ip_forward", "network"), ("kernel.sem", "ipc"), ("kernel.domainname", "uts")] {
        let bundle = sound().set("/hostname", json!("")).with(|config| {
            config["linux"]["sysctl"] = json!({ name: "1" });
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
        });
        refused(&bundle, &format!("/linux/sysctl/{name}"));
    }
    let twice = json!({ "net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0" });
    refused(&sound().set("/linux/sysctl", twice), "/linux/sysctl/net~1ipv4~1ip_forward");
    let value = sound().set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "many" }));
    refused(&value, "EINVAL /linux/sysctl/net.ipv4.ip_forward");
    let without_uts = sound().set("/hostname", json!("")).set("/domainname", json!("a.b"));
    let without_uts = without_uts.set("/linux/namespaces", json!([{"type": "mount"}]));
    refused(&without_uts, "/domainname");
}

#[test]
fn what_this_host_has_not_is_refused() {
    need_root!();
    let there = |path: &str| std::path::Path::new(path).exists();
    for (pointer, value, has) in [
        ("/process/apparmorProfile", json!("profile"), "/sys/module/apparmor"),
        ("/process/selinuxLabel", json!("u:r:t:s0"), "/sys/fs/selinux/enforce"),
        ("/linux/mountLabel", json!("u:r:t:s0"), "/sys/fs/selinux/enforce"),
        ("/linux/intelRdt", json!({"closID": "a"}), "/sys/fs/resctrl/tasks"),
    ] {
        match there(has) {
            true => skip(&format!("this host has {has}")),
            false => refused_at(pointer, value),
        }
    }
}

#[test]
fn classes_of_service_that_cannot_be_are_refused() {
    need_root!();
    for (pointer, value) in [
        ("/linux/intelRdt/closID", json!("..")),
        ("/linux/intelRdt/closID", json!("a/b")),
        ("/linux/intelRdt/closID", json!("info")),
        ("/linux/intelRdt/l3CacheSchema", json!("L3:0=f\nL3:1=f")),
        ("/linux/intelRdt/memBwSchema", json!("L3:0=f")),
        ("/linux/intelRdt/schemata", json!(["a\nb"])),
    ] {
        refused_below(pointer, value);
    }
}

#[test]
fn systemd_has_paths_of_its_own() {
    need_root!();
    let bundle = sound();
    let dir = bundle.dir.to_str().unwrap();
    for (global, reason) in [
        (&["--systemd-cgroup"][..], "/linux/cgroupsPath"),
        (&["--cgroup-manager", "systemd"], "/linux/cgroupsPath"),
        (&["--systemd-cgroup", "--cgroup-manager", "cgroupfs"], ""),
    ] {
        bundle.ferrun(&[global, &["run", "--bundle", dir, &bundle.id]].concat()).fails(reason);
    }
    bundle.assert_nothing_left("run");
}

/// What engines write for "not set" is no request.
#[test]
fn empty_values_of_what_is_not_supported_are_accepted() {
    need_root!();
    for (pointer, nothing) in [
        ("/hooks", json!({})),
        ("/hooks", json!({"prestart": [], "poststop": null})),
        ("/linux/seccomp", json!(null)),
        ("/linux/resources/memory", json!({})),
        ("/linux/resources/pids", json!({"limit": null})),
        ("/linux/sysctl", json!({})),
        ("/linux/devices", json!([])),
        ("/linux/uidMappings", json!(null)),
        ("/linux/rootfsPropagation", json!("")),
        ("/process/apparmorProfile", json!("")),
        ("/process/rlimits", json!(null)),
        ("/unknown", json!({"anything": [1]})),
        ("/linux/unknown", json!(true)),
    ] {
        let done = sound().set(pointer, nothing).run();
        assert_eq!(done.status, 0, "{pointer}: {done:?}");
    }
}

/// The init fails while the parent still makes the cgroups, or just after: whoever is first, the reason is told.
#[test]
fn the_reason_of_an_early_failure_is_never_lost() {
    need_root!();
    let mount = sound().set("/mounts/0", json!({"destination": "/tmp", "type": "nonesuch"}));
    let source = sound().set("/mounts/0", json!({"destination": "/tmp", "type": "bind", "source": "/nowhere"}));
    for _ in 0..20 {
        mount.run().fails("ENODEV /mounts/0");
        source.run().fails("ENOENT /mounts/0");
    }
}

/// The bundle with a file in its root that it runs, by path.
fn program(contents: &[u8], mode: u32) -> Bundle {
    let bundle = Bundle::new(&["/bin/program"]);
    let path = bundle.rootfs().join("bin/program");
    std::fs::write(&path, contents).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    bundle
}

/// Fails unless `run` is refused for this reason, and `create` accepts the program and `start` is refused
/// for it; the container is stopped then and can be deleted.
#[track_caller]
fn refused_by_start(bundle: &Bundle, reason: &str) {
    bundle.run().fails(reason);
    bundle.assert_nothing_left("run");
    bundle.create().ok();
    bundle.start().fails(reason);
    bundle.wait_for("stopped");
    bundle.start().refused("cannot start a container that has stopped");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn a_program_that_is_missing() {
    need_root!();
    let by_name = Bundle::new(&["nonesuch"]);
    refused(&by_name, "/process/args");
    by_name.run().refused("exec: \"nonesuch\": executable file not found in $PATH");
    let words = "exec: \"/bin/nonesuch\": no such file or directory\n";
    let bundle = Bundle::new(&["/bin/nonesuch"]);
    refused(&bundle, "ENOENT /process/args");
    for flag in ["--detach", "--keep"] {
        bundle.run_with(&[flag]).refused(words);
        bundle.assert_nothing_left(flag);
    }
    refused(&Bundle::new(&["./bin/nonesuch"]), "ENOENT /process/args");
}

/// The message is longer than what most channels take at once.
#[test]
fn a_program_that_is_missing_and_has_a_very_long_name() {
    need_root!();
    let bundle = Bundle::new(&[&"a".repeat(100_000)]);
    for done in [bundle.run(), bundle.create()] {
        assert_eq!(done.error_in_any_words().pointer, "/process/args", "{done:?}");
        bundle.assert_nothing_left("a long name");
    }
}

#[test]
fn a_program_that_is_a_directory() {
    need_root!();
    let directory = Bundle::new(&["/etc"]);
    refused(&directory, "EACCES /process/args");
    directory.run().refused("exec: \"/etc\": is a directory");
    let in_path = Bundle::new(&["tmp"]).set("/process/env/0", json!("PATH=/"));
    refused(&in_path, "/process/args");
    in_path.run().refused("exec: \"tmp\": executable file not found in $PATH");
}

#[test]
fn a_program_that_is_not_executable() {
    need_root!();
    let nobodys = program(b"#!/bin/sh\n", 0o644);
    refused(&nobodys, "EACCES /process/args");
    nobodys.run().refused("exec: \"/bin/program\": permission denied");
    let anothers = program(b"#!/bin/sh\n", 0o700).set("/process/user/uid", json!(1000));
    refused(&anothers, "EACCES /process/args");
}

#[test]
fn a_program_of_a_foreign_architecture() {
    need_root!();
    let machine: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    let mut busybox = std::fs::read("/bin/busybox").unwrap();
    busybox[18..20].copy_from_slice(&machine.to_le_bytes());
    refused_by_start(&program(&busybox, 0o755), "ENOEXEC /process/args");
}

#[test]
fn a_file_that_is_no_program() {
    need_root!();
    refused_by_start(&program(b"", 0o755), "ENOEXEC /process/args");
    refused_by_start(&program(b"echo hello\n", 0o755), "ENOEXEC /process/args");
}

#[test]
fn a_script_whose_interpreter_is_missing() {
    need_root!();
    refused_by_start(&program(b"#!/bin/python -u\n", 0o755), "ENOENT /process/args");
    refused_by_start(&program(b"#!/bin/sh\r\necho\r\n", 0o755), "ENOENT /process/args");
    // Where no file may be written the reason is told, too.
    let limit = json!([{ "type": "RLIMIT_FSIZE", "soft": 0, "hard": 0 }]);
    refused_by_start(&program(b"#!/bin/python\n", 0o755).set("/process/rlimits", limit), "ENOENT /process/args");
    let by_name = program(b"#!/bin/python\n", 0o755).set("/process/args/0", json!("program"));
    refused_by_start(&by_name, "ENOENT /process/args");
}

#[test]
fn a_program_whose_dynamic_linker_is_missing() {
    need_root!();
    let env = std::fs::read("/usr/bin/env").unwrap_or_default();
    let head = String::from_utf8_lossy(&env[..env.len().min(4096)]).into_owned();
    if !head.contains("/ld-linux") {
        return skip("this test needs a dynamically linked /usr/bin/env");
    }
    refused_by_start(&program(&env, 0o755), "ENOENT /process/args");
    let unreadable = program(&env, 0o711).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    refused_by_start(&unreadable, "ENOENT /process/args");
}
