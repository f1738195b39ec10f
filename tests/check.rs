//! `ferrun check`: everything that is wrong with a bundle, at once.

mod common;

use std::process::Command;

use serde_json::{Value, json};

use common::{Bundle, Done, Report, sentences};
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

/// Below the root only the start knows what there is.
#[test]
fn a_source_that_an_earlier_mount_may_bring_is_a_warning() {
    need_root!();
    let bind = |source: &str| json!({ "destination": "/seen", "source": source, "options": ["bind"] });
    let made = json!({ "destination": "/data/new", "type": "tmpfs", "source": "tmpfs" });
    for (mounts, told) in [
        (json!([made, bind("rootfs/data/new")]), "0 errors, 1 warning"),
        (json!([bind("rootfs/data/new"), made]), "1 error, 0 warnings"),
        (json!([made, bind("data/new")]), "1 error, 0 warnings"),
        (json!([made, bind("rootfs/../missing")]), "1 error, 0 warnings"),
    ] {
        let bundle = Bundle::new(&["true"]).set("/mounts", mounts.clone()).set("/linux/maskedPaths", json!([]));
        let bundle = bundle.set("/linux/readonlyPaths", json!([]));
        let done = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
        assert!(done.stdout.ends_with(&format!("{told}\n")), "{mounts}: {}", done.stdout);
        // Where the sources are opened before any mount is made.
        let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        let mapped = bundle.with(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (ids.clone(), ids);
        });
        let done = mapped.ferrun(&["check", "--bundle", mapped.dir.to_str().unwrap()]);
        assert!(done.stdout.contains("1 error, "), "{mounts}: {}", done.stdout);
    }
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
        assert_eq!(told.contains(" 239 KiB "), warnings == 1, "{told}");
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
    let done = bundle.ferrun(&["check", "--json", "--bundle", bundle.dir.to_str().unwrap()]);
    assert_eq!(done.status, 1);
    let mut expected = vec![
        "/mounts/7/options/1",
        "/mounts/7/options/2",
        "/mounts/8/source",
        "/mounts/8/options/1",
        "/mounts/9/type",
        "/mounts/10/destination",
        "/mounts/11/destination",
        "/hostname",
        "/process/cwd",
        "/process/env/1",
        "/process/env/2",
        "/process/env/3",
        "/process/rlimits/0/type",
        "/linux/namespaces/6/path",
        "/linux/sysctl/kernel.shmmaxx",
        "/linux/sysctl/net.ipv4.ip_forwardd",
        "/hooks/prestart/0/path",
        "/hooks/createRuntime/0",
        "/hooks/poststop/0",
        "/hooks/poststop/0/timeout",
    ];
    if !std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        expected.push("/linux/intelRdt");
    }
    let found = problems(&done);
    let errors = found.iter().filter(|(level, _)| level == "error");
    let mut pointers: Vec<&str> = errors.map(|(_, pointer)| pointer.as_str()).collect();
    pointers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(pointers, expected);
    assert_eq!(found.len(), expected.len(), "no warnings");
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

/// The problems that `check --json` reports, each as level and pointer, in the words that are written down.
#[track_caller]
fn problems(done: &Done) -> Vec<(String, String)> {
    let data: Value = serde_json::from_str(&done.stdout).unwrap();
    let problem = |problem: &Value| {
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        sentences::compare(&Report { sentence: text("message"), hint: text("hint"), ..Report::default() });
        (text("level"), text("pointer"))
    };
    data["problems"].as_array().unwrap().iter().map(problem).collect()
}

/// Fails unless the problems of a bundle with a profile are these, with lines: warnings, each by the end of its pointer, or
/// errors (`error syscalls/0`), where no program starts.
#[track_caller]
fn assert_warned(bundle: &Bundle, expected: &[&str]) {
    let done = bundle.ferrun(&["check", "--json", "--bundle", bundle.dir.to_str().unwrap()]);
    let problem = |expected: &&str| {
        let (level, rule) = expected.split_once(' ').unwrap_or(("warning", expected));
        (level.to_owned(), format!("/linux/seccomp/{rule}"))
    };
    assert_eq!(problems(&done), expected.iter().map(problem).collect::<Vec<_>>());
    let data: Value = serde_json::from_str(&done.stdout).unwrap();
    for problem in data["problems"].as_array().unwrap() {
        let line = bundle.line_of(problem["pointer"].as_str().unwrap());
        assert_eq!(problem["line"], json!(line), "{problem}");
    }
}

