//! Namespaces that are joined by path, and time namespaces, looked at from inside.

mod common;

use std::path::Path;

use common::{Bundle, set_namespace, wait_until};
use serde_json::{Value, json};

/// The kinds in the words of the config, with their names in /proc/PID/ns.
const KINDS: [(&str, &str); 6] =
    [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"), ("time", "time")];

const PRINT: &str = "for ns in pid net ipc uts cgroup user time; do echo $ns $(readlink /proc/self/ns/$ns); done";

fn link(pid: i64, name: &str) -> String {
    let path = format!("/proc/{pid}/ns/{name}");
    std::fs::read_link(path).unwrap().to_str().unwrap().to_owned()
}

fn join(config: &mut Value, kind: &str, path: &str) {
    if kind == "mount" {
        // The host's /proc and /sys, whole, are in the namespaces of these tests.
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    }
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

/// A new time namespace is that of ferrun's next children, of which only the init is to be in it.
#[test]
fn hooks_of_the_host_keep_its_clocks() {
    need_root!();
    let bundle = Bundle::new(&["true"]).with(|config| {
        set_namespace(config, json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000 } });
    });
    let seen = bundle.dir.join("seen");
    let look = |name: &str| format!("readlink /proc/self/ns/{name} >> {}", seen.display());
    let script = format!("{}; {}", look("time"), look("time_for_children"));
    let hook = json!([{ "path": "/bin/busybox", "args": ["sh", "-c", script] }]);
    let kinds = ["prestart", "createRuntime", "poststart", "poststop"];
    let hooks = kinds.iter().fold(bundle, |bundle, kind| bundle.set(&format!("/hooks/{kind}"), hook.clone()));
    hooks.run().ok();
    let own = link(i64::from(std::process::id()), "time");
    assert_eq!(std::fs::read_to_string(seen).unwrap().lines().collect::<Vec<_>>(), [&own; 8]);
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
    for (kind, path) in [
        ("network", "/nowhere"),
        ("network", "/etc/passwd"),
        ("network", "/etc"),
        ("network", "ns/net"),
        ("network", &format!("/proc/{own}/ns/ipc")),
        ("pid", &format!("/proc/{own}/ns/net")),
        ("time", &format!("/proc/{own}/ns/mnt")),
        ("cgroup", &format!("/proc/{own}/ns/user")),
        ("user", &format!("/proc/{own}/ns/user")),
        ("mount", &format!("/proc/{own}/ns/mnt")),
    ] {
        let bundle = Bundle::new(&["true"]).with(|config| join(config, kind, path));
        let index = bundle.config["linux"]["namespaces"].as_array().unwrap().len() - 1;
        let pointer = format!("/linux/namespaces/{index}/path");
        let place = format!("config.json:{}", bundle.line_of(&pointer));
        for done in [bundle.run(), bundle.create()] {
            let error = done.error();
            assert_eq!((error.pointer, error.place), (pointer.clone(), place.clone()));
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
    bundle.run().fails("/linux/namespaces/6");
}

#[test]
fn a_fifo_in_the_place_of_a_namespace_is_no_trap() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let path = bundle.dir.join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bundle = bundle.with(|config| join(config, "ipc", path.to_str().unwrap()));
    bundle.bounded(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).fails("/linux/namespaces/5/path");
}

#[test]
fn clocks_that_cannot_be_set_are_refused() {
    need_root!();
    let time =
        |path: &str| if path.is_empty() { json!({"type": "time"}) } else { json!({"type": "time", "path": path}) };
    for (namespace, offsets, reason) in [
        (None, json!({"monotonic": {"secs": 1}}), "/linux/timeOffsets/monotonic"),
        (Some(time("/proc/1/ns/time")), json!({"boottime": {"secs": 1}}), "/linux/timeOffsets/boottime"),
        (Some(time("")), json!({"realtime": {"secs": 1}}), "/linux/timeOffsets/realtime"),
        (Some(time("")), json!({"monotonic": {"nanosecs": 1_000_000_000}}), "/linux/timeOffsets/monotonic"),
        (Some(time("")), json!({"monotonic": {"secs": -1_000_000_000}}), "ERANGE /linux/timeOffsets"),
    ] {
        let bundle = Bundle::new(&["true"]).with(|config| {
            namespace.into_iter().for_each(|namespace| set_namespace(config, namespace));
            config["linux"]["timeOffsets"] = offsets;
        });
        let done = bundle.run();
        done.fails(reason);
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
        "mount --bind /proc/{pid}/ns/pid {0}; kill -9 {pid}; i=0
         while [ -e /proc/{pid}/ns/pid ]; do sleep 0.01; i=$((i+1)); [ $i -lt 3000 ]; done",
        file.display()
    );
    let done = bundle.run_after(&end);
    done.fails("ENOMEM /linux/namespaces");
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

/// A process in a mount namespace of its own with a mark in it, which ends with this.
struct Mounts(std::process::Child);

impl Mounts {
    /// A namespace with the host's mounts, after some commands of a shell in the bundle's directory.
    fn after(bundle: &Bundle, flags: &[&str], commands: &str) -> Mounts {
        let script = format!("set -e; {commands}\necho ready; exec sleep 1000");
        let mut command = std::process::Command::new("unshare");
        command.args(flags).args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let mut child = command.current_dir(&bundle.dir).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        Mounts(child)
    }

    /// `propagation`: what mount(8) makes of the namespace's mounts, which are no peers of the host's (systemd
    /// has shared ones).
    fn with_mark(bundle: &Bundle, propagation: &str) -> Mounts {
        let mark = bundle.dir.join("mark");
        std::fs::create_dir_all(&mark).unwrap();
        let script =
            "mount --make-r$1 / && mount -t tmpfs mark $0 && echo seen > $0/file && echo ready && exec sleep 1000";
        let mut command = std::process::Command::new("unshare");
        let inherited = if propagation == "slave" { "slave" } else { "private" };
        command.args(["--mount", "--propagation", inherited, "sh", "-c", script]).arg(mark).arg(propagation);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        Mounts(child)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/mnt", self.0.id())
    }

    fn mountinfo(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/mountinfo", self.0.id())).unwrap()
    }

    /// What a command prints that enters the namespace.
    fn enter(&self, command: &[&str]) -> common::Done {
        let mount = format!("--mount={}", self.path());
        common::Done::new(std::process::Command::new("nsenter").arg(mount).args(command).output().unwrap())
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_mount_namespace_is_joined_and_its_processes_keep_their_root() {
    need_root!();
    for (propagation, value) in [("private", ""), ("slave", ""), ("slave", "rslave"), ("shared", "rprivate")] {
        let bundle =
            Bundle::sh("cat /bound/file; readlink /proc/self/ns/mnt; cat /proc/self/mountinfo; ls /; sleep 1000");
        let mounts = Mounts::with_mark(&bundle, propagation);
        let mount = json!({ "destination": "/bound", "source": "mark", "options": ["rbind"] });
        let bundle = bundle.with(|config| {
            config["hostname"] = json!("");
            config["mounts"].as_array_mut().unwrap().push(mount);
            config["linux"]["rootfsPropagation"] = json!(value);
            join(config, "mount", &mounts.path());
        });
        let (others, host) = (mounts.mountinfo(), std::fs::read_to_string("/proc/self/mountinfo").unwrap());
        let out = bundle.dir.join("out");
        let mut command = bundle.command(&["run", "--detach", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        let file = std::fs::File::create(&out).unwrap();
        let status = command.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        let said = || std::fs::read_to_string(&out).unwrap();
        assert!(status.success(), "{}", said());
        wait_until("the list of the root", || said().contains("\nsys\n"));
        assert!(said().starts_with("seen\n"), "a source in the namespace: {}", said());
        assert!(said().contains(&link(i64::from(mounts.0.id()), "mnt")), "{}", said());
        assert!(!said().contains("\nusr\n") && !said().contains("\nbound/\n"), "the container's own root: {}", said());
        let after = mounts.mountinfo();
        let points = |text: &str| common::mount_lines(text).iter().map(|line| line.point.clone()).collect::<Vec<_>>();
        assert!(points(&after).starts_with(&points(&others)), "{propagation}: the mounts of the others: {after}");
        let of_others = |path: &str| std::fs::read(format!("/proc/{}/root{path}", mounts.0.id())).unwrap();
        assert_eq!(of_others(bundle.dir.join("mark/file").to_str().unwrap()), b"seen\n", "they keep their root");
        assert!(of_others("/proc/1/cmdline") == std::fs::read("/proc/1/cmdline").unwrap(), "and /proc");
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), host, "{propagation}: the host's mounts");
        let entered = mounts.enter(&["/bin/busybox", "cat", "/bound/file"]);
        assert_eq!(entered.ok(), "seen", "who enters is in the container's root");
        bundle.delete_force().ok();
        drop(mounts);
        bundle.assert_nothing_left("delete");
    }
}

/// Where its mounts are shared, what is mounted on the container's root could show on the directory of the rootfs.
#[test]
fn no_mount_of_a_container_shows_on_its_rootfs_in_a_joined_mount_namespace() {
    need_root!();
    for value in ["", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"] {
        let bundle = Bundle::new(&["sleep", "1000"]);
        let mounts = Mounts::with_mark(&bundle, "shared");
        let bundle = bundle.with(|config| join(config, "mount", &mounts.path()));
        let bundle = bundle.set("/linux/rootfsPropagation", json!(value));
        // A directory with a mount of its own.
        mounts.enter(&["mount", "-t", "tmpfs", "none", bundle.rootfs().join("tmp").to_str().unwrap()]).ok();
        mounts.enter(&["mkdir", bundle.rootfs().join("tmp/below").to_str().unwrap()]).ok();
        let below = json!({ "destination": "/tmp/below", "type": "tmpfs", "source": "none" });
        let bundle = bundle.with(|config| config["mounts"].as_array_mut().unwrap().push(below));
        let of_rootfs = || {
            let all = common::mount_lines(&mounts.mountinfo());
            let inside = all.iter().filter(|mount| Path::new(&mount.point).starts_with(bundle.rootfs()));
            inside.map(|mount| mount.point.clone()).collect::<Vec<_>>()
        };
        let before = of_rootfs();
        bundle.run_detached().ok();
        assert_eq!(of_rootfs(), before, "{value}");
        bundle.delete_force().ok();
        drop(mounts);
        bundle.assert_nothing_left("delete");
    }
}

#[test]
fn a_start_that_fails_leaves_nothing_in_a_joined_mount_namespace() {
    need_root!();
    let bundle = Bundle::new(&["true"]);
    let mounts = Mounts::with_mark(&bundle, "slave");
    let before = mounts.mountinfo();
    let bundle = bundle.with(|config| join(config, "mount", &mounts.path()));
    // A source that is missing, and a name that the joined namespace's host must not lose: both before and
    // after the root was moved.
    let missing = json!({ "destination": "/a", "source": "/nowhere", "options": ["bind"] });
    let count = bundle.config["mounts"].as_array().unwrap().len();
    let at_mount = bundle.set(&format!("/mounts/{count}"), missing);
    at_mount.run().fails("ENOENT /mounts/7");
    assert_eq!(points(&mounts.mountinfo()), points(&before));
    let later = at_mount.with(|config| {
        config["mounts"].as_array_mut().unwrap().pop();
        config["linux"]["sysctl"] = json!({ "net.no_such": "1" });
    });
    later.run().fails("ENOENT /linux/sysctl/net.no_such");
    assert_eq!(points(&mounts.mountinfo()), points(&before));
    assert_eq!(mounts.enter(&["cat", later.dir.join("mark/file").to_str().unwrap()]).ok(), "seen");
    later.assert_nothing_left("run");
}

/// A key of the terminal goes to all of ferrun's process group, and what takes the root away is not to hear it.
#[test]
fn an_interrupted_start_leaves_nothing_in_a_joined_mount_namespace() {
    need_root!();
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    for verb in ["run", "create"] {
        let bundle = Bundle::new(&["true"]);
        let mounts = Mounts::with_mark(&bundle, "slave");
        let before = mounts.mountinfo();
        let waits = bundle.dir.join("waits");
        let script = format!("touch {}; sleep 3", waits.display());
        let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] });
        let bundle = bundle.with(|config| join(config, "mount", &mounts.path()));
        let bundle = bundle.set("/hooks/createRuntime", json!([hook]));
        let mut command = bundle.command(&[verb, "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        command.process_group(0).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut run = command.spawn().unwrap();
        wait_until("the hook", || waits.exists());
        assert_ne!(points(&mounts.mountinfo()), points(&before), "the root is mounted by now");
        let group = nix::unistd::Pid::from_raw(run.id() as i32);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
        let status = run.wait().unwrap();
        // `run` undoes what it has done, and `create` dies.
        assert_eq!((status.code(), status.signal()), if verb == "run" { (Some(1), None) } else { (None, Some(2)) });
        wait_until("the end of the root", || points(&mounts.mountinfo()) == points(&before));
        bundle.delete_force().ok();
        bundle.assert_nothing_left_soon(verb);
    }
}

#[test]
fn a_bind_that_is_shared_takes_no_mount_to_a_joined_mount_namespace_unless_the_root_is_shared() {
    need_root!();
    for (propagation, arrives) in [("", false), ("rshared", true)] {
        let bundle = Bundle::new(&["touch", "/mark/inner/file"]);
        let mounts = Mounts::with_mark(&bundle, "shared");
        let mark = bundle.dir.join("mark");
        let bundle = bundle.set("/linux/rootfsPropagation", json!(propagation)).with(|config| {
            join(config, "mount", &mounts.path());
            let list = config["mounts"].as_array_mut().unwrap();
            list.push(json!({ "destination": "/mark", "source": mark, "options": ["rbind", "rshared"] }));
            list.push(json!({ "destination": "/mark/inner", "type": "tmpfs", "source": "none" }));
        });
        bundle.run().ok();
        let inner = mark.join("inner").to_str().unwrap().to_owned();
        let arrived = common::mount_lines(&mounts.mountinfo()).iter().any(|line| line.point == inner);
        assert_eq!(arrived, arrives, "{propagation}");
    }
}

/// A user namespace may mount what the mount namespace shows, whether the container can reach that or not.
#[test]
fn paths_are_neither_masked_nor_protected_beside_a_proc_that_shows_them_all() {
    need_root!();
    let masks = "mount --bind /dev/null /proc/version; mount -t tmpfs none /sys/kernel";
    let again = "mkdir x; mount -t proc none x";
    let hidden = format!("{masks}; mount -t tmpfs none /proc; {again}");
    let covered = "mount -t tmpfs none /sys/kernel; mount -t tmpfs none /proc";
    // A part of it reveals nothing.
    let part = format!("mkdir x; mount --bind /proc/sys x; {covered}");
    for (commands, property, path, reason) in [
        ("", "maskedPaths", "/proc/version", Some("proc on \"/proc\"")),
        ("", "readonlyPaths", "/proc/sys", Some("proc on \"/proc\"")),
        // What covers it here are the cgroups, on a directory that is always empty.
        ("mount --bind /dev/null /proc/version", "maskedPaths", "/sys/kernel", Some("sysfs on \"/sys\"")),
        (masks, "maskedPaths", "/sys/kernel", None),
        (masks, "readonlyPaths", "/proc/sys", None),
        (&hidden, "maskedPaths", "/proc/sys", Some("/x\"")),
        (covered, "maskedPaths", "/proc/sys", None),
        (&part, "maskedPaths", "/proc/sys", None),
        // As much as is left.
        ("mount -o remount,bind,ro /sys", "readonlyPaths", "/sys/kernel", None),
        ("mount -o remount,bind,ro /sys", "maskedPaths", "/sys/kernel", Some("sysfs on \"/sys\"")),
        ("", "maskedPaths", "/etc", None),
        ("", "readonlyPaths", "/bin", None),
        ("", "maskedPaths", "/proc/nonesuch", None),
    ] {
        let bundle = Bundle::sh("/bin/busybox unshare -mrnpf mount -t proc none /proc && echo MOUNTED; echo ran");
        let mounts = Mounts::after(&bundle, &[], commands);
        let bundle = bundle.with(|config| {
            join(config, "mount", &mounts.path());
            config["linux"][property] = json!([path]);
            // One of Docker's defaults, without which the root of the container cannot be mapped.
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SETFCAP"));
            }
        });
        let done = bundle.run();
        match reason {
            Some(unmasked) => {
                let error = done.error();
                assert_eq!(error.to_string(), format!("/linux/{property}/0"));
                assert!(error.sentence.contains(unmasked), "{unmasked} in {error:?}");
            }
            None => {
                let is_proc = path == "/proc/sys";
                assert!(done.status == 0 && done.stdout.ends_with("ran\n"), "{commands} {path}: {done:?}");
                assert!(!(is_proc && done.stdout.contains("MOUNTED")), "{commands} {path}: {done:?}");
            }
        }
        drop(mounts);
        bundle.assert_nothing_left("run");
    }
}

/// It has masked its own.
#[test]
fn the_mount_namespace_of_another_container_is_joined_with_masked_paths() {
    need_root!();
    let bundle = Bundle::sh("wc -c </proc/timer_list; echo x 2>/dev/null >/proc/sys/kernel/printk || echo read-only");
    let plain = bundle.run().ok();
    let dir = bundle.dir.to_str().unwrap();
    let target = Bundle::new(&["sleep", "1000"]).with(|config| {
        let mount = json!({ "destination": dir, "source": dir, "options": ["rbind"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    target.run_detached().ok();
    let pid = target.state()["pid"].as_i64().unwrap();
    let bundle = bundle.with(|config| {
        set_namespace(config, json!({ "type": "mount", "path": format!("/proc/{pid}/ns/mnt") }));
    });
    assert_eq!(bundle.run().ok(), plain);
}

/// Its /proc is no procfs, and its links lead to files of the host.
#[test]
fn nothing_is_changed_or_believed_by_a_name_in_proc_of_a_joined_mount_namespace() {
    need_root!();
    use std::os::unix::fs::PermissionsExt;
    let pipe = json!({ "path": "/tmp/pipe", "type": "p", "fileMode": 0o4622, "uid": 5 });
    let bundle = Bundle::sh("stat -c '%a %u' /tmp/pipe").set("/linux/devices", json!([pipe]));
    let canary = bundle.dir.join("canary");
    std::fs::write(&canary, "").unwrap();
    std::fs::set_permissions(&canary, std::fs::Permissions::from_mode(0o600)).unwrap();
    let links = "mount -t tmpfs none /proc; mkdir -p /proc/self/fd /proc/thread-self; \
                 for n in $(seq 0 60); do ln -s $PWD/canary /proc/self/fd/$n; done; ln -s ../self/fd /proc/thread-self/fd";
    let mounts = Mounts::after(&bundle, &[], links);
    let bundle = bundle.with(|config| join(config, "mount", &mounts.path()));
    assert_eq!(bundle.run().ok(), "4622 5");
    assert_eq!(canary.metadata().unwrap().permissions().mode() & 0o7777, 0o600, "the host's file");

    let lie =
        "mount -t tmpfs none /proc; mkdir /proc/self; echo 0 5 9 >/proc/self/uid_map; echo 0 5 9 >/proc/self/gid_map";
    drop(mounts);
    let mounts = Mounts::after(&bundle, &["--user", "--map-root-user"], lie);
    let bundle = bundle.with(|config| {
        join(config, "mount", &mounts.path());
        join(config, "user", &mounts.path().replace("mnt", "user"));
        let map = json!([{ "containerID": 0, "hostID": 5, "size": 9 }]);
        (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map);
    });
    bundle.run().fails("/linux/uidMappings");
    drop(mounts);
    bundle.assert_nothing_left("run");
}

/// Mount points and what is mounted there.
fn points(mountinfo: &str) -> Vec<String> {
    common::mount_lines(mountinfo).iter().map(|line| format!("{} {}", line.point, line.root)).collect()
}

/// Also after privileges were dropped, on ferrun's side, and after `kill -9`.
#[test]
fn a_start_that_fails_or_is_killed_at_any_step_leaves_nothing_in_a_joined_mount_namespace() {
    need_root!();
    for verb in ["create", "run"] {
        let bundle = Bundle::new(&["sleep", "1000"]);
        let mounts = Mounts::with_mark(&bundle, "private");
        let before = points(&mounts.mountinfo());
        let bundle = bundle.with(|config| join(config, "mount", &mounts.path()));
        let dir = bundle.dir.to_str().unwrap();
        let plan = bundle.ferrun(&["explain", "--json", "--bundle", dir]).ok();
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let steps = plan["steps"].as_array().unwrap().len();
        assert!(steps > 25, "{plan}");
        // After all steps, on ferrun's side.
        let wrong = ["run", "--detach", "--bundle", dir, "--pid-file", "/nowhere/pid", &bundle.id];
        bundle.bounded(&wrong).fails("ENOENT");
        assert_eq!(points(&mounts.mountinfo()), before, "a pid file that cannot be written");
        let mut made = false;
        for step in 1..=steps {
            for fault in ["error", "kill"] {
                let fault = format!("{fault}@{step}");
                let flags = [verb, "--bundle", dir, "--fault", &fault];
                // `create` has returned before the last steps; then the root stays.
                made = bundle.bounded(&[&flags[..], &[&bundle.id]].concat()).status == 0;
                if made {
                    break;
                }
                if fault.starts_with("error") {
                    assert_eq!(points(&mounts.mountinfo()), before, "{verb} {fault}");
                }
                bundle.delete_force().ok();
                common::wait_until("the guard", || points(&mounts.mountinfo()) == before);
                bundle.assert_nothing_left_soon(&format!("{verb} {fault}"));
            }
            if made {
                assert!(verb == "create" && step > steps - 3, "{verb} {step}");
                bundle.delete_force().ok();
                break;
            }
        }
        assert_eq!(made, verb == "create");
    }
}

#[test]
fn the_hosts_mounts_and_those_of_a_new_user_namespace_are_not_joined() {
    need_root!();
    // From a service that has mounts of its own, beside a first process that is not the host's.
    let bundle = Bundle::new(&["true"]).with(|config| join(config, "mount", "/proc/1/ns/mnt"));
    let service = "unshare --mount \"$real\" \"$@\"";
    let wrapped = bundle.dir.join("ferrun");
    std::fs::write(&wrapped, format!("#!/bin/sh\n{service}\n")).unwrap();
    let before = format!("real=$ferrun; export real; ferrun={}; chmod +x $ferrun", wrapped.display());
    let done = run_in_own(&["--mount", "--pid", "--fork", "--mount-proc"], &bundle, &before, "true");
    done.fails("/linux/namespaces/5/path");
    let mounts = Mounts::with_mark(&bundle, "slave");
    let bundle = bundle.with(|config| {
        join(config, "mount", &mounts.path());
        set_namespace(config, json!({ "type": "user" }));
        let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
        config["linux"]["uidMappings"] = ids.clone();
        config["linux"]["gidMappings"] = ids;
    });
    bundle.run().fails("/linux/namespaces/5/path");
    bundle.assert_nothing_left("run");
}

#[test]
fn kernel_parameters_are_set_in_joined_namespaces_but_not_in_ferruns_own() {
    need_root!();
    let (_target, pid) = target();
    for (kind, name, parameter, value) in [
        ("network", "net", "net.ipv4.ping_group_range", "5\t6"),
        ("ipc", "ipc", "kernel.msgmax", "8193"),
        ("uts", "uts", "kernel.domainname", "example.org"),
    ] {
        let file = format!("/proc/sys/{}", parameter.replace('.', "/"));
        let bundle = |path: &str, sysctl: Value| {
            Bundle::new(&["cat", &file]).with(|config| {
                config["hostname"] = json!("");
                config["linux"]["sysctl"] = sysctl;
                join(config, kind, path);
            })
        };
        let path = format!("/proc/{pid}/ns/{name}");
        assert_eq!(bundle(&path, json!({ parameter: value })).run().ok(), value, "{kind}");
        assert_eq!(bundle(&path, json!({})).run().ok(), value, "{kind}: it is the joined namespace's");
        // What is ferrun's own here is not the host's, whatever becomes of it.
        let bundle = bundle(&format!("/proc/self/ns/{name}"), json!({ parameter: value }));
        let done = run_in_own(&["--net", "--ipc", "--uts"], &bundle, "", &format!("cat {file}"));
        assert!(!done.stdout.contains(value), "{kind}: {done:?}");
        done.fails(&format!("/linux/sysctl/{parameter}"));
        bundle.assert_nothing_left("run");
    }
}

/// `ferrun run` of a bundle in namespaces of its own, after some commands there and before others: nothing
/// touches the host.
fn run_in_own(namespaces: &[&str], bundle: &Bundle, before: &str, after: &str) -> common::Done {
    let script = format!(
        "set -e; {before}\n\"$ferrun\" --root \"$state\" run --bundle \"$bundle\" \"$id\" || status=$?; \
         echo; echo after:; {after}; exit ${{status:-0}}"
    );
    let mut command = std::process::Command::new("unshare");
    command.args(namespaces).args(["sh", "-c", &script]).stdin(std::process::Stdio::null());
    command.env("ferrun", common::ferrun_binary()).env("state", bundle.state_root());
    command.env("bundle", &bundle.dir).env("id", &bundle.id);
    common::Done::new(command.output().unwrap())
}

/// The same in a network namespace of its own. What it prints after the container's end is wanted, too.
fn run_in_network(bundle: &Bundle, before: &str) -> common::Done {
    run_in_own(&["--net"], bundle, before, "ip -o link")
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

/// What `ip addr add` is told, on v0, and what `ip addr` says of the address inside; none: it is not moved.
const ADDRESSES: &[(&str, Option<&str>)] = &[
    ("10.1.2.3/24 brd 10.1.2.255", Some("inet 10.1.2.3/24 brd 10.1.2.255 scope global v0")),
    ("10.1.3.3/24 noprefixroute", Some("inet 10.1.3.3/24 scope global noprefixroute v0")),
    ("10.1.4.3/24 metric 77", Some("inet 10.1.4.3/24 metric 77 scope global v0")),
    ("10.1.5.3 peer 10.1.5.4/32", Some("inet 10.1.5.3 peer 10.1.5.4/32 scope global v0")),
    ("239.1.1.1/32 autojoin", Some("inet 239.1.1.1/32 scope global autojoin v0")),
    ("10.1.6.3/24 valid_lft 1000 preferred_lft 500", None),
    ("10.1.7.3/32 scope host", None),
    ("fd01::5/64 nodad", Some("inet6 fd01::5/64 scope global nodad")),
    ("fd02::5/64 nodad noprefixroute", Some("inet6 fd02::5/64 scope global nodad noprefixroute")),
    ("fd03::5/64 nodad home", Some("inet6 fd03::5/64 scope global nodad home")),
    ("fd04::5/64 nodad mngtmpaddr", Some("inet6 fd04::5/64 scope global nodad mngtmpaddr")),
    ("ff0e::5/128 nodad autojoin", Some("inet6 ff0e::5/128 scope global nodad autojoin")),
    ("fd05::5/64 nodad valid_lft 1000 preferred_lft 500", None),
    ("fe80::5/64 nodad", None),
];

#[test]
fn lasting_addresses_are_moved_with_their_flags_and_no_others() {
    need_links!();
    // What the host has has its own words for them.
    let target = Bundle::new(&["sleep", "1000"]);
    target.run_detached().ok();
    let network = format!("/proc/{}/ns/net", target.state()["pid"]);
    let bundle = Bundle::new(&["true"]).set("/linux/netDevices", json!({ "v0": {} }));
    let bundle = bundle.with(|config| join(config, "network", &network));
    let add = |(words, _): &(&str, _)| format!("ip addr add {words} dev v0\n");
    let before = format!(
        "ip link add v0 type veth peer name v1; ip link set v0 up; ip addr add 10.1.8.3/24 dev v1\n{}",
        ADDRESSES.iter().map(add).collect::<String>()
    );
    let done = run_in_own(&["--net"], &bundle, &before, &format!("nsenter --net={network} ip -o addr show dev v0"));
    assert_eq!(done.status, 0, "{done:?}");
    let said = done.stdout.lines().filter_map(|line| Some(line.split_once(" v0    ")?.1.split('\\').next()?.trim()));
    // The kernel itself adds one that the link has by its own address.
    let mut found: Vec<&str> = said.filter(|said| !said.contains(" fe80::") || said.contains(" fe80::5/")).collect();
    let mut wanted: Vec<&str> = ADDRESSES.iter().filter_map(|(_, said)| *said).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{done:?}");
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
    for (devices, reason) in [
        (json!({"nonesuch": {}}), "ENODEV /linux/netDevices/nonesuch"),
        (json!({"v0": {"name": "lo"}}), "EEXIST /linux/netDevices/v0"),
        (json!({"lo": {"name": "lo9"}}), "EINVAL /linux/netDevices/lo"),
        (json!({"v0": {"name": "a/b"}}), "/linux/netDevices/v0"),
        (json!({"v0": {"name": "0123456789abcdef"}}), "/linux/netDevices/v0"),
        (json!({"v0": {"name": "x"}, "v1": {"name": "x"}}), "/linux/netDevices/v1"),
        (json!({"v0": []}), "/linux/netDevices/v0"),
    ] {
        let bundle = Bundle::new(&["true"]).set("/linux/netDevices", devices);
        let done = run_in_network(&bundle, PAIR);
        done.fails(reason);
        assert!(done.stdout.contains("v0@v1"), "it stays where it was: {done:?}");
        bundle.assert_nothing_left("run");
    }
    let bundle = Bundle::new(&["true"]).set("/linux/netDevices", json!({ "v0": {} })).with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "network");
    });
    run_in_network(&bundle, PAIR).fails("/linux/netDevices");
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

/// A bundle whose container stays in the host's mount namespace.
fn without_mount_namespace(script: &str) -> Bundle {
    Bundle::sh(script).with(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "mount");
    })
}

fn host_mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// Skips a test, loudly, where a container without a mount namespace cannot have mounts.
macro_rules! need_mounts_nowhere {
    () => {
        need_root!();
        if !common::mounts_nowhere() {
            return common::skip("this test needs mounts in trees that are mounted nowhere: Linux 6.15");
        }
    };
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted_on_the_host() {
    need_mounts_nowhere!();
    let bundle = without_mount_namespace(
        "readlink /proc/self/ns/mnt; cd /; cd ../../..; pwd; ls -d bin; cat /proc/kcore | wc -c; echo x >/dev/null; \
         echo x 2>/dev/null >/proc/sys/kernel/printk || echo read-only; touch /dev/shm/file && echo shm; \
         grep -c . /proc/self/mountinfo; ls /sys/fs/cgroup | head -n 1 | wc -l; \
         mount -t tmpfs none /tmp 2>/dev/null || echo no more mounts; touch /dev/shm/up; sleep 1000",
    );
    let before = host_mounts();
    bundle.run_detached().ok();
    let pid = bundle.state()["pid"].as_i64().unwrap();
    let inside = |path: &str| Path::new(&format!("/proc/{pid}/root{path}")).exists();
    wait_until("the container's last word", || inside("/dev/shm/up"));
    // Where the container is, a process of the host sees no mounts of it, but the container has them.
    assert_eq!(host_mounts(), before);
    assert_eq!(link(pid, "mnt"), link(std::process::id().into(), "mnt"));
    assert!(inside("/dev/shm/file") && !bundle.rootfs().join("dev/shm").exists());
    bundle.delete_force().ok();
    assert_eq!(host_mounts(), before);
    bundle.assert_nothing_left("delete");
    let bundle = bundle.with(|config| {
        let script = config["process"]["args"][2].as_str().unwrap().replace("; sleep 1000", "");
        config["process"]["args"][2] = json!(script);
    });
    let mount = link(std::process::id().into(), "mnt");
    let said = format!("{mount}\n/\nbin\n0\nread-only\nshm\n0\n1\nno more mounts");
    assert_eq!(bundle.run().ok(), said);
}

#[test]
fn without_a_mount_namespace_an_error_says_what_that_has_to_do_with_it() {
    need_mounts_nowhere!();
    let with_mount = |mount: Value| {
        without_mount_namespace("true").with(|config| config["mounts"].as_array_mut().unwrap().push(mount)).run()
    };
    let wrong = with_mount(json!({ "destination": "/tmp", "type": "tmpfs", "options": ["size=wrong"] }));
    wrong.fails("EINVAL /mounts/7");
    let remount = with_mount(json!({ "destination": "/dev/shm", "options": ["remount", "ro"] }));
    remount.fails("/mounts/7/options");
}

/// As by the default propagation of a root in a mount namespace of the container's own.
#[test]
fn without_a_mount_namespace_a_bind_that_is_shared_takes_no_mount_to_the_host() {
    need_mounts_nowhere!();
    let bundle = without_mount_namespace("touch /shared/inner/file && echo made");
    let shared = bundle.dir.join("shared");
    std::fs::create_dir(&shared).unwrap();
    let bundle = bundle.with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/shared", "source": shared, "options": ["rbind", "rshared"] }));
        mounts.push(json!({ "destination": "/shared/inner", "type": "tmpfs", "source": "none" }));
    });
    let done = bundle.run_after(
        "mount -t tmpfs none $bundle/shared; mount --make-shared $bundle/shared; mkdir $bundle/shared/inner
        \"$ferrun\" --root \"$state\" run --bundle \"$bundle\" \"$id\"
        grep -c shared/inner /proc/self/mountinfo || true",
    );
    assert_eq!(done.ok(), "made\n0\nmade");
}

/// There is one devtmpfs, the host's.
#[test]
fn without_a_mount_namespace_a_read_only_devtmpfs_leaves_the_hosts_writable() {
    need_mounts_nowhere!();
    let host = || {
        let mounts = host_mounts();
        mounts.lines().find(|line| line.contains(" - devtmpfs ")).map(str::to_owned)
    };
    let Some(before) = host() else { return common::skip("this test needs a host that has mounted its devtmpfs") };
    let bundle = without_mount_namespace("echo x >/dev/null; touch /dev/ferrun 2>/dev/null || echo read-only");
    let bundle = bundle.with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        mounts.push(json!({ "destination": "/dev", "type": "devtmpfs", "source": "none", "options": ["ro"] }));
    });
    let said = bundle.run();
    let after = host();
    if after.as_ref() != Some(&before) {
        let _ = std::process::Command::new("mount").args(["-o", "remount,rw", "/dev"]).status();
    }
    assert_eq!(said.ok(), "read-only");
    assert_eq!(after, Some(before));
}

#[test]
fn without_a_mount_namespace_a_read_only_tmpfs_is_read_only_in_the_end() {
    need_mounts_nowhere!();
    let bundle = without_mount_namespace("ls /t; touch /t/x 2>/dev/null || echo read-only").with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/t", "type": "tmpfs", "source": "none", "options": ["ro"] }));
        mounts.push(json!({ "destination": "/t/below", "type": "tmpfs", "source": "none" }));
    });
    assert_eq!(bundle.run().ok(), "below\nread-only");
}

