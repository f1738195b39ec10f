//! Containers in a user namespace, new and joined: ids, what belongs to whom, and what is not permitted.

mod common;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use common::{Bundle, Done, give, mount_lines, mounted_on, set_namespace};
use serde_json::{Value, json};

/// Where the container's ids begin on the host, and how many there are.
const FIRST: u32 = 100_000;
const COUNT: u32 = 65_536;

fn range(container: u32, host: u32, size: u32) -> Value {
    json!({ "containerID": container, "hostID": host, "size": size })
}

fn map(config: &mut Value, ranges: &Value) {
    config["linux"]["uidMappings"] = ranges.clone();
    config["linux"]["gidMappings"] = ranges.clone();
}

/// A bundle in a new user namespace, whose root owns the rootfs.
fn mapped(script: &str) -> Bundle {
    let bundle = Bundle::sh(script).with(|config| {
        set_namespace(config, json!({ "type": "user" }));
        map(config, &json!([range(0, FIRST, COUNT)]));
    });
    give(&bundle.rootfs(), FIRST);
    bundle
}

fn writable(config: &mut Value) {
    config["root"]["readonly"] = json!(false);
}

#[test]
fn the_ids_are_mapped_and_setgroups_is_allowed() {
    need_root!();
    let script =
        "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep Groups /proc/self/status";
    let text = mapped(script).run().ok();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "0", "100000", "65536", "0", "100000", "65536", "allow", "Groups:"]);
}

#[test]
fn the_process_is_another_user_on_the_host() {
    need_root!();
    let bundle = mapped("sleep 1000").with(|config| {
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6] });
    });
    bundle.run_detached().ok();
    let status = std::fs::read_to_string(format!("/proc/{}/status", bundle.state()["pid"])).unwrap();
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    assert_eq!(line("Uid:"), "101000\t101000\t101000\t101000");
    assert_eq!(line("Gid:"), "101001\t101001\t101001\t101001");
    assert_eq!(line("Groups:"), "100005 100006");
    bundle.delete_force().ok();
    bundle.assert_nothing_left("delete");
}

/// A hook of the container already runs as the root of the user namespace.
#[test]
fn groups_of_the_caller_are_left_before_anything_is_mounted() {
    need_root!();
    let bundle = mapped("true");
    let seen = bundle.dir.join("seen");
    std::fs::write(&seen, "").unwrap();
    std::fs::set_permissions(&seen, PermissionsExt::from_mode(0o666)).unwrap();
    let script = format!("grep -E '^(Uid|Gid|Groups)' /proc/self/status > {}", seen.display());
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] });
    let bundle = bundle.set("/hooks/createContainer", json!([hook]));
    let ferrun = bundle.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
    let mut command = Command::new("setpriv");
    command.args(["--groups", "4,20,27", "--"]).arg(ferrun.get_program()).args(ferrun.get_args());
    Done::new(command.output().unwrap()).ok();
    let wanted = "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t\n";
    assert_eq!(std::fs::read_to_string(seen).unwrap().replace(" \n", "\n"), wanted);
}

#[test]
fn every_namespace_is_owned_by_the_user_namespace() {
    need_root!();
    let bundle = mapped("").with(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    bundle.run_detached().ok();
    let pid = bundle.state()["pid"].to_string();
    let listed =
        Command::new("lsns").args(["--noheadings", "--output", "TYPE,NS,ONS", "--task", &pid]).output().unwrap();
    let listed = Done::new(listed).ok();
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    let user = rows.iter().find(|row| row[0] == "user").unwrap()[1];
    for kind in ["pid", "net", "ipc", "uts", "mnt", "cgroup"] {
        let row = rows.iter().find(|row| row[0] == kind).unwrap();
        assert_eq!(row[2], user, "{kind} in {listed}");
    }
}

#[test]
fn what_is_made_belongs_to_the_containers_root() {
    need_root!();
    // On v1 a tmpfs is made for the cgroups; on v2 they are the host's root's own, and read-only here.
    let cgroups = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "" } else { "/sys/fs/cgroup" };
    let script =
        format!("touch /made; stat -c '%u:%g %n' /made /dev /dev/pts /dev/shm /dev/mqueue {cgroups} /proc/self/ns");
    let bundle = mapped(&script).with(writable);
    let text = bundle.run().ok();
    assert!(text.lines().all(|line| line.starts_with("0:0 ")), "{text}");
    use std::os::unix::fs::MetadataExt;
    let made = std::fs::metadata(bundle.rootfs().join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (FIRST, FIRST));
}

