//! Checks of `mounts` and `linux.devices` beyond their types.

use std::collections::BTreeMap;
use std::ffi::CString;

use nix::sys::stat::SFlag;

use super::Spec;
use super::device::Device;
use super::mount::Mount;
use super::names::{nearest, question};
use super::namespaces::check_ranges;
use super::path::clean;
use super::problems::Problems;
use super::problems::wrong;
use crate::error::Error;
use crate::pointer::Pointer;
use crate::types::default_devices::NODES;
use crate::types::mount_options::OPTIONS;
use crate::types::namespaces::NamespaceKind;
use crate::types::proc_mounts::refused_on_proc;

/// The highest numbers of a device, which mknod(2) would cut off: `MINORBITS` of linux/kdev_t.h.
const MAJOR: u32 = (1 << 12) - 1;
const MINOR: u32 = (1 << 20) - 1;

/// Checks both lists.
pub fn check(spec: &Spec, found: &mut Problems) {
    for (index, mount) in spec.mounts.iter().enumerate() {
        check_mount(spec, mount, index, found);
        check_mapping(spec, mount, index, found);
    }
    let mut paths = BTreeMap::new();
    (0..spec.linux.devices.len()).for_each(|index| check_device(&spec.linux.devices, index, &mut paths, found));
}

fn check_mount(spec: &Spec, mount: &Mount, index: usize, found: &mut Problems) {
    let at = |pattern| Pointer::at(pattern, index);
    check_root(spec, mount, index, found);
    check_proc(mount, index, found);
    let written = mount.destination.written();
    if written.to_bytes().first() != Some(&b'/') {
        let message = format!("destination {written:?} is not absolute; it is taken from /");
        found.warning(wrong(at("/mounts/#/destination"), message));
    }
    if mount.options.copy_up && (mount.is_bind() || mount.kind() != Some(c"tmpfs")) {
        found.error(wrong(at("/mounts/#/options"), "tmpcopyup is an option of a tmpfs alone"));
    }
    if mount.is_bind() {
        if mount.source.as_ref().is_none_or(|source| source.is_empty()) && !mount.options.remount {
            found.error(wrong(at("/mounts/#/source"), "a bind mount needs a source"));
        }
        check_bind_data(mount, index, found);
    } else if mount.kind().is_none() && !mount.options.remount {
        found.error(wrong(at("/mounts/#/type"), "a mount that is no bind needs a type"));
    }
}

/// A mount on `/` takes the root's place.
fn check_root(spec: &Spec, mount: &Mount, index: usize, found: &mut Problems) {
    if &*mount.destination != c"/" {
        return;
    }
    let joins = || spec.linux.namespaces.iter().any(|one| one.kind == NamespaceKind::Mount && one.path().is_some());
    let message = if mount.options.remount {
        "the root \"/\" cannot be remounted"
    } else if mount.is_cgroup() {
        "cgroups cannot be mounted on top of the root \"/\""
    } else if joins() {
        "in a joined mount namespace nothing can be mounted on top of the root \"/\""
    } else {
        return;
    };
    found.error(wrong(Pointer::at("/mounts/#/destination", index), message));
}

/// What is known of /proc before anything is there; the step looks where the path really leads.
fn check_proc(mount: &Mount, index: usize, found: &mut Problems) {
    let path = &*mount.destination;
    // What a bind brings is not known yet.
    let may_be_procfs = || mount.is_bind() || mount.kind().is_none_or(|kind| kind == c"proc");
    let refused = refused_on_proc(path, path.to_bytes().starts_with(b"/proc/"), may_be_procfs);
    if let Some(why) = refused.filter(|_| !mount.options.remount) {
        found.error(wrong(Pointer::at("/mounts/#/destination", index), format!("mount on {path:?}: {why}")));
    }
}

