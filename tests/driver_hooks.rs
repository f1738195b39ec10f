//! Hooks of device drivers: they enter the container's mount namespace by its init, put files and nodes into the rootfs
//! there, and change their own root to it (as NVIDIA's hook does for ldconfig), before the container's root is changed.

mod common;

use common::Bundle;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

/// A device for experiments, which no container may use by default and no driver answers for.
const DEVICE: (u32, u32) = (240, 77);

/// What the hook does, first outside, with the init's pid from the state on its standard input.
fn hook(bundle: &Bundle) -> Value {
    let (dir, rootfs) = (bundle.dir.display(), bundle.rootfs().display().to_string());
    let (major, minor) = DEVICE;
    let inside = format!(
        "set -e
         mkdir -p {rootfs}/usr/lib && touch {rootfs}/usr/lib/driver.so
         mount -o bind {dir}/driver.so {rootfs}/usr/lib/driver.so
         mount -o remount,bind,ro {rootfs}/usr/lib/driver.so
         mknod -m 666 {rootfs}/dev/driver0 c {major} {minor}
         mount -t tmpfs -o mode=555 tmpfs {rootfs}/proc/driver
         echo version > {rootfs}/proc/driver/version
         exec busybox unshare -m busybox sh -c 'set -e
             mount --make-rprivate /
             cd {rootfs}
             busybox pivot_root . .
             busybox umount -l .
             busybox chroot . /bin/busybox sh -c \"cat /usr/lib/driver.so > /etc/cache\"'"
    );
    let outside = format!(
        "set -e
         pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p')
         for kind in mnt net ipc uts pid cgroup; do test -e /proc/$pid/ns/$kind; done
         path=$(sed -n 's/^[0-9]*:devices://p' /proc/$pid/cgroup)
         devices=/sys/fs/cgroup/devices$path/devices.allow
         if [ -n \"$path\" ] && [ -e $devices ]; then echo 'c {major}:{minor} rwm' > $devices; fi
         exec busybox nsenter --mount=/proc/$pid/ns/mnt busybox sh -c \"$0\""
    );
    json!({"path": "/bin/busybox", "args": ["sh", "-c", outside, inside]})
}

fn with_driver(kind: &str, program: &str) -> Bundle {
    let bundle = Bundle::sh(program);
    std::fs::write(bundle.dir.join("driver.so"), "driver\n").unwrap();
    let hook = hook(&bundle);
    bundle.set("/root/readonly", json!(false)).set(&format!("/hooks/{kind}"), json!([hook]))
}

#[test]
fn what_a_hook_puts_into_the_rootfs_is_there() {
    need_root!();
    for kind in ["prestart", "createRuntime"] {
        let look = "cat /usr/lib/driver.so /etc/cache /proc/driver/version; stat -c '%t:%T %a' /dev/driver0
                    touch /usr/lib/driver.so 2>/dev/null || echo read-only; ls -d /bin/busybox";
        let bundle = with_driver(kind, look);
        let done = bundle.run();
        let seen = "driver\ndriver\nversion\nf0:4d 666\nread-only\n/bin/busybox\n";
        assert_eq!((done.status, done.stdout.as_str()), (0, seen), "{kind}: {done:?}");
        bundle.assert_nothing_left(kind);
        assert_eq!(
            std::fs::read(bundle.rootfs().join("usr/lib/driver.so")).unwrap(),
            b"",
            "{kind}: mounted on the host"
        );
    }
}

/// Where the cgroup's list can be added to, the program may use the device, and could not without that.
#[test]
fn a_device_that_a_hook_allows_can_be_used() {
    need_root!();
    if !std::path::Path::new("/sys/fs/cgroup/devices/devices.allow").exists() {
        return common::skip("this test needs the devices controller of cgroup v1");
    }
    // Without a driver for it the kernel answers ENXIO or ENODEV.
    let bundle = with_driver("createRuntime", "cat /dev/driver0 2>&1 | sed 's/.*: //'");
    let done = bundle.run();
    assert!(done.stdout.starts_with("No such device"), "{done:?}");
    let bundle = Bundle::sh("cat /tmp/device");
    let (device, path) = (makedev(DEVICE.0.into(), DEVICE.1.into()), bundle.rootfs().join("tmp/device"));
    mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), device).unwrap();
    let denied = bundle.run();
    assert!(denied.stderr.contains("Operation not permitted"), "without the hook: {denied:?}");
}
