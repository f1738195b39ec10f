//! `mounts` and `root`: what is mounted where, with which options, and what is refused.

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{Bundle, Done, MountLine, mount_lines, mounted_on};
use serde_json::{Value, json};

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "source": source, "options": options })
}

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}

/// A bundle with a directory `host` beside its root (`host/file`, `host/sub`), with further mounts.
fn bundle(script: &str, mounts: &[Value]) -> Bundle {
    let bundle = Bundle::sh(script);
    std::fs::create_dir_all(bundle.dir.join("host/sub")).unwrap();
    std::fs::write(bundle.dir.join("host/file"), "of the host\n").unwrap();
    bundle.with(|config| {
        config["root"]["readonly"] = json!(false);
        config["mounts"].as_array_mut().unwrap().extend_from_slice(mounts);
    })
}

/// The mounts as the container sees them, after commands of the caller's shell that prepare the sources.
fn mounts_after(commands: &str, mounts: &[Value]) -> Vec<MountLine> {
    mount_lines(&bundle("cat /proc/self/mountinfo", mounts).run_after(commands).ok())
}

fn assert_options(mount: &MountLine, wanted: &str) {
    for option in ["ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"] {
        let is_wanted = wanted.split(' ').any(|one| one == option) || (option == "rw" && !wanted.contains("ro"));
        assert_eq!(mount.has(option), is_wanted, "{option} in {mount:?}");
    }
}

#[test]
fn a_directory_and_a_file_are_bound() {
    need_root!();
    let script = "cat /data/file /one && echo written > /data/new && stat -c '%a %F' /deep /deep/er /deep/er/one";
    let mounts = [
        bind("host", "/data", &["bind"]),
        bind("host/file", "/one", &["rbind"]),
        bind("host/file", "/deep/er/one", &["bind"]),
    ];
    let bundle = bundle(script, &mounts);
    let wanted = "of the host\nof the host\n755 directory\n755 directory\n644 regular file";
    // A relative source is the bundle's; mount points are made, whatever the caller's umask is.
    assert_eq!(bundle.run_after("umask 077").ok(), wanted);
    assert_eq!(std::fs::read_to_string(bundle.dir.join("host/new")).unwrap(), "written\n");
    let one = std::fs::metadata(bundle.rootfs().join("one")).unwrap();
    assert_eq!((one.len(), one.permissions().mode() & 0o7777), (0, 0o644), "an empty file to mount on");
}

#[test]
fn a_type_of_bind_binds_too() {
    need_root!();
    let mut mount = bind("host", "/data", &[]);
    mount["type"] = json!("bind");
    assert_eq!(bundle("cat /data/file", &[mount]).run().ok(), "of the host");
}

#[test]
fn mounts_below_the_source_come_along_with_rbind_alone() {
    need_root!();
    let mounts = [bind("host", "/one", &["bind"]), bind("host", "/all", &["rbind"])];
    let mounts = mounts_after("mount -t tmpfs below $bundle/host/sub", &mounts);
    assert_eq!(mounted_on(&mounts, "/all/sub").source, "below");
    assert!(mounts.iter().all(|mount| mount.point != "/one/sub"), "{mounts:?}");
}

#[test]
fn options_apply_to_binds_and_to_file_systems() {
    need_root!();
    for options in
        ["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow", "ro nosuid nodev noexec", "defaults", "silent"]
    {
        let list: Vec<&str> = options.split(' ').collect();
        let mounts = [bind("host", "/bind", &[&["bind"], &list[..]].concat()), tmpfs("/tmpfs", &list)];
        let mounts = mounts_after("true", &mounts);
        assert_options(mounted_on(&mounts, "/bind"), options);
        assert_options(mounted_on(&mounts, "/tmpfs"), options);
    }
}

#[test]
fn flags_of_a_file_system_reach_it() {
    need_root!();
    for flag in ["sync", "dirsync", "size=4096k", "mode=700"] {
        let mounts = mounts_after("true", &[tmpfs("/tmpfs", &[flag])]);
        let mount = mounted_on(&mounts, "/tmpfs");
        assert!(mount.superblock.iter().any(|one| one == flag), "{flag} in {mount:?}");
    }
}

