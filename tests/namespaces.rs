//! Namespaces that are joined by path, and time namespaces, looked at from inside.

mod common;

use std::path::Path;

use common::{Bundle, wait_until};
use serde_json::{Value, json};

/// The kinds in the words of the config, with their names in /proc/PID/ns.
const KINDS: [(&str, &str); 6] =
    [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"), ("time", "time")];

const PRINT: &str = "for ns in pid net ipc uts cgroup user time; do echo $ns $(readlink /proc/self/ns/$ns); done";

fn link(pid: i64, name: &str) -> String {
    let path = format!("/proc/{pid}/ns/{name}");
    std::fs::read_link(path).unwrap().to_str().unwrap().to_owned()
}

/// Puts an entry into the list of namespaces, in the place of that of its kind.
fn set_namespace(config: &mut Value, entry: Value) {
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != entry["type"]);
    list.push(entry);
}

fn join(config: &mut Value, kind: &str, path: &str) {
    set_namespace(config, json!({ "type": kind, "path": path }));
}

/// A container that runs, with a namespace of every kind but user, and its pid on the host.
fn target() -> (Bundle, i64) {
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        set_namespace(config, json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000 } });
    });
    bundle.run_detached().ok();
    let pid = bundle.state()["pid"].as_i64().unwrap();
    (bundle, pid)
}

