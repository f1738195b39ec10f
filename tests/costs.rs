//! What the release binary costs where that does not vary from run to run: its size, system calls, page faults, and the
//! memory that is allocated between clone and exec. Times are hack/bench's subject. hack/test hands the binary over as
//! $FERRUN; without that there is only the debug one, which costs more.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use common::limits::is_v2;
use common::recorded::localized;
use common::{Bundle, release_binary, skip};

/// The most that a command may cost: a figure that falls is to be lowered here. There is room for a few looks more by who
/// waits for another process, on a machine with other work.
struct Most {
    command: &'static str,
    /// System calls on v1, with [`HIERARCHIES`], and on v2: of all processes of `run` and `exec`, the program's as well,
    /// and else of the command alone.
    calls: [u64; 2],
    /// Minor page faults of the command and of all that it waits for.
    faults: u64,
}

const MOST: &[Most] = &[
    Most { command: "version", calls: [10, 10], faults: 80 },
    Most { command: "run", calls: [592, 520], faults: 136 },
    Most { command: "create", calls: [146, 106], faults: 76 },
    Most { command: "start", calls: [80, 74], faults: 50 },
    Most { command: "delete", calls: [82, 42], faults: 49 },
    Most { command: "exec", calls: [345, 325], faults: 150 },
    Most { command: "state", calls: [38, 40], faults: 44 },
    Most { command: "kill", calls: [66, 48], faults: 46 },
];

/// Bytes that the init allocates from its creation until it executes the program: of `ferrun spec`, and of Docker.
const MOST_ALLOCATED: [u64; 2] = [0, 0];

/// Bytes of the binary: the promise of docs/decisions.md.
const LARGEST: u64 = 2 * 1024 * 1024;

/// How many hierarchies of v1 the bounds are for; each further one may cost so many calls more, where cgroups are made,
/// joined, removed or looked for.
const HIERARCHIES: u64 = 9;
const CALLS_OF_A_HIERARCHY: u64 = 16;
const WITHOUT_CGROUPS: [&str; 3] = ["version", "start", "state"];

/// How often something is counted: the least counts, since a wait that is long is looked after more often.
const TIMES: usize = 5;

fn most(command: &str) -> &'static Most {
    MOST.iter().find(|most| most.command == command).expect("a row of MOST")
}

/// Held by each test: the kernel counts for all children of a process, and some runners have one for all tests of a file.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The release binary, if it is linked with musl: the bounds are for that, glibc's start costs more.
fn musl_binary() -> Option<std::path::PathBuf> {
    let path = release_binary()?;
    let binary = std::fs::read(&path).unwrap();
    if binary.windows(5).any(|word| word == b"glibc") {
        skip("this binary was built with glibc");
        return None;
    }
    Some(path)
}

#[test]
fn the_binary_is_small() {
    let Some(path) = release_binary() else { return };
    let length = path.metadata().unwrap().len();
    assert!(length <= LARGEST, "{length} bytes");
}

/// Calls `count` for each command, with its name and arguments, in a state in which it succeeds.
fn for_each_command(count: &mut dyn FnMut(&str, &[&str], &Bundle)) {
    let bundle = Bundle::new(&["true"]);
    let (dir, id) = (bundle.dir.to_str().unwrap().to_owned(), bundle.id.as_str());
    count("version", &["--version"], &bundle);
    count("run", &["run", "--bundle", &dir, id], &bundle);
    count("create", &["create", "--bundle", &dir, id], &bundle);
    count("start", &["start", id], &bundle);
    bundle.wait_for("stopped");
    count("delete", &["delete", id], &bundle);
    let bundle = Bundle::new(&["sleep", "1000"]);
    let id = bundle.id.as_str();
    bundle.run_detached().ok();
    count("state", &["state", id], &bundle);
    count("exec", &["exec", id, "true"], &bundle);
    count("kill", &["kill", id, "KILL"], &bundle);
}

/// The least of several counts of each command.
fn least(count: &dyn Fn(&str, &[&str], &Bundle) -> u64) -> Vec<(String, u64)> {
    let mut least: Vec<(String, u64)> = Vec::new();
    for _ in 0..TIMES {
        for_each_command(&mut |command, arguments, bundle| {
            let number = count(command, arguments, bundle);
            match least.iter_mut().find(|(name, _)| name == command) {
                Some((_, least)) => *least = number.min(*least),
                None => least.push((command.to_owned(), number)),
            }
        });
    }
    println!("{least:?}");
    least
}

/// Fails unless each is within its bound, and says of each that is not what it is.
#[track_caller]
fn compare(what: &str, counted: &[(String, u64)], bound: impl Fn(&Most) -> u64) {
    assert_eq!(counted.len(), MOST.len());
    let over = counted.iter().filter(|(command, number)| *number > bound(most(command)));
    let over: Vec<String> =
        over.map(|(command, number)| format!("{command}: {number}, at most {}", bound(most(command)))).collect();
    assert!(over.is_empty(), "{what}: {}", over.join("; "));
}

