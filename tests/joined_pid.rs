//! A container in the pid namespace of another, where somebody may trace processes: its init arrives there without rights,
//! and without the host in view.

mod common;

use std::fs;
use std::os::unix::net::UnixListener;

use common::{Bundle, wait_until};
use serde_json::{Value, json};

/// Looks at whatever appears in its pid namespace, as often as it can, with the rights to trace it. Writes each thing that
/// it sees once.
fn spy() -> Bundle {
    let look = r#"cd /proc; all=" "; see() { case $all in *" $1 "*) ;; *) all="$all$1 "; echo "$1" >>/seen;; esac; }
        while :; do for p in [0-9]*; do case $p in 1|$$) continue;; esac
            while read -r name value; do case $name in
                CapPrm:) see $name$value;; Seccomp:) see $name$value; see pid:$p;; esac; done <$p/status
            for name in $p/root/* $p/cwd/*; do [ ! -e $name ] || see name:${name##*/}; done
            for file in $p/fd/* $p/exe; do [ ! -e $file ] || see "file:$(readlink $file)"; done
        done 2>/dev/null; done"#;
    let bundle = Bundle::sh(look).set("/root/readonly", json!(false)).with(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_PTRACE", "CAP_KILL", "CAP_DAC_OVERRIDE"]);
        }
    });
    assert_eq!(bundle.run_detached().status, 0);
    bundle
}

fn joining(target: &Bundle, config: &mut Value) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    let pid = namespaces.iter_mut().find(|namespace| namespace["type"] == "pid").unwrap();
    pid["path"] = json!(format!("/proc/{}/ns/pid", target.state()["pid"]));
    config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
}

/// Whether this host can set an init up outside of the namespace.
fn crosses(bundle: &Bundle) -> bool {
    let plan = bundle.ferrun(&["explain", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    plan.contains("into the pid namespace")
}

#[test]
fn who_is_there_never_sees_an_init_with_rights_or_the_host() {
    need_root!();
    let spy = spy();
    let mut without_proc = Bundle::new(&["sleep", "1000"]).with(|config| joining(&spy, config)).with(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    without_proc.id += "-without-proc";
    assert!(crosses(&without_proc), "nothing is in the way");
    let with_proc = Bundle::new(&["sleep", "1000"]).with(|config| joining(&spy, config));
    let mut tried = vec![&without_proc];
    match crosses(&with_proc) {
        true => tried.push(&with_proc),
        false => common::skip("the procfs of this kernel takes no pid namespace (Linux 6.18)"),
    }
    let seen = || fs::read_to_string(spy.rootfs().join("seen")).unwrap_or_default();
    for bundle in tried {
        for _ in 0..20 {
            assert_eq!(bundle.create().status, 0);
            // While it waits, too.
            let status = fs::read_to_string(format!("/proc/{}/status", bundle.state()["pid"])).unwrap();
            let pid = status.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last()).unwrap();
            wait_until("a look of the spy", || seen().lines().any(|line| line == format!("pid:{pid}")));
            assert_eq!((bundle.start().status, bundle.delete_force().status), (0, 0));
        }
    }
    let (seen, allowed) = (seen(), 1 << 5 | 1 << 10 | 1 << 29);
    let names = |path: &std::path::Path| -> Vec<String> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().display().to_string()).collect()
    };
    let inside = names(&spy.rootfs());
    let hosts: Vec<String> = names("/".as_ref()).into_iter().filter(|name| !inside.contains(name)).collect();
    assert!(!hosts.is_empty());
    for line in seen.lines() {
        let (what, value) = line.split_once(':').unwrap();
        match what {
            "name" => assert!(!hosts.iter().any(|name| name == value), "the spy saw the host's /{value}"),
            "file" => assert!(
                !value.contains("socket:") && !value.contains("state.json") && !value.contains("/sys/fs/cgroup"),
                "{line}"
            ),
            "CapPrm" => assert_eq!(u64::from_str_radix(value, 16).unwrap() & !allowed, 0, "{line}"),
            "Seccomp" => assert_eq!(value, "2"),
            _ => {}
        }
    }
    spy.delete_force();
}

#[test]
fn the_init_is_the_process_that_the_state_names() {
    need_root!();
    let target = spy();
    for terminal in [false, true] {
        let bundle = Bundle::sh("cat /proc/self/stat; sleep 1000").with(|config| joining(&target, config));
        if !crosses(&bundle) {
            return common::skip("the procfs of this kernel takes no pid namespace (Linux 6.18)");
        }
        let bundle = bundle.set("/process/terminal", json!(terminal));
        let socket = bundle.dir.join("console");
        let _listener = UnixListener::bind(&socket).unwrap();
        let pid_file = bundle.dir.join("pid");
        let mut arguments = vec!["--pid-file", pid_file.to_str().unwrap()];
        if terminal {
            arguments.extend(["--console-socket", socket.to_str().unwrap()]);
        }
        assert_eq!(bundle.create_with(&arguments).status, 0);
        let state = bundle.state();
        let pid = state["pid"].as_i64().unwrap();
        assert_eq!(
            (state["status"].as_str(), fs::read_to_string(&pid_file).unwrap()),
            (Some("created"), pid.to_string())
        );
        let link = |pid: &Value| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
        assert_eq!(link(&state["pid"]), link(&target.state()["pid"]));
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let field = |number: usize| -> i64 {
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(number - 3).unwrap().parse().unwrap()
        };
        assert_eq!((field(6), field(7) != 0), (pid, terminal), "session and terminal: {stat}");
        assert_eq!((bundle.start().status, bundle.status().as_str()), (0, "running"));
        assert_eq!(bundle.state()["pid"], pid);
        bundle.delete_force();
        bundle.assert_nothing_left("a container in a joined pid namespace");
    }
    target.delete_force();
}

/// What needs the init's pid, or more than it can have there.
#[test]
fn some_inits_are_born_there_as_before() {
    need_root!();
    let target = Bundle::new(&["sleep", "1000"]);
    assert_eq!(target.run_detached().status, 0);
    let bundle = || {
        Bundle::new(&["true"]).with(|config| joining(&target, config)).with(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "proc");
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
        })
    };
    assert!(crosses(&bundle()));
    let hook = json!([{ "path": "/bin/true" }]);
    for (pointer, value, is_crossing) in [
        ("/hooks/prestart", hook.clone(), false),
        ("/hooks/createRuntime", hook.clone(), false),
        ("/hooks/createContainer", hook.clone(), false),
        ("/hooks/startContainer", hook.clone(), false),
        ("/hooks/poststart", hook.clone(), true),
        ("/hooks/poststop", hook, true),
        ("/linux/resources/pids", json!({ "limit": 1 }), false),
        ("/linux/resources/pids", json!({ "limit": 2 }), true),
        ("/linux/maskedPaths", json!(["/proc/self/environ"]), false),
        ("/linux/readonlyPaths", json!(["/proc/thread-self/attr"]), false),
        ("/linux/maskedPaths", json!(["/proc/kcore"]), true),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["clone"], "action": "SCMP_ACT_ERRNO" }] }),
            false,
        ),
    ] {
        assert_eq!(crosses(&bundle().set(pointer, value.clone())), is_crossing, "{pointer} {value}");
    }
    target.delete_force();
}

/// What asks the kernel for a right (a procfs of its own) to plan the start does not need it to explain it.
#[test]
fn whoever_may_not_start_it_can_have_it_explained_and_checked() {
    use std::os::unix::process::CommandExt;
    need_root!();
    let namespace = "/proc/self/ns/pid";
    let bundle = Bundle::new(&["true"]).with(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        let pid = namespaces.iter_mut().find(|each| each["type"] == "pid").unwrap();
        pid["path"] = json!(namespace);
        // Of which it would be said that ferrun has none to give.
        config["process"]["capabilities"] = json!({});
    });
    let dir = bundle.dir.to_str().unwrap();
    for command in ["explain", "check"] {
        let done = common::bounded(bundle.command(&[command, "--bundle", dir]).uid(65534).gid(65534));
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{command}: {done:?}");
        assert!(command == "check" || done.stdout.contains(namespace), "{done:?}");
    }
}