#[test]
fn without_a_mount_namespace_a_failed_start_leaves_nothing_on_the_host() {
    need_mounts_nowhere!();
    let bundle = without_mount_namespace("true");
    let plan = bundle.ferrun(&["explain", "--json", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    let steps = serde_json::from_str::<Value>(&plan).unwrap()["steps"].as_array().unwrap().len();
    let before = host_mounts();
    for step in 1..=steps {
        for fault in ["error", "kill"] {
            bundle.bounded(&[
                "create",
                "--bundle",
                bundle.dir.to_str().unwrap(),
                "--fault",
                &format!("{fault}@{step}"),
                &bundle.id,
            ]);
            let _ = bundle.delete_force();
            assert_eq!(host_mounts(), before, "{fault}@{step}");
            bundle.assert_nothing_left(&format!("{fault}@{step}"));
        }
    }
}

#[test]
fn what_a_container_without_a_mount_namespace_cannot_have() {
    need_root!();
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bundle = without_mount_namespace("true").with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map.clone();
    });
    bundle.run().fails("/linux/namespaces/5");
    for propagation in ["rshared", "slave"] {
        let bundle = without_mount_namespace("true").set("/linux/rootfsPropagation", json!(propagation));
        bundle.run().fails("/linux/rootfsPropagation");
        bundle.assert_nothing_left(propagation);
    }
    if common::mounts_nowhere() {
        let slave = json!({ "destination": "/tmp", "type": "tmpfs", "options": ["rslave"] });
        let bundle = without_mount_namespace("true");
        let done = bundle.with(|config| config["mounts"].as_array_mut().unwrap().push(slave)).run();
        done.warns(&["/mounts/7/options"]);
        done.ok();
    } else {
        without_mount_namespace("true").run().fails("EINVAL /mounts/0");
    }
}
