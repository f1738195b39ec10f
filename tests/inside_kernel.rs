//! What the kernel keeps for the container's process and namespaces, seen from inside: scheduling, memory
//! policy, personality, kernel parameters, domain name, home directory, working directory.

mod common;

use std::fs;

use common::{Bundle, Done, skip};
use serde_json::{Value, json};

/// Fields of /proc/PID/stat: proc(5) counts them from 1; the second may hold spaces.
fn stat(text: &str, field: usize) -> i64 {
    let rest = text.rsplit_once(')').unwrap().1;
    rest.split_whitespace().nth(field - 3).unwrap().parse().unwrap()
}

const NICE: usize = 19;
const PRIORITY: usize = 40;
const POLICY: usize = 41;

#[test]
fn the_scheduler_is_the_configs() {
    need_root!();
    let mut wrongly = String::new();
    // Where the policy has no nice values, the caller's stays.
    let own = stat(&std::fs::read_to_string("/proc/self/stat").unwrap(), NICE);
    for (scheduler, policy, priority, nice) in [
        (json!({ "policy": "SCHED_OTHER", "nice": 5 }), 0, 0, 5),
        (json!({ "policy": "SCHED_OTHER", "nice": -3, "flags": null }), 0, 0, -3),
        (json!({ "policy": "SCHED_BATCH", "nice": 19 }), 3, 0, 19),
        (json!({ "policy": "SCHED_IDLE" }), 5, 0, own),
        (json!({ "policy": "SCHED_FIFO", "priority": 7 }), 1, 7, own),
        (json!({ "policy": "SCHED_RR", "priority": 99, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }), 2, 99, own),
        (json!({ "policy": "SCHED_OTHER", "nice": 4, "flags": ["SCHED_FLAG_KEEP_POLICY"] }), 0, 0, 4),
        (json!({ "policy": "SCHED_BATCH", "nice": 4, "flags": ["SCHED_FLAG_KEEP_POLICY"] }), 0, 0, 4),
        (json!({ "policy": "SCHED_BATCH", "nice": 4, "flags": ["SCHED_FLAG_KEEP_PARAMS"] }), 0, 0, own),
    ] {
        let bundle = Bundle::new(&["cat", "/proc/self/stat"]).set("/process/scheduler", scheduler.clone());
        // A new cgroup of v1 has no share of real time: cpu.rt_runtime_us is 0.
        let real_time = policy == 1 || policy == 2;
        let global: &[&str] = if real_time { &["--cgroup-manager", "disabled"] } else { &[] };
        let done = bundle.ferrun(&[global, &["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]].concat());
        let found = [POLICY, PRIORITY, NICE].map(|field| if done.status == 0 { stat(&done.stdout, field) } else { -1 });
        if found != [policy, priority, nice] {
            wrongly += &format!("{scheduler}: {found:?} {done:?}\n");
        }
    }
    assert_eq!(wrongly, "");
}

#[test]
fn a_deadline_is_given_with_its_times() {
    need_root!();
    let bundle = Bundle::new(&["cat", "/proc/self/stat", "/proc/self/sched"]).set(
        "/process/scheduler",
        json!({ "policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 50_000_000, "period": 100_000_000,
                "flags": ["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_RESET_ON_FORK"] }),
    );
    let done = bundle.run();
    if done.stderr.contains("operation not permitted") {
        return skip("this machine does not permit deadlines here (a cpuset, or no CAP_SYS_NICE)");
    }
    let said = done.ok();
    assert_eq!(stat(said.lines().next().unwrap(), POLICY), 6, "{said}");
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'));
    // What is left of it, at this moment.
    let left: Option<i64> = value("dl.runtime").and_then(|left| left.trim().parse().ok());
    assert!(left.is_none_or(|left| left <= 2_000_000), "{said}");
}

#[test]
fn reset_on_fork_spares_the_children() {
    need_root!();
    for (flags, nice) in [(json!([]), -5), (json!(["SCHED_FLAG_RESET_ON_FORK"]), 0)] {
        let bundle = Bundle::sh("cat /proc/self/stat; true")
            .set("/process/scheduler", json!({ "policy": "SCHED_OTHER", "nice": -5, "flags": flags }));
        assert_eq!(stat(&bundle.run().ok(), NICE), nice, "{flags}");
    }
}

/// What a process does not pass on to those that it creates: `exec` gets there by two of them.
#[test]
fn a_further_process_has_what_is_not_inherited() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]).set("/process/capabilities", json!({})).set(
        "/process/scheduler",
        json!({ "policy": "SCHED_OTHER", "nice": -5, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }),
    );
    assert_eq!(bundle.run_detached().status, 0);
    let exec = |arguments: &[&str]| bundle.ferrun(&[&["exec", &bundle.id], arguments].concat());
    assert_eq!(stat(&exec(&["cat", "/proc/self/stat"]).ok(), NICE), -5);
    assert_eq!(stat(&exec(&["sh", "-c", "cat /proc/self/stat; true"]).ok(), NICE), 0);
    let process = bundle.dir.join("process.json");
    let deadline = json!({ "policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 50_000_000,
        "period": 100_000_000 });
    let asked = json!({ "args": ["cat", "/proc/self/stat"], "cwd": "/", "scheduler": deadline });
    fs::write(&process, asked.to_string()).unwrap();
    let done = bundle.ferrun(&["exec", "--process", process.to_str().unwrap(), &bundle.id]);
    bundle.delete_force();
    if done.stderr.contains("operation not permitted") {
        return skip("this machine does not permit deadlines here (a cpuset, or no CAP_SYS_NICE)");
    }
    assert_eq!(stat(&done.ok(), POLICY), 6);
}

