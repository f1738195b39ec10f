//! Many containers, in a row and at once: none fails, none hangs, and each has its own.

mod common;

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Bundle, Done, SetAtEnd, wait_until};
use serde_json::{Value, json};

/// `ferrun VERB FLAGS` of a bundle, for at most 30 s: a hang fails the test instead of blocking it.
fn launch(bundle: &Bundle, verb: &str, flags: &[&str]) -> Done {
    bundle.bounded(&[&[verb, "--bundle", bundle.dir.to_str().unwrap()], flags, &[bundle.id.as_str()]].concat())
}

/// Does the same in threads that begin together; gives what each got.
fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    let (work, barrier) = (&work, &barrier);
    thread::scope(|scope| {
        let start = |number| {
            scope.spawn(move || {
                barrier.wait();
                work(number)
            })
        };
        let threads: Vec<_> = (0..threads).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Runs /bin/true that often; gives the longest time that it took.
fn run_true(bundle: &Bundle, times: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        let begin = Instant::now();
        launch(bundle, "run", &[]).ok();
        longest = longest.max(begin.elapsed());
    }
    longest
}

#[test]
fn true_runs_500_times_in_a_row_and_500_times_8_at_once() {
    need_root!();
    let bundle = Bundle::new(&["/bin/true"]);
    let longest = run_true(&bundle, 500);
    bundle.assert_nothing_left("500 runs");

    let bundles: Vec<Bundle> = (0..8).map(|_| Bundle::new(&["/bin/true"])).collect();
    let at_once = at_once(8, |number| run_true(&bundles[number], 63));
    eprintln!("the longest run took {longest:?}, 8 at once {:?}", at_once.iter().max().unwrap());
    bundles.iter().for_each(|bundle| bundle.assert_nothing_left("63 runs with 7 others beside"));
}

#[test]
fn containers_under_one_parent_cgroup_come_and_go_at_once() {
    need_root!();
    let top = Bundle::new(&["true"]);
    let child = |number| {
        let path = format!("/ferrun-{}/made/c{number}", top.id);
        Bundle::new(&["sleep", "1000"]).with(|config| config["linux"]["cgroupsPath"] = path.into())
    };
    let bundles: Vec<Bundle> = (0..8).map(child).collect();
    at_once(8, |number| {
        let bundle = &bundles[number];
        for _ in 0..12 {
            launch(bundle, "create", &[]).ok();
            bundle.bounded(&["start", &bundle.id]).ok();
            bundle.bounded(&["kill", &bundle.id, "KILL"]).ok();
            bundle.wait_for("stopped");
            bundle.bounded(&["delete", &bundle.id]).ok();
        }
    });
    top.assert_nothing_left("the last container under the parent");
}

#[test]
fn containers_made_at_once_share_a_parent_cgroup_that_none_has_made_before() {
    need_root!();
    let top = Bundle::new(&["true"]);
    let mut bundles: Vec<Bundle> = (0..8).map(|_| Bundle::new(&["sleep", "1000"])).collect();
    for round in 0..12 {
        for (number, bundle) in bundles.iter_mut().enumerate() {
            bundle.config["linux"]["cgroupsPath"] = format!("/ferrun-{}/r{round}/c{number}", top.id).into();
            bundle.write();
        }
        at_once(8, |number| launch(&bundles[number], "create", &[]).ok());
        at_once(8, |number| bundles[number].delete_force().ok());
    }
}

#[test]
fn of_4_creates_with_one_id_exactly_one_wins() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    for _ in 0..20 {
        let all = at_once(4, |_| launch(&bundle, "create", &[]));
        assert_eq!(all.iter().filter(|done| done.status == 0).count(), 1, "{all:?}");
        for loser in all.iter().filter(|done| done.status != 0) {
            loser.refused("already exists");
        }
        assert_eq!(bundle.status(), "created", "the losers did the winner no harm");
        bundle.start().ok();
        bundle.delete_force().ok();
        bundle.assert_nothing_left("delete");
    }
}

#[test]
fn of_4_starts_exactly_one_succeeds() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    for _ in 0..20 {
        launch(&bundle, "create", &[]).ok();
        let all = at_once(4, |_| bundle.bounded(&["start", &bundle.id]));
        assert_eq!(all.iter().filter(|done| done.status == 0).count(), 1, "{all:?}");
        for loser in all.iter().filter(|done| done.status != 0) {
            loser.refused("already running");
        }
        assert_eq!(bundle.status(), "running");
        bundle.delete_force().ok();
    }
    bundle.assert_nothing_left("delete");
}

