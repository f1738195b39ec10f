//! Containers with labels of SELinux, where the kernel has a policy that knows the types that engines use
//! (the guest of `hack/vm --selinux` does, and enforces them).

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{Bundle, Done, MountLine, mount_lines, mounted_on, skip};
use serde_json::{Value, json};

const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";
const UNKNOWN: &str = "system_u:object_r:nobody_knows_t:s0";

fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/context").exists()
}

macro_rules! need_selinux {
    () => {
        need_root!();
        if !has_selinux() {
            return skip("this test needs SELinux (hack/vm --selinux has it)");
        }
        if std::fs::write("/sys/fs/selinux/context", PROCESS).is_err() {
            return skip("this test needs a policy with container_t (hack/vm --selinux has it)");
        }
    };
}

/// A bundle with both labels, whose files have one of them.
fn labelled(script: &str) -> Bundle {
    let bundle = Bundle::sh(script).set("/process/selinuxLabel", json!(PROCESS)).set("/linux/mountLabel", json!(FILES));
    label_files(&bundle);
    bundle
}

fn label_files(bundle: &Bundle) {
    // A link would be the host's file.
    let busybox = bundle.rootfs().join("bin/busybox");
    std::fs::remove_file(&busybox).unwrap();
    common::copy_program(Path::new("/bin/busybox"), &busybox);
    chcon(&bundle.rootfs(), FILES);
}

fn chcon(path: &Path, label: &str) {
    let done = Command::new("chcon").args(["--recursive", label]).arg(path).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// The label of a file, seen from outside.
fn label_of(path: impl AsRef<Path>) -> String {
    let done = Command::new("stat").args(["--format", "%C"]).arg(path.as_ref()).output().unwrap();
    Done::new(done).ok()
}

/// A file of /proc/PID/attr.
fn attribute(pid: &str, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/attr/{name}")).unwrap();
    text.trim_end_matches(['\0', '\n']).to_owned()
}

fn pid(bundle: &Bundle) -> String {
    bundle.state()["pid"].to_string()
}

/// The context that all files of a mount have.
fn context(mount: &MountLine) -> Option<String> {
    // It has a comma, at which the list was taken apart.
    let all = mount.superblock.join(",");
    Some(all.split_once(",context=")?.1.trim_start_matches('"').split('"').next()?.to_owned())
}

#[test]
fn the_program_is_confined_by_its_label() {
    need_selinux!();
    let enforced = std::fs::read("/sys/fs/selinux/enforce").unwrap() == b"1";
    for no_new_privileges in [true, false] {
        let script = "cat /proc/self/attr/current /etc/open /etc/secret; grep NoNewPrivs /proc/self/status";
        let bundle = labelled(script).set("/process/noNewPrivileges", json!(no_new_privileges));
        for (name, label) in [("open", FILES), ("secret", "system_u:object_r:shadow_t:s0")] {
            let file = bundle.rootfs().join("etc").join(name);
            std::fs::write(&file, format!("{name}\n")).unwrap();
            chcon(&file, label);
        }
        let done = bundle.run();
        let secret = if enforced { "" } else { "secret\n" };
        let wanted = format!("{PROCESS}\0open\n{secret}NoNewPrivs:\t{}\n", i32::from(no_new_privileges));
        assert_eq!(done.stdout, wanted, "{done:?}");
        assert_eq!(done.stderr.contains("/etc/secret': Permission denied"), enforced, "{done:?}");
    }
}

/// What hooks leave in the bundle: ferrun's label, up to the step that names the program's. A hook of
/// startContainer comes later and is confined like the program, as with runc.
#[test]
fn the_label_comes_into_force_with_the_program() {
    need_selinux!();
    let bundle = labelled("exec sleep 100").set("/root/readonly", json!(false));
    let hook = |place: &str, kind: &str| {
        let script = format!("cat /proc/self/attr/current > {place}/{kind}");
        json!([{ "path": "/bin/busybox", "args": ["sh", "-c", script] }])
    };
    let place = bundle.rootfs().join("tmp");
    let outside = place.to_str().unwrap();
    let hooks = json!({
        "createRuntime": hook(outside, "createRuntime"), "createContainer": hook(outside, "createContainer"),
        "startContainer": hook("/tmp", "startContainer"),
    });
    let bundle = bundle.set("/hooks", hooks);
    bundle.create().ok();
    let (init, ferrun) = (pid(&bundle), attribute("self", "current"));
    assert_eq!(attribute(&init, "current"), ferrun);
    assert_eq!(attribute(&init, "exec"), PROCESS);
    bundle.start().ok();
    common::wait_until("the program", || attribute(&init, "current") == PROCESS);
    for (kind, label) in [("createRuntime", &*ferrun), ("createContainer", &ferrun), ("startContainer", PROCESS)] {
        let seen = std::fs::read_to_string(place.join(kind)).unwrap();
        assert_eq!(seen.trim_end_matches('\0'), label, "{kind}");
    }
    for gone in ["exec", "keycreate", "fscreate", "sockcreate"] {
        assert_eq!(attribute(&init, gone), "", "{gone}");
    }
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete --force");
}

/// Mounts of every sort, among them one whose own context stands in quotes, as engines write it.
fn with_mounts(bundle: Bundle) -> Bundle {
    let disk = bundle.dir.join("disk");
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir_all(disk.join(name)).unwrap();
    }
    let disk = disk.to_str().unwrap();
    let layers = format!("lowerdir={disk}/lower,upperdir={disk}/upper,workdir={disk}/work");
    let layers: Vec<&str> = layers.split(',').collect();
    bundle.with(|config| {
        let list = config["mounts"].as_array_mut().unwrap();
        list.push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
        list.push(json!({ "destination": "/overlay", "type": "overlay", "source": "overlay", "options": layers }));
        list.push(json!({ "destination": "/bound", "source": disk, "options": ["bind"] }));
        let own = ["context=\"system_u:object_r:container_file_t:s0:c5,c6\""];
        list.push(json!({ "destination": "/own", "type": "tmpfs", "source": "tmpfs", "options": own }));
        config["root"]["readonly"] = json!(false);
        config["linux"]["maskedPaths"] = json!(["/proc/acpi", "/proc/timer_list", "/sys/firmware", "/sys/power"]);
    })
}

