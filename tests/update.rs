//! `update`: what is given is changed and nothing else, and all of it or nothing.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::limits::{Files, all_limits, changed, expected, has_controller, is_v2, path_of, said};
use common::{Bundle, Done, skip, wait_until};
use serde_json::{Value, json};

/// A container that runs, with limits on most things.
fn running() -> Bundle {
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        let resources = &mut config["linux"]["resources"];
        resources["memory"] = json!({"limit": 64 << 20, "swap": 128 << 20});
        resources["cpu"] = json!({"shares": 512, "quota": 50_000, "period": 100_000});
        resources["pids"] = json!({"limit": 20});
    });
    bundle.run_detached().ok();
    bundle
}

/// `update --resources -` with a text on standard input.
fn update_with(bundle: &Bundle, resources: &Value) -> Done {
    let mut command = bundle.command(&["update", "--resources", "-", &bundle.id]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(serde_json::to_string_pretty(resources).unwrap().as_bytes()).unwrap();
    Done::new(child.wait_with_output().unwrap())
}

#[test]
fn each_flag_changes_its_file_and_no_other() {
    need_root!();
    let rows: &[(&[&str], Files, Files)] = &[
        (
            &["--memory", "96m"],
            &[("memory.limit_in_bytes", "100663296")],
            &[("memory.max", "100663296"), ("memory.swap.max", "33554432")],
        ),
        (
            &["--memory=32M", "--memory-swap", "0.125g"],
            &[("memory.limit_in_bytes", "33554432")],
            &[("memory.max", "33554432"), ("memory.swap.max", "100663296")],
        ),
        (
            &["--memory-swap", "-1"],
            &[("memory.memsw.limit_in_bytes", "9223372036854771712")],
            &[("memory.swap.max", "max")],
        ),
        (&["--memory-reservation", "1m"], &[("memory.soft_limit_in_bytes", "1048576")], &[("memory.low", "1048576")]),
        (&["--kernel-memory", "1m"], &[], &[]),
        (&["--kernel-memory-tcp", "1m"], &[("memory.kmem.tcp.limit_in_bytes", "1048576")], &[]),
        (&["--cpu-share", "1024"], &[("cpu.shares", "1024")], &[("cpu.weight", "100")]),
        (&["--cpu-quota", "20000"], &[("cpu.cfs_quota_us", "20000")], &[("cpu.max", "20000 100000")]),
        (&["--cpu-period", "40000"], &[("cpu.cfs_period_us", "40000")], &[("cpu.max", "50000 40000")]),
        (&["--cpu-quota", "-1"], &[("cpu.cfs_quota_us", "-1")], &[("cpu.max", "max 100000")]),
        (&["--cpu-burst", "10000"], &[("cpu.cfs_burst_us", "10000")], &[("cpu.max.burst", "10000")]),
        (&["--cpuset-cpus", "0"], &[("cpuset.cpus", "0")], &[("cpuset.cpus", "0")]),
        (&["--pids-limit", "7"], &[("pids.max", "7")], &[("pids.max", "7")]),
        (&["--pids-limit", "-1"], &[("pids.max", "max")], &[("pids.max", "max")]),
    ];
    for (flags, v1, v2) in rows {
        let bundle = running();
        let before = all_limits(&bundle);
        bundle.ferrun(&[&["update"], *flags, &[&bundle.id]].concat()).ok();
        let after = all_limits(&bundle);
        let files = expected(v1, v2);
        for (file, value) in files {
            assert_eq!(said(&bundle, file).as_deref(), Some(*value), "{flags:?}: {file}");
        }
        let mut names: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
        names.sort_unstable();
        assert_eq!(changed(&before, &after), names, "{flags:?}");
    }
}

#[test]
fn a_refusal_says_what_stands_in_the_way() {
    need_root!();
    let bundle = running();
    let update = |flags: &[&str]| bundle.ferrun(&[&["update"], flags, &[&bundle.id]].concat());
    if !is_v2() {
        for (flags, reason) in
            [(["--memory", "256m"], "EINVAL /memory/limit"), (["--memory-swap", "32m"], "EINVAL /memory/swap")]
        {
            update(&flags).fails(reason);
        }
    }
    let cpus = update(&["--cpuset-cpus", "4000"]);
    cpus.fails("ERANGE /cpu/cpus");
    update(&["--cpu-idle", "1"]).ok();
    update(&["--cpu-share", "300"]).fails("EINVAL /cpu/shares");
}

#[test]
fn flags_together_and_idle_and_real_time() {
    need_root!();
    let bundle = running();
    bundle.ferrun(&["update", "--memory", "-1", "--cpu-idle", "1", "--cpuset-mems", "0", &bundle.id]).ok();
    let (limit, swap) = if is_v2() {
        ("memory.max", "memory.swap.max")
    } else {
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    };
    let none = if is_v2() { "max" } else { "9223372036854771712" };
    // Without a limit of memory there is none of both either, as with runc.
    assert_eq!((said(&bundle, limit).as_deref(), said(&bundle, swap).as_deref()), (Some(none), Some(none)));
    assert_eq!(said(&bundle, "cpu.idle").as_deref(), Some("1"));
    bundle.ferrun(&["update", "--cpu-idle", "0", "--cpu-share", "300", &bundle.id]).ok();
    let shares = if is_v2() { ("cpu.weight", "39") } else { ("cpu.shares", "300") };
    assert_eq!(said(&bundle, shares.0).as_deref(), Some(shares.1));
    let real_time = bundle.ferrun(&["update", "--cpu-rt-period", "500000", "--cpu-rt-runtime", "1000", &bundle.id]);
    match said(&bundle, "cpu.rt_runtime_us") {
        Some(runtime) => assert_eq!((real_time.status, runtime.as_str()), (0, "1000"), "{real_time:?}"),
        None => assert_eq!(real_time.status, 1, "{real_time:?}"),
    }
}

#[test]
fn resources_come_from_a_file_or_from_standard_input() {
    need_root!();
    let bundle = running();
    let file = bundle.dir.join("resources.json");
    std::fs::write(&file, r#"{"pids": {"limit": 9}, "unknown": 1}"#).unwrap();
    bundle.ferrun(&["update", "-r", file.to_str().unwrap(), &bundle.id]).ok();
    assert_eq!(said(&bundle, "pids.max").as_deref(), Some("9"));
    // What docker sends: zeros for what is not changed. The flag beside it does nothing, as with runc.
    let docker = json!({"blockIO": {}, "cpu": {"shares": 0, "quota": 0, "period": 0}, "memory": {"limit": 0},
        "pids": {"limit": 8}});
    let before = all_limits(&bundle);
    update_with(&bundle, &docker).ok();
    assert_eq!(changed(&before, &all_limits(&bundle)), ["pids.max"]);
    bundle.ferrun(&["update", "-r", file.to_str().unwrap(), "--pids-limit", "3", &bundle.id]).ok();
    assert_eq!(said(&bundle, "pids.max").as_deref(), Some("9"));
    let nothing = bundle.ferrun(&["update", "-r", "/nowhere/at/all", &bundle.id]);
    nothing.fails("ENOENT");
}

#[test]
fn a_refused_update_leaves_all_as_it_was_and_says_which_write_failed() {
    need_root!();
    let bundle = running();
    let before = all_limits(&bundle);
    let gone = json!([{"major": 4000, "minor": 7, "rate": 1}]);
    let done = update_with(
        &bundle,
        &json!({
            "memory": {"limit": 200 << 20, "swap": 400 << 20, "reservation": 5 << 20},
            "cpu": {"shares": 99, "quota": 7000, "period": 30_000, "cpus": "0", "idle": 1, "burst": 100},
            "pids": {"limit": 3},
            "blockIO": {"throttleWriteIOPSDevice": gone.clone()},
        }),
    );
    done.fails("ENODEV /blockIO/throttleWriteIOPSDevice/0");
    let after = all_limits(&bundle);
    assert_eq!(changed(&before, &after), Vec::<String>::new());

    // Going idle makes the kernel forget the shares.
    update_with(&bundle, &json!({"cpu": {"idle": 1}, "blockIO": {"throttleWriteIOPSDevice": gone}}))
        .fails("ENODEV /blockIO/throttleWriteIOPSDevice/0");
    assert_eq!(changed(&before, &all_limits(&bundle)), Vec::<String>::new());

    // A refusal before the first write.
    for (resources, pointer) in [
        (json!({"memory": {"limit": -5}}), "/memory/limit"),
        (json!({"memory": {"limit": 100, "swap": 50}}), "/memory/swap"),
        (json!({"pids": {"limit": "many"}}), "/pids/limit"),
        (json!({"cpu": {"idle": 7}}), "/cpu/idle"),
        (json!([]), ""),
    ] {
        let done = update_with(&bundle, &resources);
        done.fails(pointer);
        assert!(done.error().place.starts_with("-:"), "{done:?}");
    }
    for (flag, value) in [("--memory", "much"), ("--cpu-quota", "x"), ("--pids-limit", ""), ("--blkio-weight", "5")] {
        let done = bundle.ferrun(&["update", flag, value, &bundle.id]);
        assert_eq!(done.status, 1, "{done:?}");
    }
    assert_eq!(changed(&before, &all_limits(&bundle)), Vec::<String>::new());
}

#[test]
fn a_limit_below_what_is_in_use_can_be_refused() {
    need_root!();
    let bundle = running();
    let before = all_limits(&bundle);
    // v1 refuses by itself what it cannot free; v2 would kill.
    let done = update_with(&bundle, &json!({"memory": {"limit": 4096, "swap": 4096, "checkBeforeUpdate": true}}));
    done.fails(if is_v2() { "/memory/swap" } else { "EBUSY /memory/limit" });
    assert_eq!(changed(&before, &all_limits(&bundle)), Vec::<String>::new());
    assert_eq!(bundle.status(), "running");
}

#[test]
fn created_and_frozen_containers_are_updated_and_stopped_ones_are_not() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let update = |limit: &str| bundle.ferrun(&["update", "--pids-limit", limit, &bundle.id]);
    update("5").refused("container does not exist");
    bundle.create().ok();
    update("6").ok();
    assert_eq!(said(&bundle, "pids.max").as_deref(), Some("6"));
    bundle.start().ok();
    let (file, frozen, thawed) =
        if is_v2() { ("cgroup.freeze", "1", "0") } else { ("freezer.state", "FROZEN", "THAWED") };
    let freezer = path_of(&bundle, file);
    std::fs::write(&freezer, frozen).unwrap();
    update("7").ok();
    std::fs::write(&freezer, thawed).unwrap();
    assert_eq!(said(&bundle, "pids.max").as_deref(), Some("7"));
    bundle.ferrun(&["kill", &bundle.id, "KILL"]).ok();
    bundle.wait_for("stopped");
    update("8").refused("container not running");
    assert_eq!(said(&bundle, "pids.max").as_deref(), Some("7"));
}

#[test]
fn a_container_without_cgroups_cannot_be_limited() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let dir = bundle.dir.to_str().unwrap();
    bundle.bounded(&["--cgroup-manager", "disabled", "create", "--bundle", dir, &bundle.id]).ok();
    let done = bundle.ferrun(&["update", "--pids-limit", "5", &bundle.id]);
    done.fails("");
}

