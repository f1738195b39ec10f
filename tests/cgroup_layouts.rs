//! The life cycle on cgroup v1, hybrid and v2, and where there are no cgroups; and which cgroup
//! directories are made, joined and removed.
//!
//! Each ferrun command sees its layout in a mount namespace of its own: the host's mounts stay.

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Bundle, Done, bounded, skip};
use nix::sys::stat::SFlag;
use serde_json::{Value, json};

/// How cgroups are mounted where ferrun runs.
#[derive(Clone, Copy)]
struct Layout {
    /// What ferrun calls it.
    name: &'static str,
    /// Shell commands that make it in a new mount namespace; they fail where it cannot be had.
    set_up: &'static str,
}

const V1: Layout = Layout {
    name: "cgroup v1",
    set_up: "test -e /sys/fs/cgroup/pids/tasks &&
             if test -e /sys/fs/cgroup/unified/cgroup.procs; then umount /sys/fs/cgroup/unified; fi",
};
const HYBRID: Layout = Layout {
    name: "cgroup v1 (hybrid)",
    set_up: "test -e /sys/fs/cgroup/pids/tasks && test -e /sys/fs/cgroup/unified/cgroup.procs",
};
const V2: Layout = Layout {
    name: "cgroup v2",
    set_up: "test -e /sys/fs/cgroup/cgroup.controllers || mount -t cgroup2 none /sys/fs/cgroup",
};
const NONE: Layout = Layout { name: "no cgroups", set_up: "mount -t tmpfs none /sys/fs/cgroup" };

impl Layout {
    /// A command in this layout.
    fn command(self, command: &Command) -> Command {
        let mut inside = Command::new("unshare");
        let script = format!("{{ {}; }} || exit 99; exec \"$@\"", self.set_up);
        inside.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }

    fn ferrun(self, bundle: &Bundle, args: &[&str]) -> Done {
        bounded(&mut self.command(&bundle.command(args)))
    }

    fn launch(self, bundle: &Bundle, verb: &str, flags: &[&str]) -> Done {
        let dir = bundle.dir.to_str().unwrap();
        self.ferrun(bundle, &[&[verb, "--bundle", dir], flags, &[bundle.id.as_str()]].concat())
    }

    /// Whether it can be had here; says loudly if not.
    fn is_here(self) -> bool {
        let here = bounded(&mut self.command(&Command::new("true"))).status == 0;
        if !here {
            skip(&format!("{} cannot be had on this host", self.name));
        }
        here
    }

    fn has_v1(self) -> bool {
        self.name.starts_with("cgroup v1")
    }

    fn has_v2(self) -> bool {
        self.name == HYBRID.name || self.name == V2.name
    }
}

/// Returns from a test unless the host can have a layout.
macro_rules! need_layout {
    ($layout:expr) => {
        need_root!();
        if !$layout.is_here() {
            return;
        }
    };
}

fn without_namespace(bundle: Bundle, kind: &str) -> Bundle {
    bundle.with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
    })
}

/// What /proc/PID/cgroup tells, as (controllers, path).
fn cgroups_of(pid: impl std::fmt::Display) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let fields = |line: &str| line.splitn(3, ':').map(str::to_owned).collect::<Vec<_>>();
    text.lines().map(|line| (fields(line)[1].clone(), fields(line)[2].clone())).collect()
}

