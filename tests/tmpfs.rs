//! A new tmpfs is like the directory that it is mounted on; with `tmpcopyup` it begins with its contents.

mod common;

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use common::Bundle;
use ferrun::sys::xattr;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknod};
use serde_json::{Value, json};

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}

fn bundle(script: &str, mounts: &[Value]) -> Bundle {
    Bundle::sh(script).with(|config| {
        config["root"]["readonly"] = json!(false);
        config["mounts"].as_array_mut().unwrap().extend_from_slice(mounts);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_DAC_OVERRIDE"));
        }
    })
}

fn make(bundle: &Bundle, path: &str, mode: u32, owner: u32) {
    let path = bundle.rootfs().join(path);
    std::fs::create_dir_all(&path).unwrap();
    chown(&path, Some(owner), Some(owner)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn mode_and_owner_come_from_the_mount_point_unless_they_are_given() {
    need_root!();
    let mounts = [
        tmpfs("/a", &["size=64k"]),
        tmpfs("/b", &["mode=711"]),
        tmpfs("/c", &["uid=7"]),
        tmpfs("/d", &["ro"]),
        tmpfs("/made", &[]),
    ];
    let bundle = bundle("stat -c '%n %a %u:%g' /a /b /c /d /made", &mounts);
    for (path, mode) in [("a", 0o2750), ("b", 0o2750), ("c", 0o700), ("d", 0o1777)] {
        make(&bundle, path, mode, 33);
    }
    // A mode that is given is the whole word: nothing is taken from the mount point then. What ferrun makes
    // itself to mount on has no mode of its own to give.
    let wanted = "/a 2750 33:33\n/b 711 0:0\n/c 700 7:33\n/d 1777 33:33\n/made 1777 0:0";
    assert_eq!(bundle.run_after("umask 077").ok(), wanted);
}

/// A tree with everything that a file system can hold.
fn fill(bundle: &Bundle) {
    make(bundle, "data", 0o751, 5);
    make(bundle, "data/sub/deep", 0o1700, 6);
    let data = bundle.rootfs().join("data");
    std::fs::write(data.join("file"), "contents\n").unwrap();
    std::fs::write(data.join("sub/deep/big"), vec![b'x'; 3_000_000]).unwrap();
    std::fs::write(data.join("setuid"), "").unwrap();
    chown(data.join("setuid"), Some(7), Some(8)).unwrap();
    std::fs::set_permissions(data.join("setuid"), std::fs::Permissions::from_mode(0o6755)).unwrap();
    std::fs::set_permissions(data.join("file"), std::fs::Permissions::from_mode(0o000)).unwrap();
    symlink("/etc/passwd", data.join("link")).unwrap();
    std::os::unix::fs::lchown(data.join("link"), Some(9), Some(9)).unwrap();
    mknod(&data.join("zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o604), makedev(1, 5)).unwrap();
    mknod(&data.join("pipe"), SFlag::S_IFIFO, Mode::from_bits_truncate(0o640), 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap());
}

const LOOK: &str =
    "cd /data; stat -c '%a %u:%g' .; for path in file link pipe setuid socket sub sub/deep sub/deep/big zero; do
    [ -d $path ] || stat -c '%n has %s bytes' $path; stat -c '%n %F %a %u:%g %t:%T %Y' $path; done
    cat file; readlink link; wc -c < sub/deep/big";

#[test]
fn tmpcopyup_copies_everything() {
    need_root!();
    let bundle = bundle(LOOK, &[]);
    fill(&bundle);
    let wanted = bundle.run().ok();
    assert!(wanted.lines().count() >= 12 && wanted.contains("contents"), "{wanted}");
    let copied = bundle.with(|config| {
        config["mounts"].as_array_mut().unwrap().push(tmpfs("/data", &["tmpcopyup"]));
        config["process"]["args"][2] = json!(format!("{LOOK}; echo new > file; rm -r sub; touch x"));
    });
    assert_eq!(copied.run().ok(), wanted);
    // The image is as it was.
    let data = copied.rootfs().join("data");
    assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "contents\n");
    assert!(data.join("sub/deep/big").exists() && !data.join("x").exists());
    copied.assert_nothing_left("run");
}

#[test]
fn tmpcopyup_goes_with_other_options() {
    need_root!();
    let script = "cat /data/file; stat -c %a /data; touch /data/x; grep ' /data ' /proc/self/mountinfo";
    let bundle = bundle(script, &[tmpfs("/data", &["tmpcopyup", "ro", "noexec", "size=8m", "mode=700", "rprivate"])]);
    fill(&bundle);
    let done = bundle.run();
    assert!(done.stderr.contains("/data/x: Read-only file system"), "{done:?}");
    assert!(done.stdout.starts_with("contents\n700\n") && done.stdout.contains("ro,noexec,relatime"), "{done:?}");
}

#[test]
fn what_is_copied_must_fit_and_must_be_there() {
    need_root!();
    let small = bundle("true", &[tmpfs("/data", &["tmpcopyup", "size=64k"])]);
    fill(&small);
    let done = small.run();
    done.fails("ENOSPC /mounts/7");
    small.assert_nothing_left("run");
    // A mount point that is made is empty.
    assert_eq!(bundle("ls /new | wc -l", &[tmpfs("/new", &["tmpcopyup"])]).run().ok(), "0");
}

#[test]
fn extended_attributes_are_copied() {
    need_root!();
    let bundle = bundle("sleep 100", &[tmpfs("/data", &["tmpcopyup"])]);
    fill(&bundle);
    let name = c"trusted.ferrun";
    let data = bundle.rootfs().join("data");
    for path in [data.clone(), data.join("file"), data.join("sub")] {
        if xattr::set(File::open(path).unwrap(), name, b"kept\0").is_err() {
            return common::skip("this test needs trusted attributes in /tmp");
        }
    }
    bundle.run_detached().ok();
    let data = format!("/proc/{}/root/data", bundle.state()["pid"]);
    for path in ["", "/file", "/sub"] {
        let value = xattr::get(File::open(format!("{data}{path}")).unwrap(), name);
        assert_eq!(value.unwrap(), b"kept\0", "{path}");
    }
    assert!(xattr::get(File::open(format!("{data}/setuid")).unwrap(), name).is_err());
}

#[test]
fn what_the_kernel_makes_up_is_not_copied() {
    need_root!();
    for path in ["/x", "/y", "/q"] {
        let bundle = bundle("true", &[tmpfs(path, &["tmpcopyup"])]).with(|config| {
            let mount = json!({ "destination": "/y/z", "source": "/sys", "options": ["bind"] });
            config["mounts"].as_array_mut().unwrap().insert(7, mount);
            // One of those of which there is no list.
            let queues = json!({ "destination": "/q", "type": "mqueue", "source": "mqueue" });
            config["mounts"].as_array_mut().unwrap().insert(7, queues);
        });
        symlink("proc", bundle.rootfs().join("x")).unwrap();
        bundle.run().fails("/mounts/9");
    }
}

#[test]
fn links_in_a_copied_tree_lead_nowhere() {
    need_root!();
    let bundle = bundle(
        "ls -l /data/out /data/sub/out | grep -c canary; cat /data/out/secret",
        &[tmpfs("/data", &["tmpcopyup"])],
    );
    let canary = common::Canary::beside(&bundle);
    fill(&bundle);
    symlink(&canary.dir, bundle.rootfs().join("data/out")).unwrap();
    symlink("../../../canary", bundle.rootfs().join("data/sub/out")).unwrap();
    let done = bundle.run();
    assert!(done.stderr.contains("No such file"), "{done:?}");
    assert!(!done.stdout.contains("the host's"), "{done:?}");
    canary.assert_alive("a link in a tree that is copied up");
}

#[test]
fn a_tree_of_any_depth_is_copied() {
    need_root!();
    let mount = json!({ "destination": "/deep", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] });
    let bundle = bundle("true", &[mount]);
    let top = bundle.rootfs().join("deep");
    std::fs::create_dir(&top).unwrap();
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dig = |depth: usize| {
        let mut at = open(&top, flags, Mode::empty()).unwrap();
        for _ in 0..depth {
            let _ = mkdirat(&at, "d", Mode::S_IRWXU);
            at = openat(&at, "d", flags, Mode::empty()).unwrap();
        }
    };
    let most = "ulimit -n $(ulimit -H -n)";
    dig(3000);
    let shallow = bundle.run_after(most);
    dig(20_000);
    // Each level takes two descriptors, of which there may be fewer.
    let (deep, few) = (bundle.run_after(most), bundle.run_after("ulimit -n 1024"));
    // The standard library's way down a tree is recursive.
    assert!(std::process::Command::new("rm").arg("-rf").arg(&top).status().unwrap().success());
    shallow.ok();
    assert!(deep.status == 0 || deep.error().errno == "EMFILE", "{deep:?}");
    few.fails("EMFILE /mounts/7");
    bundle.assert_nothing_left("run");
}
