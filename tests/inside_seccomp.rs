//! Filters of system calls as a container sees them.

mod common;

use common::{Bundle, skip};
use serde_json::{Value, json};

/// A profile that allows everything but mkdir.
fn mkdir(action: &str) -> Value {
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": action});
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

fn bundle(profile: Value, script: &str) -> Bundle {
    Bundle::sh(script).set("/linux/seccomp", profile)
}

fn load(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}.seccomp.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn each_action_happens() {
    need_root!();
    const SIGSYS: i32 = 128 + 31;
    for (action, status, words) in [
        ("SCMP_ACT_ERRNO", 0, "Operation not permitted"),
        ("SCMP_ACT_KILL", SIGSYS, ""),
        ("SCMP_ACT_KILL_THREAD", SIGSYS, ""),
        ("SCMP_ACT_KILL_PROCESS", SIGSYS, ""),
        ("SCMP_ACT_TRAP", SIGSYS, ""),
        // Without a tracer there is no such call.
        ("SCMP_ACT_TRACE", 0, "Function not implemented"),
        ("SCMP_ACT_LOG", 0, "made"),
        ("SCMP_ACT_ALLOW", 0, "made"),
    ] {
        for no_new_privileges in [false, true] {
            let bundle = bundle(mkdir(action), "mkdir /dev/shm/d 2>&1 && echo made; exit $(($? > 1 ? $? : 0))")
                .set("/process/noNewPrivileges", json!(no_new_privileges));
            let done = bundle.run();
            assert_eq!(done.status, status, "{action}: {done:?}");
            assert!(done.stdout.contains(words), "{action}: {done:?}");
            assert_eq!(done.stdout.contains("made"), words == "made", "{action}: {done:?}");
            bundle.assert_nothing_left("run");
        }
    }
}

#[test]
fn an_errno_of_its_own_and_conditions() {
    need_root!();
    let mode = |value| json!([{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]);
    let rule = |errno, mode| json!({"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": mode});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(28, mode(0o600)), rule(5, mode(0o640))]});
    let script = "cd /dev/shm && touch f; for mode in 600 640 644; do chmod $mode f 2>&1 && echo done; done";
    let said = bundle(profile, script).run().ok();
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].contains("No space left") && lines[1].contains("Input/output error") && lines[2] == "done",
        "{said}"
    );
}

#[test]
fn every_operator_compares_as_it_is_called() {
    need_root!();
    for (operator, value, value_two, denied) in [
        ("SCMP_CMP_EQ", 0o640, 0, "640"),
        ("SCMP_CMP_NE", 0o640, 0, "600 604 644"),
        ("SCMP_CMP_LT", 0o640, 0, "600 604"),
        ("SCMP_CMP_LE", 0o640, 0, "600 604 640"),
        ("SCMP_CMP_GE", 0o640, 0, "640 644"),
        ("SCMP_CMP_GT", 0o640, 0, "644"),
        ("SCMP_CMP_MASKED_EQ", 0o004, 0o004, "604 644"),
    ] {
        let mode = json!([{"index": 1, "value": value, "valueTwo": value_two, "op": operator}]);
        let rule = json!({"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": mode});
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        let script =
            "cd /dev/shm && touch f; for m in 600 604 640 644; do chmod $m f 2>/dev/null || echo $m; done; true";
        let said = bundle(profile, script).run().ok();
        assert_eq!(said.replace('\n', " "), denied, "{operator}");
    }
}

/// What a flag does is not seen inside: an entry in the audit log, a mitigation that not every CPU needs.
#[test]
fn every_flag_reaches_the_kernel() {
    need_root!();
    const NEW_LISTENER: u32 = 1 << 3;
    const TSYNC_ESRCH: u32 = 1 << 4;
    for (flags, listens, bits) in [
        // As runc: a profile without a word of flags does not pay for the mitigation.
        (Value::Null, false, 1 << 2),
        (json!([]), false, 0),
        (json!(["SECCOMP_FILTER_FLAG_LOG"]), false, 1 << 1),
        (json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), false, 1 << 2),
        (json!(["SECCOMP_FILTER_FLAG_TSYNC"]), false, 1 | TSYNC_ESRCH),
        (json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), false, 0),
        (json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), true, NEW_LISTENER | 1 << 5),
    ] {
        let bundle = bundle(mkdir(if listens { "SCMP_ACT_NOTIFY" } else { "SCMP_ACT_ERRNO" }), "true");
        let agent = bundle.dir.join("agent.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&agent).unwrap();
        let mut bundle = bundle.set("/linux/seccomp/flags", flags.clone());
        if listens {
            bundle = bundle.set("/linux/seccomp/listenerPath", json!(agent));
        }
        let log = bundle.dir.join("strace");
        let ferrun = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-qq", "-X", "raw", "-e", "trace=seccomp", "-o"]).arg(&log);
        let status = strace.arg(ferrun.get_program()).args(ferrun.get_args()).status();
        if !status.is_ok_and(|status| status.success()) {
            return skip("this test needs strace");
        }
        let calls = std::fs::read_to_string(log).unwrap();
        let found = calls.lines().find_map(|line| line.split_once("seccomp(0x1, ")?.1.split(',').next());
        let wanted = if bits == 0 { "0".into() } else { format!("{bits:#x}") };
        assert_eq!(found, Some(wanted.as_str()), "{flags} in {calls}");
    }
}