/// create, start, kill and delete: the directories are there, the init is in them, and they go.
fn life_cycle(layout: Layout) {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let plan = layout.ferrun(&bundle, &["explain", "--json", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    assert_eq!(serde_json::from_str::<Value>(&plan).unwrap()["cgroups"], layout.name);
    layout.launch(&bundle, "create", &[]).ok();
    let own = format!("/ferrun-{}", bundle.id);
    for (controllers, path) in cgroups_of(&bundle.state()["pid"]) {
        let joined = if controllers.is_empty() { layout.has_v2() } else { layout.has_v1() };
        assert_eq!(path == own, joined, "{}: {controllers:?} has the init in {path}", layout.name);
        let directory = Path::new("/sys/fs/cgroup").join(match controllers.as_str() {
            "" if Path::new("/sys/fs/cgroup/unified").exists() => "unified",
            name => name.strip_prefix("name=").unwrap_or(name),
        });
        let there = directory.join(&own[1..]).is_dir();
        assert_eq!(there, joined && directory.is_dir(), "{}: {directory:?}", layout.name);
    }
    layout.ferrun(&bundle, &["start", &bundle.id]).ok();
    layout.ferrun(&bundle, &["kill", &bundle.id, "KILL"]).ok();
    bundle.wait_for("stopped");
    layout.ferrun(&bundle, &["delete", &bundle.id]).ok();
    bundle.assert_nothing_left(&format!("delete on {}", layout.name));
}

/// What is left by failures and kills at the steps that differ between the layouts: those of the parent
/// and the init's first and last.
fn killed(layout: Layout) {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let nested = format!("/ferrun-{}/a/b", bundle.id);
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = nested.into());
    let plan = layout.ferrun(&bundle, &["explain", "--json", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let steps = plan["steps"].as_array().unwrap().iter();
    let differs =
        |step: &&Value| step["lane"] == "parent" || ["cgroup", "wait"].iter().any(|verb| step["verb"] == *verb);
    for number in steps.filter(differs).map(|step| step["number"].as_u64().unwrap()) {
        layout.launch(&bundle, "run", &["--fault", &format!("error@{number}")]).refused(common::FAULT);
        bundle.assert_nothing_left_soon(&format!("run --fault error@{number} on {}", layout.name));
        assert_eq!(layout.launch(&bundle, "run", &["--fault", &format!("kill@{number}")]).status, -9);
        layout.ferrun(&bundle, &["delete", "--force", &bundle.id]).ok();
        bundle.assert_nothing_left_soon(&format!("run --fault kill@{number} on {}", layout.name));
    }
}

/// Processes in the host's pid namespace are found by the cgroup alone, if they change all the time, too.
fn processes_left_behind(layout: Layout) {
    let script = "sleep 1000 & setsid sleep 1000 & f() { f & }; f; f; exit 0";
    let bundle = without_namespace(Bundle::sh(script), "pid");
    layout.launch(&bundle, "run", &["--detach"]).ok();
    bundle.wait_for("stopped");
    assert!(!common::processes_in(&bundle.dir).is_empty(), "the background processes live on");
    layout.ferrun(&bundle, &["delete", "--force", &bundle.id]).ok();
    bundle.assert_nothing_left(&format!("delete --force on {}", layout.name));
}

/// A mount of type cgroup shows the container its own cgroup, with and without a cgroup namespace.
fn mount_inside(layout: Layout) {
    let v1 =
        "for top in /sys/fs/cgroup/*/; do grep -qx 1 $top/cgroup.procs && echo ${top%/}; done; cat /proc/self/cgroup";
    for own_namespace in [true, false] {
        let bundle = Bundle::sh(v1);
        let own = format!("/ferrun-{}", bundle.id);
        let v2_root = if own_namespace { String::new() } else { own.clone() };
        let v2 = format!("grep -qx 1 /sys/fs/cgroup{v2_root}/cgroup.procs && echo it is me; cat /proc/self/cgroup");
        let script = if layout.has_v1() { v1 } else { &v2 };
        let bundle = bundle.with(|config| config["process"]["args"] = json!(["sh", "-c", script]));
        let bundle = if own_namespace { bundle } else { without_namespace(bundle, "cgroup") };
        let done = layout.launch(&bundle, "run", &[]);
        let text = done.ok();
        let what = format!("{}, cgroup namespace {own_namespace}: {text}", layout.name);
        if layout.has_v1() {
            for name in ["memory", "devices", "freezer", "pids"] {
                assert!(text.lines().any(|line| line == format!("/sys/fs/cgroup/{name}")), "{name} on {what}");
                let path = if own_namespace { "/" } else { &own };
                assert!(text.lines().any(|line| line.ends_with(&format!(":{name}:{path}"))), "{name} on {what}");
            }
        } else {
            assert!(text.starts_with("it is me"), "{what}");
            let path = if own_namespace { "/" } else { &own };
            assert!(text.lines().any(|line| line == format!("0::{path}")), "{what}");
        }
        bundle.assert_nothing_left(&what);
    }
}

/// A device that the list does not name cannot be opened, one that it names can, and the default ones.
fn devices(layout: Layout) {
    let names = ["fuse", "net/tun", "loop-control", "hwrng", "console"];
    let opens = |name: &&&str| std::fs::File::open(format!("/dev/{name}")).is_ok();
    let Some(name) = names.iter().find(opens) else { return skip("no device to open on this host") };
    let number = std::fs::metadata(format!("/dev/{name}")).unwrap().rdev();
    for allowed in [false, true] {
        let bundle = Bundle::sh("echo works >/dev/null && echo null; : </tmp/device && echo device");
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&bundle.rootfs().join("tmp/device"), SFlag::S_IFCHR, mode, number).unwrap();
        let bundle = bundle.with(|config| {
            let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
            let rule = json!({"allow": allowed, "type": "c", "major": major, "minor": minor, "access": "rw"});
            config["linux"]["resources"]["devices"].as_array_mut().unwrap().push(rule);
        });
        let done = layout.launch(&bundle, "run", &[]);
        let opened = if allowed { "null\ndevice\n" } else { "null\n" };
        assert_eq!(done.stdout, opened, "{name}, allowed {allowed}, {}: {done:?}", layout.name);
        assert_eq!(done.stderr.contains("Operation not permitted"), !allowed, "{}: {done:?}", layout.name);
        bundle.assert_nothing_left("devices");
    }
}

/// A script that counts on in a file as long as it may run. The others make it wait for a processor, so that
/// it takes a while until all have stopped.
const COUNTS: &str = "for one in 1 2 3 4 5 6; do while :; do :; done & done
                      i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; done";

/// A counting container, and its count.
fn counting() -> (Bundle, impl Fn() -> String) {
    let bundle = Bundle::sh(COUNTS).set("/root/readonly", false.into());
    let file = bundle.rootfs().join("tmp/count");
    (bundle, move || std::fs::read_to_string(&file).unwrap_or_default())
}

/// Whether the kernel says that all processes have stopped.
fn have_stopped(layout: Layout, bundle: &Bundle) -> bool {
    let file = if layout.has_v1() { "freezer.state" } else { "cgroup.events" };
    let word = if layout.has_v1() { "FROZEN" } else { "frozen 1" };
    let read = |directory: &PathBuf| std::fs::read_to_string(directory.join(file)).ok();
    bundle.cgroups().iter().filter_map(read).any(|text| text.lines().any(|line| line == word))
}

/// pause and resume, the errors of both, and the end of a paused container.
fn paused(layout: Layout) {
    let (bundle, count) = counting();
    let on = |verb: &str, args: &[&str]| layout.ferrun(&bundle, &[&[verb, bundle.id.as_str()], args].concat());
    let status = || serde_json::from_str::<Value>(&on("state", &[]).ok()).unwrap()["status"].clone();
    let goes_on = || {
        let before = count();
        common::wait_until("the count to go on", || !count().is_empty() && count() != before);
    };
    layout.launch(&bundle, "create", &[]).ok();
    on("pause", &[]).ok();
    assert_eq!(status(), "paused", "a created one can be paused, on {}", layout.name);
    on("start", &[]).fails("");
    on("resume", &[]).ok();
    assert_eq!(status(), "created");
    on("start", &[]).ok();
    goes_on();
    on("resume", &[]).refused("container not paused");
    for _ in 0..3 {
        on("pause", &[]).ok();
        assert!(have_stopped(layout, &bundle), "{}", layout.name);
        let before = count();
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert_eq!(count(), before, "it does not run while it is paused on {}", layout.name);
        assert_eq!(status(), "paused");
        on("pause", &[]).refused("container not running");
        on("resume", &[]).ok();
        assert_eq!(status(), "running");
        goes_on();
    }
    on("pause", &[]).ok();
    on("delete", &[]).refused("that is not stopped: paused");
    on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    on("pause", &[]).refused("container not running");
    on("resume", &[]).refused("container not paused");
    on("delete", &[]).ok();
    bundle.assert_nothing_left(&format!("kill of a paused container on {}", layout.name));
    layout.launch(&bundle, "run", &["--detach"]).ok();
    on("pause", &[]).ok();
    layout.ferrun(&bundle, &["delete", "--force", &bundle.id]).ok();
    bundle.assert_nothing_left(&format!("delete --force of a paused container on {}", layout.name));
}

/// events --stats and ps find what is there.
fn told(layout: Layout) {
    let (bundle, _) = counting();
    layout.launch(&bundle, "run", &["--detach"]).ok();
    let line = layout.ferrun(&bundle, &["events", "--stats", &bundle.id]).ok();
    let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
    assert_eq!((event["type"].as_str(), event["id"].as_str()), (Some("stats"), Some(bundle.id.as_str())));
    let data = &event["data"];
    assert!(data["cpu"]["usage"]["total"].as_u64() > Some(0), "{}: {line}", layout.name);
    assert!(data["pids"]["current"].as_u64() >= Some(1), "{}: {line}", layout.name);
    assert_eq!(data["cpu"]["usage"].get("percpu").is_some(), layout.has_v1(), "{line}");
    let pid = bundle.state()["pid"].clone();
    let pids = || {
        let list = layout.ferrun(&bundle, &["ps", "--format", "json", &bundle.id]).ok();
        serde_json::from_str::<Vec<Value>>(&list).unwrap()
    };
    common::wait_until("all processes", || pids().len() >= 7);
    assert!(pids().contains(&pid), "{pid} is in {:?}", pids());
    layout.ferrun(&bundle, &["delete", "--force", &bundle.id]).ok();
    bundle.assert_nothing_left(&format!("events and ps on {}", layout.name));
}

/// Cgroups that the container made, with all controllers handed down on v2, go with it.
fn nested(layout: Layout) {
    let v1 = "for top in /sys/fs/cgroup/*/; do cd $top && mkdir -p a/b || exit 1; done";
    let v2 = "cd /sys/fs/cgroup && mkdir leaf && echo 0 >leaf/cgroup.procs || exit 1
              for one in $(cat cgroup.controllers); do echo +$one >cgroup.subtree_control || exit 1; done
              mkdir -p a/b && echo +pids >a/cgroup.subtree_control 2>/dev/null";
    let make = if layout.has_v1() { v1 } else { v2 };
    for pid_namespace in [true, false] {
        let script = format!("{make}; sleep 1000 & touch /tmp/made; wait");
        let bundle = Bundle::sh(&script).set("/root/readonly", false.into()).with(|config| {
            for mount in config["mounts"].as_array_mut().unwrap().iter_mut().filter(|mount| mount["type"] == "cgroup") {
                mount["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
            }
        });
        let bundle = if pid_namespace { bundle } else { without_namespace(bundle, "pid") };
        layout.launch(&bundle, "run", &["--detach"]).ok();
        common::wait_until("the nested cgroups", || bundle.rootfs().join("tmp/made").exists());
        layout.ferrun(&bundle, &["pause", &bundle.id]).ok();
        layout.ferrun(&bundle, &["kill", "--all", &bundle.id, "KILL"]).ok();
        bundle.wait_for("stopped");
        layout.ferrun(&bundle, &["delete", &bundle.id]).ok();
        bundle.assert_nothing_left(&format!("nested cgroups on {}, pid namespace {pid_namespace}", layout.name));
    }
}

fn all(layout: Layout) {
    life_cycle(layout);
    paused(layout);
    told(layout);
    nested(layout);
    mount_inside(layout);
    killed(layout);
    processes_left_behind(layout);
    devices(layout);
}

#[test]
fn containers_live_and_leave_nothing_on_v1() {
    need_layout!(V1);
    all(V1);
}

#[test]
fn containers_live_and_leave_nothing_on_a_hybrid() {
    need_layout!(HYBRID);
    all(HYBRID);
}

#[test]
fn containers_live_and_leave_nothing_on_v2() {
    need_layout!(V2);
    all(V2);
}

#[test]
fn containers_live_and_leave_nothing_without_cgroups() {
    need_layout!(NONE);
    life_cycle(NONE);
    let limited = Bundle::new(&["true"]).with(|config| config["linux"]["resources"]["cpu"]["shares"] = 512.into());
    let done = NONE.launch(&limited, "run", &[]);
    assert_eq!(done.status, 1, "a limit that cannot be set is refused: {done:?}");
    assert!(done.stderr.contains("/linux/resources/cpu/shares") || done.stderr.contains("linux.resources.cpu.shares"));
    limited.assert_nothing_left("a refused limit");
}

fn add_cgroup2(config: &mut Value, options: &[&str]) {
    let mount = json!({ "destination": "/cg", "type": "cgroup2", "source": "cgroup2", "options": options });
    config["root"]["readonly"] = json!(false);
    config["mounts"].as_array_mut().unwrap().push(mount);
}

fn cgroup2_inside(layout: Layout, own_namespace: bool, user: bool, options: &[&str]) {
    let what = format!("{}, cgroup namespace {own_namespace}, user {user}, {options:?}", layout.name);
    let script = "grep -qx 1 /cg/cgroup.procs && echo it is me; ls -d /cg/../etc /cg/tasks /cg/memory 2>/dev/null
                  mkdir /cg/below && rmdir /cg/below && echo writable; echo --; cat /proc/self/mountinfo";
    let bundle = Bundle::sh(script).with(|config| {
        add_cgroup2(config, options);
        if user {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            for ids in ["uidMappings", "gidMappings"] {
                config["linux"][ids] = json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]);
            }
        }
    });
    let bundle = if own_namespace { bundle } else { without_namespace(bundle, "cgroup") };
    let done = layout.launch(&bundle, "run", &[]);
    assert_eq!(done.status, 0, "{what}: {done:?}");
    let (said, table) = done.stdout.split_once("--\n").unwrap();
    let writable = if options.contains(&"ro") { "" } else { "writable\n" };
    assert_eq!(said, format!("it is me\n/cg/../etc\n{writable}"), "{what}: {done:?}");
    let mounts = common::mount_lines(table);
    let mount = common::mounted_on(&mounts, "/cg");
    let root = if own_namespace { "/".to_owned() } else { format!("/ferrun-{}", bundle.id) };
    assert_eq!((&*mount.kind, &mount.root), ("cgroup2", &root), "{what}");
    assert!(["nosuid", "nodev", "noexec"].iter().all(|flag| mount.has(flag)), "{what}: {mount:?}");
    bundle.assert_nothing_left(&what);
}

/// Nothing above is visible, with or without a cgroup namespace.
#[test]
fn a_mount_of_type_cgroup2_is_the_containers_own_part_of_v2() {
    need_layout!(HYBRID);
    for user in [false, true] {
        for options in [&[][..], &["ro"]] {
            for own_namespace in [true, false] {
                cgroup2_inside(HYBRID, own_namespace, user, options);
            }
            if V2.is_here() {
                cgroup2_inside(V2, true, user, options);
            }
        }
    }
}

#[test]
fn a_start_that_fails_after_cgroup2_leaves_no_cgroup() {
    need_layout!(HYBRID);
    let bundle = Bundle::new(&["no-such-program"]).with(|config| add_cgroup2(config, &[]));
    HYBRID.launch(&bundle, "run", &[]).fails("/process/args");
    bundle.assert_nothing_left("a failed start");
    let bundle = bundle.set("/process/args", json!(["sleep", "1000"]));
    HYBRID.launch(&bundle, "create", &[]).ok();
    let own = format!("/ferrun-{}", bundle.id);
    assert!(cgroups_of(&bundle.state()["pid"]).contains(&(String::new(), own)));
    HYBRID.ferrun(&bundle, &["delete", "--force", &bundle.id]).ok();
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn cgroup2_is_refused_where_the_host_has_none() {
    need_root!();
    for layout in [V1, NONE].into_iter().filter(|layout| layout.is_here()) {
        for namespace in [true, false] {
            let bundle = Bundle::new(&["true"]).with(|config| add_cgroup2(config, &[]));
            let bundle = if namespace { bundle } else { without_namespace(bundle, "cgroup") };
            let done = layout.launch(&bundle, "run", &[]);
            done.fails("/mounts/7/type");
            bundle.assert_nothing_left("a refused cgroup2");
        }
    }
}

/// Without a cgroup namespace the container sees the cgroups that it is in, though they are ferrun's own.
#[test]
fn without_cgroups_of_its_own_a_container_sees_those_that_it_is_in() {
    need_root!();
    for kind in ["cgroup", "cgroup2"] {
        if kind == "cgroup2" && !HYBRID.is_here() {
            continue;
        }
        let bundle = without_namespace(Bundle::sh("cat /proc/self/mountinfo"), "cgroup").with(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "cgroup");
            add_cgroup2(config, &["ro"]);
            config["mounts"][6]["type"] = json!(kind);
        });
        let dir = bundle.dir.to_str().unwrap();
        let done = bundle.bounded(&["--cgroup-manager", "disabled", "run", "--bundle", dir, &bundle.id]);
        let mounts = common::mount_lines(&done.ok());
        let shown: Vec<_> =
            mounts.iter().filter(|mount| mount.kind.starts_with(kind) && mount.point.starts_with("/cg")).collect();
        assert!(!shown.is_empty(), "{mounts:?}");
        let own: Vec<String> = match common::limits::is_v2() {
            // As with runc, the host's.
            true => vec!["/".into()],
            false => cgroups_of("self").into_iter().map(|(_, path)| path).collect(),
        };
        assert!(shown.iter().all(|mount| own.contains(&mount.root)), "{shown:?}");
        bundle.assert_nothing_left(kind);
    }
}

