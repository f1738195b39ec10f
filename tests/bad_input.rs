//! Everything that a caller or an author of a config.json can get wrong: each is refused with status 1 and
//! words that say what is wrong and where, and nothing of the container is left behind.

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};

use common::{Bundle, Done, skip};
use serde_json::{Value, json};

/// A bundle that would run.
fn sound() -> Bundle {
    Bundle::new(&["true"])
}

/// Fails unless it was refused in ferrun's own voice with all of these words.
#[track_caller]
fn said(done: &Done, words: &[&str]) {
    words.iter().for_each(|words| done.refused(words));
    assert!(done.stderr.starts_with("ferrun: "), "{done:?}");
}

/// Fails unless `run` and `create` both refuse the bundle with these words and leave nothing.
#[track_caller]
fn refused(bundle: &Bundle, words: &[&str]) {
    said(&bundle.run(), words);
    bundle.assert_nothing_left("run");
    said(&bundle.create(), words);
    bundle.assert_nothing_left("create");
}

/// Fails unless the bundle is refused with that value at that pointer: with the words, the pointer and its line.
#[track_caller]
fn refused_at(pointer: &str, value: Value, words: &str) {
    let bundle = sound().set(pointer, value);
    let place = format!("config.json:{} {pointer}\n", bundle.line_of(pointer));
    refused(&bundle, &[words, &place]);
}

#[test]
fn a_bundle_that_is_not_there() {
    need_root!();
    let bundle = sound();
    for verb in ["run", "create", "explain"] {
        let missing = bundle.dir.join("nowhere");
        let mut args = vec![verb, "--bundle", missing.to_str().unwrap()];
        args.extend((verb != "explain").then_some(bundle.id.as_str()));
        said(&bundle.ferrun(&args), &["bundle", "nowhere", "no such file or directory"]);
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
    refused(&bundle, &["config.json\": no such file or directory"]);
    std::fs::create_dir(bundle.dir.join("config.json")).unwrap();
    refused(&bundle, &["config.json\": is a directory"]);
}

#[test]
fn the_bundle_is_the_working_directory_unless_it_is_named() {
    need_root!();
    let bundle = sound();
    let elsewhere = bundle.command(&["run", &bundle.id]).current_dir(bundle.rootfs()).output().unwrap();
    said(&Done::new(elsewhere), &["rootfs/config.json\": no such file or directory"]);
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
        let place = format!("line {line}, column {column}");
        refused(&bundle, &["config.json is not valid JSON", &place, &format!("config.json:{line}\n")]);
    }
}

#[test]
fn a_config_that_is_no_object_is_refused() {
    need_root!();
    let bundle = sound();
    for text in ["null", "[]", "\"x\"", "1", "[\"1.3.0\"]"] {
        std::fs::write(bundle.dir.join("config.json"), text).unwrap();
        refused(&bundle, &["config.json:1"]);
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
        refused_at("/ociVersion", json!(version), "is not supported");
    }
    let last = sound();
    std::fs::write(last.dir.join("config.json"), "{\n  \"ociVersion\": \"2.0.0\"\n}\n").unwrap();
    refused(&last, &["is not supported", "config.json:2 /ociVersion\n"]);
    let none = sound().with(|config| drop(config.as_object_mut().unwrap().remove("ociVersion")));
    refused(&none, &["missing field `ociVersion`"]);
}

#[test]
fn a_container_without_a_program_is_refused() {
    need_root!();
    refused_at("/process/args", json!([]), "args must not be empty");
    refused_at("/process/args", json!(null), "args must not be empty");
    refused_at("/process/args/0", json!(""), "must not be empty");
    let none = sound().with(|config| drop(config.as_object_mut().unwrap().remove("process")));
    // It can be created (tests/lifecycle.rs), but not run.
    none.run().refused("process must be set");
    none.assert_nothing_left("run");
}

