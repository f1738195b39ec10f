//! `ferrun check`: everything that is wrong with a bundle, at once.

mod common;

use serde_json::{Value, json};

use common::Bundle;
use ferrun::cgroup::memory::START;

#[test]
fn a_sound_bundle_has_no_problems() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    assert_eq!(bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]).ok(), "0 errors, 0 warnings");
}

#[test]
fn every_error_and_warning_is_told_with_its_line() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["mounts"][3]["options"][1] = json!(7);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "networkk" }));
        config["process"]["user"]["uid"] = json!(-1);
        config["process"]["rlimts"] = json!([]);
        config["process"]["capabilities"]["bounding"][0] = json!("CAP_FOO");
    });
    let done = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
    assert_eq!(done.status, 1);
    for (level, pointer) in [
        ("error", "/mounts/3/options/1"),
        ("error", "/linux/namespaces/6/type"),
        ("error", "/process/user/uid"),
        ("warning", "/process/rlimts"),
        ("warning", "/process/capabilities/bounding/0"),
    ] {
        let line = done.stdout.lines().find(|line| line.contains(&format!(" {pointer} ")));
        let line = line.unwrap_or_else(|| panic!("{pointer} is not in {}", done.stdout));
        let place = format!("config.json:{}", bundle.line_of(pointer));
        assert!(line.starts_with(level) && line.contains(&place), "{line} is not an {level} at {place}");
    }
    assert!(done.stdout.ends_with("3 errors, 2 warnings\n"), "{}", done.stdout);
    bundle.assert_nothing_left("check");
}

#[test]
fn a_rule_without_names_is_warned_about() {
    need_root!();
    let rule = |names| json!({"names": names, "action": "SCMP_ACT_ERRNO"});
    let rules = json!([rule(json!(["chmod"])), rule(json!([])), rule(Value::Null), rule(json!(["no_such_call"]))]);
    let bundle =
        Bundle::new(&["true"]).set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    let done = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
    for rule in [1, 2] {
        let pointer = format!(" /linux/seccomp/syscalls/{rule}/names ");
        let told = |line: &str| line.starts_with("warning") && line.contains(&pointer);
        assert!(done.stdout.lines().any(told), "{}", done.stdout);
    }
    assert!(done.stdout.ends_with("0 errors, 2 warnings\n"), "{}", done.stdout);
    // A list that is not there at all is an error, of the rule.
    let rules = json!([{"action": "SCMP_ACT_ERRNO"}]);
    let bundle = bundle.set("/linux/seccomp/syscalls", rules);
    let done = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
    assert!(done.stdout.contains("/linux/seccomp/syscalls/0") && done.status == 1, "{}", done.stdout);
    assert!(done.stdout.contains("names"), "{}", done.stdout);
}

#[test]
fn what_this_host_lacks_is_told_too() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    std::fs::remove_dir_all(bundle.rootfs()).unwrap();
    let done = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
    assert_eq!(done.status, 1);
    assert!(done.stdout.contains("/root/path") && done.stdout.contains("no such file or directory"), "{}", done.stdout);
}

/// Errors of every kind, none of which hides another: of types, between properties, and of this host.
#[test]
fn a_score_that_cannot_be_lowered_is_told() {
    need_root!();
    let bundle = Bundle::new(&["true"]).set("/process/oomScoreAdj", json!(-1000));
    let done = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
    assert_eq!(done.status, bundle.run().status, "{done:?}");
    assert_eq!(done.status == 1, done.stdout.contains("/process/oomScoreAdj"), "{done:?}");
}

#[test]
fn a_limit_below_what_a_start_needs_is_warned_about() {
    need_root!();
    for (limit, warnings) in [(START - 1, 1), (START, 0)] {
        let bundle = Bundle::new(&["true"]).set("/linux/resources/memory/limit", json!(limit));
        let told = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]).ok();
        assert_eq!(told.contains("239 KiB is below what a start needs (about 240 KiB)"), warnings == 1, "{told}");
        assert_eq!(told.contains(" /linux/resources/memory/limit "), warnings == 1, "{told}");
        assert!(told.contains(&format!("0 errors, {warnings} warning")), "{told}");
    }
}

