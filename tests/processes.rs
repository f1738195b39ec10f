//! `ps`, `list` and `kill` of containers with several processes, and where their processes are.

mod common;

use std::path::Path;

use common::limits::is_v2;
use common::{Bundle, wait_until};
use ferrun::cgroup::{current, layout::Layout};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A container of three processes.
fn three() -> Bundle {
    let bundle = Bundle::sh("sleep 1001 & sleep 1002 & wait");
    bundle.run_detached().ok();
    wait_until("the container's processes", || pids(&bundle).len() == 3);
    bundle
}

fn pids(bundle: &Bundle) -> Vec<i64> {
    let list: Value = serde_json::from_str(&bundle.ferrun(&["ps", "--format", "json", &bundle.id]).ok()).unwrap();
    list.as_array().into_iter().flatten().map(|pid| pid.as_i64().unwrap()).collect()
}

#[test]
fn ps_lists_the_processes_of_the_container_alone() {
    need_root!();
    let bundle = three();
    assert!(pids(&bundle).contains(&bundle.state()["pid"].as_i64().unwrap()));
    let json = bundle.ferrun(&["ps", "-f", "json", &bundle.id]).stdout;
    assert!(json.starts_with('[') && json.ends_with("]\n") && json.lines().count() == 1, "{json:?}");
    let table = bundle.on("ps", &[]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("UID") && lines[0].contains(" PID "), "{table}");
    assert_eq!(lines.len(), 4, "{table}");
    assert!(["sh -c", "sleep 1001", "sleep 1002"].iter().all(|words| table.contains(words)), "{table}");
    let chosen = bundle.on("ps", &["-e", "-o", "pid,args"]).ok();
    let rows: Vec<Vec<&str>> = chosen.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["PID", "COMMAND"]);
    assert_eq!(rows.len(), 4, "{chosen}");
    // Behind the id, -f is ps's own flag.
    assert!(bundle.on("ps", &["-e", "-f"]).ok().starts_with("UID"));
    for wrong in [&["-e", "-o", "args"][..], &["--no-such-flag"], &["-f", "json"]] {
        bundle.on("ps", wrong).fails("");
    }
}

#[test]
fn ps_without_ps_says_so() {
    need_root!();
    let bundle = three();
    let output = bundle.command(&["ps", &bundle.id]).env("PATH", "/nowhere").output().unwrap();
    common::Done::new(output).refused("executable file not found in $PATH");
    let output = bundle.command(&["ps", "--format", "json", &bundle.id]).env("PATH", "/nowhere").output().unwrap();
    assert!(output.status.success(), "JSON needs no ps");
}

#[test]
fn a_stopped_container_has_no_processes() {
    need_root!();
    let bundle = three();
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    wait_until("the end of all processes", || pids(&bundle).is_empty());
    assert_eq!(bundle.ferrun(&["ps", "--format", "json", &bundle.id]).stdout, "null\n");
    assert_eq!(bundle.on("ps", &[]).ok().lines().count(), 1);
    bundle.on("delete", &[]).ok();
    bundle.on("ps", &[]).refused("does not exist");
}