#[test]
fn a_rootfs_that_is_no_directory_is_refused() {
    need_root!();
    refused_at("/root/path", json!("nowhere"), "nowhere\": no such file or directory");
    refused_at("/root/path", json!("config.json"), "is not a directory");
    refused_at("/root/path", json!(""), "root.path must not be empty");
    let none = sound().with(|config| drop(config.as_object_mut().unwrap().remove("root")));
    refused(&none, &["root must not be empty", "/root"]);
}

#[test]
fn a_rootfs_that_is_a_symlink_is_refused() {
    need_root!();
    // A slash at the end makes the kernel follow the link.
    for path in ["link", "./link", "link/", "link//"] {
        let bundle = sound().set("/root/path", json!(path));
        symlink("rootfs", bundle.dir.join("link")).unwrap();
        refused(&bundle, &["is a symlink", "/root/path"]);
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
            said(&done, &["container", if id.is_empty() { "cannot be empty" } else { "invalid container ID format" }]);
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
    said(&bundle.create(), &["container with given ID already exists"]);
    said(&bundle.run(), &["container with given ID already exists"]);
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
    said(&bundle.start(), &["cannot start an already running container"]);
    assert_eq!(bundle.status(), "running");
}

#[test]
fn kill_of_a_stopped_container_is_refused() {
    need_root!();
    let bundle = sound();
    bundle.run_with(&["--keep"]).ok();
    said(&bundle.on("kill", &["KILL"]), &["container not running"]);
}

#[test]
fn delete_of_a_running_container_is_refused() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "100"]);
    bundle.run_detached().ok();
    said(&bundle.on("delete", &[]), &["cannot delete container", "that is not stopped: running"]);
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_container_that_is_missing_is_told_by_every_command_but_a_forced_delete() {
    need_root!();
    let bundle = sound();
    for verb in ["state", "start", "kill", "delete"] {
        said(&bundle.on(verb, &[]), &["does not exist"]);
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
        said(&bundle.on("kill", &[signal]), &["unknown signal"]);
    }
    assert_eq!(bundle.status(), "running");
}

#[test]
fn ids_that_the_kernel_reads_as_unchanged_are_refused() {
    need_root!();
    for pointer in ["/process/user/uid", "/process/user/gid"] {
        refused_at(pointer, json!(4294967295u32), "4294967295 is no id");
    }
    let bundle = sound().set("/process/user/additionalGids", json!([5, 4294967295u32]));
    refused(&bundle, &["4294967295 is no id", "/process/user/additionalGids/1"]);
}

#[test]
fn values_out_of_range_are_refused() {
    need_root!();
    for (pointer, value, words) in [
        ("/process/cwd", json!("tmp"), "is not an absolute path"),
        ("/process/env/0", json!("NOVALUE"), "is not NAME=value"),
        ("/process/env/0", json!("=x"), "is not NAME=value"),
        ("/process/args/0", json!("a\0b"), "NUL"),
        ("/process/oomScoreAdj", json!(1001), "not between -1000 and 1000"),
        ("/process/user/umask", json!(0o10000), "umask"),
        ("/process/rlimits/0", json!({"type": "RLIMIT_CORE", "soft": 2, "hard": 1}), "above the hard limit"),
        ("/process/rlimits/1", json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}), "listed twice"),
        ("/mounts/1/type", json!(null), "needs a type"),
        ("/linux/namespaces/6", json!({"type": "network"}), "listed twice"),
        ("/hostname", json!("a".repeat(65)), "hostname"),
        ("/linux/maskedPaths/0", json!("proc/kcore"), "is not an absolute path"),
        (
            "/linux/rootfsPropagation",
            json!("rsharedd"),
            "private, rprivate, rshared, rslave, runbindable, shared, slave",
        ),
        ("/linux/readonlyPaths/0", json!("proc/sys"), "is not an absolute path"),
        ("/domainname", json!("a".repeat(65)), "a name of 65 bytes, of which Linux takes 64"),
    ] {
        refused_at(pointer, value, words);
    }
    let data = sound().set("/mounts/0/options", json!(["nodev", "bind", "size=1"]));
    let place = format!("config.json:{} /mounts/0/options/2\n", data.line_of("/mounts/0/options/2"));
    refused(&data, &["bind mount", &place]);
    for (key, wrong) in [("access", json!("rx")), ("type", json!("x")), ("major", json!(-2))] {
        let bundle = sound().set(&format!("/linux/resources/devices/0/{key}"), wrong);
        refused(&bundle, &["device", " /linux/resources/devices/0"]);
    }
    let without_uts = sound().set("/linux/namespaces", json!([{"type": "mount"}]));
    refused(&without_uts, &["hostname", "UTS", "/hostname"]);
}