#[test]
fn with_the_cgroup_manager_disabled_no_cgroup_is_made() {
    need_root!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    let dir = bundle.dir.to_str().unwrap();
    bundle.bounded(&["--cgroup-manager", "disabled", "create", "--bundle", dir, &bundle.id]).ok();
    assert_eq!(cgroups_of(&bundle.state()["pid"]), cgroups_of("self"));
    assert!(bundle.cgroups().is_empty());
    bundle.start().ok();
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

/// `ferrun VERB FLAGS` on this host.
fn launch(bundle: &Bundle, verb: &str, flags: &[&str]) -> Done {
    bundle.bounded(&[&[verb, "--bundle", bundle.dir.to_str().unwrap()], flags, &[bundle.id.as_str()]].concat())
}

#[test]
fn parents_that_create_made_go_with_the_last_container() {
    need_root!();
    for first_goes_first in [true, false] {
        let top = Bundle::new(&["true"]);
        let child = |name: &str| {
            let path = format!("/ferrun-{}/b/{name}", top.id);
            Bundle::new(&["sleep", "1000"]).with(|config| config["linux"]["cgroupsPath"] = path.into())
        };
        let (first, second) = (child("c1"), child("c2"));
        launch(&first, "create", &[]).ok();
        launch(&second, "create", &[]).ok();
        let (goes, stays) = if first_goes_first { (&first, &second) } else { (&second, &first) };
        goes.delete_force().ok();
        assert_eq!(stays.status(), "created");
        assert!(!top.cgroups().is_empty(), "the other container's cgroups stay");
        stays.delete_force().ok();
        top.assert_nothing_left(&format!("the last of two, first_goes_first {first_goes_first}"));
    }
}

/// The host's hierarchies that have directories for processes.
fn hierarchies() -> Vec<PathBuf> {
    let top = PathBuf::from("/sys/fs/cgroup");
    let mut all: Vec<PathBuf> = std::fs::read_dir(&top).unwrap().flatten().map(|entry| entry.path()).collect();
    if top.join("cgroup.procs").exists() {
        all = vec![top];
    }
    all.retain(|path| path.join("cgroup.procs").exists() && !path.is_symlink());
    all
}

/// Makes a directory in every hierarchy; a process can join it.
fn make_cgroups(name: &str) -> Vec<PathBuf> {
    let directories: Vec<PathBuf> = hierarchies().iter().map(|top| top.join(name)).collect();
    for directory in &directories {
        std::fs::create_dir(directory).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|_| directory.ends_with(format!("cpuset/{name}"))) {
            std::fs::copy(directory.parent().unwrap().join(file), directory.join(file)).unwrap();
        }
    }
    directories
}

