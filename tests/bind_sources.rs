//! Sources that the host's root may not look at, or that are missing: whether they can be bound is known before anything
//! is created for them in the image.

mod common;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use common::{Bundle, Done};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

/// A FUSE volume on a directory or a file, without `allow_other`. Nobody serves it: what its owner alone may ask is not even
/// asked (fuse_allow_current_process() of the kernel).
#[derive(Clone, Copy, PartialEq, Debug)]
enum Volume {
    /// Of another user than root.
    Denied,
    /// Its server has ended.
    Dead,
}

/// Runs something in a mount namespace of its own with such a volume.
fn with_volume<T: Send>(volume: Volume, at: &Path, run: impl FnOnce() -> T + Send) -> T {
    let begin = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let server = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let mode = if at.is_dir() { "40000" } else { "100000" };
        let user = if volume == Volume::Denied { 1000 } else { 0 };
        let data = format!("fd={},rootmode={mode},user_id={user},group_id={user}", server.as_raw_fd());
        mount(Some("volume"), at, Some("fuse"), MsFlags::empty(), Some(data.as_str())).unwrap();
        let server = Some(server).filter(|_| volume != Volume::Dead);
        let result = run();
        drop(server);
        result
    };
    // Programs that a thread executes have its mount namespace, which goes with the last of them.
    std::thread::scope(|scope| scope.spawn(begin).join().unwrap())
}

macro_rules! need_fuse {
    () => {
        need_root!();
        if !Path::new("/dev/fuse").exists() {
            return common::skip("this test needs /dev/fuse");
        }
    };
}

fn bundle(script: &str) -> Bundle {
    let bundle = Bundle::sh(script).set("/root/readonly", json!(false));
    std::fs::create_dir(bundle.dir.join("volume")).unwrap();
    std::fs::write(bundle.dir.join("file"), "").unwrap();
    bundle
}

fn bind(source: &str) -> Value {
    json!({ "destination": "/data", "source": source, "options": ["rbind"] })
}

fn with(bundle: Bundle, mount: Value) -> Bundle {
    bundle.with(|config| config["mounts"].as_array_mut().unwrap().push(mount))
}

fn run_with(volume: Volume, bundle: &Bundle, source: &str) -> Done {
    with_volume(volume, &bundle.dir.join(source), || bundle.run())
}

#[test]
fn a_volume_that_root_may_not_look_at_is_bound() {
    need_fuse!();
    for volume in [Volume::Denied, Volume::Dead] {
        for (source, kind) in [("volume", "directory"), ("file", "file")] {
            let bundle = with(bundle("grep -c ' /data .* - fuse volume ' /proc/self/mountinfo"), bind(source));
            assert_eq!(run_with(volume, &bundle, source).ok(), "1", "{volume:?} {source}");
            let check = || bundle.ferrun(&["check", "--bundle", bundle.dir.to_str().unwrap()]);
            assert_eq!(with_volume(volume, &bundle.dir.join(source), check).ok(), "0 errors, 0 warnings");
            let point = bundle.rootfs().join("data");
            assert_eq!(point.is_dir(), kind == "directory", "what is created has the source's kind");
            bundle.assert_nothing_left("run");
            // The same with a server that answers, as far as that can be told here: without the volume.
            let repaired = bundle.with(|config| config["process"]["args"] = json!(["true"]));
            repaired.run().ok();
        }
    }
}

#[test]
fn a_volume_is_bound_in_a_user_namespace() {
    need_fuse!();
    let range = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    for volume in [Volume::Denied, Volume::Dead] {
        let bundle = with(bundle("grep -c ' /data .* - fuse volume ' /proc/self/mountinfo"), bind("volume"));
        let bundle = bundle.with(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            config["linux"]["uidMappings"] = range.clone();
            config["linux"]["gidMappings"] = range.clone();
        });
        std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
        for name in ["dev", "proc", "sys", "etc"] {
            std::os::unix::fs::chown(bundle.rootfs().join(name), Some(100_000), Some(100_000)).unwrap();
        }
        assert_eq!(run_with(volume, &bundle, "volume").ok(), "1", "{volume:?}");
    }
}

#[test]
fn what_lies_below_the_root_of_a_volume_stays_the_owners() {
    need_fuse!();
    for (volume, reason) in [(Volume::Denied, "EACCES /mounts/7"), (Volume::Dead, "ENOTCONN /mounts/7")] {
        let bundle = with(bundle("true"), bind("volume/below"));
        let done = run_with(volume, &bundle, "volume");
        done.fails(reason);
        assert!(!bundle.rootfs().join("data").exists(), "nothing is created for a bind that fails");
        bundle.assert_nothing_left("run");
    }
}

#[test]
fn a_volume_can_be_masked() {
    need_fuse!();
    for volume in [Volume::Denied, Volume::Dead] {
        let bundle = with(bundle("ls -A /data && touch /data/x"), bind("volume"));
        let bundle = bundle.with(|config| config["linux"]["maskedPaths"].as_array_mut().unwrap().push(json!("/data")));
        let done = run_with(volume, &bundle, "volume");
        assert!(done.stdout.is_empty() && done.stderr.contains("Read-only file system"), "{volume:?}: {done:?}");
    }
}

/// As in a user namespace: ferrun may mount, and not make devices.
fn run_without_mknod(bundle: &Bundle) -> Done {
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set", "-mknod"]).arg(common::ferrun_binary());
    command.arg("--root").arg(bundle.state_root()).args(["run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
    Done::new(command.stdin(std::process::Stdio::null()).output().unwrap())
}

fn with_device(path: &Path) -> Bundle {
    bundle("true").set("/linux/devices", json!([{ "path": path, "type": "c", "major": 240, "minor": 77 }]))
}

#[test]
fn a_device_that_cannot_be_bound_leaves_no_file() {
    need_root!();
    let bundle = with_device(Path::new("/data"));
    run_without_mknod(&bundle).fails("EPERM /linux/devices/0");
    assert!(!bundle.rootfs().join("data").exists(), "it would be in the way of a start that makes the node");
    bundle.assert_nothing_left("run");
}

#[test]
fn why_a_device_of_the_host_cannot_be_looked_at_is_told() {
    need_fuse!();
    let bundle = bundle("true");
    let place = bundle.dir.join("file");
    let bundle = bundle.set("/linux/devices", json!([{ "path": place, "type": "c", "major": 240, "minor": 77 }]));
    let done = with_volume(Volume::Denied, &place, || run_without_mknod(&bundle));
    done.fails("EACCES /linux/devices/0");
    bundle.assert_nothing_left("run");
}