#[test]
fn a_tmpfs_on_a_directory_whose_owner_is_not_mapped_is_the_containers_roots() {
    need_root!();
    let mount = json!({ "destination": "/of-the-host", "type": "tmpfs", "source": "tmpfs" });
    // With and without an id for nobody, as whom the owner appears.
    for count in [COUNT, 1000] {
        let bundle = mapped("stat -c '%u:%g %a' /of-the-host; touch /of-the-host/file && echo made").with(|config| {
            map(config, &json!([range(0, FIRST, count)]));
            config["mounts"].as_array_mut().unwrap().push(mount.clone());
        });
        std::fs::create_dir(bundle.rootfs().join("of-the-host")).unwrap();
        assert_eq!(bundle.run().ok(), "0:0 755\nmade");
    }
}

#[test]
fn the_default_mounts_hold_and_paths_are_masked() {
    need_root!();
    let bundle = mapped("cat /proc/self/mountinfo");
    let mounts = mount_lines(&bundle.run().ok());
    for (point, kind) in
        [("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/sys", "sysfs"), ("/dev/mqueue", "mqueue")]
    {
        assert_eq!(mounted_on(&mounts, point).kind, kind);
    }
    assert!(mounted_on(&mounts, "/proc/sys").has("ro"), "a read-only path");
    assert!(mounted_on(&mounts, "/").has("ro"));
    let refused = mapped("echo x > /proc/sys/kernel/domainname; touch /x; cat /proc/keys; ls -A /sys/firmware").run();
    assert_eq!(refused.stderr.matches("Read-only file system").count(), 2, "{refused:?}");
    assert_eq!(refused.stdout, "");
}

#[test]
fn the_default_devices_are_the_hosts_and_work() {
    need_root!();
    let script = "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$d; done; \
                  echo x > /dev/null && head -c 3 /dev/zero | wc -c; echo x > /dev/full || echo full; readlink /dev/ptmx";
    let text = mapped(script).run().ok();
    for (name, number) in
        [("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")]
    {
        assert!(text.contains(&format!("/dev/{name} character special file {number} 666\n")), "{text}");
    }
    assert!(text.ends_with("\n3\nfull\npts/ptmx"), "{text}");
    // Without a /dev of its own the places are made in the rootfs, and found again.
    let bundle = mapped("echo x > /dev/null; stat -c %t:%T /dev/zero").with(|config| {
        writable(config);
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    });
    for _ in 0..2 {
        assert_eq!(bundle.run().ok(), "1:5");
    }
    std::fs::write(bundle.rootfs().join("dev/null"), "something").unwrap();
    bundle.run().fails("/linux/devices");
}

#[test]
fn the_devices_of_the_config_are_the_hosts_and_found_again() {
    need_root!();
    let Ok(kmsg) = std::fs::metadata("/dev/kmsg") else { return common::skip("this test needs /dev/kmsg") };
    let bundle = mapped("stat -c '%F %t:%T' /dev/kmsg").with(|config| {
        writable(config);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        config["linux"]["devices"] = json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }]);
    });
    assert_eq!(std::os::unix::fs::MetadataExt::rdev(&kmsg), nix::sys::stat::makedev(1, 11));
    for _ in 0..2 {
        assert_eq!(bundle.run().ok(), "character special file 1:b");
    }
    std::fs::write(bundle.rootfs().join("dev/kmsg"), "something").unwrap();
    bundle.run().fails("/linux/devices/0");
}