#[test]
fn mounts_have_their_label_and_the_program_may_use_them() {
    need_selinux!();
    let script = "cat /proc/self/mountinfo; ls /proc/acpi /sys/firmware; for i in /dev/shm /tmp /overlay; do
        echo text > $i/file && cat $i/file; done; echo text > /dev/null; ls /dev /dev/pts /dev/mqueue > /tmp/list";
    let bundle = with_mounts(labelled(script));
    let done = bundle.run();
    assert_eq!((done.status, &*done.stderr), (0, ""), "{done:?}");
    let (mounts, rest) = done.stdout.split_once("/proc/acpi:").unwrap();
    assert!(rest.ends_with(":\ntext\ntext\ntext\n"), "empty directories, and three files: {rest}");
    let mounts = mount_lines(mounts);
    for path in ["/dev", "/dev/pts", "/dev/shm", "/tmp", "/overlay", "/proc/acpi", "/proc/timer_list", "/sys/firmware"]
    {
        assert_eq!(context(mounted_on(&mounts, path)).as_deref(), Some(FILES), "{path}");
    }
    assert_eq!(context(mounted_on(&mounts, "/own")).unwrap(), FILES.replace("c1,c2", "c5,c6"));
    for path in ["/", "/proc", "/sys", "/dev/mqueue", "/bound"] {
        assert_eq!(context(mounted_on(&mounts, path)), None, "{path}");
    }
    // With v1 that is a tmpfs.
    let cgroups = mounted_on(&mounts, "/sys/fs/cgroup");
    assert_eq!(context(cgroups).as_deref(), (cgroups.kind == "tmpfs").then_some(FILES), "{cgroups:?}");
}

