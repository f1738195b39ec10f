//! `linux.rootfsPropagation`: whether mounts travel between the container's root and the host's tree.
//!
//! As runc does it (prepareRoot and pivotRoot of libcontainer/rootfs_linux.go), but for two things: what a
//! value without `r` leaves of the host's tree is made slaves, too; and no value, however shared, lets a
//! mount that ferrun makes reach the host.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};

use super::Rootfs;
use crate::error::{Context, Result};
use crate::sys::mount::{self, MountAttr};

/// Mounts still arrive from the host, none goes there.
pub const SLAVE: MountAttr = MountAttr { set: 0, clear: 0, propagation: libc::MS_SLAVE, userns_fd: 0 };

/// The values, sorted, with what they are to mount(2).
const VALUES: &[(&str, u64, bool)] = &[
    ("private", libc::MS_PRIVATE, false),
    ("rprivate", libc::MS_PRIVATE, true),
    ("rshared", libc::MS_SHARED, true),
    ("rslave", libc::MS_SLAVE, true),
    ("runbindable", libc::MS_UNBINDABLE, true),
    ("shared", libc::MS_SHARED, false),
    ("slave", libc::MS_SLAVE, false),
    ("unbindable", libc::MS_UNBINDABLE, false),
];

/// A value of `linux.rootfsPropagation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    kind: u64,
    recursive: bool,
}

impl Propagation {
    /// The propagation of a root whose config does not name one: `rslave`.
    pub const DEFAULT: Propagation = Propagation { kind: libc::MS_SLAVE, recursive: true };

    /// Reads a value.
    ///
    /// # Errors
    /// A sentence that lists the values.
    pub fn parse(text: &str) -> std::result::Result<Propagation, String> {
        match VALUES.binary_search_by_key(&text, |(name, ..)| name) {
            Ok(index) => Ok(Propagation { kind: VALUES[index].1, recursive: VALUES[index].2 }),
            Err(_) => {
                let names: Vec<_> = VALUES.iter().map(|(name, ..)| *name).collect();
                Err(format!("rootfsPropagation={text} is not supported; it is one of {}", names.join(", ")))
            }
        }
    }

    /// That of one mount, by its kind (`MS_*`).
    pub fn of_mount(kind: u64) -> Propagation {
        Propagation { kind, recursive: false }
    }

    /// Whether binds of the host's shared mounts stay in their peer groups.
    pub fn is_shared(self) -> bool {
        self.kind == libc::MS_SHARED
    }

    /// Whether the host's later mounts shall arrive.
    pub fn is_slave(self) -> bool {
        self.kind == libc::MS_SLAVE
    }

    /// Whether nothing shall arrive from the host.
    pub fn is_private(self) -> bool {
        self.kind == libc::MS_PRIVATE
    }

    /// What the host's tree becomes, in the container's mount namespace.
    pub(super) fn of_host(self) -> u64 {
        if self.is_private() && self.recursive { libc::MS_PRIVATE } else { libc::MS_SLAVE }
    }

    /// Whether something is left to do at the end.
    pub fn is_set_last(self) -> bool {
        self.is_shared() || self.kind == libc::MS_UNBINDABLE
    }
}

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
    let mut at = place.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
    loop {
        match mount::mount_setattr(&at, false, &SLAVE) {
            // Not the root of a mount: its parent directory is nearer to one.
            Err(Errno::EINVAL) => {
                let above = up(&at)?;
                if same(&at, &above)? {
                    return Err(Errno::EINVAL);
                }
                at = above;
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
        let value = VALUES.iter().find(|(_, kind, recursive)| (*kind, *recursive) == (self.0.kind, self.0.recursive));
        write!(f, "/ {}", value.map_or("", |(name, ..)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eight_values_and_no_other() {
        assert!(VALUES.is_sorted_by(|a, b| a.0 < b.0));
        for (name, kind, recursive) in VALUES {
            assert_eq!(Propagation::parse(name), Ok(Propagation { kind: *kind, recursive: *recursive }));
            assert_eq!(name.starts_with('r'), *recursive);
        }
        for wrong in ["", "Shared", "rrshared", "shared "] {
            assert!(Propagation::parse(wrong).unwrap_err().contains("private, rprivate, rshared, rslave"), "{wrong}");
        }
    }
}