#[test]
fn nothing_hides_anything() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| {
        let mut mount = |entry| config["mounts"].as_array_mut().unwrap().push(entry);
        mount(
            json!({ "destination": "/a", "type": "tmpfs", "source": "t", "options": ["size=1k", "nodevv", "mode=9"] }),
        );
        mount(json!({ "destination": "/b", "type": "bind", "source": "/missing", "options": ["bind", "noexe"] }));
        mount(json!({ "destination": "/c", "type": "nofs", "source": "none" }));
        mount(json!({ "destination": "/proc", "type": "tmpfs", "source": "none" }));
        mount(json!({ "destination": "/proc/../proc/1/", "type": "bind", "source": "/", "options": ["bind"] }));
        config["hostname"] = json!("h".repeat(65));
        config["domainname"] = json!("h".repeat(64));
        config["process"]["cwd"] = json!("x");
        config["process"]["env"] = json!(["A=1", "B", 7, "C"]);
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFIL", "soft": 1, "hard": 2 }]);
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "user", "path": "/proc/self/ns/net" }));
        config["linux"]["sysctl"] = json!({ "kernel.shmmaxx": "1", "net.ipv4.ip_forwardd": "1" });
        config["linux"]["intelRdt"] = json!({});
        config["hooks"] = json!({ "prestart": [{ "path": "a" }], "poststop": [{ "path": "/b", "timeout": 0 }],
            "createRuntime": [{ "path": "/missing" }], "createContainer": [{ "path": "/bin/there" }] });
    });
    let done = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
    assert_eq!(done.status, 1);
    let mut expected = vec![
        ("/mounts/7/options/1", "Unknown parameter 'nodevv'; did you mean nodev?"),
        ("/mounts/7/options/2", "Bad value for 'mode'"),
        ("/mounts/8/source", "no such file or directory"),
        ("/mounts/8/options/1", "did you mean noexec?"),
        ("/mounts/9/type", "no such device; this kernel has no file system \"nofs\""),
        ("/mounts/10/destination", "only a procfs may be mounted on /proc"),
        ("/mounts/11/destination", "inside of /proc only a few files may be mounted over"),
        ("/hostname", "a name of 65 bytes, of which Linux takes 64"),
        ("/process/cwd", "cwd \"x\" is not an absolute path"),
        ("/process/env/1", "\"B\" is not NAME=value"),
        ("/process/env/2", "expected a string"),
        ("/process/env/3", "\"C\" is not NAME=value"),
        ("/process/rlimits/0/type", "did you mean RLIMIT_NOFILE?"),
        ("/linux/namespaces/6/path", "is a network namespace, not user"),
        ("/linux/sysctl/kernel.shmmaxx", "belongs to no namespace"),
        ("/linux/sysctl/net.ipv4.ip_forwardd", "this kernel has no parameter"),
        ("/hooks/prestart/0/path", "\"a\" is not an absolute path"),
        ("/hooks/createRuntime/0", "hook \"/missing\": no such file or directory"),
        ("/hooks/poststop/0", "hook \"/b\": no such file or directory"),
        ("/hooks/poststop/0/timeout", "0 is not greater than zero"),
    ];
    if !std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        expected.push(("/linux/intelRdt", "resctrl"));
    }
    for (pointer, words) in &expected {
        let line = done.stdout.lines().find(|line| line.contains(&format!(" {pointer} ")));
        let line = line.unwrap_or_else(|| panic!("{pointer} is not in {}", done.stdout));
        assert!(line.starts_with("error") && line.contains(words), "no {words:?} in {line}");
    }
    assert!(done.stdout.ends_with(&format!("{} errors, 0 warnings\n", expected.len())), "{}", done.stdout);
    bundle.assert_nothing_left("check");
}

#[test]
fn strict_counts_warnings_and_json_is_data() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| config["process"]["rlimts"] = json!([]));
    let dir = bundle.dir.to_str().unwrap();
    bundle.ferrun(&["check", "--bundle", dir]).ok();
    assert_eq!(bundle.ferrun(&["check", "--strict", "--bundle", dir]).status, 1);
    let data: Value = serde_json::from_str(&bundle.ferrun(&["check", "--json", "--bundle", dir]).ok()).unwrap();
    let problem = &data["problems"][0];
    assert_eq!((&problem["level"], &problem["pointer"]), (&json!("warning"), &json!("/process/rlimts")));
    assert_eq!(problem["line"], json!(bundle.line_of("/process/rlimts")));
}