/// What the container of a bundle says of its namespaces.
fn said(bundle: &Bundle) -> Vec<(String, String)> {
    let text = bundle.run().ok();
    text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

#[test]
fn each_kind_is_joined_and_the_others_are_new() {
    need_root!();
    let (_target, pid) = target();
    for (kind, name) in KINDS {
        let bundle = Bundle::sh(PRINT).with(|config| join(config, kind, &format!("/proc/{pid}/ns/{name}")));
        for (found, inside) in said(&bundle).into_iter().filter(|(found, _)| found != "user") {
            if found == name {
                assert_eq!(inside, link(pid, name), "{kind} is joined");
            } else {
                assert_ne!(inside, link(pid, &found), "{found} in a container with a joined {kind}");
            }
        }
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn all_kinds_are_joined_together() {
    need_root!();
    let (target, pid) = target();
    let bundle = Bundle::sh(&format!("{PRINT}; hostname")).with(|config| {
        KINDS.iter().for_each(|(kind, name)| join(config, kind, &format!("/proc/{pid}/ns/{name}")));
        config["hostname"] = json!("");
    });
    let text = bundle.run().ok();
    for (_, name) in KINDS {
        assert!(text.contains(&format!("{name} {}\n", link(pid, name))), "{name}: {text}");
    }
    assert!(text.ends_with("ferrun"), "the hostname of the joined namespace: {text}");
    assert_eq!(target.status(), "running");
}

#[test]
fn a_bind_mount_of_a_namespace_is_joined() {
    need_root!();
    let (target, pid) = target();
    let bundle = Bundle::sh(PRINT).with(|config| {
        let path = target.dir.join("net");
        std::fs::write(&path, "").unwrap();
        join(config, "network", path.to_str().unwrap());
    });
    let file = target.dir.join("net");
    let done = bundle.run_after(&format!("mount --bind /proc/{pid}/ns/net {}", file.display()));
    assert!(done.stdout.contains(&link(pid, "net")), "{done:?}");
}

#[test]
fn a_new_time_namespace_in_a_joined_pid_namespace() {
    need_root!();
    let (_target, pid) = target();
    let bundle = Bundle::sh(PRINT).with(|config| {
        join(config, "pid", &format!("/proc/{pid}/ns/pid"));
        set_namespace(config, json!({ "type": "time" }));
    });
    let found = said(&bundle);
    let inside = |name: &str| &found.iter().find(|(found, _)| found == name).unwrap().1;
    assert_eq!(*inside("pid"), link(pid, "pid"));
    assert_ne!(*inside("time"), link(pid, "time"));
    assert_ne!(*inside("time"), link(i64::from(std::process::id()), "time"));
}

#[test]
fn the_clocks_of_a_new_time_namespace_are_set() {
    need_root!();
    for (offsets, lines) in [
        (json!({}), [("monotonic", "0", "0"), ("boottime", "0", "0")]),
        (
            json!({"boottime": {"secs": 1_000_000, "nanosecs": 5}}),
            [("monotonic", "0", "0"), ("boottime", "1000000", "5")],
        ),
        (json!({"monotonic": {"secs": -1}, "boottime": null}), [("monotonic", "-1", "0"), ("boottime", "0", "0")]),
        (json!({"monotonic": {"nanosecs": 999_999_999}}), [("monotonic", "0", "999999999"), ("boottime", "0", "0")]),
    ] {
        let bundle = Bundle::sh("cat /proc/self/timens_offsets /proc/uptime").with(|config| {
            set_namespace(config, json!({ "type": "time" }));
            config["linux"]["timeOffsets"] = offsets.clone();
        });
        let text = bundle.run().ok();
        let found: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        for (index, (clock, secs, nanosecs)) in lines.iter().enumerate() {
            assert_eq!(found[index], [*clock, *secs, *nanosecs], "{offsets}");
        }
        if lines[1].1 != "0" {
            assert!(found[2][0].parse::<f64>().unwrap() > 1_000_000.0, "{text}");
        }
    }
}

#[test]
fn the_time_namespace_of_the_host_is_the_containers_without_one() {
    need_root!();
    let own = link(i64::from(std::process::id()), "time");
    assert!(Bundle::sh(PRINT).run().ok().contains(&format!("time {own}")));
}

#[test]
fn what_cannot_be_joined_is_told_with_its_place() {
    need_root!();
    let own = std::process::id();
    for (kind, path, words) in [
        ("network", "/nowhere", "open namespace \"/nowhere\": no such file or directory"),
        ("network", "/etc/passwd", "\"/etc/passwd\" is not a namespace"),
        ("network", "/etc", "\"/etc\" is not a namespace"),
        ("network", "ns/net", "namespace path \"ns/net\" is not absolute"),
        ("network", &format!("/proc/{own}/ns/ipc"), "is an ipc namespace, not network"),
        ("pid", &format!("/proc/{own}/ns/net"), "is a network namespace, not pid"),
        ("time", &format!("/proc/{own}/ns/mnt"), "is a mount namespace, not time"),
        ("cgroup", &format!("/proc/{own}/ns/user"), "is a user namespace, not cgroup"),
        ("user", &format!("/proc/{own}/ns/user"), "the user namespace that ferrun itself is in"),
        ("mount", &format!("/proc/{own}/ns/mnt"), "joining a mount namespace is not supported"),
    ] {
        let bundle = Bundle::new(&["true"]).with(|config| join(config, kind, path));
        let index = bundle.config["linux"]["namespaces"].as_array().unwrap().len() - 1;
        let pointer = format!("/linux/namespaces/{index}/path");
        let place = format!("config.json:{} {pointer}\n", bundle.line_of(&pointer));
        for done in [bundle.run(), bundle.create()] {
            done.refused(words);
            done.refused(&place);
            bundle.assert_nothing_left("run");
        }
    }
}

#[test]
fn a_kind_that_is_new_and_joined_is_listed_twice() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "network", "path": "/proc/1/ns/net"}));
    });
    bundle.run().refused("listed twice");
}

#[test]
fn a_fifo_in_the_place_of_a_namespace_is_no_trap() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let path = bundle.dir.join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bundle = bundle.with(|config| join(config, "ipc", path.to_str().unwrap()));
    bundle.bounded(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).refused("is not a namespace");
}

#[test]
fn clocks_that_cannot_be_set_are_refused() {
    need_root!();
    let time =
        |path: &str| if path.is_empty() { json!({"type": "time"}) } else { json!({"type": "time", "path": path}) };
    for (namespace, offsets, words, pointer) in [
        (None, json!({"monotonic": {"secs": 1}}), "need a new time namespace", "/linux/timeOffsets/monotonic"),
        (Some(time("/proc/1/ns/time")), json!({"boottime": {"secs": 1}}), "is joined", "/linux/timeOffsets/boottime"),
        (Some(time("")), json!({"realtime": {"secs": 1}}), "unknown field `realtime`", "/linux/timeOffsets"),
        (
            Some(time("")),
            json!({"monotonic": {"nanosecs": 1_000_000_000}}),
            "above 999999999",
            "/linux/timeOffsets/monotonic",
        ),
        (Some(time("")), json!({"monotonic": {"secs": -1_000_000_000}}), "neither below 0 nor", "/linux/timeOffsets"),
    ] {
        let bundle = Bundle::new(&["true"]).with(|config| {
            namespace.into_iter().for_each(|namespace| set_namespace(config, namespace));
            config["linux"]["timeOffsets"] = offsets;
        });
        let done = bundle.run();
        done.refused(words);
        done.refused(&format!(" {pointer}"));
        bundle.assert_nothing_left("run");
    }
}