#[test]
fn classes_of_service_need_resctrl() {
    need_root!();
    if std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        return skip("this host has resctrl");
    }
    let bundle = running();
    for flag in ["--l3-cache-schema=L3:0=f", "--mem-bw-schema=MB:0=20"] {
        let before = all_limits(&bundle);
        bundle.ferrun(&["update", flag, "--pids-limit", "5", &bundle.id]).fails("");
        assert_eq!(changed(&before, &all_limits(&bundle)), Vec::<String>::new());
    }
}

/// fuse, 10:229, is in nobody's default list.
#[test]
fn device_rules_are_replaced() {
    need_root!();
    let script = "mknod /tmp/fuse c 10 229; mkdir /tmp/go
        for turn in 1 2 3 4; do
            until [ -e /tmp/go/$turn ]; do sleep 0.02; done
            if (: < /tmp/fuse) 2>/tmp/error || ! grep -q 'not permitted' /tmp/error
            then echo allowed > /tmp/said.$turn; else echo denied > /tmp/said.$turn; fi
        done; sleep 1000";
    let fuse = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"});
    let bundle = Bundle::sh(script).with(|config| {
        config["root"]["readonly"] = json!(false);
        config["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}, fuse]);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push("CAP_MKNOD".into());
        }
    });
    bundle.run_detached().ok();
    let turn = |number: u32| {
        let tmp = bundle.rootfs().join("tmp");
        wait_until("the script", || tmp.join("go").exists());
        std::fs::write(tmp.join(format!("go/{number}")), "").unwrap();
        let said = || std::fs::read_to_string(tmp.join(format!("said.{number}"))).unwrap_or_default();
        wait_until("its answer", || said().ends_with('\n'));
        said().trim().to_owned()
    };
    let before = all_limits(&bundle);
    let nothing = json!([{"allow": false, "access": "rwm"}]);
    let both = json!([{"allow": false, "access": "rwm"}, fuse]);
    // Those of the config again, as engines give them with other limits, and then none of them.
    update_with(&bundle, &json!({"devices": both, "pids": {"limit": 50}})).ok();
    assert_eq!(changed(&before, &all_limits(&bundle)), ["pids.max"]);
    assert_eq!(turn(1), "allowed");
    update_with(&bundle, &json!({"devices": nothing})).ok();
    assert_eq!(turn(2), "denied");
    // Nothing is left of rules that cannot be noted.
    let note = bundle.state_root().join(&bundle.id).join("devices.json");
    let noted = std::fs::read(&note).unwrap();
    std::fs::remove_file(&note).unwrap();
    std::fs::create_dir(&note).unwrap();
    update_with(&bundle, &json!({"devices": [{"allow": true, "access": "rwm"}]})).fails("EISDIR");
    assert_eq!(turn(3), "denied");
    std::fs::remove_dir(&note).unwrap();
    std::fs::write(&note, noted).unwrap();
    update_with(&bundle, &json!({"devices": both})).ok();
    assert_eq!(turn(4), "allowed");
    if has_controller("devices.list") {
        let list = |files: &std::collections::BTreeMap<String, String>| {
            let (_, text) = files.iter().find(|(path, _)| path.ends_with("devices.list")).unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(list(&all_limits(&bundle)), list(&before));
    }
}

#[test]
fn a_size_that_is_too_large_removes_no_limit() {
    need_root!();
    let bundle = running();
    bundle.ferrun(&["update", "--memory", "50m", &bundle.id]).ok();
    let limit = || {
        let files = bundle
            .cgroups()
            .into_iter()
            .flat_map(|cgroup| ["memory.max", "memory.limit_in_bytes"].map(|file| cgroup.join(file)));
        files.filter_map(|file| std::fs::read_to_string(file).ok()).collect::<String>()
    };
    let before = limit();
    for flag in ["--memory", "--memory-reservation", "--memory-swap", "--kernel-memory-tcp"] {
        for size in ["100000000000000000000", "9223372036854775808", "99999999999999.5p", "8192p"] {
            bundle.ferrun(&["update", flag, size, &bundle.id]).fails("");
        }
    }
    assert_eq!(limit(), before);
    bundle.delete_force().ok();
}

#[test]
fn resources_with_unknown_names_are_warned_about() {
    need_root!();
    let bundle = running();
    // Where nothing else is given, that is another warning.
    for (resources, reasons) in [
        (json!({ "memory": { "limt": 1 } }), &["/memory/limt", ""][..]),
        (json!({ "linux": { "resources": {} } }), &["/linux", ""]),
        (json!({ "pids": { "limit": 7 }, "cpus": {}}), &["/cpus"]),
    ] {
        let file = bundle.dir.join("limits.json");
        std::fs::write(&file, resources.to_string()).unwrap();
        let done = bundle.ferrun(&["update", "--resources", file.to_str().unwrap(), &bundle.id]);
        done.warns(reasons);
        done.ok();
    }
    let file = bundle.dir.join("limits.json");
    std::fs::write(&file, json!({ "pids": { "limit": 7 } }).to_string()).unwrap();
    let done = bundle.ferrun(&["update", "--resources", file.to_str().unwrap(), &bundle.id]);
    assert_eq!((done.status, &*done.stderr), (0, ""));
    let config = bundle.dir.join("config.json");
    let done = bundle.ferrun(&["update", "--resources", config.to_str().unwrap(), &bundle.id]);
    done.fails("");
    let done = bundle.on("update", &[]);
    done.warns(&[""]);
    done.ok();
    bundle.delete_force().ok();
}

#[test]
fn a_value_that_the_kernel_refuses_has_a_hint() {
    need_root!();
    let bundle = running();
    bundle.ferrun(&["update", "--memory", "-1", &bundle.id]).ok();
    for (flags, pointer, v1) in [
        (&["--cpu-quota", "5"][..], "/cpu/quota", false),
        (&["--cpu-period", "2000000"], "/cpu/period", false),
        (&["--memory-swap", "50m"], "/memory/swap", true),
    ] {
        if !v1 || !is_v2() {
            let done = bundle.ferrun(&[&["update"], flags, &[&*bundle.id]].concat());
            let error = done.error();
            // On v2 both are one write.
            let pointer = if is_v2() && pointer == "/cpu/period" { "/cpu/quota" } else { pointer };
            assert!(error.to_string() == format!("EINVAL {pointer}") && !error.hint.is_empty(), "{flags:?}: {done:?}");
        }
    }
}
