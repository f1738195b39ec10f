//! What the default config looks like from inside: namespaces, file systems, devices, hidden paths.

mod common;

use common::{Bundle, mount_lines, mounted_on};
use serde_json::{Value, json};

fn writable(config: &mut Value) {
    config["root"]["readonly"] = json!(false);
}

/// Names of capabilities that every set shall hold.
fn with_capabilities(config: &mut Value, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        let list = config["process"]["capabilities"][set].as_array_mut().unwrap();
        list.extend(names.iter().map(|name| json!(name)));
    }
}

/// Every kind of namespace that this kernel has, with the container's and the host's identity.
fn namespaces(bundle: &Bundle) -> Vec<(String, bool)> {
    let inside = bundle.run().ok();
    let lines = inside.lines().map(|line| line.split_once(' ').unwrap());
    let differs =
        |kind: &str, link: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str() != Some(link);
    lines.map(|(kind, link)| (kind.to_owned(), differs(kind, link))).collect()
}

const PRINT_NAMESPACES: &str = "for ns in pid net ipc uts mnt cgroup user time; do \
                                [ -e /proc/self/ns/$ns ] && echo $ns $(readlink /proc/self/ns/$ns); done; true";

#[test]
fn six_namespaces_are_new_and_the_others_are_the_hosts() {
    need_root!();
    for (kind, new) in namespaces(&Bundle::sh(PRINT_NAMESPACES)) {
        assert_eq!(new, !matches!(kind.as_str(), "user" | "time"), "{kind}");
    }
}

#[test]
fn only_the_namespaces_in_the_list_are_new() {
    need_root!();
    for (kind, link) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")] {
        let bundle = Bundle::sh(PRINT_NAMESPACES).with(|config| {
            config["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": kind }]);
            config["hostname"] = json!("");
        });
        for (found, new) in namespaces(&bundle) {
            assert_eq!(new, found == link || found == "mnt", "{found} in a container with {kind}");
        }
    }
}

#[test]
fn the_program_is_pid_1_and_alone() {
    need_root!();
    assert_eq!(Bundle::sh("echo $$ /proc/[0-9]*").run().ok(), "1 /proc/1");
}

#[test]
fn the_hostname_is_the_configs_or_else_the_hosts() {
    need_root!();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(Bundle::new(&["hostname"]).run().ok(), "ferrun");
    let unnamed = Bundle::new(&["hostname"]).with(|config| config["hostname"] = json!(""));
    assert_eq!(unnamed.run().ok(), host.trim(), "a new UTS namespace is a copy of the host's");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), host);
}

#[test]
fn the_default_mounts_have_their_types_and_options() {
    need_root!();
    let mounts = mount_lines(&Bundle::new(&["cat", "/proc/self/mountinfo"]).run().ok());
    for (point, kind, options, superblock) in [
        ("/", "", "ro", ""),
        ("/proc", "proc", "rw", ""),
        ("/dev", "tmpfs", "rw nosuid", "size=65536k mode=755"),
        ("/dev/pts", "devpts", "rw nosuid noexec", "gid=5 mode=620 ptmxmode=666"),
        ("/dev/shm", "tmpfs", "rw nosuid nodev noexec", "size=65536k"),
        ("/dev/mqueue", "mqueue", "rw nosuid nodev noexec", ""),
        ("/sys", "sysfs", "ro nosuid nodev noexec", ""),
        ("/sys/fs/cgroup", "", "ro nosuid nodev noexec relatime", ""),
    ] {
        let mount = mounted_on(&mounts, point);
        assert!(kind.is_empty() || mount.kind == kind, "{mount:?}");
        for option in ["ro", "rw", "nosuid", "nodev", "noexec", "relatime"] {
            let wanted = options.split(' ').any(|one| one == option);
            // /dev is strictatime; for the rest the kernel's default is relatime.
            assert!(mount.has(option) == wanted || (option == "relatime" && point != "/dev"), "{option}: {mount:?}");
        }
        let has = |one: &str| mount.superblock.iter().any(|option| option == one);
        assert!(superblock.split_whitespace().all(has), "{superblock}: {mount:?}");
    }
    let kind = mounted_on(&mounts, "/sys/fs/cgroup").kind.clone();
    assert!(kind == "cgroup2" || kind == "tmpfs", "{kind}");
    for mount in mounts.iter().filter(|mount| mount.point.starts_with("/sys/fs/cgroup/")) {
        assert!(mount.kind == "cgroup" && mount.has("ro") && mount.root == "/", "{mount:?}");
    }
    let modes = Bundle::new(&["stat", "-c", "%a", "/dev", "/dev/shm", "/dev/mqueue", "/proc", "/sys"]).run().ok();
    assert_eq!(modes, "755\n1777\n1777\n555\n555");
}