#[test]
fn a_bind_keeps_what_it_is_not_told_to_change() {
    need_root!();
    for (options, wanted) in [
        (&["bind"][..], "ro nosuid nodev noexec"),
        (&["rbind"], "ro nosuid nodev noexec"),
        (&["bind", "nosuid"], "ro nosuid nodev noexec"),
        (&["bind", "rprivate"], "ro nosuid nodev noexec"),
        (&["bind", "rw"], "nosuid nodev noexec"),
        (&["bind", "suid", "exec"], "ro nodev"),
        (&["rbind", "rrw"], "nosuid nodev noexec"),
    ] {
        let mounts = [bind("host", "/data", options)];
        let mounts = mounts_after(
            "mount -t tmpfs -o nosuid,nodev,noexec below $bundle/host; mount -o remount,bind,ro $bundle/host",
            &mounts,
        );
        assert_options(mounted_on(&mounts, "/data"), wanted);
    }
}

#[test]
fn read_only_reaches_the_mounts_below_with_rro_alone() {
    need_root!();
    let mounts = [bind("host", "/one", &["rbind", "ro"]), bind("host", "/all", &["rbind", "rro"])];
    let script = "touch /one/sub/x && touch /one/x; touch /all/sub/x; touch /all/x";
    let done = bundle(script, &mounts).run_after("mount -t tmpfs below $bundle/host/sub");
    for path in ["/one/x", "/all/sub/x", "/all/x"] {
        assert!(done.stderr.contains(&format!("{path}: Read-only file system")), "{path}: {done:?}");
    }
    assert_eq!(done.stderr.lines().count(), 3, "{done:?}");
}

#[test]
fn propagation_is_what_the_options_say() {
    need_root!();
    for (option, below_too) in [
        ("", false),
        ("shared", false),
        ("rshared", true),
        ("slave", false),
        ("rslave", true),
        ("private", false),
        ("rprivate", true),
        ("unbindable", false),
        ("runbindable", true),
    ] {
        // The sources are shared: a bind joins their peer group, which `slave` shows as a master.
        let prepare = "mount -t tmpfs top $bundle/host; mkdir $bundle/host/sub; mount -t tmpfs below $bundle/host/sub; \
                       mount --make-rshared $bundle/host";
        let options: Vec<&str> = ["rbind", option].into_iter().filter(|one| !one.is_empty()).collect();
        let mounts = mounts_after(prepare, &[bind("host", "/data", &options), tmpfs("/tmpfs", &options[1..])]);
        let kind = |point: &str| {
            let fields = &mounted_on(&mounts, point).propagation;
            let words = fields.iter().map(|field| field.split(':').next().unwrap());
            words.filter(|word| *word != "propagate_from").collect::<Vec<_>>().join(" ")
        };
        // A mount namespace is cut off as a slave before anything else; a slave made shared is both.
        let (own, none) = match option.trim_start_matches('r') {
            "" => ("master", ""),
            "shared" => ("shared master", "shared"),
            "slave" => ("master", ""),
            "private" => ("", ""),
            _ => ("unbindable", "unbindable"),
        };
        assert_eq!(kind("/data"), own, "{option}");
        assert_eq!(kind("/data/sub"), if below_too { own } else { "master" }, "below {option}");
        assert_eq!(kind("/tmpfs"), none, "{option}");
    }
}

#[test]
fn a_relative_destination_is_taken_from_the_root_with_a_warning() {
    need_root!();
    let done = bundle("cat rel/ative/file", &[bind("host", "rel/./x/../ative/", &["bind"])]).run();
    done.warns(&["/mounts/7/destination"]);
    assert_eq!(done.ok(), "of the host");
}

#[test]
fn mounts_nest_in_the_order_of_the_list() {
    need_root!();
    let mounts = [
        tmpfs("/a", &["size=1m"]),
        bind("host", "/a/b", &["bind"]),
        tmpfs("/a/b/sub", &["size=2m"]),
        tmpfs("/a/b/sub/c", &[]),
    ];
    let script = "cat /a/b/file; touch /a/b/sub/c/x; ls /a /a/b/sub; df -k /a/b/sub | grep -c 2048";
    let bundle = bundle(script, &mounts);
    assert_eq!(bundle.run().ok(), "of the host\n/a:\nb\n\n/a/b/sub:\nc\n1");
    assert_eq!(std::fs::read_dir(bundle.dir.join("host/sub")).unwrap().count(), 0, "hidden below the tmpfs");
}