#[test]
fn engines_default_profiles_are_in_force() {
    need_root!();
    for name in ["docker", "containerd", "podman"] {
        for (no_new_privileges, uid) in [(false, 0), (false, 1000), (true, 0), (true, 1000)] {
            let script = "grep -e ^Seccomp: -e ^CapEff /proc/self/status; umount /proc 2>&1";
            let bundle = bundle(load(name), script)
                .set("/process/noNewPrivileges", json!(no_new_privileges))
                .set("/process/user/uid", json!(uid));
            for created in [false, true] {
                let said = match created {
                    true => bundle.run(),
                    // By way of create and start the filter is as well the last thing.
                    false => {
                        let done = bundle.create();
                        assert_eq!(done.status, 0, "{done:?}");
                        bundle.start().ok();
                        bundle.wait_for("stopped");
                        bundle.delete_force().ok();
                        continue;
                    }
                };
                let said = said.stdout;
                assert!(said.contains("Seccomp:\t2"), "{name}: {said}");
                assert!(said.contains("ermitted"), "{name}: {said}");
                // What ferrun has kept to install the filter is gone.
                let effective = said.split("CapEff:\t").nth(1).and_then(|text| text.split('\n').next()).unwrap();
                assert_eq!(u64::from_str_radix(effective, 16).unwrap() & 1 << 21, 0, "{name}: {said}");
            }
            bundle.assert_nothing_left("run");
        }
    }
}

/// Everything that busybox itself needs to begin and end, and nothing that ferrun does before.
#[test]
fn no_call_of_ferruns_own_is_under_the_filter() {
    need_root!();
    let names = json!([
        "execve",
        "brk",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlink",
        "readlinkat",
        "getrandom",
        "mprotect",
        "mmap",
        "munmap",
        "exit_group",
        "getuid",
        "setuid",
        "newfstatat",
        "setgid",
        "getegid",
        "geteuid",
        "getgid",
        "uname",
        "writev",
        "write"
    ]);
    let profile = json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            // PR_GET_NAME
            {"names": ["prctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]},
        ],
    });
    for uid in [0, 1000] {
        for no_new_privileges in [false, true] {
            let bundle = Bundle::new(&["/bin/echo", "hello"])
                .set("/linux/seccomp", profile.clone())
                .set("/process/user/uid", json!(uid))
                .set("/process/noNewPrivileges", json!(no_new_privileges));
            assert_eq!(bundle.run().ok(), "hello", "uid {uid}, {no_new_privileges}");
            let done = bundle.run_with(&["--trace", "/dev/null"]);
            assert_eq!(done.status, 0, "{done:?}");
            bundle.create().ok();
            bundle.start().ok();
            bundle.wait_for("stopped");
            bundle.delete_force().ok();
            bundle.assert_nothing_left("run");
        }
    }
}

/// The profile of runtime-tools.
#[test]
fn getcwd_may_be_denied() {
    need_root!();
    let rule = json!({"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    assert!(bundle(profile, "/bin/pwd -P 2>&1; echo on").run().ok().contains("on"));
}

#[test]
fn a_program_that_is_not_there_is_told_under_any_filter() {
    need_root!();
    let profile = json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"});
    let bundle = Bundle::new(&["/bin/nothing"]).set("/linux/seccomp", profile);
    bundle.run().fails("ENOENT /process/args");
    bundle.create().fails("ENOENT /process/args");
    bundle.assert_nothing_left("run");
}

#[test]
fn contradictions_are_told_with_their_place() {
    need_root!();
    let rule = |errno| {
        let args = json!([{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}]);
        json!({"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args})
    };
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(1), rule(2)]});
    let done = bundle(profile, "true").run();
    done.fails("/linux/seccomp/syscalls/1");
    let done = bundle(json!({"defaultAction": "SCMP_ACT_NO"}), "true").run();
    done.fails("/linux/seccomp/defaultAction");
}
