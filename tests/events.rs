//! `events`: statistics and news of memory that ran out, as runc tells them.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bundle, Done, skip, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// `ferrun events` of a container while it runs; killed when dropped.
struct Stream {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Stream {
    fn of(bundle: &Bundle, interval: &str) -> Stream {
        let mut command = bundle.command(&["events", "--interval", interval, &bundle.id]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Stream { child, lines }
    }

    /// The next event; none at the end.
    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}")))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits up to 10 s for its end; gives the exit status.
    fn status(&mut self) -> i32 {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(begin.elapsed() < common::patience(10), "events does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The container's directory that has a file: the memory controller's, for a file of that.
fn directory_with(bundle: &Bundle, file: &str) -> Option<PathBuf> {
    bundle.cgroups().into_iter().find(|directory| directory.join(file).exists())
}

/// Allows a container 16 MiB of memory and no swap. False: this host does not count memory.
fn limit_memory(bundle: &Bundle) -> bool {
    const LIMIT: &str = "16777216";
    let v1 = directory_with(bundle, "memory.limit_in_bytes");
    let v2 = directory_with(bundle, "memory.max");
    let writes = match (&v1, &v2) {
        (Some(v1), _) => [v1.join("memory.limit_in_bytes"), v1.join("memory.memsw.limit_in_bytes")],
        (None, Some(v2)) => [v2.join("memory.max"), v2.join("memory.swap.max")],
        (None, None) => {
            skip("this host does not count the memory of cgroups");
            return false;
        }
    };
    std::fs::write(&writes[0], LIMIT).unwrap();
    // A kernel that counts no swap has no such file.
    let swap = if v1.is_some() { LIMIT } else { "0" };
    assert!(!writes[1].exists() || std::fs::write(&writes[1], swap).is_ok());
    true
}

/// A container that waits for the file `go` and then runs commands.
fn waits_for_go(commands: &str) -> Bundle {
    let script = format!("while test ! -e /tmp/go; do sleep 0.02; done; {commands}");
    let bundle = Bundle::sh(&script).set("/root/readonly", json!(false));
    bundle.run_detached().ok();
    bundle
}

fn go(bundle: &Bundle) {
    std::fs::write(bundle.rootfs().join("tmp/go"), "").unwrap();
}

/// Reads 64 MiB in one piece.
const GREEDY: &str = "dd if=/dev/zero of=/dev/null bs=64M count=1";

#[test]
fn the_stream_tells_statistics_until_the_container_stops() {
    need_root!();
    let bundle = waits_for_go("exit 0");
    let begin = Instant::now();
    let mut stream = Stream::of(&bundle, "150ms");
    for nth in 1..=3 {
        let event = stream.next().unwrap();
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(bundle.id)));
        assert!(event["data"]["cpu"]["usage"]["total"].is_u64(), "{event}");
        assert!(begin.elapsed() >= nth * Duration::from_millis(150), "event {nth} after {:?}", begin.elapsed());
    }
    let mut long = Stream::of(&bundle, "1h");
    wait_until("events to watch", || asleep(&long.child));
    go(&bundle);
    assert_eq!(stream.status(), 0);
    assert_eq!((long.status(), long.next()), (0, None), "the end does not wait for the interval");
    bundle.on("events", &["--stats"]).fails("");
    bundle.on("events", &[]).fails("");
    bundle.on("delete", &[]).ok();
    bundle.on("events", &["--stats"]).refused("does not exist");
    bundle.assert_nothing_left("events");
}

#[test]
fn a_reader_that_is_gone_ends_the_stream() {
    need_root!();
    let bundle = waits_for_go("exit 0");
    let mut stream = Stream::of(&bundle, "10ms");
    stream.next().unwrap();
    stream.lines = BufReader::new(Command::new("true").stdout(Stdio::piped()).spawn().unwrap().stdout.take().unwrap());
    assert_eq!(stream.status(), 0);
}

#[test]
fn a_process_that_is_killed_for_its_memory_is_news() {
    need_root!();
    let bundle = waits_for_go(&format!("{GREEDY}; rm /tmp/go; sleep 1000"));
    if !limit_memory(&bundle) {
        return;
    }
    let mut stream = Stream::of(&bundle, "1h");
    // It watches once it sleeps.
    wait_until("events to watch", || asleep(&stream.child));
    go(&bundle);
    assert_eq!(stream.next().unwrap(), json!({"type": "oom", "id": bundle.id}));
    wait_until("the container to go on", || !bundle.rootfs().join("tmp/go").exists());
    bundle.on("kill", &["KILL"]).ok();
    assert_eq!(stream.status(), 0);
}

#[test]
fn an_init_that_is_killed_for_its_memory_is_news_too() {
    need_root!();
    let bundle = waits_for_go(&format!("exec {GREEDY}"));
    if !limit_memory(&bundle) {
        return;
    }
    let mut stream = Stream::of(&bundle, "1h");
    wait_until("events to watch", || asleep(&stream.child));
    // Both come at once: the news and the end.
    stream.signal(Signal::SIGSTOP);
    go(&bundle);
    bundle.wait_for("stopped");
    stream.signal(Signal::SIGCONT);
    assert_eq!(stream.next().unwrap(), json!({"type": "oom", "id": bundle.id}));
    // The kernel may tell v1 more than once.
    while let Some(event) = stream.next() {
        assert_eq!(event["type"], "oom");
    }
    assert_eq!(stream.status(), 0);
}

#[test]
fn a_removed_cgroup_is_no_news() {
    need_root!();
    let bundle = waits_for_go("exit 0");
    let mut stream = Stream::of(&bundle, "1h");
    wait_until("events to watch", || asleep(&stream.child));
    stream.signal(Signal::SIGSTOP);
    bundle.delete_force().ok();
    // A moment later v1 tells everyone who watches that there is nothing to watch any more.
    std::thread::sleep(Duration::from_millis(300));
    stream.signal(Signal::SIGCONT);
    assert_eq!((stream.next(), stream.status()), (None, 0));
}

/// Whether a process waits for events: it is in ppoll(2).
fn asleep(child: &Child) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap_or_default();
    call.starts_with(&format!("{} ", nix::libc::SYS_ppoll))
}

#[test]
fn intervals_are_gos_durations() {
    need_root!();
    let bundle = waits_for_go("exit 0");
    for interval in ["0", "-5s", "5", "x"] {
        bundle.ferrun(&["events", "--interval", interval, &bundle.id]).fails("");
    }
    assert!(Stream::of(&bundle, "0.01s").next().is_some());
}

/// The memory of the process that is no file's, in KiB: counted anew, since what proc(5)'s status tells is stale.
fn resident(child: &Child) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id())).unwrap();
    let line = maps.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A line needs some 10 KiB in all: with an allocator that never takes back, 2000 would need 20 MiB.