#[test]
fn the_hosts_tree_is_gone() {
    need_root!();
    let listed = "bin\ndev\netc\nproc\nroot\nsys\ntmp";
    assert_eq!(Bundle::sh("ls /; ls /..").run().ok(), format!("{listed}\n{listed}"));
    let mounts = mount_lines(&Bundle::new(&["cat", "/proc/self/mountinfo"]).run().ok());
    assert_eq!(mounts.iter().filter(|mount| mount.point == "/").count(), 1, "{mounts:?}");
}

#[test]
fn the_default_devices_are_what_they_are_called() {
    need_root!();
    let names = ["null", "zero", "full", "random", "urandom", "tty"].map(|name| format!("/dev/{name}"));
    let args: Vec<&str> =
        ["stat", "-c", "%n %F %t:%T %a %u:%g"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let said = Bundle::new(&args).run().ok();
    let numbers = ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"];
    let wanted: Vec<String> = names
        .iter()
        .zip(numbers)
        .map(|(name, number)| format!("{name} character special file {number} 666 0:0"))
        .collect();
    assert_eq!(said, wanted.join("\n"));
    let links =
        Bundle::sh("cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done; readlink core").run().stdout;
    let core = if std::path::Path::new("/proc/kcore").exists() { "/proc/kcore\n" } else { "" };
    let fds = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n";
    assert_eq!(links, format!("{fds}{core}"));
}

#[test]
fn the_devices_work() {
    need_root!();
    let script = "echo x > /dev/null && cat /dev/null && head -c 3 /dev/zero | tr '\\0' z && echo \
                  && head -c 5 /dev/urandom | wc -c && head -c 5 /dev/random | wc -c; echo x > /dev/full; echo $?";
    let done = Bundle::sh(script).run();
    assert_eq!((done.stdout.as_str(), done.status), ("zzz\n5\n5\n1\n", 0), "{done:?}");
    assert!(done.stderr.contains("No space left on device"), "{done:?}");
}

#[test]
fn a_terminal_can_be_allocated() {
    need_root!();
    // Opening ptmx makes the other side appear, with the mode and group of the mount.
    let script = "exec 3<>/dev/ptmx; ls /dev/pts; stat -c '%F %a %u:%g' /dev/pts/0";
    for user in [0, 1000] {
        let bundle = Bundle::sh(script).with(|config| config["process"]["user"]["uid"] = json!(user));
        assert_eq!(bundle.run().ok(), format!("0\nptmx\ncharacter special file 620 {user}:5"));
    }
}

#[test]
fn other_devices_cannot_be_opened_even_if_they_can_be_made() {
    need_root!();
    // 1:11 is /dev/kmsg, which anyone may open for writing; 1:4 is /dev/port.
    let script = "mknod -m 666 /dev/mine c 1 11 || exit 9; true > /dev/mine";
    let bundle = Bundle::sh(script).with(|config| with_capabilities(config, &["CAP_MKNOD"]));
    let done = bundle.run();
    assert!(done.status == 1 && done.stderr.contains("Operation not permitted"), "{done:?}");
    let with_rule = |kind: &str| {
        Bundle::sh(script).with(|config| {
            with_capabilities(config, &["CAP_MKNOD"]);
            let rule = json!({ "allow": true, "type": kind, "major": 1, "minor": 11, "access": "w" });
            config["linux"]["resources"]["devices"].as_array_mut().unwrap().push(rule);
        })
    };
    // What is unbuffered is a character device, and `a` stands for both kinds.
    for (kind, status) in [("c", 0), ("u", 0), ("a", 0), ("b", 1)] {
        let done = with_rule(kind).run();
        assert_eq!(done.status, status, "{kind}: {done:?}");
    }
    let done = with_rule("c").with(|config| config["process"]["args"][2] = json!(script.replace(" c 1", " b 1"))).run();
    assert!(done.status == 1 && done.stderr.contains("Operation not permitted"), "of the other kind: {done:?}");
    let allowed = with_rule("c");
    let done = allowed.with(|config| config["process"]["args"][2] = json!(script.replace("> ", "< "))).run();
    assert!(done.status == 1 && done.stderr.contains("Operation not permitted"), "writing only: {done:?}");
}

#[test]
fn the_root_is_read_only_unless_the_config_says_otherwise() {
    need_root!();
    let bundle = Bundle::sh("touch /made /tmp/made");
    let done = bundle.run();
    assert!(done.status != 0 && done.stderr.matches("Read-only file system").count() == 2, "{done:?}");
    assert!(!bundle.rootfs().join("made").exists());
    let bundle = bundle.with(writable);
    bundle.run().ok();
    assert!(bundle.rootfs().join("made").exists());
}

#[test]
fn masked_paths_are_empty_and_stay_so() {
    need_root!();
    let script = "ls -A /secret /deep/secret; cat /file; wc -c < /file; touch /secret/x; echo new > /file; \
                  stat -L -c '%F' /file; cat /proc/self/mountinfo";
    let bundle = Bundle::sh(script).with(writable).with(|config| {
        config["linux"]["maskedPaths"] = json!(["/secret", "/deep/secret", "/file", "/missing", "/file/below"]);
    });
    for dir in ["secret", "deep/secret"] {
        std::fs::create_dir_all(bundle.rootfs().join(dir).join("hidden")).unwrap();
    }
    std::fs::write(bundle.rootfs().join("file"), "hidden").unwrap();
    let done = bundle.run();
    let (said, mounts) = done.stdout.split_once("special file\n").unwrap_or_else(|| panic!("{done:?}"));
    assert_eq!(said, "/deep/secret:\n\n/secret:\n0\ncharacter ");
    assert!(done.stderr.contains("/secret/x: Read-only file system"), "{done:?}");
    assert_eq!(std::fs::read_to_string(bundle.rootfs().join("file")).unwrap(), "hidden");
    let mounts = mount_lines(mounts);
    let (one, other) = (mounted_on(&mounts, "/secret"), mounted_on(&mounts, "/deep/secret"));
    assert_eq!(one.device, other.device, "one file system hides all directories");
    assert!(one.has("ro") && one.has("nosuid") && one.has("nodev") && one.has("noexec"), "{one:?}");
}

/// Whatever the hidden path was, its cover is root's and may be looked into, as any empty directory and /dev/null are.
#[test]
fn the_cover_of_a_masked_path_has_its_own_mode_and_owner() {
    need_root!();
    let script = "stat -c '%n %a %u:%g' /secret /file; ls -A /secret; cat /file; stat -c '%a %u:%g' /dev/null";
    let bundle = Bundle::sh(script).with(writable).with(|config| {
        config["linux"]["maskedPaths"] = json!(["/secret", "/file"]);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    let paths = ["secret", "file"].map(|name| bundle.rootfs().join(name));
    std::fs::create_dir(&paths[0]).unwrap();
    std::fs::write(&paths[1], "hidden").unwrap();
    for path in &paths {
        std::os::unix::fs::chown(path, Some(1000), Some(1000)).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    assert_eq!(bundle.run().ok(), "/secret 1777 0:0\n/file 666 0:0\n666 0:0");
}

/// The file system itself has no room, should somebody make its mount writable again.
#[test]
fn nothing_can_be_put_into_the_cover_of_a_masked_directory() {
    need_root!();
    let script = "mount -o remount,bind,rw /secret && touch /secret/x; ls -A /secret";
    let bundle = Bundle::sh(script).with(writable).with(|config| {
        config["linux"]["maskedPaths"] = json!(["/secret"]);
        with_capabilities(config, &["CAP_SYS_ADMIN"]);
    });
    std::fs::create_dir(bundle.rootfs().join("secret")).unwrap();
    let done = bundle.run();
    assert!(done.stderr.contains("/secret/x: No space left on device"), "{done:?}");
    assert_eq!(done.stdout, "", "{done:?}");
}

#[test]
fn a_path_that_is_listed_twice_is_mounted_on_once() {
    need_root!();
    let bundle =
        Bundle::sh("cat /file /both/file; ls -A /dir; cat /proc/self/mountinfo").with(writable).with(|config| {
            config["linux"]["maskedPaths"] =
                json!(["/proc/cpuinfo", "/file", "/proc//cpuinfo", "/dir", "/./file", "/dir/", "//both", "/dir"]);
            config["linux"]["readonlyPaths"] =
                json!(["/proc/sys", "/ro", "/both", "/ro/", "/proc/./sys", "/dir", "/ro"]);
        });
    for name in ["dir/hidden", "both", "ro"] {
        std::fs::create_dir_all(bundle.rootfs().join(name)).unwrap();
    }
    for name in ["file", "both/file"] {
        std::fs::write(bundle.rootfs().join(name), "hidden").unwrap();
    }
    let done = bundle.run();
    assert!(done.stderr.contains("/both/file': No such file"), "{done:?}");
    let mounts = mount_lines(&done.stdout);
    for path in ["/file", "/dir", "/both", "/ro", "/proc/cpuinfo", "/proc/sys"] {
        assert_eq!(mounts.iter().filter(|mount| mount.point == path).count(), 1, "{path}: {done:?}");
    }
    assert!(mounted_on(&mounts, "/ro").has("ro") && mounted_on(&mounts, "/proc/sys").has("ro"), "{done:?}");
}

/// What is hidden first hides what is below it; below what is hidden later both stay, since a link may lead elsewhere.
#[test]
fn paths_below_others_are_masked_in_the_order_of_the_list() {
    need_root!();
    for (list, link_is_hidden) in [(json!(["/a", "/a/link"]), false), (json!(["/a/link", "/a"]), true)] {
        let bundle = Bundle::sh("cat /elsewhere; ls -A /a").with(writable).set("/linux/maskedPaths", list);
        std::fs::create_dir_all(bundle.rootfs().join("a")).unwrap();
        std::os::unix::fs::symlink("/elsewhere", bundle.rootfs().join("a/link")).unwrap();
        std::fs::write(bundle.rootfs().join("elsewhere"), "seen").unwrap();
        assert_eq!(bundle.run().ok(), if link_is_hidden { "" } else { "seen" });
    }
}

#[test]
fn hundreds_of_paths_are_masked() {
    need_root!();
    let paths: Vec<String> = (0..150).flat_map(|n| [format!("/d/{n}"), format!("/f/{n}")]).collect();
    let bundle = Bundle::sh("cat /d/*/hidden /f/* 2>/dev/null | wc -c; ls -d /d/*/hidden 2>/dev/null | wc -l");
    for n in 0..150 {
        std::fs::create_dir_all(bundle.rootfs().join(format!("d/{n}/hidden"))).unwrap();
        std::fs::create_dir_all(bundle.rootfs().join("f")).unwrap();
        std::fs::write(bundle.rootfs().join(format!("f/{n}")), "hidden").unwrap();
    }
    let bundle = bundle.set("/linux/maskedPaths", json!(paths));
    assert_eq!(bundle.run().ok(), "0\n0");
}

#[test]
fn the_default_masks_hide_what_there_is_to_hide() {
    need_root!();
    let bundle = Bundle::sh("true");
    let masked = bundle.config["linux"]["maskedPaths"].as_array().unwrap().clone();
    let list: Vec<&str> = masked.iter().map(|path| path.as_str().unwrap()).collect();
    let script =
        format!("for path in {}; do [ ! -e $path ] || cat $path/* $path; done 2>/dev/null; true", list.join(" "));
    let bundle = bundle.with(|config| config["process"]["args"][2] = json!(script));
    assert_eq!(bundle.run().ok(), "");
    let hidden = list.iter().any(|path| std::path::Path::new(path).exists());
    assert!(hidden, "this host has none of them: the test shows nothing");
}

#[test]
fn read_only_paths_cannot_be_written_below() {
    need_root!();
    let script = "touch /dir/x /dir/sub/x /other/x; echo no > /file; echo no > /proc/sys/kernel/domainname; cat /file;
                  stat -f -c %T /dir/sub";
    let bundle = Bundle::sh(script).with(writable).with(|config| {
        let mount = json!({ "destination": "/dir/sub", "type": "tmpfs", "source": "tmpfs" });
        config["mounts"].as_array_mut().unwrap().push(mount);
        config["linux"]["readonlyPaths"] = json!(["/dir", "/file", "/missing", "/file/below", "/proc/sys"]);
    });
    for dir in ["dir/sub", "other"] {
        std::fs::create_dir_all(bundle.rootfs().join(dir)).unwrap();
    }
    std::fs::write(bundle.rootfs().join("file"), "old").unwrap();
    let done = bundle.run();
    assert_eq!(done.stdout, "oldtmpfs\n", "what is mounted below stays there");
    for path in ["/dir/x", "/dir/sub/x", "/file", "/proc/sys/kernel/domainname"] {
        assert!(done.stderr.contains(&format!("{path}: Read-only file system")), "{path}: {done:?}");
    }
    assert!(bundle.rootfs().join("other/x").exists(), "{done:?}");
}

#[test]
fn the_network_is_a_loopback_that_is_up() {
    need_root!();
    let said = Bundle::sh("ls /sys/class/net; cat /sys/class/net/lo/flags; ip -o link | wc -l").run().ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[2], lines.len()), ("lo", "1", 3), "{said}");
    let flags = u32::from_str_radix(lines[1].trim_start_matches("0x"), 16).unwrap();
    assert_eq!(flags & 1, 1, "IFF_UP in {said}");
}

#[test]
fn containerds_default_config_runs() {
    need_root!();
    let script = "grep -E '^(Cap|NoNewPrivs|Groups)' /proc/self/status; ulimit -n; df -k /run | grep -c tmpfs; \
                  touch /written; stat -c %a /dev/shm; ls /sys/class/net; cat /dev/null";
    let bundle = Bundle::sh(script);
    let text = include_bytes!("data/configs/ctr-default.json");
    let mut config: Value = serde_json::from_slice(text).unwrap();
    config["root"]["path"] = json!("rootfs");
    config["process"]["args"] = bundle.config["process"]["args"].clone();
    config["linux"]["cgroupsPath"] = bundle.config["linux"]["cgroupsPath"].clone();
    let bundle = bundle.with(|own| *own = config);
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW,
    // SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP
    let mask = "00000000a80425fb";
    let none = "0000000000000000";
    let wanted = format!(
        "Groups:\t0 \nCapInh:\t{none}\nCapPrm:\t{mask}\nCapEff:\t{mask}\nCapBnd:\t{mask}\nCapAmb:\t{none}\n\
         NoNewPrivs:\t1\n1024\n1\n1777\nlo"
    );
    assert_eq!(bundle.run().ok(), wanted);
    assert!(bundle.rootfs().join("written").exists(), "its root is writable");
    bundle.assert_nothing_left("run");
}
