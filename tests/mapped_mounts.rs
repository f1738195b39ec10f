//! `idmap`, `ridmap`, `uidMappings` and `gidMappings` of a mount: whose files appear as whose.

mod common;

use std::os::unix::fs::chown;

use common::{Bundle, mount_lines, mounted_on};
use serde_json::{Value, json};

fn ranges(list: &[(u32, u32, u32)]) -> Value {
    list.iter()
        .map(|(inside, outside, size)| json!({ "containerID": inside, "hostID": outside, "size": size }))
        .collect()
}

fn mapped(destination: &str, options: &[&str], uids: &[(u32, u32, u32)], gids: &[(u32, u32, u32)]) -> Value {
    let mut mount = json!({ "destination": destination, "source": "host", "options": options });
    mount["uidMappings"] = ranges(uids);
    mount["gidMappings"] = ranges(gids);
    mount
}

/// A bundle with files of several owners, and a mount among them.
fn bundle(script: &str, mounts: &[Value]) -> Bundle {
    let bundle = Bundle::sh(script).with(|config| {
        config["root"]["readonly"] = json!(false);
        config["mounts"].as_array_mut().unwrap().extend_from_slice(mounts);
    });
    let host = bundle.dir.join("host");
    std::fs::create_dir_all(host.join("sub")).unwrap();
    for (name, uid, gid) in [("root", 0, 0), ("one", 1, 2), ("thousand", 1000, 1001)] {
        std::fs::write(host.join(name), "").unwrap();
        chown(host.join(name), Some(uid), Some(gid)).unwrap();
    }
    bundle
}

/// `/tmp` may be a file system that cannot be mapped; a tmpfs can.
const TMPFS: &str =
    "cp -a $bundle/host $bundle/copy; mount -t tmpfs top $bundle/host; cp -a $bundle/copy/. $bundle/host
    mount -t tmpfs below $bundle/host/sub; touch $bundle/host/sub/file; chown 1:2 $bundle/host/sub/file";

/// The same with two directories of the bundle's own file system, for kernels that cannot map a tmpfs.
const BINDS: &str = "cp -a $bundle/host $bundle/copy; mount --bind $bundle/copy $bundle/host; mkdir $bundle/below
    mount --bind $bundle/below $bundle/host/sub; touch $bundle/host/sub/file; chown 1:2 $bundle/host/sub/file";

/// Sources that can be mapped.
fn mappable() -> &'static str {
    if common::can_map_tmpfs() { TMPFS } else { BINDS }
}

const TEN: [(u32, u32, u32); 1] = [(0, 100_000, 10)];

#[test]
fn owners_appear_mapped() {
    need_root!();
    let two: [(u32, u32, u32); 2] = [(0, 5000, 1), (1, 2000, 1000)];
    let mounts = [
        mapped("/a", &["bind", "idmap"], &TEN, &TEN),
        mapped("/b", &["rbind", "ridmap"], &two, &TEN),
        mapped("/c", &["rbind", "idmap"], &TEN, &TEN),
        // The mappings alone ask for it, too.
        mapped("/d", &["rbind"], &TEN, &[(0, 7, 1)]),
        json!({ "destination": "/plain", "source": "host", "options": ["rbind"] }),
    ];
    let script = "stat -c '%n %u:%g' /a/root /a/one /a/thousand /b/root /b/one /b/thousand /b/sub/file /c/one /c/sub/file \
                  /d/root /d/one /d/sub/file /plain/one";
    let wanted = "/a/root 100000:100000\n/a/one 100001:100002\n/a/thousand 65534:65534\n\
                  /b/root 5000:100000\n/b/one 2000:100002\n/b/thousand 2999:65534\n/b/sub/file 2000:100002\n\
                  /c/one 100001:100002\n/c/sub/file 1:2\n\
                  /d/root 100000:7\n/d/one 100001:65534\n/d/sub/file 1:2\n/plain/one 1:2";
    let bundle = bundle(script, &mounts);
    assert_eq!(bundle.run_after(mappable()).ok(), wanted);
    bundle.assert_nothing_left("run");
}

#[test]
fn without_maps_of_its_own_a_mount_has_the_containers() {
    need_root!();
    let mounts = [
        mapped("/a", &["rbind", "idmap"], &[], &[]),
        mapped("/b", &["rbind", "ridmap"], &[], &[]),
        // Those of the host's ids that the container has, in another order.
        mapped("/c", &["rbind", "idmap"], &[(0, 100_001, 1), (1, 100_000, 1)], &[(0, 100_005, 3)]),
        json!({ "destination": "/plain", "source": "host", "options": ["rbind"] }),
    ];
    let script = "stat -c '%n %u:%g' /a/root /a/one /a/thousand /a/sub/file /b/one /b/sub/file /c/root /c/one /plain/one; \
                  touch /a/new; stat -c '%n %u:%g' /a/new";
    let wanted = "/a/root 0:0\n/a/one 1:2\n/a/thousand 65534:65534\n/a/sub/file 65534:65534\n/b/one 1:2\n/b/sub/file 1:2\n\
                  /c/root 1:5\n/c/one 0:7\n/plain/one 65534:65534\n/a/new 0:0";
    let bundle = bundle(script, &mounts).with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = ranges(&TEN);
        config["linux"]["gidMappings"] = ranges(&TEN);
    });
    chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
    for name in ["a", "b", "c", "plain"] {
        std::fs::create_dir_all(bundle.rootfs().join(name)).unwrap();
    }
    let done = bundle.run_after(&format!("{}; chmod 777 $bundle/host", mappable()));
    assert_eq!(done.stdout.trim_end(), wanted, "{done:?}");
    bundle.assert_nothing_left("run");
}

