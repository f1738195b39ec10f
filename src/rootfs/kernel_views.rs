//! Mounts of proc and sysfs outside of the container's root, in its mount namespace. The kernel lets a user namespace mount
//! a new one if the mount namespace has one that shows all of it (mount_too_revealing() of fs/namespace.c), whether or not
//! anybody can reach that. So one that is left is a way around masked and read-only paths, without any capability.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use nix::unistd::{fchdir, getpid};

use super::mount_table::{Entry, MountTable};
use super::propagation::SLAVE;
use crate::error::{Context, Result};
use crate::sys::mount::{self, MountedFile};
use crate::sys::pidfd;

/// The file systems of which the kernel keeps a user namespace from seeing more than it sees already:
/// SB_I_USERNS_VISIBLE.
const KINDS: [&CStr; 2] = [c"proc", c"sysfs"];

/// Enters the root of this process's own mount namespace: a chroot(2) of the caller would hide mounts.
pub(super) fn enter_namespaces_root() -> Result<()> {
    let own = pidfd::open(getpid()).what(|| "open the init itself")?;
    setns(own, CloneFlags::CLONE_NEWNS).what(|| "enter the root of the mount namespace")
}

/// Unmounts all that are not in the container's root, with what covers them, the newest first. `host` is the root of the
/// namespace, which the container's root, a mount with the id `inside`, already covers. `cut_off`: the tree is shared with
/// the host still.
///
/// # Errors
/// One that stays.
pub(super) fn unmount_all(host: &OwnedFd, inside: u64, cut_off: bool) -> Result<()> {
    // From here a path leads to what the container's root covers.
    fchdir(host).what(|| "enter the host's root")?;
    let mut count = usize::MAX;
    loop {
        let table = MountTable::read()?;
        let is_left = |entry: &&Entry| is_kernels(entry) && !table.is_within(entry, inside);
        let Some(view) = table.0.iter().rev().find(is_left) else { return Ok(()) };
        // Each round takes at least one mount away.
        let unmounted = if table.0.len() < count { unmount(host, &table, view, cut_off) } else { Err(Errno::EBUSY) };
        unmounted.what(|| format!("unmount the host's {} on {:?}", kind(view), point(view))).map_err(|error| {
            error.hint("--no-pivot needs that: while it is there, the container could mount one without masked paths")
        })?;
        count = table.0.len();
    }
}

/// Unmounts a mount, or the topmost of those that cover it.
fn unmount(host: &OwnedFd, table: &MountTable, view: &Entry, cut_off: bool) -> nix::Result<()> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC);
    let how = how.resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let mut slaves = vec![MountedFile::of(host)?.mount()];
    let mut path = Vec::new();
    for name in view.point.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name);
        let path = CString::new(path.clone()).map_err(|_| Errno::EINVAL)?;
        let at = openat2(host, path.as_c_str(), how)?;
        let mount = MountedFile::of(&at)?.mount();
        if mount == view.id || !table.is_within(view, mount) {
            let parent = table.get(mount).ok_or(Errno::ENOENT)?.parent;
            if cut_off {
                // What is unmounted from a shared mount is unmounted from its peers as well; so is what lies below.
                if !slaves.contains(&parent) && table.get(parent).is_none_or(|parent| parent.shared) {
                    return Err(Errno::EBUSY);
                }
                mount::mount_setattr(&at, true, &SLAVE)?;
            }
            return umount2(path.as_c_str(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        }
        if cut_off && !slaves.contains(&mount) {
            mount::mount_setattr(&at, false, &SLAVE)?;
            slaves.push(mount);
        }
    }
    Err(Errno::EBUSY)
}

fn is_kernels(entry: &Entry) -> bool {
    KINDS.iter().any(|kind| entry.kind == kind.to_bytes())
}

fn kind(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.kind).into_owned()
}

fn point(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.point).into_owned()
}
