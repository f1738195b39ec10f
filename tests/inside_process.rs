//! The container's process seen from inside: program, environment, user, capabilities, limits, streams.

mod common;

use std::fs::File;
use std::process::Stdio;

use common::{Bundle, Done, Report, sentences};
use serde_json::{Value, json};

/// A bundle that prints fields of /proc/self/status, one a line, without their names.
fn status(fields: &[&str]) -> Bundle {
    let script = fields.iter().map(|field| format!("s/^{field}:[\\t ]*//p;")).collect::<String>();
    Bundle::new(&["sed", "-n", &script, "/proc/self/status"])
}

fn user(config: &mut Value, uid: u32, gid: u32) {
    config["process"]["user"] = json!({ "uid": uid, "gid": gid });
}

#[test]
fn the_environment_is_the_configs_alone() {
    need_root!();
    let bundle =
        Bundle::new(&["env"]).with(|config| config["process"]["env"] = json!(["B=2", "PATH=/bin", "A=a b=\n"]));
    let mut command = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let done = Done::new(command.env("LEAK", "of the caller").output().unwrap());
    // But for HOME, which the config has not (inside_kernel.rs).
    assert_eq!(done.stdout, "B=2\nPATH=/bin\nA=a b=\n\nHOME=/root\n");
}

#[test]
fn programs_are_looked_up_in_the_containers_path() {
    need_root!();
    let tool = |bundle: &Bundle, dir: &str| {
        let link = bundle.rootfs().join(dir);
        std::fs::create_dir_all(&link).unwrap();
        std::os::unix::fs::symlink("/bin/busybox", link.join("echo")).unwrap();
    };
    for (env, dir, found) in [
        (json!(["PATH=/opt/tools:/bin"]), "opt/tools", "/opt/tools"),
        (json!(["PATH=/nowhere:/bin"]), "opt/tools", "/bin"),
        (json!([]), "usr/local/sbin", "/usr/local/sbin"),
        (json!([]), "opt/tools", "/bin"),
        // A name without a slash is not looked for in the working directory.
        (json!(["PATH=opt/tools:/bin"]), "opt/tools", "/bin"),
        (json!(["PATH=:/bin"]), "opt/tools", "/bin"),
    ] {
        // A shell's own name is what it was executed as: the path that the look-up found.
        let bundle = Bundle::new(&["echo"]).with(|config| config["process"]["env"] = env.clone());
        tool(&bundle, dir);
        let shell = bundle.rootfs().join(found.trim_start_matches('/')).join("echo");
        std::fs::remove_file(&shell).unwrap();
        std::fs::write(&shell, "#!/bin/sh\necho $0").unwrap();
        std::fs::set_permissions(&shell, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(bundle.run().ok(), format!("{found}/echo"), "{env}");
    }
    let bundle = Bundle::new(&["sh"]).with(|config| config["process"]["env"] = json!(["PATH=/opt"]));
    bundle.run().refused("exec: \"sh\": executable file not found in $PATH");
}

#[test]
fn the_working_directory_is_made_and_entered() {
    need_root!();
    let bundle = Bundle::new(&["pwd"]).with(|config| config["process"]["cwd"] = json!("/made/for/it"));
    assert_eq!(bundle.run().ok(), "/made/for/it", "although the root is read-only for the program");
    let bundle = Bundle::new(&["./program", "word"]).with(|config| config["process"]["cwd"] = json!("/opt"));
    std::fs::create_dir(bundle.rootfs().join("opt")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", bundle.rootfs().join("opt/program")).unwrap();
    assert!(bundle.run().stderr.contains("program: applet not found"), "busybox tells its name");
}

#[test]
fn the_user_is_the_configs() {
    need_root!();
    let bundle = status(&["Uid", "Gid", "Groups", "Umask"]);
    let four = |id: u32| [id, id, id, id].map(|id| id.to_string()).join("\t");
    let wanted = |uid, gid, groups: &str, umask: &str| format!("{umask}\n{}\n{}\n{groups}", four(uid), four(gid));
    assert_eq!(bundle.run().ok().replace(" \n", "\n").trim(), wanted(0, 0, "", "0022").trim());
    let bundle = bundle.with(|config| {
        config["process"]["user"] =
            json!({ "uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [1002, 5, 1002] });
    });
    assert_eq!(bundle.run().ok().trim_end(), wanted(1000, 1001, "5 1002 1002", "0027"));
    let bundle = bundle.with(|config| config["process"]["user"]["umask"] = json!(0));
    assert!(bundle.run().ok().starts_with("0000\n"));
}

#[test]
fn groups_of_the_caller_do_not_leak() {
    need_root!();
    for uid in [0, 1000] {
        let bundle = status(&["Groups"]).with(|config| user(config, uid, uid));
        let under = ["setpriv", "--groups", "4,20,27", "--"];
        assert_eq!(run_under(&bundle, &under).ok().trim(), "", "uid {uid}");
    }
}

/// `ferrun run` under another command, such as setpriv(1).
fn run_under(bundle: &Bundle, under: &[&str]) -> Done {
    let ferrun = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let mut command = std::process::Command::new(under[0]);
    command.args(&under[1..]).arg(ferrun.get_program()).args(ferrun.get_args()).stdin(Stdio::null());
    Done::new(command.output().unwrap())
}

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const SETPCAP: u64 = 1 << 8;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_RESOURCE: u64 = 1 << 24;

/// inheritable, permitted, effective, bounding, ambient.
fn capabilities(done: Done) -> [u64; 5] {
    let said = done.ok();
    let masks: Vec<u64> = said.lines().map(|mask| u64::from_str_radix(mask, 16).unwrap()).collect();
    masks.try_into().unwrap_or_else(|_| panic!("five sets in {said}"))
}

#[test]
fn the_five_capability_sets_are_the_configs() {
    need_root!();
    let sets = |list: [&[&str]; 5]| {
        let names = |names: &[&str]| names.iter().map(|name| json!(format!("CAP_{name}"))).collect::<Vec<_>>();
        json!({ "inheritable": names(list[0]), "permitted": names(list[1]), "effective": names(list[2]),
                "bounding": names(list[3]), "ambient": names(list[4]) })
    };
    let all: &[&str] = &["CHOWN", "KILL", "NET_RAW"];
    let some: &[&str] = &["KILL", "NET_RAW"];
    let (all_bits, some_bits) = (CHOWN | KILL | NET_RAW, KILL | NET_RAW);
    for (uid, given, wanted) in [
        // execve(2) gives root no more than it had, since it may gain no privileges; and all of that is effective.
        (0, [&[], some, some, all, &[]], [0, some_bits, some_bits, all_bits, 0]),
        (0, [&["KILL"], some, some, all, &["KILL"]], [KILL, some_bits, some_bits, all_bits, KILL]),
        (0, [&[], &[], &[], &[], &[]], [0; 5]),
        // Nothing is effective that is not permitted.
        (0, [&[], some, all, all, &[]], [0, some_bits, some_bits, all_bits, 0]),
        // Another user keeps over execve(2) what is ambient, and nothing else.
        (1000, [some, all, all, all, some], [some_bits, some_bits, some_bits, all_bits, some_bits]),
        (1000, [&["KILL"], all, all, all, &["KILL"]], [KILL, KILL, KILL, all_bits, KILL]),
        (1000, [&[], all, all, all, &[]], [0, 0, 0, all_bits, 0]),
        (1000, [&[], &[], &[], &["SYS_ADMIN"], &[]], [0, 0, 0, SYS_ADMIN, 0]),
        // The kernel lets nothing become inheritable that is not in the bounding set.
        (0, [all, some, some, &["KILL"], all], [KILL; 5]),
        (1000, [all, all, all, &[], all], [0; 5]),
    ] {
        // What installs a filter is not there afterwards, with no_new_privs or without.
        for (filter, no_new_privileges) in [(false, true), (true, true), (true, false)] {
            let bundle = status(&SETS).with(|config| {
                config["process"]["capabilities"] = sets(given);
                config["process"]["noNewPrivileges"] = json!(no_new_privileges);
                if filter {
                    let rule = json!({"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"});
                    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
                }
                user(config, uid, uid);
            });
            let mut wanted = wanted;
            if uid == 0 && !no_new_privileges {
                // Then execve(2) gives root all that it may have.
                (wanted[1], wanted[2]) = (wanted[3], wanted[3]);
            }
            let found = capabilities(bundle.run());
            assert_eq!(found, wanted, "uid {uid} {given:?}, filter {filter}, no_new_privs {no_new_privileges}");
        }
    }
}

#[test]
fn ambient_capabilities_of_the_caller_do_not_leak() {
    need_root!();
    let bundle = status(&SETS).with(|config| {
        let kill = json!(["CAP_KILL"]);
        config["process"]["capabilities"] =
            json!({ "inheritable": kill, "permitted": kill, "effective": kill, "bounding": kill, "ambient": [] });
    });
    let done = run_under(&bundle, &["setpriv", "--inh-caps", "+kill", "--ambient-caps", "+kill", "--"]);
    assert_eq!(capabilities(done), [KILL, KILL, KILL, KILL, 0]);
}

#[test]
fn groups_that_cannot_be_left_are_an_error() {
    need_root!();
    let under = ["setpriv", "--groups", "4,20", "--bounding-set", "-setgid", "--"];
    run_under(&status(&["Groups"]), &under).fails("EPERM /process/user");
}

/// The capabilities in the order of their numbers in linux/capability.h.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Six sets tell all names apart: each has those whose number, counted from 1, has one certain bit.
#[test]
fn every_capability_is_the_one_of_its_name() {
    need_root!();
    let own = capabilities(
        status(&SETS)
            .with(|config| {
                config["process"].as_object_mut().unwrap().remove("capabilities");
            })
            .run(),
    )[3];
    for bit in 0..6 {
        let chosen = CAPABILITIES.iter().enumerate().filter(|(number, _)| (number + 1) >> bit & 1 == 1);
        let mask = chosen.clone().fold(0, |mask, (number, _)| mask | 1 << number) & own;
        let names: Vec<String> = chosen.map(|(_, name)| format!("CAP_{name}")).collect();
        let bundle = status(&SETS).with(|config| {
            let (all, none) = (json!(names), json!([]));
            config["process"]["capabilities"] =
                json!({ "inheritable": none, "permitted": all, "effective": all, "bounding": all, "ambient": none });
        });
        assert_eq!(capabilities(bundle.run()), [0, mask, mask, mask, 0], "{names:?}");
    }
}

#[test]
fn without_the_property_all_capabilities_are_kept() {
    need_root!();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    let own = u64::from_str_radix(own.trim(), 16).unwrap();
    let bundle = status(&SETS).with(|config| {
        config["process"].as_object_mut().unwrap().remove("capabilities");
    });
    assert_eq!(capabilities(bundle.run()), [0, own, own, own, 0]);
    let bundle = bundle.with(|config| user(config, 1000, 1000));
    assert_eq!(capabilities(bundle.run()), [0, 0, 0, own, 0], "but not by another user");
}

#[test]
fn capabilities_that_cannot_be_given_are_left_out_with_a_warning() {
    need_root!();
    let bundle = status(&SETS).with(|config| {
        for set in ["bounding", "permitted", "effective"] {
            let list = json!(["CAP_KILL", "CAP_SYS_RESOURCE", "CAP_OF_TOMORROW", "cap_setpcap"]);
            config["process"]["capabilities"][set] = list;
        }
    });
    // Whether or not this machine's root has it, ferrun does not have it now.
    let done = run_under(&bundle, &["setpriv", "--bounding-set", "-sys_resource", "--"]);
    let warnings = Report::warnings(&done.stderr);
    warnings.iter().for_each(sentences::compare);
    for name in ["CAP_OF_TOMORROW", "SYS_RESOURCE"] {
        assert!(warnings.iter().any(|warning| warning.sentence.contains(name)), "{name}: {done:?}");
    }
    assert_eq!(capabilities(done), [0, KILL | SETPCAP, KILL | SETPCAP, KILL | SETPCAP, 0]);
    let done = bundle.set("/process/capabilities/inheritable", json!(["CAP_KILL", "CAP_NET_RAW"])).run();
    let warnings = Report::warnings(&done.stderr);
    warnings.iter().for_each(sentences::compare);
    assert!(warnings.iter().any(|warning| warning.sentence.contains("NET_RAW")), "{done:?}");
}

#[test]
fn a_capability_that_raises_limits_is_given() {
    need_root!();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap();
    if u64::from_str_radix(own.trim(), 16).unwrap() & SYS_RESOURCE == 0 {
        return common::skip("this machine's root has no CAP_SYS_RESOURCE (hack/vm's has)");
    }
    let script = "ulimit -n 200 && ulimit -Hn; sed -n 's/^CapEff:[\t ]*//p' /proc/self/status";
    for (given, wanted) in [(true, format!("200\n{SYS_RESOURCE:016x}")), (false, format!("{:016x}", 0))] {
        let bundle = Bundle::sh(script).with(|config| {
            config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 100 }]);
            for set in ["bounding", "permitted", "effective"] {
                let list = if given { json!(["CAP_SYS_RESOURCE"]) } else { json!([]) };
                config["process"]["capabilities"][set] = list;
            }
        });
        assert_eq!(bundle.run().ok(), wanted);
    }
}

#[test]
fn no_new_privileges_is_what_the_config_says() {
    need_root!();
    for (value, wanted) in [(json!(true), "1"), (json!(false), "0"), (Value::Null, "0")] {
        let bundle = status(&["NoNewPrivs"]).with(|config| config["process"]["noNewPrivileges"] = value.clone());
        assert_eq!(bundle.run().ok(), wanted, "{value}");
    }
}

/// Every name of getrlimit(2) with the title in /proc/PID/limits and a hard limit that a program can live with.
const LIMITS: [(&str, &str, u64); 16] = [
    ("AS", "address space", 1 << 40),
    ("CORE", "core file size", 4096),
    ("CPU", "cpu time", 60),
    ("DATA", "data size", 1 << 39),
    ("FSIZE", "file size", 1 << 38),
    ("LOCKS", "file locks", 1 << 20),
    ("MEMLOCK", "locked memory", 8192),
    ("MSGQUEUE", "msgqueue size", 4098),
    ("NICE", "nice priority", 30),
    ("NOFILE", "open files", 200),
    ("NPROC", "processes", 400),
    ("RSS", "resident set", 1 << 37),
    ("RTPRIO", "realtime priority", 50),
    ("RTTIME", "realtime timeout", 1 << 36),
    ("SIGPENDING", "pending signals", 300),
    ("STACK", "stack size", 1 << 23),
];

/// The soft and hard limits in a text of the form of /proc/PID/limits, in the order of `LIMITS`.
fn limits(text: &str) -> Vec<[String; 2]> {
    let row = |title: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("Max {title} ")));
        let mut words = line.unwrap_or_else(|| panic!("{title} in {text}")).split_whitespace().map(str::to_owned);
        [words.next().unwrap(), words.next().unwrap()]
    };
    LIMITS.iter().map(|(_, title, _)| row(title)).collect()
}