/// Devices that the host has under other paths, or not at all: /dev/zero, /dev/full and a loop device without a disk.
fn elsewhere(bundle: Bundle) -> Bundle {
    bundle.with(|config| {
        writable(config);
        config["linux"]["devices"] = json!([
            { "path": "/dev/other-zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 0, "gid": 7 },
            { "path": "/opt/deep/full", "type": "u", "major": 1, "minor": 7, "fileMode": 0o100_604, "uid": 9 },
            { "path": "/dev/zero", "type": "c", "major": 1, "minor": 5 },
            { "path": "/dev/loop-far", "type": "b", "major": 7, "minor": 1000, "uid": COUNT, "gid": COUNT },
            { "path": "/dev//other-zero", "type": "c", "major": 1, "minor": 5 },
            { "path": "/dev/pipe", "type": "p" },
        ]);
    })
}

#[test]
fn a_device_that_the_host_has_under_another_path_is_created_outside_and_bound() {
    need_root!();
    let script = "for d in /dev/other-zero /opt/deep/full /dev/zero /dev/loop-far /dev/pipe; do
                      stat -c '%n %F %t:%T %a %u:%g' $d; done
                  head -c 3 /dev/other-zero | wc -c; echo x >/opt/deep/full || echo full; cat /proc/self/mountinfo";
    // Whatever the caller's umask is, and again where the files to mount on are there.
    let bundle = elsewhere(mapped(script));
    for umask in ["umask 077", "umask 0"] {
        let done = bundle.run_after(umask);
        let (devices, mounts) = done.stdout.split_once("3\nfull\n").unwrap_or_else(|| panic!("{done:?}"));
        let wanted = "/dev/other-zero character special file 1:5 640 0:7
/opt/deep/full character special file 1:7 604 9:0
/dev/zero character special file 1:5 666 65534:65534
/dev/loop-far block special file 7:3e8 666 65534:65534
/dev/pipe fifo 0:0 666 0:0
";
        assert_eq!(devices, wanted, "{done:?}");
        let mounts = mount_lines(mounts);
        for path in ["/dev/other-zero", "/opt/deep/full", "/dev/zero", "/dev/null", "/dev/tty", "/dev/loop-far"] {
            let mount = mounted_on(&mounts, path);
            assert!(mount.has("nosuid") && mount.has("noexec") && !mount.has("nodev"), "{mount:?}");
            assert_eq!(mounts.iter().filter(|other| other.point == path).count(), 1, "{mounts:?}");
        }
        assert_eq!(mounts.iter().filter(|mount| mount.point == "/").count(), 1, "{mounts:?}");
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn a_device_is_created_outside_of_joined_namespaces_as_well() {
    need_root!();
    let (_target, pid) = target();
    let script = "stat -c '%t:%T %a %u:%g' /dev/other-zero; head -c 3 /dev/other-zero | wc -c";
    let bundle =
        elsewhere(join_user(Bundle::sh(script), pid)).with(|config| map(config, &json!([range(0, FIRST, COUNT)])));
    assert_eq!(bundle.run().ok(), "1:5 640 0:7\n3");
    bundle.assert_nothing_left("run");
    let mut holder = Command::new("unshare");
    holder.args(["--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c"]);
    let mut holder = holder.arg("echo ready && exec sleep 1000").stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    let bundle = elsewhere(Bundle::sh(script)).with(|config| {
        for (kind, name) in [("user", "user"), ("mount", "mnt")] {
            set_namespace(config, json!({ "type": kind, "path": format!("/proc/{}/ns/{name}", holder.id()) }));
        }
        map(config, &json!([range(0, 0, 1)]));
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] == "proc");
        // The host's /proc, whole, is in the namespace.
        for key in ["maskedPaths", "readonlyPaths"] {
            config["linux"][key] = json!([]);
        }
    });
    let done = bundle.run();
    holder.kill().unwrap();
    holder.wait().unwrap();
    // The group is not mapped there and stays root's.
    assert_eq!(done.ok(), "1:5 640 0:0\n3");
    bundle.assert_nothing_left("run");
}

#[test]
fn without_the_right_to_create_devices_a_device_of_another_path_is_refused() {
    need_root!();
    let bundle = mapped("true").with(|config| {
        writable(config);
        config["linux"]["devices"] = json!([{ "path": "/etc/full", "type": "c", "major": 1, "minor": 7 }]);
    });
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-mknod"]).arg(common::ferrun_binary());
    command.arg("--root").arg(bundle.state_root()).args(["run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
    let done = Done::new(command.stdin(std::process::Stdio::null()).output().unwrap());
    done.fails("EPERM /linux/devices/0");
    bundle.assert_nothing_left("run");
    assert!(!bundle.rootfs().join("etc/full").exists(), "no file to mount on is left");
}

#[test]
fn capabilities_are_those_of_the_config_whatever_ferrun_has() {
    need_root!();
    let all = ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_NET_ADMIN"];
    let bundle = mapped("grep ^Cap /proc/self/status").with(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(all);
        }
    });
    let done = bundle.run();
    let mask = format!("{:016x}", 1u64 | 1 << 21 | 1 << 24 | 1 << 12);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(done.stdout.contains(&format!("{set}:\t{mask}")), "{done:?}");
    }
    assert_eq!(done.stderr, "", "nothing is left out");
}