#[test]
fn a_parent_that_was_there_before_stays() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let name = format!("ferrun-{}", bundle.id);
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = format!("/{name}/made/c").into());
    let before = make_cgroups(&name);
    launch(&bundle, "run", &[]).ok();
    for directory in &before {
        assert!(directory.is_dir() && !directory.join("made").exists(), "{directory:?}");
    }
    launch(&bundle, "create", &["--fault", "kill@2"]);
    bundle.delete_force().ok();
    for directory in &before {
        assert!(!directory.join("made").exists(), "{directory:?} after a kill");
        std::fs::remove_dir(directory).unwrap();
    }
}

#[test]
fn a_cgroup_that_was_there_before_is_joined_and_emptied() {
    need_root!();
    let bundle = without_namespace(Bundle::sh("sleep 1000 & sleep 1000"), "pid");
    let before = make_cgroups(&format!("ferrun-{}", bundle.id));
    launch(&bundle, "run", &["--detach"]).ok();
    assert!(cgroups_of(&bundle.state()["pid"]).iter().all(|(_, path)| path[1..] == format!("ferrun-{}", bundle.id)));
    bundle.delete_force().ok();
    assert_eq!(common::processes_in(&bundle.dir), Vec::<String>::new(), "the container's processes are gone");
    for directory in before.iter().filter(|directory| directory.exists()) {
        std::fs::remove_dir(directory).unwrap();
    }
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn without_a_path_the_cgroup_has_the_name_of_the_container() {
    need_root!();
    for path in [json!(null), json!(""), json!("relative")] {
        let bundle = Bundle::new(&["sleep", "1000"]);
        let name = if path == "relative" { format!("ferrun-{}", bundle.id) } else { bundle.id.clone() };
        let path = if path == "relative" { json!(name) } else { path };
        let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = path);
        launch(&bundle, "create", &[]).ok();
        let own = |controllers: &str| {
            cgroups_of("self")
                .into_iter()
                .find(|(name, _)| name == controllers)
                .unwrap()
                .1
                .trim_end_matches('/')
                .to_owned()
        };
        let mut directories = Vec::new();
        for (controllers, path) in cgroups_of(&bundle.state()["pid"]) {
            // On v2 beside ferrun's own: one with processes can have no controllers for children.
            let own = own(&controllers);
            let base = if controllers.is_empty() { own.rsplit_once('/').map_or("", |(base, _)| base) } else { &own };
            assert_eq!(path, format!("{base}/{name}"), "{controllers:?}");
            let top = hierarchies().into_iter().find(|top| match controllers.as_str() {
                "" => top.ends_with("unified") || top.ends_with("cgroup"),
                name => top.ends_with(name.strip_prefix("name=").unwrap_or(name)),
            });
            directories.push(top.unwrap().join(&path[1..]));
        }
        assert!(directories.iter().all(|directory| directory.is_dir()), "{directories:?}");
        bundle.delete_force().ok();
        assert!(directories.iter().all(|directory| !directory.exists()), "{directories:?}");
        bundle.assert_nothing_left("delete --force");
    }
}