/// Some show nowhere, or not on every kernel, which may refuse them as well.
#[test]
fn every_flag_of_schedulers_and_memory_policies_reaches_the_kernel() {
    need_root!();
    let scheduler = |flag: &str| json!({ "policy": "SCHED_OTHER", "flags": [format!("SCHED_FLAG_{flag}")] });
    let memory = |flag: &str| json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [format!("MPOL_F_{flag}")] });
    for (property, value, words) in [
        ("/process/scheduler", scheduler("RESET_ON_FORK"), "sched_flags=0x1,"),
        ("/process/scheduler", scheduler("RECLAIM"), "sched_flags=0x2,"),
        ("/process/scheduler", scheduler("DL_OVERRUN"), "sched_flags=0x4,"),
        ("/process/scheduler", scheduler("KEEP_POLICY"), "sched_flags=0x8,"),
        ("/process/scheduler", scheduler("KEEP_PARAMS"), "sched_flags=0x10,"),
        ("/process/scheduler", scheduler("UTIL_CLAMP_MIN"), "sched_flags=0x20,"),
        ("/process/scheduler", scheduler("UTIL_CLAMP_MAX"), "sched_flags=0x40,"),
        ("/linux/memoryPolicy", memory("NUMA_BALANCING"), "set_mempolicy(0x2002,"),
        ("/linux/memoryPolicy", memory("RELATIVE_NODES"), "set_mempolicy(0x4002,"),
        ("/linux/memoryPolicy", memory("STATIC_NODES"), "set_mempolicy(0x8002,"),
    ] {
        let bundle = Bundle::new(&["true"]).set(property, value.clone());
        let log = bundle.dir.join("strace");
        let ferrun = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-qq", "-X", "raw", "-e", "trace=sched_setattr,set_mempolicy", "-o"]).arg(&log);
        if strace.arg(ferrun.get_program()).args(ferrun.get_args()).output().is_err() {
            return skip("this test needs strace");
        }
        let calls = std::fs::read_to_string(log).unwrap();
        assert!(calls.contains(words), "{value}: {calls}");
    }
}

#[test]
fn a_policy_that_linux_has_not_is_refused_by_the_kernel_with_a_hint() {
    need_root!();
    let bundle = Bundle::sh("true").set("/process/scheduler", json!({ "policy": "SCHED_ISO" }));
    bundle.run().fails("EINVAL /process/scheduler");
    bundle.assert_nothing_left("run");
}

