//! States of other formats and of other boots. A ferrun that is newer than a container shows, lists, kills and
//! deletes it; one that is older can still delete it by force. A pid of another boot is nobody's.
//!
//! hack/test runs this file, and with it creates containers with the previous formats and goes on with this one:
//! tests/data/state has a state of each older format as the ferrun of that time wrote it (format 1: a9b9019), with
//! @NAMES@ in the place of what differs from one container to the next.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Bundle, Done};
use ferrun::container::init_identity::Init;
use ferrun::sys::pidfd;
use nix::unistd::Pid;
use serde_json::{Value, json};

const FORMAT_1: &str = include_str!("data/state/format-1.json");
const OTHER_BOOT: &str = "00000000-1111-4222-8333-444444444444";

fn sleeper() -> Bundle {
    Bundle::new(&["sleep", "1000"])
}

fn without_pid_namespace(bundle: Bundle) -> Bundle {
    bundle.with(|config| config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "pid"))
}

fn directory(bundle: &Bundle) -> PathBuf {
    bundle.state_root().join(&bundle.id)
}

fn state_file(bundle: &Bundle) -> PathBuf {
    directory(bundle).join("state.json")
}

/// The two lines of a state of the newest format: on the container, and on its init.
fn recorded(bundle: &Bundle) -> (Value, Value) {
    let text = std::fs::read_to_string(state_file(bundle)).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (lines.next().unwrap(), lines.next().unwrap())
}

fn record(bundle: &Bundle, state: &Value, init: &Value) {
    std::fs::write(state_file(bundle), format!("{state}\n{init}")).unwrap();
}

/// Replaces the state by one that a9b9019 would have written, with the files of its exec fifo.
fn write_format_1(bundle: &Bundle, init: &Value) {
    let (state, _) = recorded(bundle);
    let shared = state["sharedPidNamespace"].to_string();
    let values = [
        ("@ID@", bundle.id.clone()),
        ("@BUNDLE@", bundle.dir.to_str().unwrap().to_owned()),
        ("@CGROUP@", state["cgroup"].to_string()),
        ("@SHARED@", shared),
        ("@PID@", init["pid"].to_string()),
        ("@INODE@", init["inode"].to_string()),
        ("@START@", init["startTime"].to_string()),
    ];
    let mut text = FORMAT_1.trim_end().to_owned();
    values.iter().for_each(|(name, value)| text = text.replace(name, value));
    assert!(!text.contains('@') && !text.contains("format") && !text.contains("boot"), "{text}");
    std::fs::write(state_file(bundle), text).unwrap();
    // The program of a container without exec.fifo has been started.
    make_fifos(bundle, if bundle.status() == "created" { &["exec.fifo", "exec.error"] } else { &["exec.error"] });
}

fn make_fifos(bundle: &Bundle, names: &[&str]) {
    for path in names.iter().map(|name| directory(bundle).join(name)).filter(|path| !path.exists()) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }
}

/// A process of the host that no container has anything to do with.
struct Foreign {
    process: Child,
    made: Vec<PathBuf>,
}

impl Foreign {
    fn new() -> Foreign {
        let process = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        Foreign { process, made: Vec::new() }
    }

    /// Moves it into cgroups, which are created where they are missing.
    fn enter(&mut self, cgroups: &[PathBuf]) {
        for cgroup in cgroups {
            if std::fs::create_dir(cgroup).is_ok() {
                self.made.push(cgroup.clone());
            }
            // On v1 a process may enter a cpuset only once it has CPUs and memory nodes: cpusets(7).
            for name in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = std::fs::read(cgroup.parent().unwrap().join(name)) {
                    std::fs::write(cgroup.join(name), value).unwrap();
                }
            }
            std::fs::write(cgroup.join("cgroup.procs"), self.process.id().to_string()).unwrap();
        }
    }

    /// The identity that an init with this pid would have.
    fn as_init(&self) -> Value {
        let pid = Pid::from_raw(self.process.id() as i32);
        serde_json::to_value(Init::of(pid, pidfd::open(pid).unwrap()).unwrap()).unwrap()
    }

    #[track_caller]
    fn assert_alive(&mut self, after: &str) {
        // A signal may take a moment.
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(self.process.try_wait().unwrap(), None, "the foreign process has ended after {after}");
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.made.iter().for_each(|cgroup| drop(std::fs::remove_dir(cgroup)));
    }
}