/// What is no option that ferrun knows is for the file system, and a bind has none of its own.
fn check_bind_data(mount: &Mount, index: usize, found: &mut Problems) {
    for data in &mount.options.data {
        let key = data.key.to_string_lossy();
        let message = format!("a bind mount takes no options of a file system, as \"{key}\" would be");
        let pointer = match data.at {
            Some(option) => Pointer::at2("/mounts/#/options/#", index, option),
            None => Pointer::at("/mounts/#/options", index),
        };
        let near = nearest(&key, OPTIONS.iter().map(|(name, _)| *name)).map(question);
        found.error(near.into_iter().fold(wrong(pointer, message), Error::hint));
    }
}

fn check_mapping(spec: &Spec, mount: &Mount, index: usize, found: &mut Problems) {
    if !mount.is_mapped() {
        return;
    }
    let at = |pattern| Pointer::at(pattern, index);
    if !mount.is_bind() || mount.options.remount {
        found.error(wrong(at("/mounts/#/options"), "id-mapped mounts are only supported for bind mounts"));
        return;
    }
    check_ranges(&mount.uid_mappings, |range| Pointer::at2("/mounts/#/uidMappings/#", index, range), found);
    check_ranges(&mount.gid_mappings, |range| Pointer::at2("/mounts/#/gidMappings/#", index, range), found);
    match (mount.uid_mappings.is_empty(), mount.gid_mappings.is_empty()) {
        (false, false) => {}
        (true, false) => found.error(wrong(at("/mounts/#/gidMappings"), "gidMappings must come with uidMappings")),
        (false, true) => found.error(wrong(at("/mounts/#/uidMappings"), "uidMappings must come with gidMappings")),
        (true, true) if spec.linux.namespaces.iter().any(|one| one.kind == NamespaceKind::User) => {}
        (true, true) => {
            let message =
                "idmap needs uidMappings and gidMappings: the container has no user namespace to take them from";
            found.error(wrong(at("/mounts/#/options"), message));
        }
    }
}

/// Checks a device; `paths` has the first of each path before it.
fn check_device(devices: &[Device], index: usize, paths: &mut BTreeMap<CString, usize>, found: &mut Problems) {
    let at = |pattern| Pointer::at(pattern, index);
    let device = &devices[index];
    if device.path.bytes().first() != Some(&b'/') {
        found.error(wrong(at("/linux/devices/#/path"), format!("{:?} is not an absolute path", device.path)));
    }
    for (pattern, id) in [("/linux/devices/#/uid", device.uid), ("/linux/devices/#/gid", device.gid)] {
        if id == Some(u32::MAX) {
            found.error(wrong(at(pattern), "4294967295 is no id: the kernel reads it as -1, \"leave as it is\""));
        }
    }
    if device.file_mode.is_some_and(|mode| mode > 0o177_777) {
        found.error(wrong(at("/linux/devices/#/fileMode"), "fileMode has bits beyond type and permissions"));
    }
    let Some(number) = device.number() else {
        found.error(wrong(at("/linux/devices/#"), "a device needs major and minor numbers"));
        return;
    };
    let numbers = [("/linux/devices/#/major", device.major, MAJOR), ("/linux/devices/#/minor", device.minor, MINOR)];
    for (pattern, number, most) in numbers {
        if let Some(number) = number.filter(|number| device.kind != SFlag::S_IFIFO && *number > most) {
            found.error(wrong(at(pattern), format!("{number} is above {most}, the highest that Linux has")));
        }
    }
    let path = clean(&device.path);
    let same = |other: &Device| (other.kind, other.number()) == (device.kind, Some(number));
    let first = *paths.entry(path.clone()).or_insert(index);
    if !same(&devices[first]) {
        found.error(wrong(at("/linux/devices/#"), format!("{:?} is listed twice, as different devices", device.path)));
    }
    let default = path.to_bytes().strip_prefix(b"/dev/");
    let default = default.and_then(|name| NODES.iter().find(|(known, ..)| known.to_bytes() == name));
    match default {
        Some((_, major, minor))
            if device.kind != SFlag::S_IFCHR || number != nix::sys::stat::makedev(*major, *minor) =>
        {
            let message = format!("{:?} is the character device {major}:{minor} in every container", device.path);
            found.error(wrong(at("/linux/devices/#"), message));
        }
        _ => {}
    }
}
