//! What `run` says of a program that the kernel has killed because of the config.

mod common;

use common::limits::has_controller;
use common::{Bundle, Report, sentences};
use serde_json::json;

#[test]
fn a_program_that_its_memory_limit_kills() {
    need_root!();
    if !has_controller("memory.max") {
        return common::skip("no controller of memory");
    }
    let bundle = Bundle::new(&["tail", "/dev/zero"])
        .set("/linux/resources/memory", json!({ "limit": 16 << 20, "swap": 16 << 20 }));
    let done = bundle.run();
    assert_eq!(done.status, 137, "{done:?}");
    let warnings = Report::warnings(&done.stderr);
    warnings.iter().for_each(sentences::compare);
    let pointers: Vec<&str> = warnings.iter().map(|warning| warning.pointer.as_str()).collect();
    assert_eq!(pointers, ["/linux/resources/memory/limit"], "{done:?}");
    bundle.assert_nothing_left("run");
    // Not one that is killed otherwise.
    let bundle = Bundle::sh("kill -9 $$; exit 137").set("/linux/resources/memory", json!({ "limit": 16 << 20 }));
    let done = bundle.run();
    assert_eq!((done.status, done.stderr.as_str()), (137, ""));
}

#[test]
fn a_program_that_a_resource_limit_ends() {
    need_root!();
    let limit = |kind: &str, soft: u64| json!([{ "type": kind, "soft": soft, "hard": soft + 10 }]);
    for (script, rlimits, status) in [
        ("(while :; do :; done); exit $?", limit("RLIMIT_CPU", 1), 152),
        ("dd if=/dev/zero of=/tmp/x bs=64k count=1; exit $?", limit("RLIMIT_FSIZE", 4096), 153),
    ] {
        let bundle = Bundle::sh(script).set("/process/rlimits", rlimits).set("/root/readonly", json!(false));
        let done = bundle.run();
        assert_eq!(done.status, status, "{done:?}");
        done.warns(&["/process/rlimits/0"]);
        // The same status without such a limit says nothing.
        let done = Bundle::sh(&format!("exit {status}")).set("/process/rlimits", json!([])).run();
        assert_eq!((done.status, done.stderr.as_str()), (status, ""));
    }
}

#[test]
fn a_program_that_its_filter_kills() {
    need_root!();
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" });
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let done = Bundle::new(&["mkdir", "/tmp/x"]).set("/linux/seccomp", profile).run();
    assert_eq!(done.status, 159, "{done:?}");
    done.warns(&["/linux/seccomp"]);
}
