//! `exec` many times, beside commands that change the container meanwhile, and where there is no room for it.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common::cli::names_in;
use common::exec::{end, exec, exec_with, running, start};
use common::limits::{has_controller, path_of};
use common::observe::descriptors;
use common::{Bundle, Done, SetAtEnd, patience, processes_in, wait_until};
use serde_json::json;

/// Calls of `exec` by several threads until `meanwhile` is over.
fn beside<'a>(bundle: &Bundle, flags: &'a [&'a str], meanwhile: impl FnOnce()) -> Vec<Done> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let repeat = || {
            let mut all = Vec::new();
            while !over.load(Relaxed) {
                all.push(exec_with(bundle, flags, &["true"]));
            }
            all
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(repeat)).collect();
        {
            let _end = SetAtEnd(&over);
            meanwhile();
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// What is left of an exec: processes in the container, cgroups and files of its state.
#[track_caller]
fn assert_alone(bundle: &Bundle, after: &str) {
    let pids = || bundle.ferrun(&["ps", "--format", "json", &bundle.id]).ok();
    wait_until("the end of all but the init", || pids() == format!("[{}]", bundle.state()["pid"]));
    assert_eq!(processes_in(&bundle.dir).len(), 1, "{after}: {:?}", processes_in(&bundle.dir));
}

/// All that an exec could leave.
fn traces(bundle: &Bundle) -> (BTreeSet<String>, Vec<BTreeSet<String>>, usize, usize) {
    let pid = bundle.state()["pid"].as_i64().unwrap();
    let files = names_in(&bundle.state_root().join(&bundle.id));
    let below = |path: &std::path::PathBuf| {
        names_in(path).into_iter().filter(|name| path.join(name).is_dir()).collect::<BTreeSet<_>>()
    };
    let cgroups = bundle.cgroups().iter().map(below).collect();
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap().lines().count();
    (files, cgroups, descriptors(pid).len(), mounts)
}

#[test]
fn a_thousand_in_a_row() {
    need_root!();
    let bundle = running();
    let (before, begin) = (traces(&bundle), Instant::now());
    let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for number in 0..1000 {
        let done = exec(&bundle, &["true"]);
        assert!(done.status == 0 && done.stderr.is_empty(), "{number}: {done:?}");
    }
    let taken = begin.elapsed();
    // A debug build, which $FERRUN does not name, is slower.
    assert!(std::env::var_os("FERRUN").is_none() || taken < patience(30), "{taken:?}");
    assert_eq!(traces(&bundle), before);
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), host);
    assert_alone(&bundle, "a thousand");
    end(&bundle);
}

/// Each runs, waits for the container, or is told that it is paused.
#[test]
fn beside_pause_and_resume() {
    need_root!();
    let bundle = running();
    for flags in [&[][..], &["--ignore-paused"]] {
        let all = beside(&bundle, flags, || {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(2) {
                bundle.on("pause", &[]).ok();
                bundle.on("resume", &[]).ok();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let paused = |done: &Done| done.status == 255 && done.stderr.contains("cannot exec in a paused container");
        for done in &all {
            assert!(done.status == 0 || flags.is_empty() && paused(done), "{flags:?}: {done:?}");
        }
        assert!(all.iter().any(|done| done.status == 0), "{flags:?}");
        assert_eq!(bundle.status(), "running");
        assert_alone(&bundle, "pause and resume");
    }
    end(&bundle);
}

/// Each runs, is killed with the container, or is told that there is none.
#[test]
fn beside_delete_force() {
    need_root!();
    for round in 0..10 {
        let bundle = running();
        let all = beside(&bundle, &[], || {
            std::thread::sleep(Duration::from_millis(20 + 7 * round));
            bundle.delete_force().ok();
            std::thread::sleep(Duration::from_millis(20));
        });
        for done in &all {
            let told =
                ["container not running", "container does not exist"].iter().any(|one| done.stderr.contains(one));
            assert!(matches!(done.status, 0 | 137) || done.status == 255 && told, "{done:?}");
        }
        assert!(all.iter().any(|done| done.stderr.contains("does not exist")));
        bundle.assert_nothing_left_soon("delete");
    }
}

/// It takes the place of two processes in the container's cgroup.
#[test]
fn without_room_it_is_an_error_and_leaves_nothing() {
    need_root!();
    if !has_controller("pids.max") {
        return common::skip("this host has no controller of pids");
    }
    for profile in [false, true] {
        let bundle = start(Bundle::new(&["sleep", "1000"]).with(|config| {
            if profile {
                config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
            }
        }));
        let before = traces(&bundle);
        for (limit, fits) in [("1", false), ("2", false), ("3", true), ("1", false), ("max", true)] {
            std::fs::write(path_of(&bundle, "pids.max"), limit).unwrap();
            for flags in [&[][..], &["--detach"], &["--tty"]] {
                let done = exec_with(&bundle, flags, &["true"]);
                match fits {
                    true => assert_eq!(done.status, 0, "{limit} {flags:?}: {done:?}"),
                    false => {
                        let told = done.stderr.contains("try again") && done.stderr.contains("pids.max");
                        assert!(done.status == 255 && told, "{limit} {flags:?}: {done:?}");
                    }
                }
                assert_alone(&bundle, &format!("{limit} {flags:?}"));
                // Of a detached one the host's first process takes the status, some time.
                let counted = || common::limits::said(&bundle, "pids.current").as_deref() == Some("1");
                match flags.is_empty() {
                    true => assert!(counted(), "{limit}: its place is free"),
                    false => wait_until("a free place", counted),
                }
            }
        }
        assert_eq!(traces(&bundle), before);
        end(&bundle);
    }
}