/// A process of the test's own in a cgroup; ended with the test.
struct Guest(std::process::Child);

impl Guest {
    fn of(cgroup: &Path) -> Guest {
        let process = Command::new("sleep").arg("1000").spawn().unwrap();
        std::fs::write(cgroup.join("cgroup.procs"), process.id().to_string()).unwrap();
        Guest(process)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_cgroup_with_processes_below_is_refused() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    for directory in make_cgroups(&format!("ferrun-{}", bundle.id)) {
        // On v1 a process can enter a new cpuset only once that is filled.
        if !directory.parent().unwrap().ends_with("cpuset") {
            let inner = directory.join("inner");
            std::fs::create_dir(&inner).unwrap();
            let guest = Guest::of(&inner);
            launch(&bundle, "run", &[]).fails("/linux/cgroupsPath");
            drop(guest);
            std::fs::remove_dir(&inner).unwrap();
        }
        std::fs::remove_dir(&directory).unwrap();
    }
    bundle.assert_nothing_left("a refused run");
}

/// A ferrun command in a pid namespace of its own, with the host's cgroups.
fn in_own_pid_namespace(bundle: &Bundle, args: &[&str]) -> Done {
    let ferrun = bundle.command(args);
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork", "--mount-proc"]).arg(ferrun.get_program()).args(ferrun.get_args());
    bounded(&mut inside)
}

fn without_pid_namespace() -> Bundle {
    Bundle::new(&["sleep", "1000"]).with(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    })
}