#[test]
fn the_oom_score_is_set_from_outside() {
    need_root!();
    let bundle = mapped("cat /proc/self/oom_score_adj").set("/process/oomScoreAdj", json!(77));
    assert_eq!(bundle.run().ok(), "77");
}

#[test]
fn hundreds_of_mappings() {
    need_root!();
    let apart = |count: u32| (0..count).map(|n| range(n, FIRST + 2 * n, 1)).collect::<Vec<_>>();
    let bundle = mapped("cat /proc/self/uid_map").with(|config| map(config, &json!(apart(300))));
    let text = bundle.run().ok();
    assert_eq!(text.lines().count(), 300);
    assert!(text.lines().last().unwrap().split_whitespace().eq(["299", "100598", "1"]), "{text}");
    let too_many = bundle.with(|config| map(config, &json!(apart(341))));
    let done = too_many.run();
    done.fails("/linux/uidMappings");
    // Those that follow each other are one to the kernel.
    let whole: Vec<Value> = (0..1000).map(|n| range(n, FIRST + n, 1)).collect();
    let bundle = too_many.with(|config| map(config, &json!(whole)));
    assert!(bundle.run().ok().split_whitespace().eq(["0", "100000", "1000"]));
}

#[test]
fn several_ranges() {
    need_root!();
    let bundle = mapped("chown 1000:5 /tmp/file; stat -c %u:%g /tmp/file; cat /proc/self/gid_map").with(|config| {
        writable(config);
        config["process"]["capabilities"]["effective"].as_array_mut().unwrap().push(json!("CAP_CHOWN"));
        config["process"]["capabilities"]["permitted"].as_array_mut().unwrap().push(json!("CAP_CHOWN"));
        config["process"]["capabilities"]["bounding"].as_array_mut().unwrap().push(json!("CAP_CHOWN"));
        map(config, &json!([range(0, FIRST, 1), range(1, 300_000, 999), range(1000, 1000, 1)]));
    });
    let file = bundle.rootfs().join("tmp/file");
    std::fs::write(&file, "").unwrap();
    chown(&file, Some(FIRST), Some(FIRST)).unwrap();
    std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin/chown")).unwrap();
    assert!(bundle.run().ok().starts_with("1000:5\n"));
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(&file).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1000, 300_004));
}

#[test]
fn mappings_that_make_no_sense_are_refused_with_their_place() {
    need_root!();
    for (pointer, value, reported) in [
        ("/linux/uidMappings/1", range(0, 5, 0), "/linux/uidMappings/1"),
        ("/linux/uidMappings/1", range(COUNT - 1, 5, 1), "/linux/uidMappings/1"),
        ("/linux/gidMappings/1", range(COUNT, FIRST + COUNT - 1, 1), "/linux/gidMappings/1"),
        ("/linux/gidMappings/1", range(u32::MAX - 1, 5, 2), "/linux/gidMappings/1"),
        ("/linux/gidMappings/0/containerID", json!(1), "/linux/gidMappings"),
        ("/linux/gidMappings", json!([]), "/linux/namespaces"),
        ("/linux/uidMappings", json!(null), "/linux/namespaces"),
        ("/linux/uidMappings/0/hostID", json!(-1), "/linux/uidMappings/0/hostID"),
        ("/linux/uidMappings/0/size", json!(null), "/linux/uidMappings/0/size"),
        ("/process/user/uid", json!(COUNT), "/process/user/uid"),
        ("/process/user/additionalGids", json!([5, COUNT]), "/process/user/additionalGids/1"),
        ("/linux/gidMappings/0/size", json!(5), "/mounts/2/options"),
    ] {
        let bundle = mapped("true").set(pointer, value);
        let done = bundle.run();
        done.fails(reported);
        assert!(done.error().place.starts_with("config.json:"), "{done:?}");
        bundle.assert_nothing_left("run");
    }
    let incomplete = mapped("true").with(|config| {
        config["linux"]["uidMappings"][0].as_object_mut().unwrap().remove("size");
    });
    incomplete.run().fails("/linux/uidMappings/0");
}

