//! Cgroups that systemd makes: its units, what it is told and what the kernel is, and what is left of them.
//! hack/vm has a guest for these: systemd as pid 1, on cgroup v2 and (--hybrid) on v1.

mod common;

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bundle, Done};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Returns from a test, loudly, unless systemd is there to make cgroups.
macro_rules! need_systemd {
    () => {
        need_root!();
        if !Path::new("/run/systemd/system").is_dir() || !Path::new("/run/dbus/system_bus_socket").exists() {
            return common::skip("this test needs systemd as pid 1 with a system bus: hack/vm");
        }
    };
}

const SYSTEMD: &str = "--systemd-cgroup";

/// A bundle whose container is a unit of its own name.
struct Container {
    bundle: Bundle,
    unit: String,
}

impl Container {
    fn sh(script: &str) -> Container {
        let bundle = Bundle::sh(script);
        let unit = format!("ferrun-{}.scope", bundle.id);
        let container = Container { unit, bundle };
        container.set("/linux/cgroupsPath", json!(null))
    }

    fn set(mut self, pointer: &str, value: Value) -> Container {
        // Not by `..`: Bundle cleans up when it is dropped.
        let bundle = std::mem::replace(&mut self.bundle, Bundle::sh("true"));
        self.bundle = bundle.set(pointer, value);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Value)) -> Container {
        change(&mut self.bundle.config);
        self.bundle.write();
        self
    }

    fn verb(&self, verb: &str, flags: &[&str]) -> Done {
        let dir = self.bundle.dir.to_str().unwrap();
        let args = [&[SYSTEMD, verb, "--bundle", dir], flags, &[&self.bundle.id]].concat();
        self.bundle.bounded(&args)
    }

    fn create(&self) -> Done {
        self.verb("create", &[])
    }

    /// The properties of the unit, as systemd tells them: `Name=value` a line.
    fn show(&self, names: &str) -> String {
        systemctl(&["show", "--property", names, &self.unit])
    }

    fn pid(&self) -> i64 {
        self.bundle.state()["pid"].as_i64().unwrap()
    }

    /// The cgroup in the hierarchy with a controller; on v2 all are one.
    fn directory(&self, controller: &str) -> PathBuf {
        let v2 = is_v2();
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid())).unwrap();
        let line = text.lines().find(|line| {
            let own = line.split(':').nth(1).unwrap();
            if v2 { own.is_empty() } else { own.split(',').any(|name| name == controller) }
        });
        let line: Vec<&str> = line.unwrap_or_else(|| panic!("no {controller} in {text}")).split(':').collect();
        let top = if v2 { "/sys/fs/cgroup".into() } else { format!("/sys/fs/cgroup/{}", line[1].replace("name=", "")) };
        PathBuf::from(format!("{top}{}", line[2]))
    }

    /// A value of the kernel's.
    fn value(&self, controller: &str, file: &str) -> String {
        let path = self.directory(controller).join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim().to_owned()
    }

    #[track_caller]
    fn assert_nothing_left(&self, after: &str) {
        self.bundle.assert_nothing_left(after);
        assert_eq!(self.show("LoadState"), "LoadState=not-found", "the unit is left after {after}");
        assert_eq!(cgroups_of(&self.unit), Vec::<PathBuf>::new(), "cgroups are left after {after}");
    }
}

fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[track_caller]
fn systemctl(args: &[&str]) -> String {
    let output = Command::new("systemctl").args(args).output().unwrap();
    assert!(output.status.success(), "systemctl {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// All directories of a name in the cgroup file system.
fn cgroups_of(name: &str) -> Vec<PathBuf> {
    let find = Command::new("find").args(["/sys/fs/cgroup", "-name", name, "-type", "d"]).output().unwrap();
    String::from_utf8(find.stdout).unwrap().lines().map(PathBuf::from).collect()
}

/// A number that a slow machine may want smaller, and a demonstration larger.
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[track_caller]
fn wait_for_file(path: &Path) -> String {
    let begin = Instant::now();
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(begin.elapsed() < common::patience(20), "no {path:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_container_is_a_scope_with_its_limits() {
    need_systemd!();
    let container = Container::sh("sleep 1000").set(
        "/linux/resources",
        json!({
            "memory": {"limit": 64 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 512, "quota": 33333, "period": 100_000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 50},
        }),
    );
    container.create().ok();
    let told = "Slice,Delegate,CollectMode,Transient,MemoryAccounting,DefaultDependencies,TasksMax,CPUQuotaPerSecUSec";
    let told = container.show(told);
    for line in [
        "Slice=system.slice",
        "Delegate=yes",
        "CollectMode=inactive-or-failed",
        "Transient=yes",
        "MemoryAccounting=yes",
        "DefaultDependencies=no",
        "TasksMax=50",
        "CPUQuotaPerSecUSec=340ms",
    ] {
        assert!(told.lines().any(|own| own == line), "no {line} in {told}");
    }
    assert_eq!(container.value("pids", "pids.max"), "50");
    if is_v2() {
        assert_eq!(container.directory(""), Path::new("/sys/fs/cgroup/system.slice").join(&container.unit));
        let told = container.show("MemoryMax,MemoryLow,CPUWeight,AllowedCPUs,AllowedMemoryNodes");
        for line in
            ["MemoryMax=67108864", "MemoryLow=33554432", "CPUWeight=59", "AllowedCPUs=0", "AllowedMemoryNodes=0"]
        {
            assert!(told.lines().any(|own| own == line), "no {line} in {told}");
        }
        assert_eq!(container.value("", "memory.max"), "67108864");
        assert_eq!(container.value("", "memory.low"), "33554432");
        assert_eq!(container.value("", "cpu.weight"), "59");
        assert_eq!(container.value("", "cpu.max"), "34000 100000");
        assert_eq!(container.value("", "cpuset.cpus"), "0");
    } else {
        let told = container.show("MemoryLimit,CPUShares");
        assert!(told.contains("MemoryLimit=67108864") && told.contains("CPUShares=512"), "{told}");
        assert_eq!(container.value("memory", "memory.limit_in_bytes"), "67108864");
        assert_eq!(container.value("memory", "memory.soft_limit_in_bytes"), "33554432");
        assert_eq!(container.value("cpu", "cpu.shares"), "512");
        assert_eq!(container.value("cpu", "cpu.cfs_quota_us"), "34000");
        assert_eq!(container.value("cpuset", "cpuset.cpus"), "0");
        assert!(container.directory("freezer").ends_with(format!("system.slice/{}", container.unit)));
    }
    container.bundle.delete_force().ok();
    container.assert_nothing_left("delete --force");
}

#[test]
fn update_tells_the_unit() {
    need_systemd!();
    let container = Container::sh("sleep 1000").set("/linux/resources", json!({"pids": {"limit": 50}}));
    container.create().ok();
    let id = container.bundle.id.as_str();
    container.bundle.ferrun(&["update", "--pids-limit", "60", "--cpu-quota", "33333", "--memory", "64m", id]).ok();
    let memory = if is_v2() { "MemoryMax" } else { "MemoryLimit" };
    let files = if is_v2() { ["memory.max", "cpu.max"] } else { ["memory.limit_in_bytes", "cpu.cfs_quota_us"] };
    for again in [false, true] {
        if again {
            systemctl(&["daemon-reload"]);
            systemctl(&["set-property", "--runtime", &container.unit, "CPUWeight=50"]);
        }
        let told = container.show(&format!("TasksMax,CPUQuotaPerSecUSec,{memory}"));
        for line in ["TasksMax=60".to_owned(), "CPUQuotaPerSecUSec=340ms".into(), format!("{memory}=67108864")] {
            assert!(told.lines().any(|own| own == line), "no {line} in {told}");
        }
        assert_eq!(container.value("pids", "pids.max"), "60");
        assert_eq!(container.value("memory", files[0]), "67108864");
        assert!(container.value("cpu", files[1]).starts_with("34000"));
    }
    container.bundle.delete_force().ok();
    container.assert_nothing_left("update and delete --force");
}

impl Container {
    fn update(&self, flags: &[&str]) {
        self.bundle.ferrun(&[&["update"], flags, &[&self.bundle.id]].concat()).ok();
    }

    fn update_with(&self, resources: &Value) {
        let file = self.bundle.dir.join("resources.json");
        std::fs::write(&file, resources.to_string()).unwrap();
        self.update(&["--resources", file.to_str().unwrap()]);
    }
}

#[test]
fn an_update_of_half_a_quota_is_told_whole() {
    need_systemd!();
    let cpu = json!({"quota": 25_000, "period": 50_000});
    let container = Container::sh("sleep 1000").set("/linux/resources", json!({"cpu": cpu}));
    container.create().ok();
    let quota = |expected: [i32; 2], told: &str| {
        assert_eq!(container.show("CPUQuotaPerSecUSec"), format!("CPUQuotaPerSecUSec={told}"));
        let now = match is_v2() {
            true => container.value("cpu", "cpu.max"),
            false => ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| container.value("cpu", file)).join(" "),
        };
        assert_eq!(now, expected.map(|number| number.to_string()).join(" "));
    };
    quota([25_000, 50_000], "500ms");
    container.update(&["--cpu-quota", "40000"]);
    quota([40_000, 50_000], "800ms");
    container.update(&["--cpu-period", "80000"]);
    quota([40_000, 80_000], "500ms");
    container.bundle.delete_force().ok();
    container.assert_nothing_left("updates of quotas");
}

#[test]
fn idle_no_more_stays_so() {
    need_systemd!();
    let container = Container::sh("sleep 1000").set("/linux/resources", json!({"cpu": {"shares": 512}}));
    container.create().ok();
    if !container.directory("cpu").join("cpu.idle").exists() {
        return common::skip("this test needs a kernel that has cpu.idle");
    }
    for idle in ["1", "0"] {
        container.update(&["--cpu-idle", idle]);
        container.update(&["--cpu-quota", "50000"]);
        assert_eq!(container.value("cpu", "cpu.idle"), idle);
        if is_v2() {
            let told = container.show("CPUWeight");
            assert_eq!(told == "CPUWeight=idle" || told == "CPUWeight=0", idle == "1", "{told}");
            assert!(idle == "1" || container.value("cpu", "cpu.weight") == "100");
        } else if idle == "0" {
            assert_eq!(container.value("cpu", "cpu.shares"), "1024");
            assert_eq!(container.show("CPUShares"), "CPUShares=1024");
        }
    }
    container.bundle.delete_force().ok();
    container.assert_nothing_left("updates of idleness");
}

#[test]
fn an_update_may_change_what_a_running_unit_is_not_told() {
    need_systemd!();
    if !is_v2() {
        return common::skip("this test needs cgroup v2: hack/vm");
    }
    let container = Container::sh("sleep 1000");
    container.create().ok();
    for value in ["1", "0"] {
        container.update_with(&json!({"unified": {"memory.oom.group": value}}));
        assert_eq!(container.value("memory", "memory.oom.group"), value);
    }
    container.bundle.delete_force().ok();
    container.assert_nothing_left("updates of memory.oom.group");
}

#[test]
fn an_updated_weight_of_bfq_is_what_was_asked_for() {
    need_systemd!();
    let _ = Command::new("modprobe").arg("bfq").status();
    let container = Container::sh("sleep 1000");
    container.create().ok();
    let directory = container.directory(if is_v2() { "" } else { "blkio" });
    let file = ["io.bfq.weight", "blkio.bfq.weight"].into_iter().find(|file| directory.join(file).exists());
    let Some(file) = file else { return common::skip("this test needs a kernel with BFQ") };
    container.update(&["--blkio-weight", "500"]);
    assert_eq!(container.value("blkio", file).trim_start_matches("default "), "500");
    container.bundle.delete_force().ok();
    container.assert_nothing_left("an update of a weight");
}

#[test]
fn slice_and_name_are_those_of_cgroups_path() {
    need_systemd!();
    let container = Container::sh("cat /proc/self/cgroup");
    let id = container.bundle.id.clone();
    let (slice, unit) = (format!("ferrun-{}.slice", id.replace('-', "_")), format!("pre-{id}.scope"));
    let container = Container { unit, ..container.set("/linux/cgroupsPath", json!(format!("{slice}:pre:{id}"))) };
    container.create().ok();
    assert_eq!(container.show("Slice"), format!("Slice={slice}"));
    let directory = container.directory(if is_v2() { "" } else { "memory" });
    assert!(directory.ends_with(format!("ferrun.slice/{slice}/{}", container.unit)), "{directory:?}");
    container.bundle.delete_force().ok();
    container.assert_nothing_left("delete --force");
    // The container is the root of what it sees of its cgroup.
    let seen = container.verb("run", &[]).ok();
    assert!(seen.lines().all(|line| line.ends_with(":/")), "{seen}");
    container.assert_nothing_left("run");
    systemctl(&["stop", &slice]);
}

#[test]
fn annotations_are_properties() {
    need_systemd!();
    let container = Container::sh("sleep 1000").set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopSec": "uint64 17",
            "org.systemd.property.Description": "'what the annotation says'",
            "org.systemd.property.CPUWeight": "uint64 77",
        }),
    );
    container.create().ok();
    let told = container.show("TimeoutStopUSec,Description,CPUWeight");
    assert!(told.contains("TimeoutStopUSec=17s") && told.contains("Description=what the annotation says"), "{told}");
    assert!(told.contains("CPUWeight=77"), "{told}");
    container.bundle.delete_force().ok();
    container.assert_nothing_left("delete --force");
    let wrong = "/annotations/org.systemd.property.NoSuchThing";
    let container = Container::sh("true").set("/annotations", json!({"org.systemd.property.NoSuchThing": "true"}));
    assert_eq!(container.create().error().pointer, wrong);
    container.assert_nothing_left("a property that systemd does not know");
    let pointer = "/annotations/org.systemd.property.CPUWeight";
    // An int32 where systemd wants a uint64.
    let container =
        Container::sh("true").with(|config| config["annotations"] = json!({"org.systemd.property.CPUWeight": "7"}));
    assert_eq!(container.create().error().pointer, pointer);
}