/// The kernel lists such processes as 0 on v2 and not at all on v1, where only pids.current counts them.
#[test]
fn a_cgroup_with_processes_outside_of_the_pid_namespace_is_refused() {
    need_root!();
    let bundle = without_pid_namespace();
    for directory in make_cgroups(&format!("ferrun-{}", bundle.id)) {
        if directory.join("cgroup.events").exists() || directory.join("pids.current").exists() {
            let mut guest = Guest::of(&directory);
            let dir = bundle.dir.to_str().unwrap();
            let done = in_own_pid_namespace(&bundle, &["run", "--detach", "--bundle", dir, &bundle.id]);
            in_own_pid_namespace(&bundle, &["delete", "--force", &bundle.id]).ok();
            assert!(guest.0.try_wait().unwrap().is_none(), "a process of somebody else was killed");
            done.fails("/linux/cgroupsPath");
        }
        std::fs::remove_dir(&directory).unwrap();
    }
    bundle.assert_nothing_left("a refused run");
}

#[test]
fn processes_outside_of_the_pid_namespace_are_reported() {
    need_root!();
    let bundle = without_pid_namespace();
    bundle.run_detached().ok();
    if bundle.cgroups().iter().all(|directory| !directory.join("cgroup.events").exists()) {
        return skip("there is no v2 hierarchy");
    }
    in_own_pid_namespace(&bundle, &["kill", "--all", &bundle.id, "TERM"]).fails("");
    let list = in_own_pid_namespace(&bundle, &["ps", "--format", "json", &bundle.id]);
    list.warns(&[""]);
    list.ok();
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_frozen_cgroup_is_refused() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let name = format!("ferrun-{}", bundle.id);
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = format!("/{name}/c").into());
    let above = make_cgroups(&name);
    let freezers = [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")];
    for (directory, (file, stop, go)) in above.iter().flat_map(|directory| freezers.map(|freezer| (directory, freezer)))
    {
        if directory.join(file).exists() {
            std::fs::create_dir(directory.join("c")).unwrap();
            // Frozen itself, and below one that is.
            for frozen in [directory.join("c"), directory.clone()] {
                std::fs::write(frozen.join(file), stop).unwrap();
                launch(&bundle, "run", &[]).fails("/linux/cgroupsPath");
                std::fs::write(frozen.join(file), go).unwrap();
            }
            std::fs::remove_dir(directory.join("c")).unwrap();
        }
    }
    above.iter().for_each(|directory| std::fs::remove_dir(directory).unwrap());
    bundle.assert_nothing_left("a refused run");
}