#[test]
fn mappings_without_a_user_namespace_are_warned_about() {
    need_root!();
    let bundle =
        Bundle::sh("id -u; cat /proc/self/uid_map").with(|config| map(config, &json!([range(0, FIRST, COUNT)])));
    let done = bundle.run();
    done.warns(&["/linux/uidMappings", "/linux/gidMappings"]);
    assert!(done.ok().split_whitespace().eq(["0", "0", "0", "4294967295"]));
}

#[test]
fn what_needs_a_namespace_of_the_user_namespace_says_so() {
    need_root!();
    for (kind, reason) in [("network", "EPERM /mounts/5"), ("pid", "EPERM /mounts/0"), ("ipc", "EPERM /mounts/4")] {
        let bundle = mapped("true").with(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
        });
        let done = bundle.run();
        done.fails(reason);
        assert!(done.error().hint.contains(kind), "{done:?}");
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn a_rootfs_that_the_containers_root_may_not_enter() {
    need_root!();
    let bundle = mapped("true");
    let mode = |mode| std::fs::set_permissions(bundle.rootfs(), std::fs::Permissions::from_mode(mode)).unwrap();
    chown(bundle.rootfs(), Some(0), Some(0)).unwrap();
    mode(0o700);
    let done = bundle.run();
    done.fails("EACCES /mounts/0");
    bundle.assert_nothing_left("run");
    // The directories above are the host's, and in nobody's way.
    give(&bundle.rootfs(), FIRST);
    std::fs::set_permissions(&bundle.dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    bundle.run().ok();
}

/// As without a user namespace, and as with runc since 1.2.
#[test]
fn a_source_may_lie_in_an_earlier_mount() {
    need_root!();
    let script = "cat /late/file /again/file";
    for bundle in [mapped(script), Bundle::sh(script)] {
        let bundle = bundle.with(|config| {
            let bind = |destination: &str, source: &str| {
                json!({ "destination": destination, "source": source, "options": ["bind"] })
            };
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.push(bind("/early", "host"));
            mounts.push(bind("/late", "rootfs/early/below"));
            mounts.push(bind("/again", "rootfs/late"));
        });
        for (directory, text) in [("host/below", "mounted\n"), ("rootfs/early/below", "under\n")] {
            std::fs::create_dir_all(bundle.dir.join(directory)).unwrap();
            std::fs::write(bundle.dir.join(directory).join("file"), text).unwrap();
        }
        for name in ["late", "again"] {
            std::fs::create_dir_all(bundle.rootfs().join(name)).unwrap();
        }
        assert_eq!(bundle.run().ok(), "mounted\nmounted");
        bundle.assert_nothing_left("run");
    }
}

/// They are not all open at once.
#[test]
fn more_sources_than_files_may_be_open() {
    need_root!();
    let bundle = mapped("ls /many | wc -l; cat /many/99/file").with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        for number in 0..100 {
            let destination = format!("/many/{number}");
            mounts.push(json!({ "destination": destination, "source": "source", "options": ["bind"] }));
        }
    });
    std::fs::create_dir_all(bundle.dir.join("source")).unwrap();
    std::fs::write(bundle.dir.join("source/file"), "seen\n").unwrap();
    for number in 0..100 {
        std::fs::create_dir_all(bundle.rootfs().join(format!("many/{number}"))).unwrap();
    }
    assert_eq!(bundle.run_after("ulimit -Sn 50").ok(), "100\nseen");
    bundle.assert_nothing_left("run");
}