#[test]
fn the_io_priority_is_the_configs() {
    need_root!();
    for (class, level, said) in [
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_RT", 1, "realtime: prio 1"),
        ("IOPRIO_CLASS_IDLE", 4, "idle"),
    ] {
        let bundle = Bundle::new(&["busybox", "ionice"])
            .set("/process/ioPriority", json!({ "class": class, "priority": level }));
        assert!(bundle.run().ok().contains(said), "{class}");
    }
}

#[test]
fn the_memory_policy_is_the_configs() {
    need_root!();
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        return skip("this kernel has no NUMA support");
    }
    for (policy, said) in [
        (json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }), "bind=static:0"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "0-0" }), "prefer:0"),
        (json!({ "mode": "MPOL_PREFERRED" }), "local"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"] }), "bind=relative:0"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0,0" }), "interleave:0"),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
        (json!({ "mode": "MPOL_DEFAULT", "nodes": "" }), "default"),
    ] {
        let bundle = Bundle::new(&["cat", "/proc/self/numa_maps"]).set("/linux/memoryPolicy", policy.clone());
        let maps = bundle.run().ok();
        let found: Vec<&str> = maps.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        // The kernel's own mappings (vvar, vdso) may have one of their own.
        assert!(found.contains(&said), "{policy}: {found:?}");
    }
    let bundle = Bundle::sh("true").set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "1000" }));
    bundle.run().fails("EINVAL /linux/memoryPolicy");
}

/// Modes and flags that not every kernel has: it refuses them, or takes the one of that name.
#[test]
fn a_memory_policy_of_newer_kernels_is_the_configs_or_refused() {
    need_root!();
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        return skip("this kernel has no NUMA support");
    }
    for (policy, said) in [
        (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }), "prefer (many):0"),
        (json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" }), "weighted interleave:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }), "bind=balancing:0"),
    ] {
        let done = Bundle::new(&["cat", "/proc/self/numa_maps"]).set("/linux/memoryPolicy", policy.clone()).run();
        match done.status {
            0 => assert!(done.stdout.contains(&format!(" {said} ")), "{policy}: {done:?}"),
            _ => done.fails("EINVAL /linux/memoryPolicy"),
        }
    }
}

#[test]
fn the_personality_is_the_configs() {
    need_root!();
    let uname = |domain: &str| {
        let bundle = Bundle::new(&["busybox", "uname", "-m"]).set("/linux/personality", json!({ "domain": domain }));
        bundle.run().ok()
    };
    let plain = Bundle::new(&["busybox", "uname", "-m"]).run().ok();
    assert_eq!(uname("LINUX"), plain);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(uname("LINUX32"), "i686");
    }
}