/// The cgroup directories that a state names.
fn named_cgroups(bundle: &Bundle) -> Vec<PathBuf> {
    let (state, _) = recorded(bundle);
    let list = state["cgroup"].as_array().unwrap().iter();
    list.map(|directory| directory["path"].as_str().unwrap().into()).collect()
}

fn listed(bundle: &Bundle) -> Value {
    serde_json::from_str(&bundle.ferrun(&["list", "--format", "json"]).ok()).unwrap()
}

/// Checks what the commands make of a container whose init is gone, however alive the process with its pid is.
#[track_caller]
fn assert_stopped(bundle: &Bundle) {
    assert_eq!((bundle.status(), &bundle.state()["pid"]), ("stopped".to_owned(), &json!(0)));
    assert_eq!(listed(bundle)[0]["status"], "stopped");
    bundle.on("kill", &["KILL"]).refused("container not running");
    bundle.on("start", &[]).refused("cannot start a container that has stopped");
    bundle.on("pause", &[]).refused("container not running");
}

/// Ways to hide the boot id: an empty directory over that of the kernel, or an empty file.
const COVERS: [&str; 2] = [
    "mkdir -p $bundle/none; mount --bind $bundle/none /proc/sys/kernel/random",
    "touch $bundle/empty; mount --bind $bundle/empty /proc/sys/kernel/random/boot_id",
];