fn with_profile(default: &str, rules: &Value) -> Bundle {
    Bundle::new(&["true"]).set("/linux/seccomp", json!({ "defaultAction": default, "syscalls": rules }))
}

fn with_hook(bundle: Bundle) -> Bundle {
    bundle.set("/hooks", json!({ "startContainer": [{ "path": "/bin/true" }] }))
}

#[test]
fn a_profile_that_denies_a_call_of_every_start_is_warned_about() {
    need_root!();
    let rules = |name: &str, action: &str| json!([{ "names": ["chmod"], "action": "SCMP_ACT_TRAP" }, { "names": ["chown", name], "action": action }]);
    let bundle = with_profile("SCMP_ACT_ALLOW", &rules("execve", "SCMP_ACT_ERRNO"));
    assert_warned(&bundle, &["error syscalls/1"]);
    let bundle = with_profile("SCMP_ACT_ALLOW", &rules("exit_group", "SCMP_ACT_KILL_PROCESS"));
    assert_warned(&bundle, &["syscalls/1"]);
    let bundle = with_profile("SCMP_ACT_ALLOW", &rules("rt_sigreturn", "SCMP_ACT_TRACE"));
    assert_warned(&bundle, &["syscalls/1"]);
    assert_warned(&with_profile("SCMP_ACT_ALLOW", &rules("execve", "SCMP_ACT_LOG")), &[]);
}

#[test]
fn a_short_list_of_allowed_calls_is_warned_about_by_its_default() {
    need_root!();
    let names = json!(["execve", "read", "write", "close", "rt_sigreturn", "landlock_create_ruleset"]);
    let bundle = with_profile("SCMP_ACT_ERRNO", &json!([{ "names": names, "action": "SCMP_ACT_ALLOW" }]));
    // exit_group, futex
    assert_warned(&bundle, &["defaultAction"; 2]);
    // With a hook also clone, wait4 and waitid, pipe2 and memfd_create, dup2 and dup3.
    assert_warned(&with_hook(bundle), &["defaultAction"; 6]);
}

#[test]
fn a_call_above_all_of_the_profile_is_warned_about_as_newer() {
    need_root!();
    // Numbers of x86_64; elsewhere the order is another one.
    if cfg!(not(target_arch = "x86_64")) {
        return common::skip("the numbers of x86_64 are of another architecture");
    }
    let names = json!(["execve", "rt_sigreturn", "exit"]);
    let bundle = with_profile("SCMP_ACT_KILL", &json!([{ "names": names, "action": "SCMP_ACT_ALLOW" }]));
    assert_warned(&bundle, &["defaultAction"; 2]);
}

#[test]
fn a_hook_that_cannot_be_run_is_warned_about() {
    need_root!();
    let clone = |operator: &str, value: u64| {
        let args = json!([{ "index": 0, "value": value, "valueTwo": 0, "op": operator }]);
        json!([{ "names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": args }])
    };
    let bundle = with_profile("SCMP_ACT_ALLOW", &clone("SCMP_CMP_EQ", libc::SIGCHLD as u64));
    assert_warned(&bundle, &[]);
    assert_warned(&with_hook(bundle), &["syscalls/0"]);
    let bundle = with_profile("SCMP_ACT_ALLOW", &json!([{ "names": ["clone"], "action": "SCMP_ACT_ERRNO" }]));
    assert_warned(&with_hook(bundle), &["syscalls/0"]);
    // Docker's condition: no new namespaces, of which a hook's process has none.
    let namespaces = 0x7e02_0000;
    let mut rules = clone("SCMP_CMP_MASKED_EQ", namespaces);
    rules[0]["action"] = json!("SCMP_ACT_ALLOW");
    let others = [
        &["execve", "exit_group", "rt_sigreturn", "futex", "exit", "landlock_create_ruleset"][..],
        &["waitid", "memfd_create", "pwrite64", "dup3"],
    ];
    let others = json!({ "names": others.concat(), "action": "SCMP_ACT_ALLOW" });
    rules.as_array_mut().unwrap().push(others);
    let bundle = with_hook(with_profile("SCMP_ACT_ERRNO", &rules));
    assert_warned(&bundle, &[]);
    let bundle = bundle.set("/linux/seccomp/syscalls/0/args/0/valueTwo", json!(0x2_0000));
    assert_warned(&bundle, &["defaultAction"]);
}

