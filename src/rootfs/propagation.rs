//! The steps for mount propagation between the container's root and the host's tree: `linux.rootfsPropagation`.
//!
//! As runc does it (prepareRoot and pivotRoot of libcontainer/rootfs_linux.go), with two exceptions: a value without
//! `r` makes the rest of the host's tree slaves as well; and no value, however shared, lets a mount that ferrun creates
//! reach the host.

use std::fmt;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};

use super::Rootfs;
use crate::error::{Context, Result};
use crate::sys::mount::{self, MountAttr};
use crate::types::propagation::Propagation;

/// Mounts still arrive from the host, none goes there.
pub const SLAVE: MountAttr = MountAttr { set: 0, clear: 0, propagation: libc::MS_SLAVE, userns_fd: 0 };

/// Makes the mount that `place` lies on a slave: what is attached there would else appear on the host. So
/// binds of that mount are slaves, too, whatever is asked for; runc even makes it private.
pub(super) fn cut_off_mount_of(place: &OwnedFd) -> nix::Result<()> {
    let up = |at: &OwnedFd| {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(at, c"..", flags, Mode::empty())
    };
    let same = |a: &OwnedFd, b: &OwnedFd| -> nix::Result<bool> {
        let (a, b) = (fstat(a)?, fstat(b)?);
        Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    };
    let mut above = None;
    loop {
        let at = above.as_ref().unwrap_or(place);
        match mount::mount_setattr(at, false, &SLAVE) {
            // Not the root of a mount: its parent directory is nearer to one.
            Err(Errno::EINVAL) => {
                let parent = up(at)?;
                if same(at, &parent)? {
                    return Err(Errno::EINVAL);
                }
                above = Some(parent);
            }
            result => return result,
        }
    }
}

/// Gives the root its propagation, once nothing is mounted any more: what lies below a shared mount
/// cannot be cut off, and what is unbindable cannot be made read-only.
#[derive(PartialEq)]
pub struct PropagateRoot(pub Propagation);

impl PropagateRoot {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let change = MountAttr { propagation: self.0.kind, ..MountAttr::default() };
        mount::mount_setattr(rootfs.root(), self.0.recursive, &change).what(|| format!("make {self}"))
    }
}

impl fmt::Display for PropagateRoot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "/ {}", self.0.name())
    }
}