#[test]
fn what_is_written_has_the_owner_of_the_source() {
    need_root!();
    let mount = mapped("/a", &["bind", "idmap"], &[(500, 0, 1)], &[(600, 0, 1)]);
    // The file of the source itself is looked at through a second mount, which is not mapped.
    let plain = json!({ "destination": "/plain", "source": "host", "options": ["bind"] });
    let bundle = bundle("touch /a/new && stat -c %u:%g /a/new /plain/new", &[mount, plain]);
    assert_eq!(bundle.run_after(&format!("{}; chown 500:600 $bundle/host", mappable())).ok(), "0:0\n500:600");
}

#[test]
fn other_options_hold_beside_the_mapping() {
    need_root!();
    let mount = mapped("/a", &["rbind", "ridmap", "ro", "rnosuid"], &TEN, &TEN);
    let mounts = mount_lines(&bundle("cat /proc/self/mountinfo", &[mount]).run_after(mappable()).ok());
    let (top, below) = (mounted_on(&mounts, "/a"), mounted_on(&mounts, "/a/sub"));
    assert!(top.has("ro") && top.has("nosuid") && top.has("idmapped"), "{top:?}");
    assert!(below.has("rw") && below.has("nosuid") && below.has("idmapped"), "{below:?}");
}

#[test]
fn equal_maps_share_one_user_namespace() {
    need_root!();
    let bundle = bundle(
        "true",
        &[
            mapped("/a", &["bind", "idmap"], &TEN, &TEN),
            mapped("/b", &["bind", "idmap"], &TEN, &TEN),
            mapped("/c", &["bind", "idmap"], &TEN, &[(0, 7, 1)]),
        ],
    );
    let plan = bundle.ferrun(&["explain", "--bundle", bundle.dir.to_str().unwrap()]).ok();
    assert_eq!(plan.matches("user namespace for mapped mounts").count(), 2, "{plan}");
}

/// So many ranges that do not follow each other.
fn apart(count: u32) -> Vec<(u32, u32, u32)> {
    (0..count).map(|n| (n, 100_000 + 2 * n, 1)).collect()
}

#[test]
fn hundreds_of_mappings() {
    need_root!();
    // Those that follow each other are one to the kernel.
    let whole: Vec<_> = (0..1000).map(|n| (n, 100_000 + n, 1)).collect();
    for (list, wanted) in [(apart(300), "100002:100004"), (whole, "100001:100002")] {
        let bundle = bundle("stat -c '%u:%g' /a/one", &[mapped("/a", &["bind", "idmap"], &list, &list)]);
        assert_eq!(bundle.run_after(mappable()).ok(), wanted);
    }
}

#[test]
fn mappings_that_make_no_sense_are_refused() {
    need_root!();
    let without = |key: &str| {
        let mut mount = mapped("/a", &["bind", "idmap"], &TEN, &TEN);
        mount.as_object_mut().unwrap().remove(key);
        mount
    };
    let mut tmpfs = mapped("/a", &["idmap"], &TEN, &TEN);
    tmpfs["type"] = json!("tmpfs");
    for (mount, place) in [
        (without("uidMappings"), "/gidMappings"),
        (without("gidMappings"), "/uidMappings"),
        (mapped("/a", &["bind", "idmap"], &[], &[]), "/options"),
        (mapped("/a", &["rbind", "ridmap"], &[], &[]), "/options"),
        (tmpfs, "/options"),
        (mapped("/a", &["bind", "idmap"], &[(0, 1, 0)], &TEN), "/uidMappings/0"),
        (mapped("/a", &["bind", "idmap"], &TEN, &[(0, 1, 9), (5, 50, 1)]), "/gidMappings/1"),
        (mapped("/a", &["bind", "idmap"], &[(0, u32::MAX - 1, 2)], &TEN), "/uidMappings/0"),
        (mapped("/a", &["bind", "idmap"], &TEN, &apart(341)), "/gidMappings"),
    ] {
        let bundle = bundle("true", &[mount]);
        let done = bundle.run();
        done.fails(&format!("/mounts/7{place}"));
        bundle.assert_nothing_left(place);
    }
}

#[test]
fn what_cannot_be_mapped_is_told() {
    need_root!();
    let mut proc = mapped("/a", &["bind", "idmap"], &TEN, &TEN);
    proc["source"] = json!("/proc/sys");
    let done = bundle("true", &[proc]).run();
    done.fails("EINVAL /mounts/7");
    let below = mapped("/a", &["rbind", "ridmap"], &TEN, &TEN);
    let done = bundle("true", &[below])
        .run_after("mount -t tmpfs top $bundle/host; mkdir $bundle/host/p; mount -t proc p $bundle/host/p");
    done.fails("EINVAL /mounts/7");
}