/// Its first process is not the pid namespace's: what it left behind must be found by its cgroup.
#[test]
fn processes_in_a_joined_pid_namespace_are_killed_with_the_container() {
    need_root!();
    let (target, pid) = target();
    let bundle = Bundle::sh("sleep 1000 & echo $$ > /dev/null; exec sleep 1001");
    let bundle = bundle.with(|config| join(config, "pid", &format!("/proc/{pid}/ns/pid")));
    let processes = || {
        let procs = bundle
            .cgroups()
            .into_iter()
            .map(|dir| std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default());
        procs.map(|list| list.lines().count()).max().unwrap_or(0)
    };
    bundle.run_detached().ok();
    wait_until("both processes", || processes() == 2);
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    wait_until("the end of the second process", || processes() == 0);
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");

    bundle.run_detached().ok();
    wait_until("both processes", || processes() == 2);
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");

    // The init ends alone.
    let alone = bundle.with(|config| config["process"]["args"] = json!(["sh", "-c", "sleep 1000 & exit 3"]));
    assert_eq!(alone.run().status, 3);
    alone.assert_nothing_left("run");
    assert_eq!(target.status(), "running", "the owner of the namespace is unharmed");
}

#[test]
fn a_pid_namespace_whose_first_process_has_ended_is_refused() {
    need_root!();
    let (target, pid) = target();
    let bundle = Bundle::new(&["true"]).with(|config| {
        let path = target.dir.join("pid");
        std::fs::write(&path, "").unwrap();
        join(config, "pid", path.to_str().unwrap());
    });
    let file = target.dir.join("pid");
    let end = format!(
        "mount --bind /proc/{pid}/ns/pid {0}; kill -9 {pid}; while [ -e /proc/{pid}/ns/pid ]; do :; done",
        file.display()
    );
    let done = bundle.run_after(&end);
    done.refused("whose first process has ended");
    bundle.assert_nothing_left("run");
}

#[test]
fn the_hosts_own_namespaces_are_joined_by_path() {
    need_root!();
    let own = i64::from(std::process::id());
    for (kind, name) in KINDS {
        let bundle = Bundle::sh(PRINT).with(|config| {
            config["hostname"] = json!("");
            join(config, kind, &format!("/proc/{own}/ns/{name}"));
        });
        assert!(said(&bundle).contains(&(name.to_owned(), link(own, name))), "{kind}");
    }
    assert!(Path::new("/proc/self/ns/time").exists());
}

/// `ferrun run` of a bundle in a network namespace of its own, after some commands there; none touches the
/// host's links. What it prints after the container's end is wanted, too.
fn run_in_network(bundle: &Bundle, before: &str) -> common::Done {
    let script = format!(
        "set -e; {before}\n\"$ferrun\" --root \"$state\" run --bundle \"$bundle\" \"$id\" || status=$?; \
         echo; echo after:; ip -o link; exit ${{status:-0}}"
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "sh", "-c", &script]).stdin(std::process::Stdio::null());
    command.env("ferrun", common::ferrun_binary()).env("state", bundle.state_root());
    command.env("bundle", &bundle.dir).env("id", &bundle.id);
    common::Done::new(command.output().unwrap())
}

/// Returns from a test, loudly, where a pair of links cannot be made.
macro_rules! need_links {
    () => {
        need_root!();
        let try_it = "ip link add v0 type veth peer name v1";
        let made = std::process::Command::new("unshare").args(["--net", "sh", "-c", try_it]).output().unwrap();
        if !made.status.success() {
            return common::skip("this test needs ip (Debian's iproute2) and a kernel with veth");
        }
    };
}

const PAIR: &str = "ip link add v0 type veth peer name v1; ip link set v0 mtu 1400; ip link set v0 address 02:00:00:00:00:77; \
                    ip addr add 10.1.2.3/24 dev v0; ip addr add 10.9.9.9/32 dev v0 scope host; \
                    ip -6 addr add fd00::5/64 dev v0 nodad; ip link set v0 up";