#[test]
fn scheduling_that_the_kernel_would_refuse_or_pass_over_is_refused() {
    need_root!();
    for (pointer, value, words) in [
        ("/process/scheduler/policy", json!("SCHED_NORMAL"), "expected one of `SCHED_OTHER`, `SCHED_FIFO`"),
        ("/process/scheduler", json!({"nice": 1}), "missing field `policy`"),
        ("/process/scheduler/flags", json!(["SCHED_RESET_ON_FORK"]), "`SCHED_FLAG_RESET_ON_FORK`"),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20}), "between -20 and 19"),
        ("/process/scheduler", json!({"policy": "SCHED_FIFO"}), "between 1 and 99"),
        ("/process/scheduler", json!({"policy": "SCHED_RR", "priority": 100}), "between 1 and 99"),
        ("/process/scheduler", json!({"policy": "SCHED_BATCH", "priority": 1}), "have a priority"),
        ("/process/scheduler", json!({"policy": "SCHED_IDLE", "runtime": 1}), "has a runtime"),
        ("/process/scheduler", json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1999}), "<= deadline"),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_NONE", "priority": 0}), "`IOPRIO_CLASS_IDLE`"),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8}), "between 0 and 7"),
        ("/process/execCPUAffinity/initial", json!("0-"), "is no number"),
        ("/process/execCPUAffinity/final", json!("3-1"), "goes backwards"),
        ("/process/execCPUAffinity/final", json!("99999"), "is no number from 0 to 65535"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_NONE"}), "`MPOL_WEIGHTED_INTERLEAVE`"),
        ("/linux/memoryPolicy", json!({"nodes": "0"}), "missing field `mode`"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND"}), "at least one node"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "takes no nodes"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "a"}), "is no number"),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F"]}),
            "`MPOL_F_STATIC_NODES`",
        ),
        ("/linux/personality", json!({"domain": "BSD"}), "`LINUX32`"),
        ("/linux/personality", json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}), "is no flag"),
    ] {
        refused(&sound().set(pointer, value), &[words, "config.json:", pointer]);
    }
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    need_root!();
    for (name, escaped, words) in [
        ("kernel.core_pattern", "kernel.core_pattern", "belongs to no namespace"),
        ("vm/swappiness", "vm~1swappiness", "belongs to no namespace"),
        ("kernel.hostname", "kernel.hostname", "set hostname instead"),
        ("net/../kernel/core_pattern", "net~1..~1kernel~1core_pattern", "is no name of a kernel parameter"),
        ("net.//.kernel", "net.~1~1.kernel", "is no name of a kernel parameter"),
        ("net.ipv4..x", "net.ipv4..x", "is no name of a kernel parameter"),
        ("net/", "net~1", "is no name of a kernel parameter"),
        ("", "", "is no name of a kernel parameter"),
        ("user.max_user_namespaces", "user.max_user_namespaces", "has no user namespace"),
    ] {
        let bundle = sound().with(|config| config["linux"]["sysctl"] = json!({ name: "1" }));
        let line = bundle.line_of(&format!("/linux/sysctl/{escaped}"));
        refused(&bundle, &[words, &format!("config.json:{line} /linux/sysctl/{escaped}\n")]);
    }
    for (name, kind) in [("net.ipv4.ip_forward", "network"), ("kernel.sem", "ipc"), ("kernel.domainname", "uts")] {
        let bundle = sound().set("/hostname", json!("")).with(|config| {
            config["linux"]["sysctl"] = json!({ name: "1" });
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
        });
        refused(&bundle, &[&format!("has no {kind} namespace"), name]);
    }
    let twice = json!({ "net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0" });
    refused(&sound().set("/linux/sysctl", twice), &["is listed twice"]);
    let value = sound().set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "many" }));
    refused(&value, &["invalid argument", "/linux/sysctl/net.ipv4.ip_forward"]);
    let without_uts = sound().set("/hostname", json!("")).set("/domainname", json!("a.b"));
    let without_uts = without_uts.set("/linux/namespaces", json!([{"type": "mount"}]));
    refused(&without_uts, &["domainname", "UTS", "/domainname"]);
}