#[test]
fn rules_that_are_not_read_as_they_are_written_are_warned_about() {
    need_root!();
    let condition =
        |(index, op, value): (u8, &str, u64)| json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value});
    let rule = |action: &str, args: &[(u8, &str, u64)]| {
        let args: Vec<Value> = args.iter().copied().map(condition).collect();
        json!({"names": ["mmap"], "action": format!("SCMP_ACT_{action}"), "args": args})
    };
    let with = |rules: &[Value]| with_profile("SCMP_ACT_ALLOW", &json!(rules));
    // Both match, and the stricter one does not count; or none matches.
    assert_warned(&with(&[rule("LOG", &[(1, "EQ", 2)]), rule("TRAP", &[(0, "EQ", 1)])]), &["syscalls/1"]);
    assert_warned(&with(&[rule("LOG", &[(1, "EQ", 2)]), rule("KILL_PROCESS", &[(0, "EQ", 1)])]), &["syscalls/1"]);
    // Seen only with a high word that no rule has, and only among many combinations.
    assert_warned(&with(&[rule("LOG", &[(0, "NE", 1)]), rule("TRAP", &[(0, "NE", 2)])]), &["syscalls/1"]);
    let far = [rule("LOG", &[(2, "LE", 1 << 32)]), rule("ERRNO", &[(1, "EQ", 0), (0, "LT", 2)])];
    assert_warned(&with(&far), &["syscalls/1"]);
    let mixed = [&[(1, "GE", 1), (2, "NE", 0x1_0000_0001)], &[(1, "GT", 2), (2, "GT", 1)]];
    assert_warned(&with(&mixed.map(|args| rule("ERRNO", args))), &["syscalls/0"]);
    assert_warned(&with(&[rule("ERRNO", &[(1, "GT", 5)]), rule("ERRNO", &[(1, "LT", 2)]), rule("TRAP", &[])]), &[]);
}

#[test]
fn a_denied_capset_is_the_helper_threads() {
    need_root!();
    let rules = json!([{ "names": ["capset"], "action": "SCMP_ACT_ERRNO" },
        { "names": ["exit"], "action": "SCMP_ACT_KILL_THREAD" }]);
    let bundle = with_profile("SCMP_ACT_ALLOW", &rules).set("/process/noNewPrivileges", json!(true));
    assert_warned(&bundle, &[]);
    assert_warned(&bundle.set("/process/noNewPrivileges", json!(false)), &[]);
}