#[test]
fn annotations_that_are_not_understood_are_refused_without_systemd() {
    for (name, text) in [("KillSignal", "fifteen"), ("PIDs", "[uint32 1]"), ("Xo", "1")] {
        let key = format!("org.systemd.property.{name}");
        let bundle = Bundle::sh("true").set("/linux/cgroupsPath", json!(null)).with(|config| {
            config["annotations"] = json!({&key: text});
        });
        let done = bundle.ferrun(&[SYSTEMD, "explain", "--bundle", bundle.dir.to_str().unwrap()]);
        done.fails(&format!("/annotations/{key}"));
        // It is no business of anyone else.
        bundle.ferrun(&["explain", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    }
}

#[test]
fn without_a_bus_the_error_says_what_to_do_and_nothing_is_left() {
    need_root!();
    let bundle = Bundle::sh("true").set("/linux/cgroupsPath", json!(null));
    let mut command = bundle.command(&[SYSTEMD, "create", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let done = common::bounded(command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/at/all"));
    // A host without systemd's own hierarchy says so before.
    done.fails(if has_systemds_hierarchy() { "ENOENT /linux/cgroupsPath" } else { "" });
    assert_eq!(std::fs::read_dir(bundle.state_root()).into_iter().flatten().count(), 0, "a state is left");
    assert_eq!(cgroups_of(&format!("ferrun-{}.scope", bundle.id)), Vec::<PathBuf>::new());
}

#[test]
fn the_wait_for_the_bus_outlasts_a_stop() {
    need_root!();
    if !has_systemds_hierarchy() {
        return common::skip("this test needs a hierarchy of cgroups for systemd to follow its units in");
    }
    let bundle = Bundle::sh("true").set("/linux/cgroupsPath", json!(null));
    // A bus that lets one wait, and no more.
    let path = bundle.dir.join("bus");
    let bus = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(bus.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&bus, Backlog::new(0).unwrap()).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let mut command = bundle.command(&[SYSTEMD, "create", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", path.display()));
    let ferrun = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(ferrun.id() as i32);
    let waits = || std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|at| at == "unix_wait_for_peer");
    common::wait_until("the wait", waits);
    for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
        kill(pid, signal).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    common::wait_until("the wait again, or the end", || waits() || !is_alive(pid));
    drop(bus);
    let output = ferrun.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let error = common::Report::error(&said).unwrap();
    assert_eq!(error.to_string(), "ECONNREFUSED /linux/cgroupsPath", "{said}");
    bundle.assert_nothing_left("a bus that is gone");
}

fn is_alive(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn has_systemds_hierarchy() -> bool {
    ["", "unified", "systemd"].iter().any(|name| Path::new("/sys/fs/cgroup").join(name).join("cgroup.procs").exists())
}

/// Opens devices when it is told to, and says which could be opened.
const OPENS: &str = "
    mknod /tmp/mem c 1 1; mknod /tmp/disk b 7 0; mknod /tmp/kmsg c 1 11; mknod /tmp/null c 1 3
    round=0
    while :; do
        until [ -e /tmp/go.$round ]; do sleep 0.02; done
        for name in null mem kmsg disk; do
            (exec 3< /tmp/$name) 2> /tmp/error && echo $name open || { grep -q 'not permitted' /tmp/error && echo $name denied || echo $name free; }
        done > /tmp/part; mv /tmp/part /tmp/out.$round
        round=$((round + 1))
    done";

/// A container that does so, and its answer in each round.
fn opening(rules: Value) -> (Container, impl Fn(usize) -> String) {
    let container = Container::sh(OPENS).set("/linux/resources/devices", rules).with(|config| {
        config["root"]["readonly"] = json!(false);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SYS_RAWIO"]);
        }
    });
    container.verb("run", &["--detach"]).ok();
    let tmp = container.bundle.rootfs().join("tmp");
    let round = move |number: usize| {
        std::fs::write(tmp.join(format!("go.{number}")), "").unwrap();
        wait_for_file(&tmp.join(format!("out.{number}")))
    };
    (container, round)
}

#[test]
fn a_daemon_reload_changes_nothing_for_devices() {
    need_systemd!();
    let deny_all = json!({"allow": false, "access": "rwm"});
    let rule = |allow: bool, kind: &str, major: i64, minor: i64| json!({"allow": allow, "type": kind, "major": major, "minor": minor, "access": "rwm"});
    let mut lists = vec![
        ("the default list", json!([deny_all])),
        ("a device more", json!([deny_all, rule(true, "c", 1, 11)])),
        ("a driver", json!([deny_all, rule(true, "c", 1, -1)])),
        ("everything", json!([{"allow": true, "access": "rwm"}])),
    ];
    if is_v2() {
        lists.push(("all but one", json!([{"allow": true, "access": "rwm"}, rule(false, "c", 1, 11)])));
        lists.push(("a number of any driver", json!([deny_all, rule(true, "c", -1, 11)])));
    }
    for (what, rules) in lists {
        let (container, round) = opening(rules);
        let before = round(0);
        systemctl(&["daemon-reload"]);
        assert_eq!(round(1), before, "{what}: after daemon-reload");
        systemctl(&["set-property", "--runtime", &container.unit, "CPUWeight=50"]);
        assert_eq!(round(2), before, "{what}: after set-property");
        systemctl(&["daemon-reload"]);
        assert_eq!(round(3), before, "{what}: after another daemon-reload");
        assert!(before.contains("null open"), "{what}: {before}");
        let kmsg = if matches!(what, "the default list" | "all but one") { "kmsg denied" } else { "kmsg open" };
        assert!(before.contains(kmsg), "{what}: {before}");
        container.bundle.delete_force().ok();
        container.assert_nothing_left(what);
    }
}

#[test]
fn a_refused_update_leaves_the_unit_as_it_was() {
    need_systemd!();
    let deny_all = json!({"allow": false, "access": "rwm"});
    let kmsg = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"});
    for (what, old, new) in [
        ("a longer list", json!([deny_all]), json!([deny_all, kmsg])),
        ("a shorter list", json!([deny_all, kmsg]), json!([deny_all])),
        ("a list for everything", json!([{"allow": true, "access": "rwm"}]), json!([deny_all])),
    ] {
        let (container, round) = opening(old);
        let all = || {
            let told = container.show("TasksMax,CPUQuotaPerSecUSec,DevicePolicy,DeviceAllow");
            // A reload turns the list round.
            let told: std::collections::BTreeSet<String> = told.lines().map(str::to_owned).collect();
            (told, container.value("pids", "pids.max"), cpu_quota(&container))
        };
        let (before, opened) = (all(), round(0));
        let file = container.bundle.dir.join("resources.json");
        let limits = json!({"devices": new, "pids": {"limit": 77}, "cpu": {"quota": 40000}});
        std::fs::write(&file, limits.to_string()).unwrap();
        let update = ["update", "--resources", file.to_str().unwrap(), &container.bundle.id];
        // The rules cannot be noted.
        let note = container.bundle.state_root().join(&container.bundle.id).join("devices.json");
        std::fs::create_dir(&note).unwrap();
        container.bundle.ferrun(&update).fails("EISDIR");
        std::fs::remove_dir(&note).unwrap();
        assert_eq!((all(), round(1)), (before.clone(), opened.clone()), "{what}: no note");
        // Systemd cannot be told.
        let mut command = container.bundle.command(&update);
        let done = common::bounded(command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/at/all"));
        done.fails("ENOENT");
        assert_eq!(done.error().hint, "", "how to start a container is no help");
        assert_eq!((all(), round(2)), (before.clone(), opened.clone()), "{what}: no bus");
        systemctl(&["daemon-reload"]);
        systemctl(&["set-property", "--runtime", &container.unit, "CPUWeight=50"]);
        assert_eq!((all(), round(3)), (before, opened.clone()), "{what}: after a reload");
        // What is not refused is done.
        container.update_with(&limits);
        assert!(container.show("TasksMax") == "TasksMax=77" && round(4) != opened, "{what}");
        container.bundle.delete_force().ok();
        container.assert_nothing_left(what);
    }
}

fn cpu_quota(container: &Container) -> String {
    container.value("cpu", if is_v2() { "cpu.max" } else { "cpu.cfs_quota_us" })
}

#[test]
fn an_update_of_device_rules_never_denies_what_both_lists_allow() {
    need_systemd!();
    let script =
        "mknod /tmp/null c 1 3; echo > /tmp/ready; while :; do true < /tmp/null || echo denied >> /tmp/denied; done";
    let container = Container::sh(script).with(|config| {
        config["root"]["readonly"] = json!(false);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_MKNOD"]);
        }
    });
    container.verb("run", &["--detach"]).ok();
    let tmp = container.bundle.rootfs().join("tmp");
    wait_for_file(&tmp.join("ready"));
    for round in 0..20 {
        let more = json!({"allow": true, "type": "c", "major": 1, "minor": 11 + round % 2, "access": "rwm"});
        container.update_with(&json!({"devices": [{"allow": false, "access": "rwm"}, more]}));
    }
    assert!(!tmp.join("denied").exists(), "{:?}", std::fs::read_to_string(tmp.join("denied")));
    assert_eq!(container.bundle.state()["status"], "running");
    container.bundle.ferrun(&["pause", &container.bundle.id]).ok();
    let kmsg = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"});
    container.update_with(&json!({"devices": [{"allow": false, "access": "rwm"}, kmsg]}));
    assert_eq!(container.bundle.state()["status"], "paused");
    container.bundle.delete_force().ok();
    container.assert_nothing_left("updates of device rules");
}

#[test]
fn many_at_once() {
    need_systemd!();
    let (all, at_once) = (number("FERRUN_SYSTEMD_CONTAINERS", 24), number("FERRUN_SYSTEMD_AT_ONCE", 8));
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    let units = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < all {
                    let container = Container::sh("echo hello");
                    units.lock().unwrap().push(container.unit.clone());
                    let done = container.verb("run", &[]);
                    if done.status != 0 || done.stdout != "hello\n" || !done.stderr.is_empty() {
                        failed.lock().unwrap().push(done);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {all} failed: {:?}", failed.len(), failed.first());
    // These alone: the tests beside this one have units, too.
    let units = units.into_inner().unwrap();
    let listed = systemctl(&["list-units", "--all", "--no-legend", "--plain", "ferrun-*"]);
    let cgroups = cgroups_of("ferrun-*.scope");
    let left: Vec<&String> =
        units.iter().filter(|unit| listed.contains(*unit) || cgroups.iter().any(|path| path.ends_with(unit))).collect();
    assert!(units.len() == all && left.is_empty(), "units or cgroups are left: {left:?}");
}

#[test]
fn killed_at_each_step_ferrun_leaves_what_delete_removes() {
    need_systemd!();
    let plan = |container: &Container| {
        let dir = container.bundle.dir.to_str().unwrap();
        let plan = container.bundle.ferrun(&[SYSTEMD, "explain", "--json", "--bundle", dir]).ok();
        serde_json::from_str::<Value>(&plan).unwrap()["steps"].as_array().unwrap().len()
    };
    let container = Container::sh("sleep 1000");
    for step in (1..=plan(&container)).step_by(number("FERRUN_SYSTEMD_EACH", 1)) {
        let done = container.verb("create", &["--fault", &format!("kill@{step}")]);
        assert_ne!(done.status, 1, "kill@{step}: {done:?}");
        container.bundle.delete_force().ok();
        common::wait_until("the unit's end", || container.show("LoadState") == "LoadState=not-found");
        container.assert_nothing_left(&format!("kill@{step}"));
    }
}

#[test]
fn killed_at_any_moment_ferrun_leaves_what_delete_removes() {
    need_systemd!();
    let container = Container::sh("sleep 1000");
    let begin = Instant::now();
    container.create().ok();
    let whole = begin.elapsed();
    container.bundle.delete_force().ok();
    let rounds = number("FERRUN_SYSTEMD_KILLS", 20) as u32;
    for round in 0..rounds {
        let dir = container.bundle.dir.to_str().unwrap();
        let mut command = container.bundle.command(&[SYSTEMD, "create", "--bundle", dir, &container.bundle.id]);
        let mut ferrun = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * round / rounds);
        let _ = ferrun.kill();
        let _ = ferrun.wait();
        container.bundle.delete_force().ok();
        common::wait_until("the unit's end", || container.show("LoadState") == "LoadState=not-found");
        container.assert_nothing_left(&format!("kill {round} of {rounds}"));
    }
}

#[test]
fn a_failing_step_leaves_no_unit() {
    need_systemd!();
    let container = Container::sh("true").set("/linux/resources/unified", json!({"memory.max": "no number"}));
    if is_v2() {
        container.create().fails("EINVAL /linux/resources/unified/memory.max");
        container.assert_nothing_left("a limit that the kernel refuses");
    }
    let container = Container::sh("true").set("/process/args", json!(["/no/such/program"]));
    container.create().fails("ENOENT /process/args");
    container.assert_nothing_left("a program that is not there");
}

#[test]
fn a_failed_unit_of_the_same_name_is_forgotten() {
    need_systemd!();
    let container = Container::sh("true");
    let scope =
        ["--scope", "--quiet", "--unit", &container.unit, "-p", "RuntimeMaxSec=100ms", "-p", "TimeoutStopSec=1s"];
    let _ = Command::new("systemd-run").args(scope).args(["sleep", "1000"]).status().unwrap();
    common::wait_until("the failure", || container.show("ActiveState") == "ActiveState=failed");
    container.verb("run", &[]).ok();
    container.assert_nothing_left("run");
}

#[test]
fn a_unit_that_is_in_use_is_left_alone() {
    need_systemd!();
    let container = Container::sh("true");
    let scope = ["--scope", "--quiet", "--unit", &container.unit, "sleep", "1000"];
    let mut other = Command::new("systemd-run").args(scope).spawn().unwrap();
    common::wait_until("the other", || container.show("ActiveState") == "ActiveState=active");
    assert_eq!(container.create().error().errno, "");
    assert_eq!(container.show("ActiveState"), "ActiveState=active");
    other.kill().unwrap();
    other.wait().unwrap();
    common::wait_until("its end", || container.show("LoadState") == "LoadState=not-found");
}

#[test]
fn only_the_start_and_the_end_of_a_unit_need_the_bus() {
    need_systemd!();
    let container = Container::sh("sleep 1000");
    container.create().ok();
    let without_bus = |args: &[&str]| {
        common::bounded(container.bundle.command(args).env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/at/all"))
    };
    let id = container.bundle.id.as_str();
    without_bus(&[SYSTEMD, "start", id]).ok();
    without_bus(&[SYSTEMD, "state", id]).ok();
    without_bus(&[SYSTEMD, "kill", id, "KILL"]).ok();
    container.bundle.wait_for("stopped");
    // Systemd has heard of the end by itself.
    common::wait_until("systemd", || {
        cgroups_of(&container.unit).iter().all(|path| !path.starts_with("/sys/fs/cgroup/system"))
    });
    without_bus(&["delete", id]).ok();
    container.assert_nothing_left("delete");
}

#[test]
fn delete_without_the_bus_may_be_tried_again() {
    need_systemd!();
    // What outlives the first process keeps the unit.
    let container = Container::sh("sleep 1000 & sleep 1000").with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    container.verb("run", &["--detach"]).ok();
    let directory = container.directory(if is_v2() { "" } else { "memory" });
    let id = container.bundle.id.as_str();
    common::wait_until("both", || {
        std::fs::read_to_string(directory.join("cgroup.procs")).unwrap().lines().count() >= 2
    });
    kill(Pid::from_raw(container.pid() as i32), Signal::SIGKILL).unwrap();
    container.bundle.wait_for("stopped");
    let mut command = container.bundle.command(&["delete", id]);
    let done = common::bounded(command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/at/all"));
    done.fails("ENOENT");
    assert_eq!(container.bundle.state()["status"], "stopped");
    container.bundle.ferrun(&["delete", id]).ok();
    common::wait_until("the unit's end", || container.show("LoadState") == "LoadState=not-found");
    container.assert_nothing_left("a second delete");
}

#[test]
fn in_a_user_namespace_and_without_a_pid_namespace() {
    need_systemd!();
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let container = Container::sh("cat /proc/self/cgroup").with(|config| {
        config["linux"]["uidMappings"] = maps.clone();
        config["linux"]["gidMappings"] = maps;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    });
    // Whoever the container's root is on the host must reach its bundle.
    Command::new("chmod").arg("-R").arg("a+rX").arg(&container.bundle.dir).status().unwrap();
    let seen = container.verb("run", &[]).ok();
    assert!(seen.lines().all(|line| line.ends_with(":/")), "{seen}");
    container.assert_nothing_left("run in a user namespace");
    let container = Container::sh("sleep 1000 & sleep 1000").with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    container.verb("run", &["--detach"]).ok();
    container.bundle.delete_force().ok();
    container.assert_nothing_left("processes that outlived the first");
}