#[test]
fn a_read_only_tmpfs_gets_the_mount_points_of_those_below() {
    need_root!();
    for option in ["ro", "rro"] {
        let mounts = [tmpfs("/a", &[option]), tmpfs("/a/b/c", &[]), bind("host/file", "/a/one", &["bind"])];
        let done = bundle("touch /a/b/c/x && cat /a/one; touch /a/x", &mounts).run();
        assert_eq!(done.stdout, "of the host\n", "{done:?}");
        assert!(done.stderr.contains("/a/x: Read-only file system"), "{done:?}");
    }
    let dev = bundle("echo x > /dev/null && cat /dev/null; touch /dev/x", &[]).with(|config| {
        config["mounts"][1]["options"].as_array_mut().unwrap().push(json!("ro"));
    });
    let done = dev.run();
    assert!(done.stderr.lines().count() == 1 && done.stderr.contains("/dev/x: Read-only file system"), "{done:?}");
}

#[test]
fn what_a_file_system_does_not_know_is_told_in_the_kernels_words() {
    need_root!();
    for (mount, reason) in [
        (tmpfs("/a", &["bogus=1"]), "EINVAL /mounts/7"),
        (tmpfs("/a", &["size=huge"]), "EINVAL /mounts/7"),
        (json!({ "destination": "/a", "type": "nofs", "source": "x" }), "ENODEV /mounts/7"),
        (bind("/nowhere/at/all", "/a", &["bind"]), "ENOENT /mounts/7"),
    ] {
        let bundle = bundle("true", &[mount]);
        bundle.run().fails(reason);
        bundle.assert_nothing_left(reason);
    }
}

/// An overlay of two directories whose names are so long each.
fn overlay(bundle: &Bundle, length: usize) -> Value {
    let layers = ["1", "2"].map(|number| {
        let path = bundle.dir.join(number.repeat(length));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(number), "").unwrap();
        path.to_str().unwrap().to_owned()
    });
    let options = json!([format!("lowerdir={}", layers.join(":")), "ro", "nosuid", "noatime", "rnoexec", "private"]);
    json!({ "destination": "/layers", "type": "overlay", "source": "overlay", "options": options })
}

#[test]
fn an_option_may_be_longer_than_fsconfig_takes() {
    need_root!();
    for length in [2, 200] {
        let bundle = bundle("ls /layers; cat /proc/self/mountinfo", &[]);
        let entry = overlay(&bundle, length);
        let bundle = bundle.with(|config| config["mounts"].as_array_mut().unwrap().push(entry));
        let checked = bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
        assert!(!checked.stdout.contains("lowerdir") && !checked.stderr.contains("lowerdir"), "{checked:?}");
        let said = bundle.run().ok();
        let (files, mounts) = said.split_at(4);
        assert_eq!(files, "1\n2\n");
        let mounts = mount_lines(mounts);
        assert_eq!(mounted_on(&mounts, "/layers").options, ["ro", "nosuid", "noexec", "noatime"]);
        assert_eq!(mounts.iter().filter(|mount| mount.point == "/").count(), 1, "nothing else is left: {mounts:?}");
        bundle.assert_nothing_left("an overlay");
    }
}

/// Then they go to the kernel in another way than by fsconfig(2).
#[test]
fn flags_of_a_file_system_reach_it_beside_a_long_option() {
    need_root!();
    for (options, wanted) in [
        ("ro", "ro"),
        ("rw", "rw"),
        ("sync", "rw sync"),
        ("sync async", "rw"),
        ("dirsync", "rw dirsync"),
        ("lazytime", "rw lazytime"),
        ("lazytime nolazytime", "rw"),
    ] {
        let bundle = bundle("cat /proc/self/mountinfo", &[]);
        let mut entry = overlay(&bundle, 200);
        let mut list: Vec<String> = options.split(' ').map(str::to_owned).collect();
        for name in ["upperdir", "workdir"] {
            std::fs::create_dir(bundle.dir.join(name)).unwrap();
            list.push(format!("{name}={}", bundle.dir.join(name).display()));
        }
        list.push(entry["options"][0].as_str().unwrap().to_owned());
        entry["options"] = json!(list);
        let bundle = bundle.with(|config| config["mounts"].as_array_mut().unwrap().push(entry));
        let mounts = mount_lines(&bundle.run().ok());
        let found = mounted_on(&mounts, "/layers").superblock.iter().map(String::as_str);
        let flags: Vec<&str> =
            found.filter(|flag| ["ro", "rw", "sync", "dirsync", "lazytime"].contains(flag)).collect();
        assert_eq!(flags.join(" "), wanted, "{options}");
    }
}

