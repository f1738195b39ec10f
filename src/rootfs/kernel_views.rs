//! Mounts of proc and sysfs outside of the container's root, in its mount namespace. The kernel lets a user namespace mount
//! a new one if the mount namespace has one that shows all of it (mount_too_revealing() of fs/namespace.c), whether or not
//! anybody can reach that. So one that is left is a way around masked and read-only paths, without any capability.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use nix::unistd::{fchdir, getpid};

use super::Rootfs;
use super::mount_table::{Entry, MountTable};
use super::propagation::SLAVE;
use crate::error::{Context, Error, Result};
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
        let unmounted = match table.0.len() < count {
            true => unmount(host, &table, view, cut_off),
            false => Err(NotUnmounted::Stays),
        };
        unmounted.map_err(|why| {
            let what = format!("unmount the host's {} on {:?}", kind(view), point(view));
            let error = match why {
                NotUnmounted::Kernel(errno) => Error::os(what, errno),
                NotUnmounted::Shared => Error::new(what).detail("others share the mount below it"),
                NotUnmounted::Stays => Error::new(what).detail("the mount stays"),
            };
            error.hint("--no-pivot needs that: while it is there, the container could mount one without masked paths")
        })?;
        count = table.0.len();
    }
}

/// Why a mount is still there.
enum NotUnmounted {
    /// What the kernel says.
    Kernel(Errno),
    /// Others share the mount that it is on, so that they would lose it as well.
    Shared,
    /// It is not where the table says, or comes back.
    Stays,
}

impl From<Errno> for NotUnmounted {
    fn from(errno: Errno) -> NotUnmounted {
        NotUnmounted::Kernel(errno)
    }
}

/// Unmounts a mount, or the topmost of those that cover it.
fn unmount(host: &OwnedFd, table: &MountTable, view: &Entry, cut_off: bool) -> std::result::Result<(), NotUnmounted> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC);
    let how = how.resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let mut slaves = vec![MountedFile::of(host)?.mount()];
    let mut path = Vec::new();
    for name in view.point.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name);
        let path = CString::new(path.clone()).expect("cut from a line of text without NUL");
        let at = openat2(host, path.as_c_str(), how)?;
        let mount = MountedFile::of(&at)?.mount();
        if mount == view.id || !table.is_within(view, mount) {
            let parent = table.get(mount).ok_or(NotUnmounted::Stays)?.parent;
            if cut_off {
                // What is unmounted from a shared mount is unmounted from its peers as well; so is what lies below.
                if !slaves.contains(&parent) && table.get(parent).ok_or(NotUnmounted::Stays)?.shared {
                    return Err(NotUnmounted::Shared);
                }
                mount::mount_setattr(&at, true, &SLAVE)?;
            }
            return Ok(umount2(path.as_c_str(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?);
        }
        if cut_off && !slaves.contains(&mount) {
            mount::mount_setattr(&at, false, &SLAVE)?;
            slaves.push(mount);
        }
    }
    Err(NotUnmounted::Stays)
}

/// A mount that shows all of its file system.
#[derive(Debug)]
pub(super) struct FullView {
    kind: &'static CStr,
    point: String,
    read_only: bool,
}

impl Rootfs {
    /// Looks for those outside of the container's root that show all of their file system, in a mount namespace that is
    /// joined: they are others' and stay.
    pub(super) fn look_for_full_views(&self) -> Result<()> {
        let table = MountTable::read()?;
        let inside = self.mount_id()?;
        let mut found = Vec::new();
        for name in KINDS {
            let is_outside =
                |entry: &&Entry| entry.kind == name.to_bytes() && entry.root == b"/" && !table.is_within(entry, inside);
            let mut outside = table.0.iter().filter(is_outside).peekable();
            if outside.peek().is_none() {
                continue;
            }
            let instance = match instance(name) {
                // The kernel's own word that there is none.
                Err(Refusal::TooRevealing) => continue,
                Err(Refusal::Other(Errno::EPERM)) => None,
                Err(Refusal::Other(errno)) => {
                    return Err(Error::os(format!("make a {} of ferrun's own", name.to_string_lossy()), errno));
                }
                Ok(instance) => Some(instance),
            };
            for entry in outside {
                if !is_covered(&table, entry, instance.as_ref())? {
                    found.push(FullView { kind: name, point: point(entry), read_only: entry.read_only });
                }
            }
        }
        let _ = self.full_views.set(found);
        Ok(())
    }

    /// Refuses to hide or protect a path of proc or sysfs where that could be got around.
    pub(super) fn refuse_useless(&self, target: &OwnedFd, what: impl Fn() -> String, hides: bool) -> Result<()> {
        let Some(views) = self.full_views.get().filter(|views| !views.is_empty()) else { return Ok(()) };
        let kind = match fstatfs(target).what(|| format!("look at the file system to {}", what()))?.filesystem_type() {
            PROC_SUPER_MAGIC => c"proc",
            SYSFS_MAGIC => c"sysfs",
            _ => return Ok(()),
        };
        match views.iter().find(|view| view.kind == kind && (hides || !view.read_only)) {
            Some(view) => {
                let (kind, point) = (kind.to_string_lossy(), &view.point);
                let message = format!("{}: the joined mount namespace has an unmasked {kind} on {point:?}", what());
                Err(Error::new(message).hint(
                    "from there a process without privileges could mount one without this path; unmount or mask it in \
                     that namespace, or leave the path out",
                ))
            }
            None => Ok(()),
        }
    }
}

/// Whether something is mounted on a mount that covers what is there, in the sense of mnt_already_visible(): anything but
/// a directory that is made to be a mount point and always empty. A new instance shows what is below; without one no
/// directory counts.
fn is_covered(table: &MountTable, entry: &Entry, instance: Option<&OwnedFd>) -> Result<bool> {
    for child in table.0.iter().filter(|child| child.parent == entry.id) {
        let Some(below) = child.point.strip_prefix(entry.point.as_slice()) else { continue };
        let below = below.strip_prefix(b"/").unwrap_or(below);
        if below.is_empty() {
            return Ok(true);
        }
        let Some(instance) = instance else { continue };
        if has_contents(instance, below).what(|| format!("look below {:?}", point(child)))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a path of a file system is a file, or a directory that is not empty.
fn has_contents(instance: &OwnedFd, path: &[u8]) -> nix::Result<bool> {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
    let how = how.resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let directory = match openat2(instance, path.as_c_str(), how) {
        Err(Errno::ENOTDIR) => return Ok(true),
        Err(Errno::ENOENT) => return Ok(false),
        directory => directory?,
    };
    for entry in Dir::from_fd(directory)?.iter() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The reason why a file system cannot be mounted.
enum Refusal {
    /// The mount namespace shows only a part of it.
    TooRevealing,
    Other(Errno),
}

/// A new instance of a file system, mounted nowhere.
fn instance(kind: &CStr) -> std::result::Result<OwnedFd, Refusal> {
    let context = mount::fsopen(kind).map_err(Refusal::Other)?;
    mount::fsconfig_create(&context).map_err(Refusal::Other)?;
    let attributes = mount::attr::NOSUID | mount::attr::NODEV | mount::attr::NOEXEC;
    mount::fsmount(context.as_fd(), attributes).map_err(|errno| match errno {
        Errno::EPERM => Refusal::TooRevealing,
        errno => Refusal::Other(errno),
    })
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