#[test]
fn kernel_parameters_of_the_namespaces_are_set_and_the_hosts_are_not() {
    need_root!();
    let settings = [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/lo/forwarding", "net/ipv4/conf/lo/forwarding", "0"),
        ("net.ipv4.ping_group_range", "net/ipv4/ping_group_range", "5\t6"),
        ("kernel.sem", "kernel/sem", "251\t32001\t33\t129"),
        ("kernel/shm_rmid_forced", "kernel/shm_rmid_forced", "1"),
        ("kernel.msgmax", "kernel/msgmax", "8193"),
        ("kernel.msgmnb", "kernel/msgmnb", "16385"),
        ("kernel.msgmni", "kernel/msgmni", "32001"),
        ("kernel.shmall", "kernel/shmall", "1048577"),
        ("kernel.shmmax", "kernel/shmmax", "1073741825"),
        ("kernel.shmmni", "kernel/shmmni", "4097"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max", "11"),
        ("kernel.domainname", "kernel/domainname", "example.org"),
    ];
    let before = settings.map(|(_, file, _)| std::fs::read_to_string(format!("/proc/sys/{file}")).unwrap());
    let files: Vec<String> = settings.iter().map(|(_, file, _)| format!("/proc/sys/{file}")).collect();
    let args: Vec<&str> = std::iter::once("cat").chain(files.iter().map(String::as_str)).collect();
    let map: serde_json::Map<String, Value> =
        settings.iter().map(|(name, _, value)| ((*name).to_owned(), json!(value))).collect();
    let bundle = Bundle::new(&args).set("/linux/sysctl", Value::Object(map));
    assert_eq!(bundle.run().ok(), settings.map(|(_, _, value)| value).join("\n"));
    let after = settings.map(|(_, file, _)| std::fs::read_to_string(format!("/proc/sys/{file}")).unwrap());
    assert_eq!(before, after);
    let done = bundle.set("/linux/sysctl", json!({ "net.no_such": "1" })).run();
    done.fails("ENOENT /linux/sysctl/net.no_such");
}

/// The container's /proc may be anything: what is written must not end in it.
#[test]
fn kernel_parameters_are_not_written_to_a_proc_of_the_image() {
    need_root!();
    let bundle = Bundle::new(&["cat", "/proc/sys/net/ipv4/ip_forward"])
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
        .with(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
        });
    let fake = bundle.rootfs().join("proc/sys/net/ipv4");
    std::fs::create_dir_all(&fake).unwrap();
    std::fs::write(fake.join("ip_forward"), "the image's").unwrap();
    assert_eq!(bundle.run().ok(), "the image's");
}

#[test]
fn the_domain_name_is_the_configs() {
    need_root!();
    let host = std::fs::read_to_string("/proc/sys/kernel/domainname").unwrap();
    let bundle = Bundle::new(&["cat", "/proc/sys/kernel/domainname"]);
    let named = bundle.set("/domainname", json!("example.org"));
    assert_eq!(named.run().ok(), "example.org");
    assert_eq!(named.set("/domainname", json!("")).run().ok(), host.trim());
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/domainname").unwrap(), host);
}

#[test]
fn home_is_the_users_where_the_environment_has_none() {
    need_root!();
    for (uid, env, home) in [
        (0, json!(["PATH=/bin"]), "/root"),
        (1000, json!(["PATH=/bin"]), "/"),
        (1001, json!(["PATH=/bin", "HOME="]), "/home/bob"),
        (4711, json!(["PATH=/bin"]), "/"),
        (0, json!(["PATH=/bin", "HOME=/elsewhere"]), "/elsewhere"),
        (0, json!(["HOME=/one", "PATH=/bin", "HOME="]), "/root"),
    ] {
        let bundle = Bundle::sh("echo $HOME; tr '\\0' '\\n' </proc/$$/environ | grep -c ^HOME=")
            .set("/process/env", env.clone());
        let bundle = bundle.set("/process/user/uid", json!(uid));
        let passwd = bundle.rootfs().join("etc/passwd");
        let text = std::fs::read_to_string(&passwd).unwrap() + "bob:x:1001:1001::/home/bob:/bin/sh\n";
        std::fs::write(passwd, text).unwrap();
        assert_eq!(bundle.run().ok(), format!("{home}\n1"), "{uid} {env}");
    }
}