#[test]
fn a_comma_ends_an_option_unless_a_backslash_stands_before_it() {
    need_root!();
    let several = tmpfs("/a", &["size=64k,mode=700"]);
    let mounts = mounts_after("", &[several]);
    let of_tmpfs = &mounted_on(&mounts, "/a").superblock;
    assert!(["size=64k", "mode=700"].iter().all(|one| of_tmpfs.iter().any(|option| option == one)), "{of_tmpfs:?}");
    for length in [2, 200] {
        let bundle = bundle("ls /layers", &[]);
        let entry = overlay(&bundle, length);
        let bundle = bundle.with(|config| config["mounts"].as_array_mut().unwrap().push(entry));
        let layer = bundle.dir.join(format!("a,b{}", "3".repeat(length)));
        std::fs::create_dir(&layer).unwrap();
        std::fs::write(layer.join("3"), "").unwrap();
        let other = bundle.dir.join("2".repeat(length));
        let option = format!("lowerdir={}:{}", other.to_str().unwrap(), layer.to_str().unwrap());
        let bundle = bundle.set("/mounts/7/options/0", json!(option.replace(',', "\\,")));
        assert_eq!(bundle.run().ok(), "2\n3");
        let bundle = bundle.set("/mounts/7/options/0", json!(option));
        let done = bundle.run();
        done.fails("ENOENT /mounts/7");
    }
}

#[test]
fn options_that_are_longer_than_a_page_or_cannot_be_had_are_refused() {
    need_root!();
    let bundle = bundle("true", &[]);
    let entry = overlay(&bundle, 200);
    let bundle = bundle.with(|config| config["mounts"].as_array_mut().unwrap().push(entry));
    let layers = vec!["/etc"; 900].join(":");
    let bundle = bundle.set("/mounts/7/options/0", json!(format!("lowerdir={layers}")));
    bundle.run().fails("/mounts/7");
    let bundle = bundle.set("/mounts/7/options/0", json!(format!("lowerdir=/etc:/no{}", "/no".repeat(100))));
    bundle.run().fails("ENOENT /mounts/7");
    if common::mounts_nowhere() {
        let bundle = bundle.with(|config| {
            let list = config["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|namespace| namespace["type"] != "mount");
        });
        bundle.run().fails("/mounts/7");
        bundle.assert_nothing_left("a refusal");
    }
}

#[test]
fn mounts_that_make_no_sense_are_refused() {
    need_root!();
    for (mount, reason) in [
        (bind("host", "/a", &["bind", "mode=755"]), "/mounts/7/options/1"),
        (bind("host/file", "/", &["bind"]), "ENOTDIR /mounts/7"),
        (bind("", "/a", &["bind"]), "/mounts/7/source"),
        (json!({ "destination": "/a", "source": "x" }), "/mounts/7/type"),
        (bind("host", "/etc/passwd", &["bind"]), "ENOTDIR /mounts/7"),
        (bind("host/file", "/etc", &["bind"]), "ENOTDIR /mounts/7"),
    ] {
        bundle("true", std::slice::from_ref(&mount)).run().fails(reason);
    }
}

#[test]
fn over_proc_only_a_few_files_may_be_mounted() {
    need_root!();
    let always = ["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg"];
    for allowed in always.iter().chain(&["slabinfo", "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"]) {
        let path = format!("/proc/{allowed}");
        let done = bundle(&format!("cat {path}"), &[bind("host/file", &path, &["bind"])]).run();
        match std::path::Path::new(&path).exists() {
            true => assert_eq!(done.ok(), "of the host", "{path}"),
            // Not every kernel has it, and none lets it be made.
            false => done.fails("ENOENT /mounts/7"),
        }
    }
    let refused = |done: Done| assert!(done.status == 1 && done.stderr.contains("/mounts/"), "{done:?}");
    for path in ["/proc", "/proc/self", "/proc/self/attr", "/proc/sys", "/proc/sys/kernel", "/proc/../proc/1"] {
        refused(bundle("true", &[tmpfs(path, &[])]).run());
        refused(bundle("true", &[bind("host", path, &["bind"])]).run());
    }
    for path in ["/proc/version", "/proc/self/status", "/proc/sys/kernel/hostname"] {
        refused(bundle("true", &[bind("host/file", path, &["bind"])]).run());
    }
}

#[test]
fn nothing_but_proc_may_be_mounted_in_its_place() {
    need_root!();
    for mount in [tmpfs("/proc", &[]), bind("host", "/proc", &["bind"])] {
        let done = bundle("true", &[]).with(|config| config["mounts"][0] = mount.clone()).run();
        assert!(done.status == 1 && done.stderr.contains("/mounts/0"), "{mount}: {done:?}");
    }
    // The host's own, as containers without a pid namespace have it, is one.
    let bundle = bundle("cat /proc/1/comm > /dev/null", &[]).with(|config| {
        config["mounts"][0] = bind("/proc", "/proc", &["rbind"]);
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "pid");
    });
    bundle.run().ok();
}