#[test]
fn sources_are_found_below_directories_that_the_containers_root_may_not_enter() {
    need_root!();
    let script = "cat /a/file /b/file /c/below/file; id -u; touch /a/new; mount -o remount,bind,rw /b && echo changed";
    let bundle = mapped(script).with(|config| {
        let all = json!(config["process"]["capabilities"]["bounding"].as_array().unwrap().iter().chain(&[json!("CAP_SYS_ADMIN")]).collect::<Vec<_>>());
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = all.clone();
        }
        let bind = |destination: &str, source: &str, options: &[&str]| {
            json!({ "destination": destination, "source": source, "options": options })
        };
        // After the mount of the cgroups, which waits: the order of the sources is that of the mounts.
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(bind("/sys/fs/cgroup/x", "root/x", &["bind"]));
        mounts.push(bind("/a", "root/a", &["bind"]));
        mounts.push(bind("/b", "alice/b", &["bind"]));
        mounts.push(bind("/c", "alice/c", &["rbind"]));
        mounts.iter_mut().find(|mount| mount["destination"] == "/sys/fs/cgroup").unwrap()["options"] = json!(["rw"]);
        writable(config);
    });
    let path = |name: &str| bundle.dir.join(name);
    for (name, owner) in [("root", 0), ("alice", 1234)] {
        for below in ["a", "b", "c/below", "x"] {
            std::fs::create_dir_all(path(name).join(below)).unwrap();
            std::fs::write(path(name).join(below).join("file"), format!("{name} {below}\n")).unwrap();
        }
        give(&path(name).join("a"), FIRST);
        // Neither the container's root nor a host's root without capabilities may enter that of alice.
        chown(path(name), Some(owner), Some(owner)).unwrap();
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    for name in ["a", "b", "c", "sys/fs/cgroup"] {
        std::fs::create_dir_all(bundle.rootfs().join(name)).unwrap();
        give(&bundle.rootfs().join(name), FIRST);
    }
    // What the host has mounted read-only stays so, whatever the container may do.
    let host = "mount --bind $bundle/alice/b $bundle/alice/b; mount -o remount,bind,ro $bundle/alice/b; \
                mount --bind $bundle/root/x $bundle/alice/c/below; echo below > $bundle/root/x/file";
    let done = bundle.run_after(host);
    assert_eq!(done.stdout, "root a\nalice b\nbelow\n0\n", "{done:?}");
    assert!(path("root/a/new").exists());
    bundle.assert_nothing_left("run");
    let missing = bundle.with(|config| config["mounts"][8]["source"] = json!("alice/missing"));
    let done = missing.run();
    done.fails("ENOENT /mounts/8");
    missing.assert_nothing_left("run");
    let alone = missing.with(|config| {
        config["mounts"][8]["source"] = json!("alice/c");
    });
    let done = alone.run_after(host);
    done.fails("EINVAL /mounts/8");
}

#[test]
fn the_streams_can_be_opened_again() {
    need_root!();
    let bundle = mapped("echo out > /dev/stdout; echo err > /dev/stderr").set("/process/user/uid", json!(1000));
    let done = bundle.run();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
}