/// Runs `ferrun ARGS` where /proc does not show the boot id.
fn without_boot_id(bundle: &Bundle, cover: &str, args: &[&str]) -> Done {
    let script = format!("set -e; {cover}; exec \"$ferrun\" --root \"$state\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]).args(args).stdin(Stdio::null());
    command.env("ferrun", common::ferrun_binary()).env("state", bundle.state_root()).env("bundle", &bundle.dir);
    common::bounded(&mut command)
}

fn status_without_boot_id(bundle: &Bundle, cover: &str) -> String {
    let state: Value = serde_json::from_str(&without_boot_id(bundle, cover, &["state", &bundle.id]).ok()).unwrap();
    state["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_state_has_its_format_and_the_boot() {
    need_root!();
    let bundle = sleeper();
    bundle.create().ok();
    let (state, _) = recorded(&bundle);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!((&state["format"], state["boot"].as_str()), (&json!(2), Some(boot.trim())));
    bundle.delete_force().ok();
    for cover in COVERS {
        let run = ["run", "--detach", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id];
        without_boot_id(&bundle, cover, &run).ok();
        assert_eq!(recorded(&bundle).0.get("boot"), None);
        assert_eq!(bundle.status(), "running");
        bundle.delete_force().ok();
    }
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn a_living_container_of_format_1_is_shown_listed_killed_and_deleted() {
    need_root!();
    for (shared, status) in [(false, "created"), (false, "running"), (true, "created"), (true, "running")] {
        for force in [false, true] {
            let bundle = if shared { without_pid_namespace(sleeper()) } else { sleeper() };
            if status == "created" { bundle.create() } else { bundle.run_detached() }.ok();
            let pid = bundle.state()["pid"].clone();
            let (_, init) = recorded(&bundle);
            write_format_1(&bundle, &init);
            let state = bundle.state();
            assert_eq!((&state["status"], &state["pid"]), (&json!(status), &pid));
            assert_eq!(state["annotations"], json!({ "org.example.a": "b" }));
            assert_eq!((&listed(&bundle)[0]["status"], &listed(&bundle)[0]["pid"]), (&json!(status), &pid));
            bundle.on("delete", &[]).refused("not stopped");
            if !force {
                bundle.on("kill", &["KILL"]).ok();
                bundle.wait_for("stopped");
            }
            make_fifos(&bundle, &["exec.fifo"]);
            if force { bundle.delete_force() } else { bundle.on("delete", &[]) }.ok();
            bundle.assert_nothing_left(&format!("delete of a {status} container, force {force}, shared {shared}"));
        }
    }
}

#[test]
fn a_dead_container_of_format_1_is_deleted() {
    need_root!();
    for force in [false, true] {
        for shared in [false, true] {
            let bundle = if shared { without_pid_namespace(sleeper()) } else { sleeper() };
            bundle.run_detached().ok();
            let (_, init) = recorded(&bundle);
            bundle.on("kill", &["KILL"]).ok();
            bundle.wait_for("stopped");
            write_format_1(&bundle, &init);
            assert_stopped(&bundle);
            bundle.on("kill", &["--all", "KILL"]).ok();
            if force { bundle.delete_force() } else { bundle.on("delete", &[]) }.ok();
            bundle.assert_nothing_left("delete of a dead container of format 1");
        }
    }
}

#[test]
fn a_state_of_format_1_believes_no_pid_outside_of_its_cgroup() {
    need_root!();
    for force in [false, true] {
        let bundle = sleeper();
        bundle.run_detached().ok();
        bundle.on("kill", &["KILL"]).ok();
        bundle.wait_for("stopped");
        let mut foreign = Foreign::new();
        write_format_1(&bundle, &foreign.as_init());
        assert_stopped(&bundle);
        if force { bundle.delete_force() } else { bundle.on("delete", &[]) }.ok();
        foreign.assert_alive("delete");
        bundle.assert_nothing_left("delete of a state with a foreign pid");
    }
}

#[test]
fn what_outlives_the_init_in_a_container_of_format_1_is_killed() {
    need_root!();
    let bundle = without_pid_namespace(Bundle::sh("sleep 1000 & exit 3"));
    bundle.run_detached().ok();
    bundle.wait_for("stopped");
    let (_, init) = recorded(&bundle);
    write_format_1(&bundle, &init);
    assert!(!common::processes_in(&bundle.dir).is_empty());
    bundle.on("delete", &[]).ok();
    bundle.assert_nothing_left("delete");
}

/// Rewrites the state as one of another boot, in which its init had the identity of a foreign process.
fn write_other_boot(bundle: &Bundle, foreign: &Foreign) {
    let (mut state, _) = recorded(bundle);
    state["boot"] = json!(OTHER_BOOT);
    record(bundle, &state, &foreign.as_init());
}

#[test]
fn a_pid_of_another_boot_is_not_believed() {
    need_root!();
    for args in [&["delete"][..], &["delete", "--force"]] {
        let bundle = sleeper();
        bundle.run_detached().ok();
        bundle.on("kill", &["KILL"]).ok();
        bundle.wait_for("stopped");
        let cgroups = bundle.cgroups();
        let mut foreign = Foreign::new();
        write_other_boot(&bundle, &foreign);
        assert_stopped(&bundle);
        bundle.ferrun(&[args, &[&bundle.id]].concat()).ok();
        foreign.assert_alive(&format!("{args:?}"));
        assert_eq!(bundle.cgroups(), cgroups, "cgroups of this boot are not the container's");
        cgroups.iter().for_each(|cgroup| std::fs::remove_dir(cgroup).unwrap());
        bundle.assert_nothing_left("delete");
    }
}

/// The init has ended, and in the same boot its pid is another process's.
#[test]
fn a_pid_that_has_passed_on_is_not_believed() {
    need_root!();
    for (shared, args) in [(false, &["delete"][..]), (false, &["delete", "--force"]), (true, &["delete", "--force"])] {
        let bundle = if shared { without_pid_namespace(sleeper()) } else { sleeper() };
        bundle.run_detached().ok();
        bundle.on("kill", &["KILL"]).ok();
        bundle.wait_for("stopped");
        let mut foreign = Foreign::new();
        let (state, mut init) = recorded(&bundle);
        init["pid"] = json!(foreign.process.id());
        record(&bundle, &state, &init);
        assert_stopped(&bundle);
        bundle.on("kill", &["--all", "KILL"]).ok();
        bundle.ferrun(&[args, &[&bundle.id]].concat()).ok();
        foreign.assert_alive(&format!("{args:?}, shared: {shared}"));
        bundle.assert_nothing_left("delete");
    }
}

#[test]
fn cgroups_of_another_boot_are_somebody_elses() {
    need_root!();
    for args in [&["delete"][..], &["delete", "--force"]] {
        let bundle = without_pid_namespace(sleeper());
        bundle.run_detached().ok();
        bundle.on("kill", &["KILL"]).ok();
        bundle.wait_for("stopped");
        let cgroups = bundle.cgroups();
        let mut foreign = Foreign::new();
        foreign.enter(&cgroups);
        write_other_boot(&bundle, &foreign);
        assert_stopped(&bundle);
        bundle.ferrun(&["kill", "--all", &bundle.id, "KILL"]).ok();
        foreign.assert_alive("kill --all");
        assert_eq!(bundle.ferrun(&["ps", "--format", "json", &bundle.id]).ok(), "null");
        bundle.ferrun(&[args, &[&bundle.id]].concat()).ok();
        foreign.assert_alive(&format!("{args:?}"));
        drop(foreign);
        assert_eq!(bundle.cgroups(), cgroups);
        cgroups.iter().for_each(|cgroup| std::fs::remove_dir(cgroup).unwrap());
        bundle.assert_nothing_left("delete");
    }
}

#[test]
fn a_create_that_another_boot_interrupted_kills_nobody() {
    need_root!();
    let bundle = sleeper();
    bundle.run_detached().ok();
    bundle.on("kill", &["KILL"]).ok();
    bundle.wait_for("stopped");
    let cgroups = bundle.cgroups();
    let mut foreign = Foreign::new();
    foreign.enter(&cgroups);
    let (mut state, _) = recorded(&bundle);
    state["boot"] = json!(OTHER_BOOT);
    std::fs::write(directory(&bundle).join("creating.json"), format!("{state}\n")).unwrap();
    std::fs::remove_file(state_file(&bundle)).unwrap();
    bundle.delete_force().ok();
    foreign.assert_alive("delete --force");
    drop(foreign);
    cgroups.iter().for_each(|cgroup| std::fs::remove_dir(cgroup).unwrap());
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn where_the_boot_is_unknown_the_cgroup_decides() {
    need_root!();
    for (cover, status) in [(COVERS[0], "created"), (COVERS[0], "running"), (COVERS[1], "running")] {
        let bundle = sleeper();
        let hidden = |args: &[&str]| without_boot_id(&bundle, cover, args);
        if status == "created" { bundle.create() } else { bundle.run_detached() }.ok();
        assert_eq!(status_without_boot_id(&bundle, cover), status);
        let list: Value = serde_json::from_str(&hidden(&["list", "--format", "json"]).ok()).unwrap();
        assert_eq!(list[0]["status"], status);
        hidden(&["delete", &bundle.id]).refused("not stopped");
        hidden(&["kill", &bundle.id, "KILL"]).ok();
        bundle.wait_for("stopped");
        assert_eq!(status_without_boot_id(&bundle, cover), "stopped");

        let mut foreign = Foreign::new();
        let (state, _) = recorded(&bundle);
        record(&bundle, &state, &foreign.as_init());
        assert_eq!(status_without_boot_id(&bundle, cover), "stopped");
        hidden(&["kill", &bundle.id, "KILL"]).refused("container not running");
        let flags: &[&str] = if status == "created" { &[] } else { &["--force"] };
        hidden(&[&["delete", &bundle.id], flags].concat()).ok();
        foreign.assert_alive("delete");
        bundle.assert_nothing_left("delete");
    }
}

#[test]
fn where_neither_boot_nor_cgroup_tell_nothing_is_killed_or_forgotten() {
    need_root!();
    let bundle = sleeper();
    bundle.run_detached().ok();
    let (state, init) = recorded(&bundle);
    let mut unknown = state.clone();
    unknown.as_object_mut().unwrap().remove("boot");
    unknown["cgroup"] = json!([]);
    record(&bundle, &unknown, &init);
    for args in [&["state"][..], &["kill"], &["delete"], &["delete", "--force"]] {
        bundle.ferrun(&[args, &[&bundle.id]].concat()).fails("");
    }
    let list = bundle.ferrun(&["list", "--quiet"]);
    list.fails("");
    assert_eq!(list.stdout, "");
    record(&bundle, &state, &init);
    assert_eq!(bundle.status(), "running");
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn a_question_that_fails_is_not_taken_for_a_dead_container() {
    need_root!();
    let bundle = sleeper();
    bundle.run_detached().ok();
    for files in 3..8 {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(common::ferrun_binary());
        command.arg("--root").arg(bundle.state_root()).args(["delete", &bundle.id]);
        let done = common::bounded(&mut command);
        assert_eq!(done.status, 1, "with {files} files: {done:?}");
        assert_eq!(bundle.status(), "running", "with {files} files: {done:?}");
    }
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

/// A state of a format that nobody knows yet, with the cgroups that are given.
fn write_format_99(bundle: &Bundle, cgroup: &Value) {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let state = json!({
        "format": 99,
        "boot": boot.trim(),
        "id": { "is": bundle.id },
        "init": [{ "pidfd": 1 }, "more"],
        "cgroup": cgroup,
        "sharedPidNamespace": "who knows",
        "hooks": 7,
    });
    std::fs::write(state_file(bundle), serde_json::to_string_pretty(&state).unwrap()).unwrap();
}

/// The container's cgroups, with a property more than today.
fn with_news(bundle: &Bundle) -> Value {
    let list = named_cgroups(bundle);
    list.iter().map(|path| json!({ "path": path, "inode": 7 })).collect()
}

#[test]
fn a_state_of_a_newer_format_is_refused_by_name() {
    need_root!();
    let bundle = sleeper();
    bundle.create().ok();
    let text = std::fs::read(state_file(&bundle)).unwrap();
    write_format_99(&bundle, &with_news(&bundle));
    let id = bundle.id.as_str();
    for args in [
        &["state", id][..],
        &["start", id],
        &["kill", id],
        &["kill", "--all", id, "KILL"],
        &["pause", id],
        &["resume", id],
        &["ps", id],
        &["events", "--stats", id],
        &["update", "--pids-limit", "7", id],
        &["delete", id],
    ] {
        let done = bundle.ferrun(args);
        done.fails("");
    }
    bundle.create().refused("already exists");
    std::fs::write(state_file(&bundle), text).unwrap();
    assert_eq!(bundle.status(), "created");
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn a_newer_format_does_not_keep_others_from_the_list() {
    need_root!();
    let bundle = sleeper();
    bundle.run_detached().ok();
    let text = std::fs::read(state_file(&bundle)).unwrap();
    let other = format!("{}-other", bundle.id);
    std::fs::create_dir(bundle.state_root().join(&other)).unwrap();
    std::fs::write(bundle.state_root().join(&other).join("state.json"), text).unwrap();
    write_format_99(&bundle, &with_news(&bundle));
    let list = bundle.ferrun(&["list", "--format", "json"]);
    list.fails("");
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["status"]), (1, &json!("running")));
    // Its cgroups are now also those of the other.
    bundle.delete_force().fails("");
    let list: Value = serde_json::from_str(&bundle.ferrun(&["list", "--format", "json"]).stdout).unwrap();
    assert_eq!(list[0]["status"], "running");
    std::fs::remove_dir_all(bundle.state_root().join(other)).unwrap();
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn delete_force_of_a_newer_format_kills_and_removes() {
    need_root!();
    let leaving = || Bundle::sh("sleep 1000 & setsid sleep 1000 & exit 3");
    for (name, bundle) in [
        ("with a pid namespace", sleeper()),
        ("without a pid namespace", without_pid_namespace(sleeper())),
        ("whose processes outlive their init", without_pid_namespace(leaving())),
    ] {
        bundle.run_detached().ok();
        write_format_99(&bundle, &with_news(&bundle));
        std::fs::write(directory(&bundle).join("news.json"), "{}").unwrap();
        make_fifos(&bundle, &["news.fifo"]);
        let done = bundle.delete_force();
        done.warns(&[""]);
        done.ok();
        bundle.assert_nothing_left(&format!("delete --force of format 99 {name}"));
    }
    let bundle = sleeper();
    bundle.run_detached().ok();
    write_format_99(&bundle, &with_news(&bundle));
    std::fs::rename(state_file(&bundle), directory(&bundle).join("creating.json")).unwrap();
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force of a creating container of format 99");
}

#[test]
fn delete_force_of_a_newer_format_can_be_tried_again() {
    need_root!();
    let bundle = sleeper();
    bundle.run_detached().ok();
    write_format_99(&bundle, &with_news(&bundle));
    std::fs::create_dir_all(directory(&bundle).join("letters/of")).unwrap();
    bundle.delete_force().fails("ENOTEMPTY");
    std::fs::remove_dir_all(directory(&bundle).join("letters")).unwrap();
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn delete_force_of_a_newer_format_kills_nobody_else() {
    need_root!();
    let bundle = sleeper();
    bundle.run_detached().ok();
    let own = named_cgroups(&bundle);
    let text = std::fs::read(state_file(&bundle)).unwrap();
    let top = own[0].parent().unwrap().to_owned();
    let mut foreign = Foreign::new();
    let occupied: Vec<PathBuf> = own.iter().map(|path| beside(path, "foreign")).collect();
    foreign.enter(&occupied);
    let elsewhere = bundle.dir.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("cgroup.procs"), foreign.process.id().to_string()).unwrap();
    let with = |path: &Path| json!([{ "path": own[0] }, { "path": path }]);
    let mut cases = vec![
        with(&elsewhere),
        with(Path::new("/")),
        with(&top),
        with(&top.join("x/../y")),
        with(&own[0].join("..")),
        with(&top.join(".")),
        with(&occupied[0]),
        with(Path::new("relative")),
        json!([]),
        json!(null),
        json!([own[0]]),
        json!({ "path": own[0] }),
    ];
    cases.extend(own_cgroup().map(|cgroup| with(&cgroup)));
    for cgroup in cases {
        write_format_99(&bundle, &cgroup);
        bundle.delete_force().fails("");
        foreign.assert_alive(&format!("{cgroup}"));
        std::fs::write(state_file(&bundle), &text).unwrap();
        assert_eq!(bundle.status(), "running", "after {cgroup}");
    }
    drop(foreign);
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

/// A directory with another name in the same one.
fn beside(path: &Path, what: &str) -> PathBuf {
    path.with_file_name(format!("{}-{what}", path.file_name().unwrap().to_str().unwrap()))
}

/// A cgroup that this process is in, unless it is at the root of each hierarchy.
fn own_cgroup() -> Option<PathBuf> {
    let directory = Path::new("/sys/fs/cgroup");
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    for line in text.lines() {
        let (controllers, path) = line.split_once(':').unwrap().1.split_once(':').unwrap();
        let name = controllers.strip_prefix("name=").unwrap_or(controllers);
        let hierarchy = match controllers {
            "" if directory.join("cgroup.procs").exists() => directory.to_owned(),
            "" => directory.join("unified"),
            _ => directory.join(name),
        };
        let found = hierarchy.join(path.trim_start_matches('/'));
        if path != "/" && found.exists() {
            return Some(found);
        }
    }
    common::skip("this process is at the root of every hierarchy");
    None
}

#[test]
fn a_newer_format_of_another_boot_leaves_the_cgroups_alone() {
    need_root!();
    let bundle = sleeper();
    bundle.run_detached().ok();
    let (mut state, init) = recorded(&bundle);
    state["format"] = json!(99);
    state["boot"] = json!(OTHER_BOOT);
    record(&bundle, &state, &json!("news"));
    bundle.delete_force().ok();
    assert!(!directory(&bundle).exists());
    let pid = init["pid"].as_i64().unwrap() as i32;
    assert!(!common::processes_in(&bundle.dir).is_empty(), "whoever is in these cgroups lives on");
    nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    common::wait_until("the end of the process", || common::processes_in(&bundle.dir).is_empty());
    // A process that has ended is counted a moment longer.
    for cgroup in bundle.cgroups() {
        common::wait_until("the end of the cgroup", || std::fs::remove_dir(&cgroup).is_ok());
    }
    bundle.assert_nothing_left("delete --force");
}

#[test]
fn parents_that_a_ferrun_of_format_1_has_created_are_removed() {
    need_root!();
    use std::os::unix::fs::PermissionsExt;
    let bundle = sleeper();
    let path = format!("/ferrun-{}/a/b", bundle.id);
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = json!(path));
    bundle.create().ok();
    // As they were then: known by an attribute, and not by their mode.
    for top in bundle.cgroups() {
        for parent in [top.join("a"), top] {
            std::fs::set_permissions(&parent, std::fs::Permissions::from_mode(0o755)).unwrap();
            let directory = std::fs::File::open(&parent).unwrap();
            ferrun::sys::xattr::set(&directory, c"user.ferrun.made", b"").unwrap();
        }
    }
    let (mut state, init) = recorded(&bundle);
    state["format"] = json!(1);
    record(&bundle, &state, &init);
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force of a state of format 1");
}