#[test]
fn proc_and_sys_are_mounted_on_real_directories_alone() {
    need_root!();
    for name in ["proc", "sys"] {
        for target in ["elsewhere", "/elsewhere", "/", "/etc/passwd"] {
            let bundle = bundle("true", &[]);
            std::fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
            std::fs::remove_dir(bundle.rootfs().join(name)).unwrap();
            std::os::unix::fs::symlink(target, bundle.rootfs().join(name)).unwrap();
            bundle.run().refused("must be mounted on ordinary directory");
        }
    }
}

#[test]
fn why_a_mount_failed_is_told_however_quickly_it_does() {
    need_root!();
    // The init fails while the parent still makes the cgroups: neither may wait for or miss the other.
    let bundle = bundle("true", &[]);
    std::fs::remove_dir(bundle.rootfs().join("proc")).unwrap();
    std::os::unix::fs::symlink("elsewhere", bundle.rootfs().join("proc")).unwrap();
    let silent = (0..60).filter(|_| !bundle.run().stderr.contains("/mounts/0")).count();
    assert_eq!(silent, 0, "of 60 failures had no reason");
}

#[test]
fn the_root_can_be_moved_instead_of_pivoted() {
    need_root!();
    let bundle = bundle(
        "ls / /..; cat /data/file; wc -c < /proc/timer_list; echo no > /proc/sys/kernel/domainname",
        &[bind("host", "/data", &["rbind"])],
    );
    let done = bundle.run_with(&["--no-pivot"]);
    let listed = "bin\ndata\ndev\netc\nproc\nroot\nsys\ntmp\n";
    assert_eq!(done.stdout, format!("/:\n{listed}\n/..:\n{listed}of the host\n0\n"), "{done:?}");
    assert!(done.stderr.contains("Read-only file system"), "{done:?}");
    bundle.assert_nothing_left("run");
}

#[test]
fn nothing_appears_among_the_hosts_mounts() {
    need_root!();
    let bundle = bundle("true", &[bind("host", "/data", &["rbind", "rshared"]), tmpfs("/a", &["shared"])]);
    // A host of its own whose mounts are all shared, as systemd leaves them: what were not cut off would show.
    let script = "set -e; mount --make-rshared /; mount --bind $bundle $bundle; cat /proc/self/mountinfo; echo --
        $ferrun --root $bundle/state create --bundle $bundle c >/dev/null; cat /proc/self/mountinfo; echo --
        $ferrun --root $bundle/state delete --force c; cat /proc/self/mountinfo";
    for flag in ["", "--no-pivot"] {
        let mut command = std::process::Command::new("unshare");
        let script = script.replace("create", &format!("create {flag}"));
        command
            .args(["--mount", "sh", "-c", script.as_str()])
            .env("bundle", &bundle.dir)
            .env("ferrun", common::ferrun_binary());
        let said = Done::new(command.output().unwrap()).ok();
        let tables: Vec<&str> = said.split("--\n").map(str::trim_end).collect();
        assert_eq!(tables.len(), 3, "{said}");
        assert_eq!(tables[1], tables[0], "while a container is there {flag}");
        assert_eq!(tables[2], tables[0], "after it {flag}");
    }
}