#[test]
fn deletes_at_once_do_not_disturb_each_other() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    for _ in 0..20 {
        launch(&bundle, "run", &["--detach"]).ok();
        for done in at_once(4, |_| bundle.bounded(&["delete", "--force", &bundle.id])) {
            done.ok();
        }
        bundle.assert_nothing_left("4 deletes at once");
    }
}

#[test]
fn a_create_during_a_delete_of_the_same_id_leaves_nothing() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    for _ in 0..60 {
        launch(&bundle, "create", &[]).ok();
        at_once(4, |number| match number {
            0 => bundle.bounded(&["delete", "--force", &bundle.id]).ok(),
            // Begin one after the other, so that one of them looks around while the delete is under way.
            _ => {
                thread::sleep(Duration::from_millis(number as u64 - 1));
                launch(&bundle, "create", &[]).stdout
            }
        });
        bundle.delete_force().ok();
        bundle.assert_nothing_left("delete");
    }
}

#[test]
fn a_create_whose_container_is_deleted_meanwhile_leaves_nothing() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    for round in 0..60 {
        at_once(2, |number| {
            if number == 0 {
                return launch(&bundle, "create", &[]).status;
            }
            thread::sleep(Duration::from_micros(250 * round));
            bundle.bounded(&["delete", "--force", &bundle.id]).status
        });
        bundle.delete_force().ok();
        bundle.assert_nothing_left_soon("delete");
    }
}

#[test]
fn state_and_list_never_fail_while_containers_come_and_go() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    // A root that is given and missing is an error.
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(bundle.state_root()).unwrap();
    let (over, seen) = (AtomicBool::new(false), AtomicU32::new(0));
    let statuses: Vec<BTreeSet<String>> = at_once(4, |number| {
        let _over = SetAtEnd(&over);
        let mut statuses = BTreeSet::new();
        if number == 0 {
            for _ in 0..120 {
                launch(&bundle, "create", &[]).ok();
                bundle.bounded(&["start", &bundle.id]).ok();
                bundle.bounded(&["delete", "--force", &bundle.id]).ok();
            }
            return statuses;
        }
        while !over.load(Ordering::Relaxed) {
            let state = bundle.bounded(&["state", &bundle.id]);
            match state.status {
                0 => {
                    let state: Value = serde_json::from_str(&state.stdout).unwrap();
                    statuses.insert(state["status"].as_str().unwrap().to_owned());
                }
                _ => state.refused("does not exist"),
            }
            let list: Value = serde_json::from_str(&bundle.bounded(&["list", "--format", "json"]).ok()).unwrap();
            assert!(list == json!(null) || list[0]["id"] == bundle.id, "{list}");
            seen.fetch_add(1, Ordering::Relaxed);
        }
        statuses
    });
    let statuses: BTreeSet<String> = statuses.into_iter().flatten().collect();
    eprintln!("{} looks saw {statuses:?}", seen.load(Ordering::Relaxed));
    assert!(statuses.contains("created") || statuses.contains("running"), "containers were seen: {statuses:?}");
}

#[test]
fn a_container_that_exists_is_found_at_every_moment_of_its_creation() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    for _ in 0..40 {
        let created = AtomicBool::new(false);
        at_once(4, |number| {
            if number == 0 {
                let _created = SetAtEnd(&created);
                return drop(launch(&bundle, "create", &[]).ok());
            }
            let mut found = false;
            while !created.load(Ordering::Relaxed) {
                let now = bundle.bounded(&["state", &bundle.id]);
                assert!(!found || now.status == 0, "a container that was there is gone: {now:?}");
                found |= now.status == 0;
            }
        });
        bundle.delete_force().ok();
    }
}

#[test]
fn the_error_of_the_first_steps_is_never_lost() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let plan = bundle.ferrun(&["explain", "--json", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let steps = plan["steps"].as_array().unwrap().iter().filter(|step| step["lane"] == "init");
    let first = steps.map(|step| step["number"].as_u64().unwrap()).min().unwrap();
    // The init fails while the parent is still busy: what it says must wait for the parent.
    for round in 0..100 {
        let fault = format!("error@{}", first + round % 3);
        launch(&bundle, "run", &["--fault", &fault]).refused(common::FAULT);
    }
    wait_until("the end of the last init", || common::processes_in(&bundle.dir).is_empty());
    bundle.assert_nothing_left("100 failures");
}