#[test]
fn the_stream_does_not_grow() {
    need_root!();
    let bundle = waits_for_go("exit 0");
    let mut stream = Stream::of(&bundle, "1us");
    let mut lines = |count: usize| {
        (0..count).for_each(|_| assert!(stream.next().is_some()));
        resident(&stream.child)
    };
    let before = lines(500);
    let after = lines(2000);
    assert!(after <= before + 4096, "from {before} KiB to {after}");
}

/// runc's own container of a bundle, deleted when dropped.
struct Runc<'a>(&'a Bundle);

impl Runc<'_> {
    fn run<'a>(bundle: &'a Bundle) -> Runc<'a> {
        let runc = Runc(bundle);
        let done =
            runc.command(&["run", "--detach", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id], Stdio::null());
        assert_eq!(done.status, 0, "{done:?}");
        runc
    }

    fn command(&self, args: &[&str], stdout: Stdio) -> Done {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.0.dir.join("runc")).args(args).stdin(Stdio::null());
        Done::new(command.stdout(stdout).stderr(Stdio::null()).spawn().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Runc<'_> {
    fn drop(&mut self) {
        self.command(&["delete", "--force", &self.0.id], Stdio::null());
    }
}

/// What Debian 12's runc (1.1.5) does not tell yet: pressure, and the most that v2 ever used.
const NEWER: [&str; 5] = ["/cpu/psi", "/memory/psi", "/blkio/psi", "/memory/usage/max", "/memory/swap/max"];
/// What it tells even if there is nothing in it; newer ones leave it out then.
const EMPTY: [&str; 6] =
    ["/cpu/usage", "/cpu/throttling", "/memory/usage", "/memory/swap", "/memory/kernel", "/memory/kernelTCP"];

fn remove(data: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    if let Some(parent) = data.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.remove(key);
    }
}

/// A report without what versions differ in.
fn comparable(line: &str) -> Value {
    let mut event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    let mut data = event["data"].take();
    for pointer in EMPTY {
        let object = data.pointer(pointer).and_then(Value::as_object);
        if object.is_some_and(|object| object.values().all(|value| *value == 0)) {
            remove(&mut data, pointer);
        }
    }
    if data["cpu"]["usage"].get("percpu").is_none() {
        NEWER.iter().for_each(|pointer| remove(&mut data, pointer));
    }
    data
}