/// Each alone, so that a limit that lands in the place of another is seen twice.
#[test]
fn every_resource_limit_is_set_and_no_other() {
    need_root!();
    let mut bundle = Bundle::new(&["cat", "/proc/self/limits"]).set("/process/rlimits", json!([]));
    let plain = limits(&bundle.run().ok());
    let mut wrong = String::new();
    for (index, (name, _, most)) in LIMITS.iter().enumerate() {
        // Without CAP_SYS_RESOURCE no limit can be raised.
        let hard = plain[index][1].parse().unwrap_or(u64::MAX).min(*most);
        let limit = json!({ "type": format!("RLIMIT_{name}"), "soft": hard / 2, "hard": hard });
        bundle = bundle.set("/process/rlimits", json!([limit]));
        let done = bundle.run();
        let mut wanted = plain.clone();
        wanted[index] = [(hard / 2).to_string(), hard.to_string()];
        if done.status != 0 || limits(&done.stdout) != wanted {
            wrong += &format!("{name} {hard}: {done:?}\n");
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn resource_limits_are_set_together() {
    need_root!();
    let given = ["CORE", "CPU", "MEMLOCK", "NOFILE", "NPROC", "STACK"];
    let given: Vec<_> = LIMITS.iter().filter(|(name, ..)| given.contains(name)).collect();
    let list: Vec<Value> = given
        .iter()
        .map(|(name, _, hard)| json!({ "type": format!("RLIMIT_{name}"), "soft": hard - 1, "hard": hard }))
        .collect();
    let bundle = Bundle::new(&["cat", "/proc/self/limits"]);
    let found = limits(&bundle.set("/process/rlimits", json!(list)).run().ok());
    for (name, _, hard) in given {
        let index = LIMITS.iter().position(|(other, ..)| other == name).unwrap();
        assert_eq!(found[index], [(hard - 1).to_string(), hard.to_string()], "{name}");
    }
}

#[test]
fn a_tiny_limit_of_open_files_does_not_break_the_set_up() {
    need_root!();
    let mut failed = Vec::new();
    for limit in 3..=10 {
        let bundle = Bundle::sh("ulimit -n").with(|config| {
            config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": limit, "hard": limit }]);
        });
        let done = bundle.run();
        if done.stdout != format!("{limit}\n") {
            failed.push((limit, done));
        }
        let (created, started) = (bundle.create(), bundle.start());
        if created.status != 0 || started.status != 0 {
            failed.push((limit, created));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_oom_score_is_set_or_left_alone() {
    need_root!();
    let bundle = Bundle::new(&["cat", "/proc/self/oom_score_adj"]);
    assert_eq!(bundle.run_after("echo 123 > /proc/self/oom_score_adj").ok(), "123", "the caller's");
    let bundle = bundle.with(|config| config["process"]["oomScoreAdj"] = json!(321));
    assert_eq!(bundle.run_after("echo 123 > /proc/self/oom_score_adj").ok(), "321");
}

#[test]
fn a_null_device_open_for_reading_alone_can_be_written_inside() {
    need_root!();
    // Callers open /dev/null once, for one direction, and hand it over as all three streams.
    let bundle = Bundle::sh("cat && echo out && echo error >&2 && exec 3>&1 && [ /dev/stdout -ef /dev/null ]");
    let null = || Stdio::from(File::open("/dev/null").unwrap());
    let mut command = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let status = command.stdin(null()).stdout(null()).stderr(null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_streams_belong_to_the_containers_user() {
    need_root!();
    let script = "stat -L -c %u /proc/self/fd/1 /proc/self/fd/2; echo again > /dev/stdout; echo error > /dev/stderr";
    let bundle = Bundle::sh(script).with(|config| user(config, 1000, 1000));
    let done = bundle.run();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("1000\n1000\nagain\n", "error\n"), "{done:?}");
}

/// They stay the host's after the container's end.
#[test]
fn what_is_the_hosts_keeps_its_owner() {
    need_root!();
    use std::os::unix::fs::MetadataExt;
    let run = |stream: &File, mapped: bool| {
        let bundle = Bundle::new(&["true"]).with(|config| user(config, 1234, 1234)).with(|config| {
            if mapped {
                config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
                let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
                (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map);
            }
        });
        std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
        let before = stream.metadata().unwrap();
        let streams = || Stdio::from(stream.try_clone().unwrap());
        let mut command = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        let status = command.stdin(streams()).stdout(streams()).stderr(streams()).status().unwrap();
        assert_eq!(status.code(), Some(0));
        let after = stream.metadata().unwrap();
        let owner = |of: &std::fs::Metadata| (of.uid(), of.gid(), of.mode());
        let changed = owner(&before) != owner(&after);
        if changed {
            nix::unistd::fchown(stream, Some(before.uid().into()), Some(before.gid().into())).unwrap();
        }
        !changed
    };
    let pty = nix::pty::openpty(None, None).unwrap();
    let terminal = File::from(pty.slave);
    let device = {
        let path = std::env::temp_dir().join(format!("ferrun-zero-{}", std::process::id()));
        let zero = nix::sys::stat::makedev(1, 5);
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&path, nix::sys::stat::SFlag::S_IFCHR, mode, zero).unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    };
    let directory_path = std::env::temp_dir().join(format!("ferrun-directory-{}", std::process::id()));
    std::fs::create_dir_all(&directory_path).unwrap();
    let directory = File::open(&directory_path).unwrap();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    for mapped in [false, true] {
        assert!(run(&terminal, mapped), "a terminal, {mapped}");
        assert!(run(&device, mapped), "a device, {mapped}");
        assert!(run(&directory, mapped), "a directory, {mapped}");
        assert!(run(&file, mapped), "a file that is open for reading, {mapped}");
    }
    std::fs::remove_dir(directory_path).unwrap();
}

#[test]
fn the_session_keyring_is_new_unless_asked_otherwise() {
    need_root!();
    if !std::path::Path::new("/proc/keys").exists() {
        return common::skip("this kernel has no /proc/keys");
    }
    // A user sees of root's keyrings only the one that it possesses: its session's.
    let session = |flags: &[&str]| {
        let bundle = Bundle::new(&["cat", "/proc/keys"]).with(|config| {
            config["linux"]["maskedPaths"] = json!([]);
            user(config, 1000, 1000);
        });
        let keys = bundle.run_with(flags).ok();
        keys.lines().filter(|line| line.contains(" _ses")).map(|line| line[..8].to_owned()).collect::<Vec<_>>()
    };
    let (one, other) = (session(&[]), session(&[]));
    assert!(one.len() == 1 && other.len() == 1 && one != other, "{one:?} {other:?}");
    assert_eq!(session(&["--no-new-keyring"]), session(&["--no-new-keyring"]));
}

#[test]
fn signals_that_the_caller_ignores_are_not_ignored_inside() {
    need_root!();
    let bundle = Bundle::new(&["grep", "SigIgn", "/proc/self/status"]);
    let run = format!(
        "trap '' TERM USR1 HUP; exec {} --root {} run --bundle {} {}",
        common::ferrun_binary().display(),
        bundle.state_root().display(),
        bundle.dir.display(),
        bundle.id
    );
    let done = common::Done::new(std::process::Command::new("sh").args(["-c", &run]).output().unwrap());
    assert_eq!(done.ok(), "SigIgn:\t0000000000000000");
}

#[test]
fn of_environment_entries_of_one_name_the_last_counts() {
    need_root!();
    let bundle = Bundle::new(&["env"]);
    let bundle = bundle.with(|config| {
        config["process"]["env"] = serde_json::json!(["PATH=/nowhere", "A=1", "B=2", "A=3", "PATH=/bin"])
    });
    let out = bundle.run().ok();
    let mut lines: Vec<&str> = out.lines().filter(|line| line.starts_with("A=") || line.starts_with("PATH=")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=3", "PATH=/bin"]);
}

/// The caller's affinity binds ferrun, not the container, which has the CPUs of its cgroup.
#[test]
fn the_callers_cpus_do_not_bind_the_container() {
    need_root!();
    let bundle = Bundle::sh("grep Cpus_allowed_list /proc/self/status");
    let all = bundle.run().ok();
    if !all.contains(['-', ',']) {
        return common::skip("this test needs two CPUs");
    }
    assert_eq!(bundle.run_after("taskset --pid --cpu-list 0 $$ > /dev/null").ok(), all);
}