/// How many hierarchies of v1 this host has.
fn hierarchies() -> u64 {
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    cgroup.lines().filter(|line| !line.starts_with("0::")).count() as u64
}

/// The system calls of a command, by strace(1); `follow`: and of its children. `None`: it cannot trace, or the command fails.
fn calls(log: &Path, follow: bool, command: &Command) -> Option<u64> {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-c", "-o"]).arg(log).args(follow.then_some("-f"));
    strace.arg(command.get_program()).args(command.get_args());
    let done = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !done.ok()?.success() {
        return None;
    }
    let table = std::fs::read_to_string(log).unwrap();
    // % time, seconds, usecs/call, calls, and errors where there are some.
    table.lines().last()?.split_whitespace().nth(3)?.parse().ok()
}

#[test]
fn a_command_makes_few_system_calls() {
    need_root!();
    let _alone = alone();
    let Some(_) = musl_binary() else { return };
    let scratch = Bundle::new(&["true"]);
    let log = scratch.dir.join("strace");
    if calls(&log, true, &Command::new("true")).is_none() {
        return skip("this test needs strace, and ptrace(2)");
    }
    let counted = least(&|command, arguments, bundle| {
        let follow = ["run", "exec"].contains(&command);
        calls(&log, follow, &bundle.command(arguments)).unwrap_or_else(|| panic!("strace of {arguments:?}"))
    });
    let further = if is_v2() { 0 } else { hierarchies().saturating_sub(HIERARCHIES) * CALLS_OF_A_HIERARCHY };
    compare("system calls", &counted, |most| {
        most.calls[usize::from(is_v2())] + if WITHOUT_CGROUPS.contains(&most.command) { 0 } else { further }
    });
}

/// Counted by the kernel for children that were waited for (getrusage(2)).
#[test]
fn a_command_touches_few_pages() {
    need_root!();
    let _alone = alone();
    let Some(_) = musl_binary() else { return };
    let faults = || getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().minor_page_faults() as u64;
    let count = |_: &str, arguments: &[&str], bundle: &Bundle| {
        let before = faults();
        let mut command = bundle.command(arguments);
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success(), "{arguments:?}");
        faults() - before
    };
    let counted = least(&count);
    compare("page faults", &counted, |most| most.faults);
}

/// The counter at the end of a trace.
fn allocated(trace: &Path) -> u64 {
    let events: Value = serde_json::from_slice(&std::fs::read(trace).unwrap()).unwrap();
    for step in events.as_array().unwrap().iter().filter(|event| event["tid"] == "init") {
        if step["args"]["allocated"] != 0 {
            println!("{}", step["args"]);
        }
    }
    let counter = events.as_array().unwrap().iter().find(|event| event["ph"] == "C");
    counter.expect("a counter")["args"]["bytes"].as_u64().unwrap()
}

/// Starts a container by `run`, and by `create` and `start`. Each page that the init allocates from is a page fault.
fn assert_allocates_little(bundle: &Bundle, most: u64) {
    let trace = bundle.dir.join("trace");
    let flags = ["--trace", trace.to_str().unwrap()];
    // The first start makes the mount points that the root file system lacks.
    bundle.run().ok();
    bundle.run_with(&flags).ok();
    let by_run = allocated(&trace);
    bundle.create().ok();
    bundle.on("start", &flags).ok();
    let by_start = allocated(&trace);
    assert!(
        by_run <= most && by_start <= most,
        "{by_run} bytes by run, {by_start} by create and start: at most {most}"
    );
}

/// Proves that the counter counts, without which the tests below would pass: the init writes the state for a hook.
#[test]
fn what_the_init_allocates_is_counted() {
    need_root!();
    let _alone = alone();
    let bundle = Bundle::new(&["true"]).set("/hooks/createContainer", json!([{ "path": "/bin/true" }]));
    let trace = bundle.dir.join("trace");
    bundle.run_with(&["--trace", trace.to_str().unwrap()]).ok();
    let hook = |event: &&Value| event["args"]["from"] == "/hooks/createContainer/0";
    let events: Vec<Value> = serde_json::from_slice(&std::fs::read(&trace).unwrap()).unwrap();
    let by_hook = events.iter().find(hook).expect("the hook's step")["args"]["allocated"].as_u64().unwrap();
    let state = bundle.dir.to_str().unwrap().len() as u64;
    assert!(by_hook > state && allocated(&trace) >= by_hook, "{by_hook} of {}", allocated(&trace));
}

#[test]
fn the_init_of_the_default_config_allocates_little() {
    need_root!();
    let _alone = alone();
    let Some(_) = release_binary() else { return };
    assert_allocates_little(&Bundle::new(&["true"]), MOST_ALLOCATED[0]);
}

#[test]
fn the_init_of_dockers_config_allocates_little() {
    need_root!();
    let _alone = alone();
    let Some(_) = release_binary() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/configs/docker-default.json");
    let recorded = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut bundle = Bundle::new(&["true"]);
    bundle.config = localized(&bundle, recorded);
    bundle.write();
    assert_allocates_little(&bundle, MOST_ALLOCATED[1]);
}