#[test]
fn a_paused_container_is_listed_so() {
    need_root!();
    let bundle = three();
    bundle.on("pause", &[]).ok();
    assert_eq!(bundle.status(), "paused");
    assert_ne!(bundle.state()["pid"], 0);
    let list: Value = serde_json::from_str(&bundle.ferrun(&["list", "--format", "json"]).ok()).unwrap();
    assert_eq!(list[0]["status"], "paused");
    assert_eq!(pids(&bundle).len(), 3);
    bundle.on("resume", &[]).ok();
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_container_without_a_cgroup_cannot_be_paused_or_listed() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let dir = bundle.dir.to_str().unwrap();
    bundle.bounded(&["--cgroup-manager", "disabled", "run", "--detach", "--bundle", dir, &bundle.id]).ok();
    assert_eq!(bundle.status(), "running");
    for verb in ["pause", "events", "ps", "resume"] {
        bundle.on(verb, &[]).fails("");
    }
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

/// Signals reach what is in cgroups that the container made, and a pause does not keep any from them.
#[test]
fn kill_all_reaches_nested_cgroups_and_paused_processes() {
    need_root!();
    let script = "for top in /sys/fs/cgroup /sys/fs/cgroup/*/; do
                      cd \"$top\" && test -e cgroup.procs && mkdir a && cat cpuset.cpus 2>/dev/null >a/cpuset.cpus &&
                      cat cpuset.mems >a/cpuset.mems
                  done 2>/dev/null
                  for top in /sys/fs/cgroup /sys/fs/cgroup/*/; do echo 0 >\"$top/a/cgroup.procs\"; done 2>/dev/null
                  sleep 1001 & sleep 1002 & touch /tmp/made; wait";
    for (signal, paused) in [("TERM", false), ("TERM", true), ("KILL", true)] {
        let bundle = Bundle::sh(script).set("/root/readonly", json!(false)).with(|config| {
            for mount in config["mounts"].as_array_mut().unwrap().iter_mut().filter(|mount| mount["type"] == "cgroup") {
                mount["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
            }
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
        });
        bundle.run_detached().ok();
        wait_until("the nested cgroups", || bundle.rootfs().join("tmp/made").exists());
        let nested = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path.join("a/cgroup.procs")).is_ok_and(|pids| pids.lines().count() == 3)
        };
        // touch(1) is a process there, too, for a moment.
        wait_until("the three in the nested cgroup", || bundle.cgroups().iter().any(nested));
        assert_eq!(pids(&bundle).len(), 3);
        if paused {
            bundle.on("pause", &[]).ok();
        }
        bundle.ferrun(&["kill", "--all", &bundle.id, signal]).ok();
        // On v2 a signal that ends a process ends a frozen one, too.
        if paused && signal != "KILL" && !is_v2() {
            assert_eq!((bundle.status().as_str(), pids(&bundle).len()), ("paused", 3), "the signal waits");
            bundle.on("resume", &[]).ok();
        }
        bundle.wait_for("stopped");
        wait_until("the end of all processes", || pids(&bundle).is_empty());
        bundle.on("delete", &[]).ok();
        bundle.assert_nothing_left(&format!("kill --all {signal}, paused {paused}"));
    }
}

/// The init moved itself below its cgroup in every hierarchy; it has a cgroup namespace of its own, in which
/// it is at `/a`, and on the host it is where the look-up says.
#[test]
fn an_init_that_moved_itself_is_found() {
    need_root!();
    let script = "for top in /sys/fs/cgroup /sys/fs/cgroup/*/; do
                      cd \"$top\" && test -e cgroup.procs || continue; mkdir a
                      cat cpuset.cpus >a/cpuset.cpus && cat cpuset.mems >a/cpuset.mems
                      echo 0 >a/cgroup.procs
                  done 2>/dev/null
                  cat /proc/self/cgroup >/tmp/seen; sleep 1000";
    let bundle = Bundle::sh(script).set("/root/readonly", json!(false)).with(|config| {
        for mount in config["mounts"].as_array_mut().unwrap().iter_mut().filter(|mount| mount["type"] == "cgroup") {
            mount["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
        }
    });
    bundle.run_detached().ok();
    let seen = || std::fs::read_to_string(bundle.rootfs().join("tmp/seen")).unwrap_or_default();
    wait_until("the init to have moved", || !seen().is_empty());
    let inside = seen();
    let moved = inside.lines().filter(|line| line.ends_with(":/a")).count();
    let init = Pid::from_raw(bundle.state()["pid"].as_i64().unwrap() as i32);
    let found = current::of(init, &Layout::probe().unwrap()).unwrap();
    let directories: Vec<&String> = found.v1.iter().chain(&found.unified).collect();
    assert_eq!(directories.iter().filter(|path| path.ends_with("/a")).count(), moved, "{directories:?} {inside}");
    assert!(moved > 0, "{inside}");
    for directory in directories {
        let list = std::fs::read_to_string(Path::new(directory).join("cgroup.procs")).unwrap();
        assert!(list.lines().any(|pid| pid == init.to_string()), "{directory} has it not: {list}");
    }
}

/// With its pid namespace all of it is gone; whoever is in its cgroups now is somebody else.
#[test]
fn kill_all_of_a_stopped_container_spares_who_took_its_cgroups() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.run_detached().ok();
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    for cgroup in bundle.cgroups() {
        // A cpuset must have CPUs, as these have from above.
        std::fs::write(cgroup.join("cgroup.procs"), other.id().to_string()).unwrap();
    }
    bundle.on("kill", &["--all", "KILL"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let alive = other.try_wait().unwrap().is_none();
    let _ = other.kill().and_then(|()| other.wait());
    assert!(alive, "another's process was killed");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}
