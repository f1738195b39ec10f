//! What types cannot say of `mounts` and `linux.devices`.

use nix::sys::stat::SFlag;

use super::Spec;
use super::check::wrong;
use super::device::Device;
use super::linux::NamespaceKind;
use super::mount::{Mount, clean};
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::rootfs::devices::NODES;

/// Checks both lists; warnings are added to the list.
///
/// # Errors
/// The first value that cannot be honoured, with its pointer.
pub fn check(spec: &Spec, warnings: &mut Vec<Error>) -> Result<()> {
    for (index, mount) in spec.mounts.iter().enumerate() {
        check_mount(mount, index, warnings)?;
        check_mapping(spec, mount, index)?;
    }
    (0..spec.linux.devices.len()).try_for_each(|index| check_device(&spec.linux.devices, index))
}

fn check_mount(mount: &Mount, index: usize, warnings: &mut Vec<Error>) -> Result<()> {
    let at = |pattern| Pointer::at(pattern, index);
    let destination = mount.clean_destination();
    if destination.as_bytes() == b"/" {
        return Err(wrong(at("/mounts/#/destination"), "mounting on top of the root \"/\" is not supported"));
    }
    if mount.destination.bytes().first() != Some(&b'/') {
        let message = format!("destination {:?} is not absolute; it is taken from /", mount.destination);
        warnings.push(wrong(at("/mounts/#/destination"), message));
    }
    if mount.options.copy_up && (mount.is_bind() || mount.kind() != Some(c"tmpfs")) {
        return Err(wrong(at("/mounts/#/options"), "tmpcopyup is an option of a tmpfs alone"));
    }
    if mount.is_bind() {
        if mount.source.as_ref().is_none_or(|source| source.is_empty()) && !mount.options.remount {
            return Err(wrong(at("/mounts/#/source"), "a bind mount needs a source"));
        }
        if let Some(data) = mount.options.data.first() {
            let key = data.key.to_string_lossy();
            let message = format!("a bind mount takes no options of a file system, as \"{key}\" would be");
            return Err(wrong(at("/mounts/#/options"), message));
        }
    } else if mount.kind().is_none() && !mount.options.remount {
        return Err(wrong(at("/mounts/#/type"), "a mount that is no bind needs a type"));
    }
    Ok(())
}

fn check_mapping(spec: &Spec, mount: &Mount, index: usize) -> Result<()> {
    if !mount.is_mapped() {
        return Ok(());
    }
    let at = |pattern| Pointer::at(pattern, index);
    if !mount.is_bind() || mount.options.remount {
        return Err(wrong(at("/mounts/#/options"), "id-mapped mounts are only supported for bind mounts"));
    }
    match (mount.uid_mappings.is_empty(), mount.gid_mappings.is_empty()) {
        (false, false) => Ok(()),
        (true, false) => Err(wrong(at("/mounts/#/gidMappings"), "gidMappings must come with uidMappings")),
        (false, true) => Err(wrong(at("/mounts/#/uidMappings"), "uidMappings must come with gidMappings")),
        (true, true) => {
            let user_namespace = spec.linux.namespaces.iter().any(|one| one.kind == NamespaceKind::User);
            let message = match user_namespace {
                true => "idmap without mappings of the mount is not supported by this version of ferrun",
                false => {
                    "idmap needs uidMappings and gidMappings: the container has no user namespace to take them from"
                }
            };
            Err(wrong(at("/mounts/#/options"), message))
        }
    }
}

fn check_device(devices: &[Device], index: usize) -> Result<()> {
    let at = |pattern| Pointer::at(pattern, index);
    let device = &devices[index];
    if device.path.bytes().first() != Some(&b'/') {
        return Err(wrong(at("/linux/devices/#/path"), format!("{:?} is not an absolute path", device.path)));
    }
    let Some(number) = device.number() else {
        return Err(wrong(at("/linux/devices/#"), "a device needs major and minor numbers"));
    };
    for (pattern, id) in [("/linux/devices/#/uid", device.uid), ("/linux/devices/#/gid", device.gid)] {
        if id == Some(u32::MAX) {
            return Err(wrong(at(pattern), "4294967295 is no id: the kernel reads it as -1, \"leave as it is\""));
        }
    }
    if device.file_mode.is_some_and(|mode| mode > 0o177_777) {
        return Err(wrong(at("/linux/devices/#/fileMode"), "fileMode has bits beyond type and permissions"));
    }
    let path = clean(&device.path);
    let same = |other: &Device| (other.kind, other.number()) == (device.kind, Some(number));
    if devices[..index].iter().any(|earlier| clean(&earlier.path) == path && !same(earlier)) {
        return Err(wrong(at("/linux/devices/#"), format!("{:?} is listed twice, as different devices", device.path)));
    }
    let default = path.to_bytes().strip_prefix(b"/dev/");
    let default = default.and_then(|name| NODES.iter().find(|(known, ..)| known.to_bytes() == name));
    match default {
        Some((_, major, minor))
            if device.kind != SFlag::S_IFCHR || number != nix::sys::stat::makedev(*major, *minor) =>
        {
            let message = format!("{:?} is the character device {major}:{minor} in every container", device.path);
            Err(wrong(at("/linux/devices/#"), message))
        }
        _ => Ok(()),
    }
}