#[test]
fn mounts_of_the_host_arrive_only_where_a_slave_was_asked_for() {
    need_root!();
    let wait =
        "i=0; while [ ! -e /go ] && [ $i -lt 3000 ]; do sleep 0.01; i=$((i+1)); done; ls /private/late /slave/late";
    let bundle =
        bundle(wait, &[bind("host", "/private", &["rbind", "rprivate"]), bind("host", "/slave", &["rbind", "rslave"])]);
    let script = "mount -t tmpfs top $bundle/host && mount --make-shared $bundle/host && mkdir $bundle/host/late
        $ferrun --root $bundle/state run --bundle $bundle --pid-file $bundle/pid c & 
        i=0; while [ ! -e $bundle/pid ] && [ $i -lt 3000 ]; do sleep 0.01; i=$((i+1)); done
        mount -t tmpfs late $bundle/host/late && touch $bundle/host/late/arrived && touch $bundle/rootfs/go; wait $!";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).env("bundle", &bundle.dir).env("ferrun", common::ferrun_binary());
    assert_eq!(Done::new(command.output().unwrap()).ok(), "/private/late:\n\n/slave/late:\narrived");
}

#[test]
fn a_link_to_nothing_is_followed_inside_the_root() {
    need_root!();
    let bundle = Bundle::sh("cat /etc/resolv.conf /run/systemd/stub.conf");
    std::os::unix::fs::symlink("../run/systemd/stub.conf", bundle.rootfs().join("etc/resolv.conf")).unwrap();
    std::fs::write(bundle.dir.join("resolv"), "nameserver\n").unwrap();
    let bundle = bundle.with(|config| {
        let mount = serde_json::json!({ "destination": "/etc/resolv.conf", "type": "bind", "source": "resolv", "options": ["bind"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    assert_eq!(bundle.run().ok(), "nameserver\nnameserver");
}

/// A loop device, detached when dropped.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["-d", &self.0]).status();
    }
}

/// Only what is in the cgroup mount waits for the cgroups, in which the container's device rules hold.
#[test]
fn a_device_that_the_container_may_not_open_can_be_mounted_for_it() {
    need_root!();
    if !std::path::Path::new("/sys/fs/cgroup/devices").is_dir() {
        return common::skip("this test needs the devices controller of cgroup v1");
    }
    let bundle = Bundle::sh("cat /disk/file; head -c 1 /dev/disk || echo denied; ls /sys/fs/cgroup/below");
    let image = bundle.dir.join("image");
    let make = "truncate -s 4M $0 && mkfs.ext4 -q $0 && device=$(losetup --find --show $0) && echo $device && \
                unshare --mount sh -c 'mount $0 $1 && echo on the disk > $1/file' $device $1";
    let made = std::process::Command::new("sh").args(["-c", make]).arg(&image).arg(&bundle.dir).output().unwrap();
    let device = Loop(String::from_utf8(made.stdout).unwrap().trim().to_owned());
    if !made.status.success() {
        return common::skip("this test needs losetup, mkfs.ext4 and a kernel with ext4");
    }
    let number = std::os::unix::fs::MetadataExt::rdev(&std::fs::metadata(&device.0).unwrap());
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let bundle = bundle.with(|config| {
        config["root"]["readonly"] = json!(false);
        config["linux"]["devices"] = json!([{ "path": "/dev/disk", "type": "b", "major": major, "minor": minor }]);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/disk", "type": "ext4", "source": device.0, "options": ["ro"] }));
        // What lies in it still comes after it.
        mounts.push(json!({ "destination": "/sys/fs/cgroup/below", "type": "tmpfs", "source": "tmpfs" }));
        mounts.iter_mut().find(|mount| mount["destination"] == "/sys/fs/cgroup").unwrap()["options"] = json!(["rw"]);
    });
    assert_eq!(bundle.run().ok(), "on the disk\ndenied");
    bundle.assert_nothing_left("run");
}