/// Every path in a report that ends in a value; those of a list's members are one.
fn keys(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| keys(value, &format!("{path}/{key}"), found)),
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().for_each(|value| keys(value, &format!("{path}[]"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

fn keys_of(data: &Value) -> Vec<String> {
    let mut found = Vec::new();
    keys(data, "", &mut found);
    found.sort();
    found.dedup();
    found
}

/// A container that uses processor time and 8 MiB of page cache, and then waits.
fn busy() -> Bundle {
    let work = "i=0; while test $i -lt 20000; do i=$((i + 1)); done; sleep 1000 & \
                dd if=/dev/zero of=/tmp/file bs=1M count=8 conv=fsync; : >/tmp/done; wait";
    // The end is told by the shell itself: touch(1) would be one of the processes, for a moment.
    // A file system whose files count as page cache; what reaches the disk is counted whatever was cached before.
    Bundle::sh(work).set("/root/readonly", json!(false))
}

fn works(bundle: &Bundle) {
    wait_until("the work to be done", || bundle.rootfs().join("tmp/done").exists());
}

#[test]
fn statistics_are_runcs_key_by_key() {
    need_root!();
    if Command::new("runc").arg("--version").output().is_err() {
        return skip("runc is not installed, with which statistics are compared");
    }
    let (ours, theirs) = (busy(), busy());
    ours.run_detached().ok();
    let runc = Runc::run(&theirs);
    works(&ours);
    works(&theirs);
    let told =
        [ours.on("events", &["--stats"]).ok(), runc.command(&["events", "--stats", &theirs.id], Stdio::piped()).ok()];
    let [ours, theirs] = told.each_ref().map(|line| comparable(line));
    assert_eq!(keys_of(&ours), keys_of(&theirs), "{told:#?}");
    for same in ["/cpuset", "/pids", "/memory/usage/limit", "/memory/swap/limit", "/intel_rdt", "/network_interfaces"] {
        assert_eq!(ours.pointer(same), theirs.pointer(same), "{same}");
    }
    for alike in ["/cpu/usage/total", "/cpu/usage/user", "/memory/cache", "/memory/usage/usage", "/memory/raw/pgfault"]
    {
        let [ours, theirs] = [&ours, &theirs].map(|data| data.pointer(alike).and_then(Value::as_f64).unwrap_or(0.0));
        // Ticks of 10 ms are coarse, and runc's own init is in its container.
        assert!(ours <= 10.0 * theirs + 2e8 && theirs <= 10.0 * ours + 2e8, "{alike}: {ours} and {theirs}");
    }
    let cache = |data: &Value| data["memory"]["cache"].as_u64().unwrap_or(0);
    if ours["memory"].get("raw").is_some() {
        assert!(cache(&ours) >= 8 << 20 && cache(&theirs) >= 8 << 20, "{} and {}", cache(&ours), cache(&theirs));
    }
}

#[test]
fn numbers_are_the_kernels() {
    need_root!();
    let bundle = busy();
    bundle.run_detached().ok();
    works(&bundle);
    bundle.on("pause", &[]).ok();
    let line = bundle.on("events", &["--stats"]).ok();
    let data = &serde_json::from_str::<Value>(&line).unwrap()["data"];
    let read = |directory: &Path, file: &str| std::fs::read_to_string(directory.join(file)).unwrap().trim().to_owned();
    let limit = |directory: &Path, file: &str| match read(directory, file).as_str() {
        "max" => json!(u64::MAX),
        number => json!(number.parse::<u64>().unwrap()),
    };
    if let Some(cpu) = directory_with(&bundle, "cpuacct.usage") {
        assert_eq!(data["cpu"]["usage"]["total"], limit(&cpu, "cpuacct.usage"));
        let memory = directory_with(&bundle, "memory.limit_in_bytes").unwrap();
        assert_eq!(data["memory"]["usage"]["limit"], limit(&memory, "memory.limit_in_bytes"));
        assert_eq!(data["memory"]["usage"]["max"], limit(&memory, "memory.max_usage_in_bytes"));
    } else {
        let v2 = directory_with(&bundle, "cpu.stat").unwrap();
        let usage = read(&v2, "cpu.stat").lines().next().unwrap().replace("usage_usec ", "");
        assert_eq!(data["cpu"]["usage"]["total"], json!(usage.parse::<u64>().unwrap() * 1000));
        if v2.join("memory.max").exists() {
            assert_eq!(data["memory"]["usage"]["limit"], limit(&v2, "memory.max"));
            assert!(data["memory"]["swap"]["usage"].as_u64() >= data["memory"]["usage"]["usage"].as_u64(), "{line}");
        }
        assert_eq!(data["cpu"].get("psi").is_some(), v2.join("cpu.pressure").exists());
    }
    let pids = directory_with(&bundle, "pids.current").map(|directory| limit(&directory, "pids.current"));
    assert!(pids.is_none_or(|pids| data["pids"]["current"] == pids), "{line}");
}