/// The kernel takes no label of message queues from a mount.
#[test]
fn message_queues_have_the_label_unless_they_are_the_hosts() {
    need_selinux!();
    let bundle = labelled("exec sleep 100");
    bundle.run_detached().ok();
    assert_eq!(label_of(format!("/proc/{}/root/dev/mqueue", pid(&bundle))), FILES);
    let bundle = labelled("exec sleep 100").with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "ipc");
    });
    bundle.run_detached().ok();
    let of_the_host = label_of(format!("/proc/{}/root/dev/mqueue", pid(&bundle)));
    assert_ne!(of_the_host, FILES);
}

/// A bundle whose program shows the label of its session keyring.
fn showing_its_keyring() -> Bundle {
    let bundle = labelled("").set("/process/args", json!(["/usr/bin/keyctl", "security", "@s"]));
    let linked = Command::new("ldd").arg("/usr/bin/keyctl").output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain(["/usr/bin/keyctl"]) {
        let copy = bundle.rootfs().join(&file[1..]);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        common::copy_program(Path::new(file), &copy);
    }
    chcon(&bundle.rootfs(), FILES);
    bundle
}

#[test]
fn the_session_keyring_has_the_programs_label() {
    need_selinux!();
    if !Path::new("/usr/bin/keyctl").exists() {
        return skip("this test needs keyctl (Debian's keyutils)");
    }
    assert_eq!(showing_its_keyring().run().ok(), PROCESS);
}

#[test]
fn a_terminal_has_the_label_of_mounts() {
    need_selinux!();
    let bundle = labelled("echo text > /dev/console; test -t 0 && cat /proc/self/attr/current; exec sleep 100")
        .set("/process/terminal", json!(true));
    let mut run = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut seen = [0; PROCESS.len() + "text\n".len()];
    std::io::Read::read_exact(run.stdout.as_mut().unwrap(), &mut seen).unwrap();
    assert_eq!(String::from_utf8_lossy(&seen), format!("text\n{PROCESS}"));
    for file in ["console", "pts/0", "null"] {
        assert_eq!(label_of(format!("/proc/{}/root/dev/{file}", pid(&bundle))), FILES, "{file}");
    }
    bundle.delete_force().ok();
    run.wait().unwrap();
}

/// Its root may not label what it mounts as the host's may, but for these file systems.
#[test]
fn labels_go_with_a_user_namespace() {
    need_selinux!();
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bundle = labelled("cat /proc/self/attr/current /proc/self/mountinfo").with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = ids.clone();
        config["linux"]["gidMappings"] = ids;
    });
    let own = Command::new("chown").args(["--recursive", "100000:100000"]).arg(bundle.rootfs()).status().unwrap();
    assert!(own.success());
    let seen = bundle.run().ok();
    let (label, mounts) = seen.split_once('\0').unwrap();
    assert_eq!(label, PROCESS);
    for path in ["/dev", "/dev/pts", "/dev/shm", "/proc/acpi"] {
        assert_eq!(context(mounted_on(&mount_lines(mounts), path)).as_deref(), Some(FILES), "{path}");
    }
}

