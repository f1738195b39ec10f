//! `linux.resources`: read back from the kernel's files, felt inside, and refused where the host has not
//! what they need. One table for v1 and v2.

mod common;

use common::limits::{Files, expected, has_controller, is_v2, path_of, said};
use common::{Bundle, skip, wait_until};
use ferrun::cgroup::memory::START;
use serde_json::{Value, json};

/// A property, what stands in the files of v1 and of v2; none: that version refuses it.
type Row<'a> = (&'a str, Value, Files<'a>, Files<'a>);

/// A disk of this host: `254:0`.
fn disk() -> Option<(u32, u32)> {
    let blocks = std::fs::read_dir("/sys/block").ok()?.flatten();
    let real = blocks.filter(|entry| entry.path().join("device").exists());
    let number = real.filter_map(|entry| std::fs::read_to_string(entry.path().join("dev")).ok()).next()?;
    let (major, minor) = number.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn check(rows: &[Row]) {
    let mut wrong = String::new();
    for (pointer, value, v1, v2) in rows {
        let files = expected(v1, v2);
        let pointer = format!("/linux/resources/{pointer}");
        let bundle = Bundle::new(&["sleep", "1000"]).set(&pointer, value.clone());
        let done = bundle.create();
        if files.is_empty() || !has_controller(files[0].0) {
            if done.status != 1 || !done.stderr.contains(&pointer) {
                wrong += &format!("{pointer} is not refused: {done:?}\n");
            }
            bundle.assert_nothing_left("a refused limit");
            continue;
        }
        for (file, text) in files {
            match said(&bundle, file) {
                None if done.status == 1 && done.error_in_any_words().errno == "ENOENT" => {
                    skip(&format!("no {file} on this host"))
                }
                found if found.as_deref() != Some(*text) => {
                    wrong += &format!("{pointer}: {file} is {found:?} and not {text:?} after {done:?}\n");
                }
                _ => {}
            }
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn memory_is_limited() {
    need_root!();
    const NONE: &str = "9223372036854771712";
    check(&[
        (
            "memory",
            json!({"limit": 0, "swap": 0, "reservation": null}),
            &[("memory.limit_in_bytes", NONE)],
            &[("memory.max", "max")],
        ),
        ("memory/limit", json!(64 << 20), &[("memory.limit_in_bytes", "67108864")], &[("memory.max", "67108864")]),
        (
            "memory",
            json!({"limit": 64 << 20, "swap": 96 << 20}),
            &[("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", "100663296")],
            &[("memory.max", "67108864"), ("memory.swap.max", "33554432")],
        ),
        (
            "memory",
            json!({"limit": 64 << 20, "swap": -1}),
            &[("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", NONE)],
            &[("memory.max", "67108864"), ("memory.swap.max", "max")],
        ),
        (
            "memory/limit",
            json!(-1),
            &[("memory.limit_in_bytes", NONE), ("memory.memsw.limit_in_bytes", NONE)],
            &[("memory.max", "max")],
        ),
        (
            "memory/reservation",
            json!(1 << 20),
            &[("memory.soft_limit_in_bytes", "1048576")],
            &[("memory.low", "1048576")],
        ),
        (
            "memory/kernelTCP",
            json!(1 << 20),
            &[("memory.kmem.tcp.limit_in_bytes", "1048576")],
            &[("memory.max", "max")],
        ),
        ("memory/swappiness", json!(0), &[("memory.swappiness", "0")], &[]),
        (
            "memory/disableOOMKiller",
            json!(true),
            &[("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0")],
            &[],
        ),
        ("unified", json!({"memory.high": "50000000"}), &[], &[("memory.high", "49999872")]),
    ]);
}

#[test]
fn cpus_are_limited() {
    need_root!();
    check(&[
        ("cpu/shares", json!(512), &[("cpu.shares", "512")], &[("cpu.weight", "59")]),
        ("cpu/quota", json!(50_000), &[("cpu.cfs_quota_us", "50000")], &[("cpu.max", "50000 100000")]),
        ("cpu/period", json!(50_000), &[("cpu.cfs_period_us", "50000")], &[("cpu.max", "max 50000")]),
        (
            "cpu",
            json!({"quota": 20_000, "period": 40_000, "burst": 10_000}),
            &[("cpu.cfs_quota_us", "20000"), ("cpu.cfs_period_us", "40000"), ("cpu.cfs_burst_us", "10000")],
            &[("cpu.max", "20000 40000"), ("cpu.max.burst", "10000")],
        ),
        ("cpu/quota", json!(-1), &[("cpu.cfs_quota_us", "-1")], &[("cpu.max", "max 100000")]),
        ("cpu", json!({"shares": 512, "idle": 1}), &[("cpu.idle", "1")], &[("cpu.idle", "1")]),
        ("cpu/cpus", json!("0"), &[("cpuset.cpus", "0")], &[("cpuset.cpus", "0")]),
        ("cpu/mems", json!("0"), &[("cpuset.mems", "0")], &[("cpuset.mems", "0")]),
        ("pids/limit", json!(10), &[("pids.max", "10")], &[("pids.max", "10")]),
        ("pids/limit", json!(0), &[("pids.max", "1")], &[("pids.max", "1")]),
        ("pids/limit", json!(-1), &[("pids.max", "max")], &[("pids.max", "max")]),
    ]);
}

/// Real-time has to be given to the cgroup above first, which a kernel without it has no file for.
#[test]
fn real_time_is_limited() {
    need_root!();
    let row: Row = (
        "cpu",
        json!({"realtimeRuntime": 1000, "realtimePeriod": 500_000}),
        &[("cpu.rt_runtime_us", "1000"), ("cpu.rt_period_us", "500000")],
        &[],
    );
    match is_v2() {
        true => {
            let bundle = Bundle::new(&["true"]).set("/linux/resources/cpu", row.1);
            bundle.run().fails("/linux/resources/cpu/realtimeRuntime");
        }
        false if std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() => check(&[row]),
        false => skip("this kernel has no real-time group scheduling"),
    }
}

#[test]
fn disks_are_limited() {
    need_root!();
    let Some((major, minor)) = disk() else { return skip("this host has no disk") };
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let (v1, v2) = (format!("{major}:{minor} 4096000"), format!("{major}:{minor}"));
    let max = |key: &str| {
        let keys = ["rbps", "wbps", "riops", "wiops"]
            .map(|one| format!(" {one}={}", if one == key { "4096000" } else { "max" }));
        v2.clone() + &keys.concat()
    };
    let [rbps, wbps, riops, wiops] = ["rbps", "wbps", "riops", "wiops"].map(max);
    check(&[
        (
            "blockIO/throttleReadBpsDevice",
            rate(4_096_000),
            &[("blkio.throttle.read_bps_device", &v1)],
            &[("io.max", &rbps)],
        ),
        (
            "blockIO/throttleWriteBpsDevice",
            rate(4_096_000),
            &[("blkio.throttle.write_bps_device", &v1)],
            &[("io.max", &wbps)],
        ),
        (
            "blockIO/throttleReadIOPSDevice",
            rate(4_096_000),
            &[("blkio.throttle.read_iops_device", &v1)],
            &[("io.max", &riops)],
        ),
        (
            "blockIO/throttleWriteIOPSDevice",
            rate(4_096_000),
            &[("blkio.throttle.write_iops_device", &v1)],
            &[("io.max", &wiops)],
        ),
        ("blockIO/throttleReadBpsDevice", rate(0), &[("blkio.throttle.read_bps_device", "")], &[("io.max", "")]),
    ]);
    let gone = json!([{"major": 4000, "minor": 7, "rate": 1}]);
    let bundle = Bundle::new(&["true"]).set("/linux/resources/blockIO/throttleReadBpsDevice", gone);
    let done = bundle.run();
    done.fails("ENODEV /linux/resources/blockIO/throttleReadBpsDevice/0");
    bundle.assert_nothing_left("a refused disk");
}

/// The weight of BFQ where the kernel has it, else that of the other.
#[test]
fn disks_are_weighted() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]).set("/linux/resources/blockIO/weight", json!(500));
    let done = bundle.create();
    let files = expected(
        &[("blkio.weight", "500"), ("blkio.bfq.weight", "500")],
        &[("io.bfq.weight", "500"), ("io.weight", "4950")],
    );
    let found = files.iter().find_map(|(file, weight)| Some((said(&bundle, file)?, *weight)));
    match found {
        Some((text, weight)) => assert_eq!(text.trim_start_matches("default "), weight, "{done:?}"),
        None => {
            assert!(done.error().pointer.starts_with("/linux/resources/blockIO/weight"), "{done:?}");
            skip("this kernel weighs no disks");
        }
    }
}

/// What this host has of the rarer controllers is written, and what it has not is refused with its name.
#[test]
fn the_rarer_controllers() {
    need_root!();
    check(&[
        (
            "hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 4 << 20}]),
            &[("hugetlb.2MB.limit_in_bytes", "4194304"), ("hugetlb.2MB.rsvd.limit_in_bytes", "4194304")],
            &[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
        ),
        ("network/classID", json!(1_048_577), &[("net_cls.classid", "1048577")], &[]),
    ]);
    let rdma = Bundle::new(&["true"]).set("/linux/resources/rdma", json!({"no_such": {"hcaHandles": 3}}));
    let done = rdma.run();
    // Where there is the controller, it is the device that is missing, and that is no disk.
    let error = done.error();
    assert!(error.pointer.starts_with("/linux/resources/rdma"), "{done:?}");
    assert_eq!(error.hint.contains("/sys/class/infiniband"), has_controller("rdma.max"), "{done:?}");
    for (pointer, value, controller) in [
        ("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 0}]), "hugetlb"),
        ("/linux/resources/network/priorities", json!([{"name": "lo", "priority": 3}]), "net_prio"),
    ] {
        if !is_v2() && !has_controller(controller) {
            let done = Bundle::new(&["true"]).set(pointer, value).run();
            done.fails(&format!("{pointer}/0"));
            assert!(done.error().hint.contains(&format!("/sys/fs/cgroup/{controller}")), "{done:?}");
        }
    }
    if is_v2() && has_controller("hugetlb") {
        let sizes = json!([{"pageSize": "3MB", "limit": 0}]);
        let done = Bundle::new(&["true"]).set("/linux/resources/hugepageLimits", sizes).run();
        done.fails("ENOENT /linux/resources/hugepageLimits/0");
    }
}

#[test]
fn a_controller_that_the_kernel_has_given_to_v1_is_named() {
    need_root!();
    if is_v2() {
        return skip("this host has no controllers on v1");
    }
    let bundle = Bundle::new(&["true"]).set("/linux/resources/memory/limit", json!(64 << 20));
    let done = bundle.run_after("mount -t cgroup2 none /sys/fs/cgroup");
    done.fails("/linux/resources/memory/limit");
    bundle.assert_nothing_left("a missing controller");
}

#[test]
fn a_controller_that_is_not_handed_down_is_named_with_the_cgroup_that_keeps_it() {
    need_root!();
    if !is_v2() {
        return skip("this host has no controllers on v2");
    }
    let bundle = Bundle::new(&["true"]).set("/linux/resources/memory/limit", json!(64 << 20));
    let above = format!("/ferrun-{}", bundle.id);
    let bundle = bundle.set("/linux/cgroupsPath", json!(format!("{above}/own")));
    let directory = format!("/sys/fs/cgroup{above}");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory").unwrap();
    let mut inside = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(format!("{directory}/cgroup.procs"), inside.id().to_string()).unwrap();
    let done = bundle.run();
    inside.kill().and_then(|()| inside.wait()).unwrap();
    std::fs::remove_dir(&directory).unwrap();
    done.fails("/linux/resources/memory/limit");
    assert!(done.error().sentence.contains(&directory), "{done:?}");
}

#[test]
fn limits_without_cgroups_are_refused() {
    need_root!();
    for (pointer, value) in [
        ("/linux/resources/memory/limit", json!(64 << 20)),
        ("/linux/resources/pids/limit", json!(10)),
        ("/linux/resources/unified", json!({"memory.high": "1000000"})),
    ] {
        let bundle = Bundle::new(&["true"]).set(pointer, value);
        let dir = bundle.dir.to_str().unwrap();
        let done = bundle.ferrun(&["--cgroup-manager", "disabled", "run", "--bundle", dir, &bundle.id]);
        done.fails(pointer);
        bundle.assert_nothing_left("a refused limit");
    }
}

#[test]
fn more_memory_than_the_limit_kills() {
    need_root!();
    let script = "dd if=/dev/zero of=/dev/null bs=48M count=1 2>/dev/null; echo first $?
                  dd if=/dev/zero of=/dev/null bs=4M count=1 2>/dev/null; echo second $?";
    let bundle = Bundle::sh(script).set("/linux/resources/memory", json!({"limit": 24 << 20, "swap": 24 << 20}));
    assert_eq!(bundle.run().ok(), "first 137\nsecond 0");
}

#[test]
fn more_processes_than_the_limit_are_refused() {
    need_root!();
    let bundle =
        Bundle::sh("sleep 60 & sleep 60 & sleep 60 & sleep 60 & wait").set("/linux/resources/pids/limit", json!(3));
    let done = bundle.run();
    assert!(done.status != 0 && done.stderr.contains("can't fork"), "{done:?}");
    let enough = Bundle::sh("sleep 0 & sleep 0 & wait").set("/linux/resources/pids/limit", json!(3));
    enough.run().ok();
}

#[test]
fn more_cpu_time_than_the_quota_is_throttled() {
    need_root!();
    let bundle =
        Bundle::sh("while :; do :; done").set("/linux/resources/cpu", json!({"quota": 5000, "period": 50_000}));
    bundle.run_detached().ok();
    let stat = path_of(&bundle, "cpu.stat");
    let throttled = || {
        let text = std::fs::read_to_string(&stat).unwrap();
        text.lines().any(|line| line.strip_prefix("nr_throttled ").is_some_and(|count| count != "0"))
    };
    wait_until("a throttled period", throttled);
}

#[test]
fn only_the_given_cpus_are_used() {
    need_root!();
    let script = "grep -E 'Cpus_allowed_list|Mems_allowed_list' /proc/self/status";
    let bundle = Bundle::sh(script).set("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
    assert_eq!(bundle.run().ok(), "Cpus_allowed_list:\t0\nMems_allowed_list:\t0");
    let bundle = Bundle::sh(script).set("/linux/resources/cpu/cpus", json!("4000"));
    let done = bundle.run();
    assert_eq!(done.error().pointer, "/linux/resources/cpu/cpus", "{done:?}");
}

#[test]
fn a_start_needs_no_more_memory_than_is_told() {
    need_root!();
    let docker = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/configs/docker-default.json")).unwrap();
    let docker: serde_json::Value = serde_json::from_slice(&docker).unwrap();
    for filter in [json!(null), docker["linux"]["seccomp"].clone()] {
        let limits = json!({"limit": START, "swap": START});
        let bundle =
            Bundle::new(&["true"]).set("/linux/resources/memory", limits).set("/linux/seccomp", filter.clone());
        // Which is not to say that the program starts with what is left.
        bundle.create().ok();
        bundle.delete_force().ok();
        let limits = json!({"limit": START / 6, "swap": START / 6});
        let done = bundle.set("/linux/resources/memory", limits).create();
        done.fails("/linux/resources/memory/limit");
    }
}

#[test]
fn a_start_that_dies_of_memory_says_so() {
    need_root!();
    let bundle = Bundle::new(&["true"]).set("/linux/resources/memory", json!({"limit": 4096, "swap": 4096}));
    let done = bundle.run();
    done.fails("/linux/resources/memory/limit");
    bundle.assert_nothing_left("a start without memory");
}
