//! `linux.devices`: nodes in /dev and elsewhere, those that are there already, and hosts without mknod(2).

mod common;

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use common::{Bundle, Done, while_exchanged};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

fn device(path: &str, kind: &str, major: u64, minor: u64) -> Value {
    json!({ "path": path, "type": kind, "major": major, "minor": minor })
}

/// A device with further properties.
fn with(mut device: Value, more: &Value) -> Value {
    device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    device
}

fn bundle(script: &str, devices: &[Value]) -> Bundle {
    Bundle::sh(script).with(|config| {
        config["linux"]["devices"] = json!(devices);
        config["root"]["readonly"] = json!(false);
    })
}

#[test]
fn devices_have_their_numbers_modes_and_owners() {
    need_root!();
    let devices = [
        device("/dev/fuse", "c", 10, 229),
        with(device("/dev/disk", "b", 7, 250), &json!({ "fileMode": 0o640, "uid": 5, "gid": 6 })),
        with(device("/dev/raw", "u", 1, 3), &json!({ "fileMode": 0o20_600 })),
        with(json!({ "path": "/dev/pipe", "type": "p" }), &json!({ "fileMode": 0o4622, "gid": 7 })),
        with(device("/dev/none", "c", 1, 5), &json!({ "fileMode": 0 })),
        device("/srv/deep/../er/zero", "c", 1, 5),
        device("/tmp/full", "c", 1, 7),
    ];
    let script =
        "stat -c '%n %F %t:%T %a %u:%g' /dev/fuse /dev/disk /dev/raw /dev/pipe /dev/none /srv/er/zero /tmp/full";
    // The modes are exact, whatever the caller's umask is.
    let wanted = "/dev/fuse character special file a:e5 666 0:0\n\
                  /dev/disk block special file 7:fa 640 5:6\n\
                  /dev/raw character special file 1:3 600 0:0\n\
                  /dev/pipe fifo 0:0 4622 0:7\n\
                  /dev/none character special file 1:5 0 0:0\n\
                  /srv/er/zero character special file 1:5 666 0:0\n\
                  /tmp/full character special file 1:7 666 0:0";
    assert_eq!(bundle(script, &devices).run_after("umask 077").ok(), wanted);
    assert_eq!(bundle("head -c 3 /srv/er/zero | wc -c; echo x > /dev/raw", &devices).run().ok(), "3");
}

#[test]
fn a_default_device_may_be_given_another_mode_but_no_other_number() {
    need_root!();
    let mode = json!({ "fileMode": 0o600, "uid": 1 });
    let bundle_of = |device: Value| bundle("stat -c '%a %u %t:%T' /dev/null; stat -c %a /dev/zero", &[device]);
    let same = with(device("/dev/null", "c", 1, 3), &mode);
    assert_eq!(bundle_of(same).run().ok(), "600 1 1:3\n666");
    let without = device("/dev/../dev/null", "c", 1, 3);
    assert_eq!(bundle_of(without).run().ok(), "666 0 1:3\n666");
    for other in [device("/dev/null", "c", 1, 5), device("/dev/null", "b", 1, 3), device("/tmp/..//dev/tty", "c", 1, 3)]
    {
        let done = bundle_of(other).run();
        done.fails("/linux/devices/0");
    }
}