#[test]
fn a_listener_that_cannot_be_closed_is_warned_about() {
    need_root!();
    let notify = json!({ "names": ["execve", "exit_group", "futex"], "action": "SCMP_ACT_NOTIFY" });
    let close = json!({ "names": ["close"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9 });
    let bundle = with_profile("SCMP_ACT_ALLOW", &json!([close]));
    assert_warned(&bundle, &[]);
    let profile =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", "syscalls": [close, notify] });
    let bundle = bundle.set("/linux/seccomp", profile);
    assert_warned(&bundle, &["syscalls/0"]);
}

#[test]
fn engines_profiles_are_not_warned_about() {
    need_root!();
    for engine in ["docker", "containerd", "podman"] {
        let path = format!("{}/tests/data/{engine}.seccomp.json", env!("CARGO_MANIFEST_DIR"));
        let profile: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let mut bundle = with_hook(Bundle::new(&["true"]).set("/linux/seccomp", profile));
        for no_new_privileges in [true, false] {
            bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
            assert_warned(&bundle, &[]);
        }
        assert_warned(&bundle.set("/hooks", json!({})), &[]);
    }
}

/// Runs ferrun with at most 256 MiB of memory, for at most a minute of CPU time.
fn with_limits(bundle: &Bundle, args: &[&str]) -> Done {
    let script = "ulimit -v 262144; ulimit -t 60; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(common::ferrun_binary()).arg("--root").arg(bundle.state_root()).args(args);
    Done::new(command.output().unwrap())
}

#[test]
fn a_large_config_with_many_errors_takes_no_more_than_its_size_is_worth() {
    need_root!();
    let many = |element: Value, number: usize| Value::Array(vec![element; number]);
    for (pointer, list) in [
        ("/process/env", many(json!(7), 400_000)),
        ("/process/env", many(json!("x"), 200_000)),
        ("/process/rlimits", many(json!({ "type": "RLIMIT_CORE", "hard": 1, "soft": 2 }), 40_000)),
        ("/linux/maskedPaths", many(json!("relative"), 100_000)),
        ("/process/capabilities/bounding", many(json!("CAP_NONE"), 100_000)),
        ("/linux/devices", many(json!({ "path": "/dev/x", "type": "q" }), 40_000)),
        ("/mounts", many(json!({ "destination": 1 }), 100_000)),
    ] {
        let bundle = Bundle::new(&["true"]).set(pointer, list);
        let done = with_limits(&bundle, &["check", "--bundle", bundle.dir.to_str().unwrap()]);
        assert!(done.stdout.contains("; the rest is not looked at"), "{pointer}: {} {}", done.status, done.stderr);
        assert!(done.stdout.lines().count() < 500, "{pointer}");
        assert!((0..=1).contains(&done.status), "{pointer}: {} {}", done.status, done.stderr);
    }
}

#[test]
fn long_names_and_many_devices_cost_what_they_are_long() {
    need_root!();
    let devices: Vec<Value> =
        (0..20_000).map(|n| json!({ "path": format!("/dev/d{n}"), "type": "c", "major": 1, "minor": 3 })).collect();
    let bundle = Bundle::new(&["true"]).set("/linux/devices", json!(devices));
    let done = with_limits(&bundle, &["check", "--bundle", bundle.dir.to_str().unwrap()]);
    assert_eq!(done.status, 0, "{}", done.stderr);
    // An object whose name would be part of a hundred thousand pointers.
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["x".repeat(1 << 20)] = json!(vec![0; 100_000]);
        config["process"]["cwd"] = json!(7);
    });
    let dir = bundle.dir.to_str().unwrap();
    for args in [&["check", "--bundle", dir][..], &["run", "--bundle", dir, &bundle.id], &["explain", "--bundle", dir]]
    {
        let done = with_limits(&bundle, args);
        assert!(format!("{done:?}").contains("/process/cwd"), "{args:?}: {}", done.status);
        assert_eq!(done.status, 1);
    }
}

#[test]
fn a_config_that_is_nested_deeply_ends_no_command() {
    need_root!();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(40_000), close.repeat(40_000));
        // Ignored as unknown; behind an error of type; behind one of value; and instead of the whole.
        for (from, to, words) in [
            ("\"ociVersion\"", format!("\"deep\":{deep},\"ociVersion\""), ""),
            ("\"cwd\": \"/\"", format!("\"cwd\": 7, \"deep\": {deep}"), "/process/cwd"),
            ("\"cwd\": \"/\"", format!("\"cwd\": \"relative\", \"deep\": {deep}"), "/process/cwd"),
            ("\"mounts\": [", format!("\"mounts\": [{deep},"), "/mounts"),
        ] {
            let bundle = Bundle::new(&["true"]);
            let text = std::fs::read_to_string(bundle.dir.join("config.json")).unwrap();
            assert!(text.contains(from), "{from} in {text}");
            std::fs::write(bundle.dir.join("config.json"), text.replacen(from, &to, 1)).unwrap();
            let dir = bundle.dir.to_str().unwrap();
            for args in [
                &["check", "--bundle", dir][..],
                &["explain", "--bundle", dir],
                &["run", "--bundle", dir, &bundle.id],
                &["seccomp", "--bundle", dir],
            ] {
                let done = bundle.bounded(args);
                assert!((0..=1).contains(&done.status), "{args:?}: {done:?}");
                assert!(args[0] == "seccomp" || format!("{done:?}").contains(words), "{args:?}: {done:?}");
            }
        }
    }
}