#[test]
fn what_this_host_has_not_is_refused() {
    need_root!();
    let there = |path: &str| std::path::Path::new(path).exists();
    for (pointer, value, words, has) in [
        ("/process/apparmorProfile", json!("profile"), "AppArmor is not enabled", "/sys/module/apparmor"),
        ("/process/selinuxLabel", json!("u:r:t:s0"), "SELinux is not enabled", "/sys/fs/selinux/enforce"),
        ("/linux/mountLabel", json!("u:r:t:s0"), "SELinux is not enabled", "/sys/fs/selinux/enforce"),
        (
            "/linux/intelRdt",
            json!({"closID": "a"}),
            "resctrl file system, which is not mounted",
            "/sys/fs/resctrl/tasks",
        ),
    ] {
        match there(has) {
            true => skip(&format!("this host has {has}")),
            false => refused_at(pointer, value, words),
        }
    }
}

#[test]
fn classes_of_service_that_cannot_be_are_refused() {
    need_root!();
    for (pointer, value, words) in [
        ("/linux/intelRdt/closID", json!(".."), "is no name"),
        ("/linux/intelRdt/closID", json!("a/b"), "is no name"),
        ("/linux/intelRdt/closID", json!("info"), "is no name"),
        ("/linux/intelRdt/l3CacheSchema", json!("L3:0=f\nL3:1=f"), "is one line"),
        ("/linux/intelRdt/memBwSchema", json!("L3:0=f"), "must start with MB:"),
        ("/linux/intelRdt/schemata", json!(["a\nb"]), "is one line"),
    ] {
        refused(&sound().set(pointer, value), &[words, "config.json:", pointer]);
    }
}