/// Nobody looks for that beforehand: what is made below it stands still, and the wait for it finds out.
#[test]
fn a_start_below_a_frozen_cgroup_ends() {
    need_root!();
    let modes: [&[&str]; 3] = [&["create"], &["run", "--detach"], &["run"]];
    let freezers = [("freezer.state", "FROZEN"), ("cgroup.freeze", "1")];
    std::thread::scope(|scope| {
        for (mode, freezer) in modes.iter().flat_map(|mode| freezers.map(|freezer| (mode, freezer))) {
            scope.spawn(move || start_below_a_frozen_cgroup(mode, freezer));
        }
    });
}

fn start_below_a_frozen_cgroup(mode: &[&str], (file, stop): (&str, &str)) {
    let bundle = Bundle::new(&["true"]);
    let name = format!("ferrun-{}", bundle.id);
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = format!("/{name}/c").into());
    let above = make_cgroups(&name);
    for directory in above.iter().filter(|directory| directory.join(file).exists()) {
        std::fs::write(directory.join(file), stop).unwrap();
        let flags = [mode, &["--bundle", bundle.dir.to_str().unwrap(), &bundle.id]].concat();
        let done = bundle.bounded(&[&["--log-format", "json"], &flags[..]].concat());
        assert_eq!(done.error_in_any_words().to_string(), "frozen /linux/cgroupsPath", "{mode:?} {file}: {done:?}");
    }
    // Still frozen, they are empty: nothing waits there for their thaw.
    above.iter().for_each(|directory| std::fs::remove_dir(directory).unwrap());
    bundle.assert_nothing_left("a start below a frozen cgroup");
}

