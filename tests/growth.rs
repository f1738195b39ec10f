//! The time that a command takes grows with the size of the config, and not with its square.

mod common;

use std::time::Duration;

use common::{Bundle, Done};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Map, Value, json};

/// The elements of the larger list; the smaller has an eighth.
const MANY: usize = 40_000;

/// CPU time of all children so far.
fn used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let time = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

/// Fails unless a command on eight times as many elements takes less than twenty times as long.
fn assert_linear(pointer: &str, verb: &str, list: impl Fn(usize) -> Value) {
    let time = |count: usize| {
        let bundle = Bundle::new(&["true"]).set(pointer, list(count));
        let before = used();
        let done = bundle.bounded(&[verb, "--bundle", bundle.dir.to_str().unwrap()]);
        assert!((0..=1).contains(&done.status), "{pointer}: {} {}", done.status, done.stderr);
        used() - before
    };
    let (small, large) = (time(MANY / 8), time(MANY));
    let at_least = Duration::from_millis(20);
    assert!(large < 20 * small.max(at_least), "{verb} of {pointer}: {small:?}, eight times as many {large:?}");
}

fn each(element: impl Fn(usize) -> Value) -> impl Fn(usize) -> Value {
    move |count| (0..count).map(&element).collect()
}

fn named(entry: impl Fn(usize) -> (String, Value)) -> impl Fn(usize) -> Value {
    move |count| Value::Object((0..count).map(&entry).collect::<Map<_, _>>())
}

#[test]
fn properties_with_names_are_checked_in_linear_time() {
    need_root!();
    assert_linear("/linux/sysctl", "check", named(|n| (format!("net.x.y{n}"), json!("1"))));
    assert_linear("/linux/netDevices", "check", named(|n| (format!("e{n}"), json!({ "name": format!("f{n}") }))));
}

#[test]
fn mounts_are_planned_in_linear_time() {
    need_root!();
    let tmpfs = |n| json!({ "destination": format!("/tmp/m{n}"), "type": "tmpfs", "source": "tmpfs" });
    assert_linear("/mounts", "explain", each(tmpfs));
    let copied = |n| json!({ "destination": format!("/tmp/m{n}"), "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] });
    assert_linear("/mounts", "explain", each(copied));
}

#[test]
fn the_lines_of_many_steps_are_found_in_linear_time() {
    need_root!();
    assert_linear("/linux/maskedPaths", "explain", each(|n| json!(format!("/none/{n}"))));
    assert_linear("/hooks/poststop", "explain", each(|_| json!({ "path": "/bin/true" })));
}

#[test]
fn device_rules_are_summed_up_in_linear_time() {
    need_root!();
    // A tenth of the rules are about different devices.
    let rules = |count: usize| {
        let rule = |n| json!({ "allow": true, "type": "c", "major": 1, "minor": n % (count / 10), "access": "r" });
        (0..count).map(rule).collect()
    };
    assert_linear("/linux/resources/devices", "explain", rules);
}

#[test]
fn more_rules_on_a_call_than_a_filter_can_have_are_refused_soon() {
    need_root!();
    let rule = |n| {
        let args = json!([{ "index": 0, "value": n, "op": "SCMP_CMP_EQ" }]);
        json!({ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": args })
    };
    let rules: Value = (0..MANY).map(rule).collect();
    let bundle =
        Bundle::new(&["true"]).set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules }));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -t 40; exec \"$@\"", "sh"]).arg(common::ferrun_binary());
    let output = command.args(["explain", "--bundle"]).arg(&bundle.dir).output().unwrap();
    Done::new(output).fails("/linux/seccomp/syscalls/8192");
}