#[test]
fn a_network_device_is_moved_with_what_it_has() {
    need_links!();
    for (given, name) in [(json!({}), "v0"), (json!({"name": "eth7"}), "eth7"), (json!({"name": "eth%d"}), "eth0")] {
        let bundle = Bundle::sh("ip addr; ip -o link").set("/linux/netDevices", json!({ "v0": given }));
        let done = run_in_network(&bundle, PAIR);
        let (inside, after) = done.stdout.split_once("after:").unwrap_or_else(|| panic!("{done:?}"));
        assert_eq!(done.status, 0, "{done:?}");
        for words in [&format!(": {name}@"), "mtu 1400", "02:00:00:00:00:77", "inet 10.1.2.3/24 ", "inet6 fd00::5/64 "]
        {
            assert!(inside.contains(words), "{words}: {done:?}");
        }
        assert!(!inside.contains("10.9.9.9"), "only addresses of global scope: {done:?}");
        let line = inside.lines().rev().find(|line| line.contains(&format!(": {name}@"))).unwrap();
        assert!(line.contains(",UP"), "{line}");
        assert!(!after.contains("v0"), "its end is the end of the pair: {after}");
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn network_devices_are_moved_to_a_joined_network_and_to_a_user_namespaces() {
    need_links!();
    let target = Bundle::new(&["sleep", "1000"]);
    target.run_detached().ok();
    let pid = target.state()["pid"].as_i64().unwrap();
    let bundle = Bundle::sh("ip -o addr").set("/linux/netDevices", json!({ "v0": {}, "v1": { "name": "eth%d" } }));
    let bundle = bundle.with(|config| join(config, "network", &format!("/proc/{pid}/ns/net")));
    let text = run_in_network(&bundle, PAIR).ok();
    assert!(text.contains("v0 ") && text.contains("eth0 ") && text.contains("10.1.2.3/24"), "{text}");
    let mapped = Bundle::sh("ip -o link").set("/linux/netDevices", json!({ "v0": {}, "v1": {} })).with(|config| {
        set_namespace(config, json!({ "type": "user" }));
        let all = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (all.clone(), all);
    });
    let text = run_in_network(&mapped, PAIR).ok();
    let inside = text.split("after:").next().unwrap();
    assert!(inside.contains(": v0@v1:") && inside.contains(": v1@v0:"), "{text}");
    mapped.assert_nothing_left("run");
}

#[test]
fn network_devices_that_cannot_be_moved_are_told() {
    need_links!();
    for (devices, words) in [
        (json!({"nonesuch": {}}), "find network device \"nonesuch\": no such device"),
        (json!({"v0": {"name": "lo"}}), "move network device v0 as lo: file exists"),
        (json!({"lo": {"name": "lo9"}}), "cannot leave their network namespace"),
        (json!({"v0": {"name": "a/b"}}), "has a character that no name may have"),
        (json!({"v0": {"name": "0123456789abcdef"}}), "longer than 15 bytes"),
        (json!({"v0": {"name": "x"}, "v1": {"name": "x"}}), "two network devices are called \"x\" inside"),
        (json!({"v0": []}), "expected an object"),
    ] {
        let bundle = Bundle::new(&["true"]).set("/linux/netDevices", devices);
        let done = run_in_network(&bundle, PAIR);
        done.refused(words);
        done.refused(" /linux/netDevices");
        assert!(done.stdout.contains("v0@v1"), "it stays where it was: {done:?}");
        bundle.assert_nothing_left("run");
    }
    let bundle = Bundle::new(&["true"]).set("/linux/netDevices", json!({ "v0": {} })).with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "network");
    });
    run_in_network(&bundle, PAIR).refused("netDevices need a network namespace");
}

#[test]
fn the_trace_of_a_container_with_other_clocks_has_the_hosts_times() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| {
        set_namespace(config, json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 1_000_000 } });
    });
    let path = bundle.dir.join("trace.json");
    bundle.run_with(&["--trace", path.to_str().unwrap()]).ok();
    let events: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let times: Vec<f64> = events.iter().filter_map(|event| event["ts"].as_f64()).collect();
    let (first, last) =
        times.iter().fold((f64::MAX, f64::MIN), |(first, last), time| (first.min(*time), last.max(*time)));
    assert!(last - first < 60e6, "{events:?}");
}