/// The specification forbids an error, and nobody runs `check` before each start.
#[test]
fn a_start_warns_of_a_misspelt_property() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["root"]["readOnly"] = json!(true);
        config["linux"]["maskedPath"] = json!(["/proc/kcore"]);
    });
    let place = format!("config.json:{} /root/readOnly", bundle.line_of("/root/readOnly"));
    let dir = bundle.dir.to_str().unwrap();
    let begin = |globals: &[&str], verb| bundle.bounded(&[globals, &[verb, "--bundle", dir, &bundle.id]].concat());
    for verb in ["run", "create"] {
        let done = begin(&[], verb);
        assert_eq!(done.status, 0, "{done:?}");
        done.warns(&["/linux/maskedPath", "/root/readOnly"]);
        assert!(done.stderr.contains(&place), "{done:?}");
        bundle.delete_force().ok();
    }
    // Engines read one line.
    assert_eq!(begin(&["--log-format", "json"], "run").stderr, "");
    assert!(begin(&["--log-format", "json", "--debug"], "run").stderr.contains("/root/readOnly"));
}

/// What `check` prints of a bundle, with its status.
fn checked(bundle: &Bundle) -> (i32, String) {
    let done = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
    (done.status, done.stdout)
}

#[test]
fn cpus_and_memory_nodes_that_this_host_does_not_have_are_errors() {
    need_root!();
    for (pointer, file) in [("cpus", "cpuset.cpus = 0-4000"), ("mems", "cpuset.mems = 0-4000")] {
        let (status, said) =
            checked(&Bundle::new(&["true"]).set(&format!("/linux/resources/cpu/{pointer}"), json!("0-4000")));
        let place = format!("/linux/resources/cpu/{pointer}");
        assert!(status == 1 && said.contains(file) && said.contains(&place), "{said}");
        let (_, said) = checked(&Bundle::new(&["true"]).set(&place, json!("0")));
        assert!(said.ends_with("0 errors, 0 warnings\n"), "{said}");
    }
}

#[test]
fn a_program_that_is_missing_is_warned_about() {
    need_root!();
    let bundle = |program: &str| Bundle::new(&[program]);
    let warning = |bundle: &Bundle| checked(bundle).1.contains("there is no such file in the root file system");
    for (program, is_missing) in
        [("/bin/nonesuch", true), ("/nowhere/at/all", true), ("/bin/sh", false), ("nonesuch", false)]
    {
        assert_eq!(warning(&bundle(program)), is_missing, "{program}");
    }
    // A link, which is resolved in the root; one that leads nowhere, where a mount may be; and a mount.
    let linked = bundle("/link/nonesuch");
    std::os::unix::fs::symlink("/bin", linked.rootfs().join("link")).unwrap();
    std::os::unix::fs::symlink("/later", linked.rootfs().join("dangling")).unwrap();
    assert!(warning(&linked));
    assert!(!warning(&linked.set("/process/args/0", json!("/dangling/program"))));
    let mount = json!({ "destination": "/opt", "type": "bind", "source": "/usr", "options": ["bind"] });
    assert!(!warning(&bundle("/opt/nonesuch").with(|config| config["mounts"].as_array_mut().unwrap().push(mount))));
    let hook = json!([{ "path": "/bin/true" }]);
    assert!(!warning(&bundle("/bin/nonesuch").set("/hooks/createContainer", hook)));
}

#[test]
fn a_misspelt_system_call_is_warned_about() {
    need_root!();
    let rules = json!([{ "names": ["read", "opne", "frobnicate"], "action": "SCMP_ACT_ERRNO" }]);
    let (status, said) = checked(&with_profile("SCMP_ACT_ALLOW", &rules));
    assert!(status == 0 && said.contains(" open?") && said.contains("syscalls/0/names/1"), "{said}");
    assert!(said.ends_with("0 errors, 1 warning\n"), "{said}");
    for profile in ["docker", "podman", "containerd"] {
        let text = std::fs::read(format!("tests/data/{profile}.seccomp.json")).unwrap();
        let profile: Value = serde_json::from_slice(&text).unwrap();
        let (_, said) = checked(&Bundle::new(&["true"]).set("/linux/seccomp", profile));
        assert!(!said.contains("did you mean"), "{said}");
    }
}