/// Some kernels kill what is born into such a cgroup; where they do it is told.
#[test]
fn a_cgroup_in_which_all_was_killed_once_is_used_or_named() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let cgroups = make_cgroups(&format!("ferrun-{}", bundle.id));
    let Some(v2) = cgroups.iter().find(|directory| directory.join("cgroup.kill").exists()) else {
        cgroups.iter().for_each(|directory| std::fs::remove_dir(directory).unwrap());
        return skip("this host has no cgroup v2");
    };
    std::fs::write(v2.join("cgroup.kill"), "1").unwrap();
    let done = launch(&bundle, "run", &[]);
    assert!(done.status == 0 || !done.error().hint.is_empty(), "{done:?}");
    cgroups.iter().for_each(|directory| std::fs::remove_dir(directory).unwrap());
    bundle.assert_nothing_left("a run in a cgroup in which all was killed");
}

/// Its processes are not the container's, which is stopped, and what they have made there is not either.
#[test]
fn a_cgroup_that_another_uses_now_is_left_to_it() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    launch(&bundle, "run", &["--detach"]).ok();
    bundle.wait_for("stopped");
    let cgroups = bundle.cgroups();
    let Some(own) =
        cgroups.iter().find(|directory| directory.ends_with(format!("pids/ferrun-{}", bundle.id))).or(cgroups.first())
    else {
        return skip("this host has no cgroups");
    };
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(own.join("cgroup.procs"), other.id().to_string()).unwrap();
    std::fs::create_dir(own.join("theirs")).unwrap();
    bundle.on("delete", &[]).fails("EBUSY");
    let left = (own.join("theirs").exists(), other.try_wait().unwrap());
    other.kill().unwrap();
    other.wait().unwrap();
    std::fs::remove_dir(own.join("theirs")).unwrap();
    std::fs::remove_dir(own).unwrap();
    assert_eq!(left, (true, None));
    bundle.assert_nothing_left("a delete beside others");
}

#[test]
fn a_path_that_is_one_of_the_kernels_files_is_refused() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let path = format!("/ferrun-{}/cgroup.procs", bundle.id);
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = path.into());
    let done = launch(&bundle, "run", &[]);
    done.fails("ENOTDIR /linux/cgroupsPath");
    bundle.assert_nothing_left("a refused run");
}

#[test]
fn kill_all_finds_who_is_in_one_hierarchy_alone() {
    need_root!();
    let bundle = without_namespace(Bundle::new(&["sleep", "1000"]), "pid");
    launch(&bundle, "run", &["--detach"]).ok();
    let guests: Vec<Guest> =
        bundle.cgroups().iter().filter(|directory| !directory.ends_with("cpuset")).map(|at| Guest::of(at)).collect();
    bundle.on("kill", &["--all", "KILL"]).ok();
    for mut guest in guests {
        common::wait_until("the guest is dead", || guest.0.try_wait().unwrap().is_some());
    }
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}