#[test]
fn what_the_image_has_in_the_place_of_a_device() {
    need_root!();
    let node = |bundle: &Bundle, number: u64| {
        mknod(&bundle.rootfs().join("srv"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), number).unwrap();
    };
    let wanted = || device("/srv", "c", 1, 5);
    // The same device is kept as it is, whatever the config says of its owner and mode.
    let kept = bundle("stat -c '%t:%T %a %u' /srv", &[wanted()]);
    node(&kept, makedev(1, 5));
    assert_eq!(kept.run().ok(), "1:5 600 0");
    let given = json!({ "fileMode": 0o644, "uid": 3 });
    let kept = bundle("stat -c '%t:%T %a %u' /srv", &[with(wanted(), &given)]);
    node(&kept, makedev(1, 5));
    assert_eq!(kept.run().ok(), "1:5 600 0");
    // That of a default device in the image's own /dev, too.
    let without_dev = |config: &mut Value| {
        let list = config["mounts"].as_array_mut().unwrap();
        list.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    };
    let devices = [with(device("/dev/zero", "c", 1, 5), &given), with(device("/dev/full", "c", 1, 7), &given)];
    let kept = bundle("stat -c '%t:%T %a %u' /dev/zero /dev/full", &devices).with(without_dev);
    mknod(&kept.rootfs().join("dev/zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 5)).unwrap();
    assert_eq!(kept.run().ok(), "1:5 600 0\n1:7 644 3");

    // Nor is one changed for having the name of a default device elsewhere.
    let kept = bundle("stat -c '%t:%T %a %u' /opt/zero", &[with(device("/opt/zero", "c", 1, 5), &given)]);
    std::fs::create_dir(kept.rootfs().join("opt")).unwrap();
    mknod(&kept.rootfs().join("opt/zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 5)).unwrap();
    assert_eq!(kept.run().ok(), "1:5 600 0");

    let other = bundle("true", &[wanted()]);
    node(&other, makedev(1, 3));
    other.run().fails("/linux/devices/0");
    let file = bundle("true", &[wanted()]);
    std::fs::write(file.rootfs().join("srv"), "").unwrap();
    file.run().fails("/linux/devices/0");
    let pipe = bundle("true", &[json!({ "path": "/etc", "type": "p" })]);
    pipe.run().fails("/linux/devices/0");
}

#[test]
fn links_of_the_image_lead_no_device_out_of_it() {
    need_root!();
    let bundle = bundle("stat -c %t:%T /link/sub/zero /srv/canary/zero", &[device("/link/sub/zero", "c", 1, 5)]);
    let canary = common::Canary::beside(&bundle);
    std::fs::create_dir_all(bundle.rootfs().join("srv/canary")).unwrap();
    std::os::unix::fs::symlink("../../srv", bundle.rootfs().join("link")).unwrap();
    std::os::unix::fs::symlink("/../../canary", bundle.rootfs().join("srv/sub")).unwrap();
    std::os::unix::fs::symlink("srv/canary", bundle.rootfs().join("canary")).unwrap();
    assert_eq!(bundle.run().ok(), "1:5\n1:5");
    canary.assert_alive("a directory of a device that is a link");
    // The name itself is not followed.
    std::fs::remove_file(bundle.rootfs().join("srv/canary/zero")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", bundle.rootfs().join("srv/canary/zero")).unwrap();
    bundle.run().fails("/linux/devices/0");
}

#[test]
fn a_device_listed_twice() {
    need_root!();
    let twice = [device("/dev/x", "c", 1, 5), with(device("/dev//x", "u", 1, 5), &json!({ "fileMode": 0o604 }))];
    assert_eq!(bundle("stat -c %a /dev/x", &twice).run().ok(), "604");
    let differently = [device("/dev/x", "c", 1, 5), device("/dev/./x", "c", 1, 7)];
    let done = bundle("true", &differently).run();
    done.fails("/linux/devices/1");
}

#[test]
fn devices_that_make_no_sense_are_refused() {
    need_root!();
    for (wrong, place) in [
        (json!({ "path": "dev/x", "type": "c", "major": 1, "minor": 3 }), "/path"),
        (json!({ "path": "/dev/x", "type": "x", "major": 1, "minor": 3 }), "/type"),
        (json!({ "path": "/dev/x", "type": "c", "major": 1 }), ""),
        (json!({ "path": "/dev/x", "type": "b", "major": -1, "minor": 3 }), ""),
        (json!({ "path": "/dev/x", "type": "c", "major": -2, "minor": 3 }), "/major"),
        (json!({ "path": "/dev/x", "type": "c", "major": 4097, "minor": 3 }), "/major"),
        (json!({ "path": "/dev/x", "type": "b", "major": 1, "minor": 1048576 }), "/minor"),
        (json!({ "path": "/dev/x", "type": "p", "uid": 4294967295u32 }), "/uid"),
        (json!({ "path": "/dev/x", "type": "p", "fileMode": 0o200_000 }), "/fileMode"),
        (json!({ "type": "p" }), ""),
    ] {
        let done = bundle("true", &[device("/dev/y", "c", 1, 5), wrong]).run();
        done.fails(&format!("/linux/devices/1{place}"));
    }
}

#[test]
fn ptmx_is_the_containers_own() {
    need_root!();
    let done = bundle("readlink /dev/ptmx", &[with(device("/dev/ptmx", "c", 5, 2), &json!({ "fileMode": 0o600 }))]);
    assert_eq!(done.run().ok(), "pts/ptmx");
}

#[test]
fn nothing_is_made_in_a_dev_that_is_bound() {
    need_root!();
    let devices = [device("/dev/new", "c", 1, 5), device("/srv/new", "c", 1, 5)];
    let bundle = bundle("ls /dev; ls /srv", &devices).with(|config| {
        let list = config["mounts"].as_array_mut().unwrap();
        list.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        list.push(json!({ "destination": "/dev", "source": "host", "options": ["bind"] }));
        // Masks need a /dev/null.
        config["linux"]["maskedPaths"] = json!([]);
    });
    std::fs::create_dir(bundle.dir.join("host")).unwrap();
    std::fs::write(bundle.dir.join("host/file"), "").unwrap();
    assert_eq!(bundle.run().ok(), "file\nnew");
    assert_eq!(std::fs::read_dir(bundle.dir.join("host")).unwrap().count(), 1);
}

/// Every devtmpfs is the host's.
#[test]
fn nothing_is_made_in_a_devtmpfs() {
    need_root!();
    let mount = json!({ "destination": "/dev", "source": "devtmpfs", "type": "devtmpfs" });
    let bundle = Bundle::sh("stat -f -c %T /dev; ls /dev").with(|config| {
        let list = config["mounts"].as_array_mut().unwrap();
        list.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        list.push(mount);
        config["linux"]["maskedPaths"] = json!([]);
    });
    let path = format!("/dev/ferrun-{}", bundle.id);
    let bundle = bundle.set("/linux/devices", json!([device(&path, "c", 1, 5)]));
    let said = bundle.run().ok();
    let made = std::fs::remove_file(&path).is_ok();
    assert!(!made && said.contains("null") && !said.contains(&path[5..]), "{said}");
}

#[test]
fn links_of_the_image_in_the_place_of_those_to_the_streams_are_refused() {
    need_root!();
    for name in ["fd", "stdin", "stdout", "stderr"] {
        let bundle = Bundle::new(&["true"]).with(|config| {
            let list = config["mounts"].as_array_mut().unwrap();
            list.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        });
        std::os::unix::fs::symlink("/etc/passwd", bundle.rootfs().join("dev").join(name)).unwrap();
        bundle.run().fails("/linux/devices");
        bundle.assert_nothing_left("run");
    }
}

/// By links of the image, by a mount point that is a link, and as a mount that the rootfs had before.
#[test]
fn a_dev_of_the_host_stays_as_it_is_however_it_is_reached() {
    need_root!();
    let given = json!({ "fileMode": 0o640, "uid": 5, "gid": 6 });
    let made = |directory: &str| {
        let devices = ["zero", "new", "deep/new", "sub/new"]
            .map(|name| with(device(&format!("{directory}/{name}"), "c", 1, 5), &given));
        bundle("ls /dev | sort; stat -c '%a %u' /dev/zero", &devices).with(|config| {
            config["linux"]["maskedPaths"] = json!([]);
            let list = config["mounts"].as_array_mut().unwrap();
            list.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        })
    };
    let bind = |destination: &str| json!({ "destination": destination, "source": "host", "options": ["rbind"] });
    let over = json!({ "destination": "/dev/sub", "type": "tmpfs", "source": "none" });
    let prepare = |bundle: &Bundle| {
        let host = bundle.dir.join("host");
        std::fs::create_dir_all(host.join("sub")).unwrap();
        mknod(&host.join("zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 5)).unwrap();
        std::os::unix::fs::symlink("/dev", bundle.rootfs().join("devl")).unwrap();
    };
    for directory in ["/dev", "/devl", "/tmp/../devl"] {
        for (mounts, before) in [
            (json!([bind("/dev")]), ""),
            (json!([bind("/dev"), over]), ""),
            (json!([bind("/devl")]), ""),
            (json!([]), "mount --bind $bundle/host $bundle/rootfs/dev"),
        ] {
            let bundle = made(directory);
            prepare(&bundle);
            let bundle = bundle.with(|config| {
                config["mounts"].as_array_mut().unwrap().extend(mounts.as_array().unwrap().clone());
            });
            let done = bundle.run_after(before);
            assert_eq!(done.ok(), "sub\nzero\n600 0", "{directory} {mounts} {before}");
            let node = std::fs::metadata(bundle.dir.join("host/zero")).unwrap();
            assert_eq!((node.uid(), node.gid(), node.permissions().mode() & 0o7777), (0, 0, 0o600));
            assert_eq!(std::fs::read_dir(bundle.dir.join("host/sub")).unwrap().count(), 0, "{directory} {mounts}");
        }
    }
    // What covers it is the container's own.
    let covered = made("/devl").with(|config| {
        let cover = json!({ "destination": "/dev", "type": "tmpfs", "source": "none", "options": ["mode=755"] });
        config["mounts"].as_array_mut().unwrap().extend([bind("/dev"), cover]);
        config["process"]["args"][2] = json!("stat -c '%a %u' /dev/zero /dev/new /dev/null");
    });
    prepare(&covered);
    assert_eq!(covered.run().ok(), "640 5\n640 5\n666 0");
    assert_eq!(std::fs::read_dir(covered.dir.join("host")).unwrap().count(), 2);
}

/// A bundle with the host's own /dev at a place that is not /dev, and a device that a link leads there.
fn beside_the_hosts_dev(bundle: Bundle, place: &str) -> Bundle {
    bundle.with(|config| {
        let dev = json!({ "destination": place, "source": "/dev", "options": ["rbind"] });
        config["mounts"].as_array_mut().unwrap().push(dev);
    })
}

#[test]
fn a_dev_of_the_host_stays_as_it_is_wherever_it_is_bound() {
    need_root!();
    let bundle = beside_the_hosts_dev(bundle("echo ran", &[]), "/hostdev");
    let name = format!("ferrun-{}", bundle.id);
    let bundle = bundle.set("/linux/devices", json!([device(&format!("/opt/{name}"), "c", 1, 5)]));
    std::os::unix::fs::symlink("/hostdev", bundle.rootfs().join("opt")).unwrap();
    let done = bundle.run();
    assert!(std::fs::remove_file(format!("/dev/{name}")).is_err(), "a device was created in the host's /dev");
    assert_eq!(done.ok(), "ran");
}

/// A directory of a volume is exchanged, again and again, with a link to the host's /dev.
#[test]
fn a_dev_of_the_host_stays_as_it_is_while_links_in_a_volume_change() {
    need_root!();
    let bundle = beside_the_hosts_dev(bundle("true", &[]), "/dev");
    let (name, volume) = (format!("ferrun-{}", bundle.id), bundle.dir.join("volume"));
    std::fs::create_dir_all(volume.join("a")).unwrap();
    std::os::unix::fs::symlink("/dev", volume.join("b")).unwrap();
    let bundle = bundle.with(|config| {
        config["linux"]["devices"] = json!([device(&format!("/vol/a/{name}"), "c", 1, 5)]);
        let volume = json!({ "destination": "/vol", "source": volume, "options": ["bind"] });
        config["mounts"].as_array_mut().unwrap().push(volume);
    });
    let created = while_exchanged(&volume, || {
        (0..200).any(|_| {
            bundle.run();
            std::fs::remove_file(format!("/dev/{name}")).is_ok()
        })
    });
    assert!(!created, "a device was created in the host's /dev");
}

/// As in a user namespace: ferrun may mount, and not make devices.
fn run_without_mknod(bundle: &Bundle) -> Done {
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set", "-mknod"]).arg(common::ferrun_binary());
    command.arg("--root").arg(bundle.state_root()).args(["run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
    Done::new(command.stdin(std::process::Stdio::null()).output().unwrap())
}

#[test]
fn where_devices_cannot_be_made_the_hosts_are_bound() {
    need_root!();
    if !std::path::Path::new("/dev/fuse").exists() {
        return common::skip("this test needs a /dev/fuse");
    }
    let number = std::fs::metadata("/dev/fuse").unwrap().rdev();
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let script = "stat -c %t:%T /dev/null /dev/tty /dev/fuse; echo x > /dev/null; head -c 2 /dev/zero | wc -c;
                  [ -p /tmp/pipe ] && echo pipe";
    let pipe = json!({ "path": "/tmp/pipe", "type": "p" });
    let bound = bundle(script, &[device("/dev/fuse", "c", major, minor), pipe]);
    let mode = std::fs::metadata("/dev/fuse").unwrap().permissions().mode();
    assert_eq!(run_without_mknod(&bound).ok(), format!("1:3\n5:0\n{major:x}:{minor:x}\n2\npipe"));
    assert_eq!(std::fs::metadata("/dev/fuse").unwrap().permissions().mode(), mode, "the host's is as it was");
    assert!(std::fs::metadata("/dev/fuse").unwrap().file_type().is_char_device());
    bound.assert_nothing_left("run");
    // What the host has there is looked at: another device does not do.
    let other = bundle("true", &[device("/dev/fuse", "c", 240, 7)]);
    run_without_mknod(&other).fails("EPERM /linux/devices/0");
    other.assert_nothing_left("run");
}

/// It stays in the image, and a start that may make the node finds it in its place.
#[test]
fn the_file_that_a_device_is_bound_on_is_empty_and_ordinary() {
    need_root!();
    let full = std::fs::metadata("/dev/full").unwrap().rdev();
    assert_eq!(full, makedev(1, 7));
    // The host's own path, but in no /dev of the container's own.
    let bound = bundle("stat -c %t:%T /dev/full", &[device("/dev/full", "c", 1, 7)]).with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    });
    assert_eq!(run_without_mknod(&bound).ok(), "1:7");
    for name in ["full", "null"] {
        let file = std::fs::metadata(bound.rootfs().join("dev").join(name)).unwrap();
        let found = (file.is_file(), file.len(), file.permissions().mode() & 0o7777, file.uid());
        assert_eq!(found, (true, 0, 0o666, 0), "{name}");
    }
}

#[test]
fn the_rules_of_the_config_come_first_in_the_list_of_v1() {
    need_root!();
    let rule = |kind: &str, major: u32, minor: u32, access: &str| json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access });
    let rules = json!([{ "allow": false, "access": "rwm" }, rule("c", 10, 229, "rwm"), rule("b", 8, 20, "rw"), rule("b", 10, 200, "r")]);
    let bundle = Bundle::new(&["sleep", "1000"]).set("/linux/resources/devices", rules);
    let list = common::limits::path_of(&bundle, "devices.list");
    if !list.ancestors().nth(2).unwrap().join("devices.list").exists() {
        return common::skip("no devices controller of v1");
    }
    bundle.create().ok();
    let said = std::fs::read_to_string(list).unwrap();
    let first: Vec<&str> = said.lines().take(3).collect();
    assert_eq!(first, ["c 10:229 rwm", "b 8:20 rw", "b 10:200 r"], "{said}");
}