#[test]
fn a_tmpfs_with_a_label_begins_with_what_is_there() {
    need_selinux!();
    let bundle = labelled("cat /etc/file; ls /etc").with(|config| {
        let mount = json!({ "destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    std::fs::write(bundle.rootfs().join("etc/file"), "copied\n").unwrap();
    assert_eq!(bundle.run().ok(), "copied\nfile\npasswd");
}

#[test]
fn a_label_that_the_policy_does_not_know_is_an_error() {
    need_selinux!();
    for pointer in ["/process/selinuxLabel", "/linux/mountLabel"] {
        let bundle = with_mounts(Bundle::sh("true")).set(pointer, json!(UNKNOWN));
        let done = bundle.run();
        done.fails(&format!("EINVAL {pointer}"));
        bundle.assert_nothing_left("a refused label");
        let found = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap(), "--json"]);
        assert_eq!(found.status, 1, "{found:?}");
        let found: Value = serde_json::from_str(&found.stdout).unwrap();
        let problems = found["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "told once: {found}");
        assert_eq!(problems[0]["pointer"], pointer, "{found}");
        assert_eq!(problems[0]["hint"], "the policy does not know this label", "{found}");
    }
    let sound = with_mounts(labelled("true"));
    sound.ferrun(&["check", "--bundle", sound.dir.to_str().unwrap()]).ok();
}

/// Whether a host's facts have SELinux, and what a start says with a label.
fn facts_after(bundle: &Bundle, commands: &str) -> (Value, Done) {
    let explain = format!(
        "{commands}; \"$ferrun\" explain --bundle \"$bundle\" --save-host \"$bundle/facts\" 2> /dev/null || true"
    );
    let done = bundle.run_after(&explain);
    let facts = std::fs::read(bundle.dir.join("facts")).unwrap();
    (serde_json::from_slice::<Value>(&facts).unwrap()["selinux"].clone(), done)
}

/// In a container whose file system of SELinux is the host's and read-only, libselinux says that there is
/// none, and so says runc.
#[test]
fn a_host_is_known_by_the_file_system_of_selinux() {
    need_selinux!();
    let bundle = labelled("true");
    let (fact, done) = facts_after(&bundle, ":");
    assert_eq!(fact, json!(true));
    done.ok();
    for hidden in ["mount -o remount,bind,ro /sys/fs/selinux", "umount /sys/fs/selinux"] {
        let (fact, done) = facts_after(&bundle, hidden);
        assert_eq!(fact, json!(false), "{hidden}");
        assert!(done.error().pointer.starts_with('/'), "{done:?}");
        bundle.assert_nothing_left("a refused label");
    }
}

#[test]
fn a_label_is_refused_where_nothing_would_heed_it() {
    need_root!();
    if has_selinux() {
        return skip("this host has SELinux");
    }
    for pointer in ["/process/selinuxLabel", "/linux/mountLabel"] {
        let bundle = Bundle::sh("true").set(pointer, json!(PROCESS));
        let done = bundle.run();
        done.fails(pointer);
        bundle.assert_nothing_left("a refused label");
    }
}

/// What a container sees of labels, by runc and by ferrun.
#[test]
fn labels_are_runcs() {
    need_selinux!();
    if Command::new("runc").arg("--version").output().is_err() {
        return skip("runc is not installed, with which labels are compared");
    }
    let script = "cat /proc/self/attr/current /proc/self/mountinfo";
    let [ours, theirs] = [(); 2].map(|()| {
        with_mounts(labelled(script)).with(|config| {
            // runc hands over both labels, which the kernel refuses.
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/own");
        })
    });
    let runc = theirs.dir.join("runc");
    let mut command = Command::new("runc");
    command.arg("--root").arg(&runc).args(["run", "--bundle"]).arg(&theirs.dir).arg(&theirs.id);
    let seen = [ours.run().ok(), Done::new(command.stdin(Stdio::null()).output().unwrap()).ok()].map(|seen| {
        let (label, mounts) = seen.split_once('\0').unwrap();
        let mounts = mount_lines(mounts);
        let mut contexts: Vec<_> = mounts.iter().map(|mount| (mount.point.clone(), context(mount))).collect();
        contexts.sort();
        (label.to_owned(), contexts)
    });
    assert_eq!(seen[0], seen[1]);
}

/// Of a container in a user namespace as well, where the first process of `exec` could make no procfs of its own.
#[test]
fn a_further_process_has_the_containers_label_or_its_own() {
    need_selinux!();
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    for user_namespace in [false, true] {
        let bundle = labelled("exec sleep 1000").with(|config| {
            if user_namespace {
                config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
                (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map.clone());
            }
        });
        let bundle = common::exec::start(bundle);
        let current = |flags: &[&str]| {
            let file = bundle.dir.join("further");
            let detached = ["--detach", "--pid-file", file.to_str().unwrap()];
            // Seen from outside: a confined program may not write to the output of a test.
            let done = common::exec::exec_with(&bundle, &[&detached[..], flags].concat(), &["sleep", "1000"]);
            assert_eq!(done.status, 0, "user namespace: {user_namespace}: {done:?}");
            attribute(&std::fs::read_to_string(file).unwrap(), "current")
        };
        assert_eq!(current(&[]), PROCESS);
        let other = PROCESS.replace("c1,c2", "c3,c4");
        assert_eq!(current(&["--process-label", &other]), other);
        common::exec::end(&bundle);
    }
}