#[test]
fn systemd_has_paths_of_its_own() {
    need_root!();
    let bundle = sound();
    let dir = bundle.dir.to_str().unwrap();
    for (global, word) in [
        (&["--systemd-cgroup"][..], "is not slice:prefix:name"),
        (&["--cgroup-manager", "systemd"], "is not slice:prefix:name"),
        (&["--systemd-cgroup", "--cgroup-manager", "cgroupfs"], "two managers"),
    ] {
        said(&bundle.ferrun(&[global, &["run", "--bundle", dir, &bundle.id]].concat()), &[word]);
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
        said(&mount.run(), &["no such device", "/mounts/0"]);
        said(&source.run(), &["/nowhere", "no such file or directory", "/mounts/0"]);
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

/// Fails unless `run` is refused with these words, and `create` accepts the program and `start` is refused
/// with them; the container is stopped then and can be deleted.
#[track_caller]
fn refused_by_start(bundle: &Bundle, words: &[&str]) {
    said(&bundle.run(), words);
    bundle.assert_nothing_left("run");
    bundle.create().ok();
    said(&bundle.start(), words);
    bundle.wait_for("stopped");
    said(&bundle.start(), &["cannot start a container that has stopped"]);
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

#[test]
fn a_program_that_is_missing() {
    need_root!();
    refused(&Bundle::new(&["nonesuch"]), &["exec: \"nonesuch\": executable file not found in $PATH", "/process/args"]);
    let words = "exec: \"/bin/nonesuch\": no such file or directory\n";
    let bundle = Bundle::new(&["/bin/nonesuch"]);
    refused(&bundle, &[words, "/process/args"]);
    for flag in ["--detach", "--keep"] {
        said(&bundle.run_with(&[flag]), &[words]);
        bundle.assert_nothing_left(flag);
    }
    refused(&Bundle::new(&["./bin/nonesuch"]), &["no such file or directory\n", "/process/args"]);
}

/// The message is longer than what most channels take at once.
#[test]
fn a_program_that_is_missing_and_has_a_very_long_name() {
    need_root!();
    refused(&Bundle::new(&[&"a".repeat(100_000)]), &["ferrun: exec: \"", "/process/args"]);
}

#[test]
fn a_program_that_is_a_directory() {
    need_root!();
    refused(&Bundle::new(&["/etc"]), &["exec: \"/etc\": is a directory", "/process/args"]);
    let in_path = Bundle::new(&["tmp"]).set("/process/env/0", json!("PATH=/"));
    refused(&in_path, &["exec: \"tmp\": executable file not found in $PATH"]);
}

#[test]
fn a_program_that_is_not_executable() {
    need_root!();
    refused(
        &program(b"#!/bin/sh\n", 0o644),
        &["exec: \"/bin/program\": permission denied", "execute permission", "/process/args"],
    );
    let anothers = program(b"#!/bin/sh\n", 0o700).set("/process/user/uid", json!(1000));
    refused(&anothers, &["exec: \"/bin/program\": permission denied", "/process/args"]);
}

#[test]
fn a_program_of_a_foreign_architecture() {
    need_root!();
    let (machine, name) = if cfg!(target_arch = "aarch64") { (62u16, "x86_64") } else { (183, "aarch64") };
    let mut busybox = std::fs::read("/bin/busybox").unwrap();
    busybox[18..20].copy_from_slice(&machine.to_le_bytes());
    let words = format!("is for {name}");
    refused_by_start(
        &program(&busybox, 0o755),
        &["exec: \"/bin/program\": exec format error", &words, "/process/args"],
    );
}

#[test]
fn a_file_that_is_no_program() {
    need_root!();
    refused_by_start(&program(b"", 0o755), &["exec format error", "the file is empty"]);
    refused_by_start(&program(b"echo hello\n", 0o755), &["exec format error", "begins with #!"]);
}

#[test]
fn a_script_whose_interpreter_is_missing() {
    need_root!();
    let words = "exec: \"/bin/program\": no such file or directory: the file is there, its interpreter \"/bin/python\" \
                 is not";
    refused_by_start(&program(b"#!/bin/python -u\n", 0o755), &[words, "/process/args"]);
    refused_by_start(&program(b"#!/bin/sh\r\necho\r\n", 0o755), &["its interpreter \"/bin/sh\\r\" is not", "CR LF"]);
    // Where no file may be written the reason is told, too.
    let limit = json!([{ "type": "RLIMIT_FSIZE", "soft": 0, "hard": 0 }]);
    refused_by_start(&program(b"#!/bin/python\n", 0o755).set("/process/rlimits", limit), &["\"/bin/python\" is not"]);
    let by_name = program(b"#!/bin/python\n", 0o755).set("/process/args/0", json!("program"));
    refused_by_start(&by_name, &["its interpreter \"/bin/python\" is not"]);
}

#[test]
fn a_program_whose_dynamic_linker_is_missing() {
    need_root!();
    let env = std::fs::read("/usr/bin/env").unwrap_or_default();
    let head = String::from_utf8_lossy(&env[..env.len().min(4096)]).into_owned();
    if !head.contains("/ld-linux") {
        return skip("this test needs a dynamically linked /usr/bin/env");
    }
    refused_by_start(&program(&env, 0o755), &["no such file or directory", "its interpreter \"/lib", "/process/args"]);
    let unreadable = program(&env, 0o711).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    refused_by_start(&unreadable, &["no such file or directory: the file is there, its interpreter is not"]);
}