#[test]
fn no_file_of_users_can_disturb_a_start() {
    need_root!();
    let script = "echo $HOME";
    for attack in ["rm etc/passwd", "ln -sf /proc/1/environ etc/passwd", "ln -sf ../../../../etc/passwd etc/passwd"] {
        let bundle = Bundle::sh(script);
        let done = std::process::Command::new("sh").args(["-c", attack]).current_dir(bundle.rootfs()).status();
        assert!(done.unwrap().success());
        assert_eq!(bundle.run().ok(), "/", "{attack}");
    }
    for (attack, wanted) in [
        ("rm etc/passwd && mkfifo etc/passwd", "/"),
        ("rm etc/passwd && mkdir etc/passwd", "/"),
        ("ln -sf /dev/zero etc/passwd", "/"),
        ("head -c 100000 /dev/zero > etc/passwd", "/"),
        ("printf 'root:x:0:0::relative:\\n' > etc/passwd", "relative"),
    ] {
        let bundle = Bundle::sh(script);
        let done = std::process::Command::new("sh").args(["-c", attack]).current_dir(bundle.rootfs()).status();
        assert!(done.unwrap().success());
        let done = bundle.bounded(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        assert_eq!(done.ok(), wanted, "{attack}");
    }
}

#[test]
fn a_working_directory_of_the_user_alone_is_entered_as_the_user() {
    need_root!();
    let bundle = Bundle::new(&["pwd"]).set("/process/cwd", json!("/home")).set("/process/user/uid", json!(1000));
    let home = bundle.rootfs().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&home, Some(1000), Some(0)).unwrap();
    // Root without the capabilities that open every door, as in a user namespace or on NFS.
    let run = |bundle: &Bundle| {
        let disabled = ["--cgroup-manager", "disabled"];
        let ferrun =
            bundle.command(&[disabled[0], disabled[1], "run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        let mut command = std::process::Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override,-dac_read_search", "--"]);
        Done::new(command.arg(ferrun.get_program()).args(ferrun.get_args()).output().unwrap())
    };
    assert_eq!(run(&bundle).ok(), "/home");
    let done = run(&bundle.set("/process/user/uid", json!(1001)));
    done.fails("EACCES /process/cwd");
}

#[test]
fn affinity_for_exec_leaves_the_init_alone() {
    need_root!();
    let bundle = Bundle::new(&["grep", "Cpus_allowed_list", "/proc/self/status"]);
    let plain = bundle.run().ok();
    let bundle = bundle.set("/process/execCPUAffinity", json!({ "initial": "0", "final": "0" }));
    assert_eq!(bundle.run().ok(), plain);
}

#[test]
fn properties_of_other_systems_and_terminals_are_no_obstacle() {
    need_root!();
    let bundle = Bundle::sh("id -u")
        .set("/process/user/username", json!("ContainerUser"))
        .set("/process/consoleSize", json!({ "height": 24, "width": 80 }))
        .set("/process/apparmorProfile", json!(""))
        .set("/process/selinuxLabel", json!(""))
        .set("/process/scheduler", json!(null))
        .set("/process/ioPriority", json!(null))
        .set("/linux/sysctl", json!({}))
        .set("/linux/personality", json!(null));
    assert_eq!(bundle.run().ok(), "0");
    let said = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    assert!(said.contains("0 errors, 0 warnings"), "{said}");
}

/// A plan for a host that has what this machine may lack.
#[test]
fn the_plan_names_labels_and_classes_where_the_host_has_them() {
    need_root!();
    let bundle = Bundle::sh("true")
        .set("/process/apparmorProfile", json!("profile-a"))
        .set("/process/selinuxLabel", json!("u:r:t:s0"))
        .set("/linux/mountLabel", json!("u:r:m:s0"))
        .set("/linux/intelRdt", json!({ "closID": "gold", "l3CacheSchema": "L3:0=f", "enableMonitoring": true }));
    let dir = bundle.dir.to_str().unwrap();
    let facts = bundle.dir.join("host.json");
    let plain = Bundle::sh("true");
    let save = ["explain", "--bundle", plain.dir.to_str().unwrap(), "--save-host", facts.to_str().unwrap()];
    plain.ferrun(&save).ok();
    let mut host: Value = serde_json::from_slice(&std::fs::read(&facts).unwrap()).unwrap();
    for (fact, value) in [("apparmor", json!(true)), ("selinux", json!(true)), ("resctrl", json!("/sys/fs/resctrl"))] {
        assert!(host.get(fact).is_some(), "{fact} in {host}");
        host[fact] = value;
    }
    std::fs::write(&facts, host.to_string()).unwrap();
    let text = bundle.ferrun(&["explain", "--bundle", dir, "--host", facts.to_str().unwrap()]).ok();
    for words in ["apparmor profile-a on exec", "selinux u:r:t:s0 on exec", "gold L3:0=f counted by itself"] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
}