/// A container with a user namespace that runs, and its pid.
fn target() -> (Bundle, i64) {
    let bundle = mapped("").with(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    bundle.run_detached().ok();
    let pid = bundle.state()["pid"].as_i64().unwrap();
    (bundle, pid)
}

const PRINT: &str = "for ns in pid net ipc uts cgroup user; do echo $ns $(readlink /proc/self/ns/$ns); done; id -u; cat /proc/self/uid_map";

fn link(pid: i64, name: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().to_str().unwrap().to_owned()
}

fn join_user(bundle: Bundle, pid: i64) -> Bundle {
    let bundle =
        bundle.with(|config| set_namespace(config, json!({ "type": "user", "path": format!("/proc/{pid}/ns/user") })));
    give(&bundle.rootfs(), FIRST);
    bundle
}

#[test]
fn a_user_namespace_is_joined_with_new_ones_that_it_owns() {
    need_root!();
    let (_target, pid) = target();
    let given = json!([range(0, FIRST, COUNT)]);
    for mappings in [json!([]), given] {
        let bundle = join_user(Bundle::sh(PRINT), pid).with(|config| map(config, &mappings));
        let text = bundle.run().ok();
        assert!(text.contains(&format!("user {}\n0\n", link(pid, "user"))), "{text}");
        assert!(!text.contains(&link(pid, "pid")) && !text.contains(&link(pid, "net")), "{text}");
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn a_mount_has_the_maps_of_a_joined_user_namespace() {
    need_root!();
    let (_target, pid) = target();
    let mount = json!({ "destination": "/a", "source": "host", "options": ["rbind", "idmap"] });
    let bundle = join_user(Bundle::sh("stat -c %u:%g /a/file"), pid).with(|config| {
        writable(config);
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    let tmpfs = if common::can_map_tmpfs() { "mount -t tmpfs host $bundle/host" } else { ":" };
    let host = format!("mkdir $bundle/host; {tmpfs}; touch $bundle/host/file; chown 3:4 $bundle/host/file");
    assert_eq!(bundle.run_after(&host).ok(), "3:4");
}

#[test]
fn mappings_that_are_not_the_joined_namespaces_are_refused() {
    need_root!();
    let (_target, pid) = target();
    let bundle = join_user(Bundle::sh(PRINT), pid).with(|config| map(config, &json!([range(0, FIRST + 1, COUNT)])));
    let done = bundle.run();
    done.fails("/linux/uidMappings");
    bundle.assert_nothing_left("run");
}

/// What the joined namespace shows as cgroups may be anything.
#[test]
fn an_init_in_a_joined_mount_namespace_is_in_the_hosts_cgroups() {
    need_root!();
    let script = "mount -t tmpfs cgroups /sys/fs/cgroup && echo ready && exec sleep 1000";
    let mut holder = Command::new("unshare");
    holder.args(["--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c", script]);
    let mut holder = holder.stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    let bundle = Bundle::sh("cat /proc/self/cgroup").with(|config| {
        for (kind, name) in [("user", "user"), ("mount", "mnt")] {
            set_namespace(config, json!({ "type": kind, "path": format!("/proc/{}/ns/{name}", holder.id()) }));
        }
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "cgroup");
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] == "proc");
        // The host's /proc, whole, is in the namespace.
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let done = bundle.run();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let path = bundle.config["linux"]["cgroupsPath"].as_str().unwrap();
    let text = done.ok();
    assert!(text.lines().all(|line| line.ends_with(path)), "{path}: {text}");
    bundle.assert_nothing_left("run");
}

#[test]
fn all_namespaces_of_a_container_are_joined() {
    need_root!();
    let (target, pid) = target();
    let bundle = join_user(Bundle::sh(PRINT), pid).with(|config| {
        for (kind, name) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")] {
            set_namespace(config, json!({ "type": kind, "path": format!("/proc/{pid}/ns/{name}") }));
        }
    });
    let text = bundle.run().ok();
    for name in ["pid", "net", "ipc", "uts", "cgroup", "user"] {
        assert!(text.contains(&format!("{name} {}\n", link(pid, name))), "{name}: {text}");
    }
    assert_eq!(target.status(), "running");
    bundle.assert_nothing_left("run");
}

/// Engines make network namespaces of their own, and user namespaces later.
#[test]
fn a_new_user_namespace_with_a_joined_network_of_the_host() {
    need_root!();
    let other = Bundle::new(&["sleep", "1000"]);
    other.run_detached().ok();
    let pid = other.state()["pid"].as_i64().unwrap();
    let bundle = mapped(PRINT).with(|config| {
        set_namespace(config, json!({ "type": "network", "path": format!("/proc/{pid}/ns/net") }));
        set_namespace(config, json!({ "type": "time" }));
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
    });
    let text = bundle.run().ok();
    assert!(text.contains(&format!("net {}\n", link(pid, "net"))), "{text}");
    bundle.assert_nothing_left("run");
}

#[test]
fn podmans_config_with_a_user_namespace_runs() {
    need_root!();
    let bundle =
        mapped("id -u; cat /proc/self/uid_map; df -k /run >/dev/null; cat /dev/null; stat -c %u /dev/shm; hostname");
    let text = include_bytes!("data/podman-userns.json");
    let mut config: Value = serde_json::from_slice(text).unwrap();
    config["root"]["path"] = json!("rootfs");
    config["process"]["args"] = bundle.config["process"]["args"].clone();
    config["linux"]["cgroupsPath"] = bundle.config["linux"]["cgroupsPath"].clone();
    // Of podman's own files only the shared memory is made here; what ferrun does not have yet is left out.
    config["linux"]["seccomp"] = json!(null);
    config["linux"]["sysctl"] = json!(null);
    config["linux"]["resources"]["pids"] = json!(null);
    config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| mount["type"] != "bind" || mount["destination"] == "/dev/shm");
    let shm = bundle.dir.join("shm");
    std::fs::create_dir(&shm).unwrap();
    chown(&shm, Some(FIRST), Some(FIRST)).unwrap();
    for mount in config["mounts"].as_array_mut().unwrap().iter_mut().filter(|mount| mount["destination"] == "/dev/shm")
    {
        mount["source"] = json!(shm);
    }
    let bundle = bundle.with(|own| *own = config);
    let text = bundle.run().ok();
    assert!(text.split_whitespace().eq(["0", "0", "100000", "65536", "0", "75891422edba"]), "{text}");
    bundle.assert_nothing_left("run");
}

#[test]
fn a_joined_user_namespace_that_denies_setgroups() {
    need_root!();
    // util-linux writes "deny" before it maps its own ids.
    let mut maker = Command::new("unshare").args(["--user", "--map-root-user", "sleep", "1000"]).spawn().unwrap();
    let pid = maker.id();
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    common::wait_until("its mappings", || {
        !read("gid_map").is_empty() && read("setgroups") == "deny\n" && read("comm") == "sleep\n"
    });
    let join = |script: &str| {
        Bundle::sh(script).with(|config| {
            set_namespace(config, json!({ "type": "user", "path": format!("/proc/{pid}/ns/user") }));
            // It has one group.
            config["mounts"][2]["options"].as_array_mut().unwrap().retain(|option| option != "gid=5");
        })
    };
    let text = join("id -u; id -g; cat /proc/self/setgroups").run();
    let with_groups = join("true").set("/process/user/additionalGids", json!([0])).run();
    maker.kill().and_then(|()| maker.wait()).unwrap();
    assert_eq!(text.ok(), "0\n0\ndeny");
    with_groups.fails("EPERM /process/user");
}

/// What `docker --domainname` writes: the parameter's file belongs to the host's root.
#[test]
fn the_domain_name_can_be_set_as_a_parameter() {
    need_root!();
    let host = std::fs::read_to_string("/proc/sys/kernel/domainname").unwrap();
    for name in ["kernel.domainname", "kernel/domainname"] {
        let bundle = mapped("hostname; cat /proc/sys/kernel/domainname").set("/hostname", json!("inside"));
        let bundle = bundle.set("/linux/sysctl", json!({ name: "example.org", "net.ipv4.ip_forward": "1" }));
        assert_eq!(bundle.run().ok(), "inside\nexample.org", "{name}");
        // Both at once: the parameter is set last.
        let done = bundle.set("/domainname", json!("other.example")).run();
        done.warns(&[&format!("/linux/sysctl/{}", name.replace('/', "~1"))]);
        assert_eq!(done.ok(), "inside\nexample.org", "{name}");
        let long = mapped("true").set("/linux/sysctl", json!({ name: "x".repeat(65) }));
        let done = long.run();
        done.fails(&format!("/linux/sysctl/{}", name.replace('/', "~1")));
        long.assert_nothing_left("run");
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/domainname").unwrap(), host);
}

/// A thousand devices that the host does not have there, and a limit of 1024 open files.
#[test]
fn too_many_devices_that_are_created_outside_are_an_error_with_its_property() {
    need_root!();
    let devices: Vec<_> =
        (0..1100).map(|n| json!({ "path": format!("/dev/d{n}"), "type": "c", "major": 1, "minor": 3 })).collect();
    let bundle = mapped("ls /dev | grep -c ^d").with(writable).set("/linux/devices", json!(devices));
    let run = |limit: u32| {
        let script = format!("ulimit -n {limit} && exec \"$@\"");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(common::ferrun_binary()).arg("--root").arg(bundle.state_root());
        common::Done::new(command.args(["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).output().unwrap())
    };
    let done = run(1024);
    done.fails("EMFILE /linux/devices/0");
    bundle.assert_nothing_left("too many devices");
    assert_eq!(run(4096).ok().trim(), "1100");
}

#[test]
fn a_ptmx_of_the_config_is_not_created_outside() {
    need_root!();
    let ptmx = json!([{ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2 }]);
    let bundle = mapped("true").set("/linux/devices", ptmx);
    let explained = bundle.ferrun(&["explain", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    assert!(!explained.contains("create what the host does not have"), "{explained}");
}

#[test]
fn a_locked_option_of_the_host_is_explained() {
    need_root!();
    let bundle = mapped("true").with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/mnt", "source": "/opt", "options": ["bind", "exec"] }));
    });
    bundle.run_after("mount -t tmpfs -o noexec none /opt").fails("EPERM /mounts/7");
}
