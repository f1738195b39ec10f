//! The root itself: binding it, entering it, leaving the host's tree, making it read-only.

use std::ffi::CString;
use std::fmt;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::unistd::{chroot, fchdir};

use super::Rootfs;
use super::kernel_views::{enter_namespaces_root, unmount_all};
use super::propagation::{self, SLAVE};
use crate::error::{Context, Result};
use crate::pointer::Pointer;
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr, attr};
use crate::types::propagation::Propagation;

/// The tree of mounts that the root becomes a part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// A copy of the host's: the container has a mount namespace of its own.
    Own,
    /// That of others, which stays as it is but for the mount that the root lies on.
    Joined,
    /// None: the container has the host's mount namespace, and nothing of it appears there. Its root is
    /// mounted nowhere, is seen by nobody else, and goes with the last process in it.
    None,
}

/// Makes the root file system a mount of its own, which pivot_root(2) demands, in a tree from which no
/// mount goes to the host.
#[derive(PartialEq)]
pub struct BindRoot {
    /// The root file system on the host.
    pub path: CString,
    /// Its propagation.
    pub propagation: Propagation,
    /// Where it is mounted.
    pub tree: Tree,
    /// The property for which the host's mounts are copied, where the kernel could do without.
    pub copied_for: Option<Pointer>,
}

impl BindRoot {
    /// Runs the step.
    pub fn run(&self) -> Result<Rootfs> {
        let shared = self.tree != Tree::Own || self.propagation.is_shared();
        if !shared {
            let change = MountAttr { propagation: self.propagation.of_host(), ..MountAttr::default() };
            mount::mount_setattr_on(c"/", true, &change).what(|| "cut the mounts off from the host's")?;
        }
        // A link in its place is not followed, whatever was seen there before.
        let place =
            mount::open_tree(CWD, &self.path, libc::AT_SYMLINK_NOFOLLOW as u32).what(|| format!("open {self}"))?;
        let root = mount::clone_tree(&place, true).what(|| format!("bind {self}"))?;
        if shared && self.tree != Tree::None {
            propagation::cut_off_mount_of(&place).what(|| format!("cut the mount of {self} off from the host's"))?;
        }
        // In a tree that is mounted nowhere nothing arrives.
        let wanted = if self.tree == Tree::None { libc::MS_PRIVATE } else { self.propagation.of_root() };
        // The copy has the propagation of the host's tree, unless that has been left as it is.
        if shared || wanted != self.propagation.of_host() {
            let change = MountAttr { propagation: wanted, ..MountAttr::default() };
            mount::mount_setattr(&root, shared, &change).what(|| format!("set the propagation of {self}"))?;
        }
        if self.tree != Tree::None {
            super::mount::attach(&root, &place, &self.path)?;
        }
        let (foreign, nowhere) = (self.tree == Tree::Joined, self.tree == Tree::None);
        Ok(Rootfs { foreign, nowhere, ..Rootfs::new(root) })
    }
}

impl fmt::Display for BindRoot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "rootfs {}", self.path.to_string_lossy())?;
        match (self.tree, self.copied_for) {
            (Tree::None, _) => f.write_str(", mounted nowhere"),
            (_, Some(property)) => write!(f, " in a copy of the host's mounts, for {property}"),
            _ => Ok(()),
        }
    }
}

/// Makes the root file system the root directory and lets go of the host's tree: pivot_root(2).
#[derive(PartialEq)]
pub struct Pivot {
    /// The host's tree is not cut off yet: its unmounting would reach the host.
    pub cut_off: bool,
    /// The namespace began with the root alone, so that there is nothing to pivot.
    pub alone: bool,
}

impl Pivot {
    /// Runs the step.
    pub fn run(&self, rootfs: &mut Rootfs) -> Result<()> {
        if rootfs.host.take().is_some() {
            // The namespace has no other root.
            return nix::unistd::chdir("/").what(|| "enter the new root");
        }
        // Before: afterwards the container's mounts would be below it.
        let host = match self.cut_off {
            true => Some(mount::open_tree(CWD, c"/", 0).what(|| "open the host's root")?),
            false => None,
        };
        fchdir(rootfs.root()).what(|| "enter the rootfs")?;
        mount::pivot_root_here().what(|| "pivot_root").map_err(|error| match error.code() {
            Errno::EINVAL => {
                error.hint("pivot_root does not work on an initramfs (--no-pivot is for that), nor in most chroots")
            }
            _ => error,
        })?;
        if let Some(host) = host {
            mount::mount_setattr(host, true, &SLAVE).what(|| "cut the host's tree off from the host's")?;
        }
        // The old root now lies on top of the new one, as the working directory.
        umount2(".", MntFlags::MNT_DETACH).what(|| "unmount the host's tree")?;
        nix::unistd::chdir("/").what(|| "enter the new root")
    }
}

impl fmt::Display for Pivot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.alone {
            true => "handles of the host's tree closed",
            false => "pivot_root, host's tree unmounted",
        })
    }
}

/// Moves the root file system over the host's root, for `--no-pivot`: the host's tree stays mounted below, so that what
/// could be reached of it matters; its proc and sysfs are unmounted.
///
/// In a mount namespace that is joined, too: pivot_root(2) would give the container's root to every process
/// there. They keep what they have; who enters the namespace from now on is in the container's root.
#[derive(PartialEq)]
pub struct MoveRoot {
    /// As in [`Pivot`].
    pub cut_off: bool,
    /// The tree is that of others, who need its /proc and /sys.
    pub joined: bool,
    /// The config has masked or read-only paths.
    pub hides: bool,
}

impl MoveRoot {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        if self.joined && self.hides {
            rootfs.look_for_full_views()?;
        }
        if !self.joined {
            enter_namespaces_root()?;
        }
        let host = mount::open_tree(CWD, c"/", 0).what(|| "open the host's root")?;
        if self.cut_off {
            mount::mount_setattr(&host, false, &SLAVE).what(|| "cut the root off from the host's")?;
        }
        super::mount::attach(rootfs.root(), &host, c"/")?;
        if !self.joined {
            unmount_all(&host, rootfs.mount_id()?, self.cut_off)?;
        }
        fchdir(rootfs.root()).what(|| "enter the rootfs")?;
        chroot(".").what(|| "chroot to the rootfs")?;
        nix::unistd::chdir("/").what(|| "enter the new root")
    }
}

impl fmt::Display for MoveRoot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.joined {
            true => "move over the namespace's root, chroot",
            false => "move over the host's root, unmount its proc and sysfs, chroot",
        })
    }
}

/// Makes a root file system that is mounted nowhere the root directory. There is no way out of it by `..`, as
/// there would be from a directory of the host's tree: nothing is above it.
#[derive(PartialEq)]
pub struct EnterRoot;

impl EnterRoot {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        fchdir(rootfs.root()).what(|| "enter the rootfs")?;
        chroot(".").what(|| "chroot to the rootfs")
    }
}

impl fmt::Display for EnterRoot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("chroot")
    }
}

/// Makes the root file system read-only.
#[derive(PartialEq)]
pub struct ReadOnlyRoot {
    /// The mounts inside it, too; else they keep their own options.
    pub with_mounts: bool,
}

impl ReadOnlyRoot {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let change = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
        mount::mount_setattr(rootfs.root(), self.with_mounts, &change).what(|| "make the rootfs read-only")
    }
}

impl fmt::Display for ReadOnlyRoot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if self.with_mounts { "/ read-only, with all mounts" } else { "/ read-only" })
    }
}
