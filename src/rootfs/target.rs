//! Where a mount goes: its mount point, and what must not be mounted over.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::fstat;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::Rootfs;
use super::mount::{Mount, Source};
use crate::error::{Error, Result};

/// What may be mounted over inside /proc, as runc: anything else could fake what the kernel says of
/// processes and security labels (CVE-2019-16884).
const OVER_PROC: &[&CStr] = &[
    c"/proc/cpuinfo",
    c"/proc/diskstats",
    c"/proc/meminfo",
    c"/proc/stat",
    c"/proc/swaps",
    c"/proc/uptime",
    c"/proc/loadavg",
    c"/proc/slabinfo",
    c"/proc/sys/kernel/ns_last_pid",
    c"/proc/sys/crypto/fips_enabled",
];

impl Mount {
    /// The place to mount on, made if it is missing.
    pub(super) fn target(&self, rootfs: &Rootfs, tree: &OwnedFd) -> Result<OwnedFd> {
        let path = &self.destination;
        let target = match &self.source {
            Source::FileSystem { kind, .. } if matches!(kind.to_bytes(), b"proc" | b"sysfs") => {
                let ordinary =
                    || rootfs.open_with(path, OFlag::O_PATH | OFlag::O_DIRECTORY, ResolveFlag::RESOLVE_NO_SYMLINKS);
                match ordinary() {
                    Err(Errno::ENOENT) => rootfs.make_directory(path).and_then(|_| ordinary()),
                    result => result,
                }
            }
            Source::Bind(_) if !is_directory(tree) => rootfs.make_file(path),
            _ => rootfs.make_directory(path),
        };
        let target = target.map_err(|errno| match &self.source {
            Source::FileSystem { kind, .. } if matches!(errno, Errno::ELOOP | Errno::ENOTDIR) => {
                Error::new(format!("filesystem {kind:?} must be mounted on ordinary directory, which {path:?} is not"))
            }
            source => {
                let error = Error::os(format!("mount point {path:?}"), errno);
                match matches!(source, Source::Bind(_)) && errno == Errno::ENOTDIR && is_directory(tree) {
                    true => error.hint("the source is a directory, which covers no file"),
                    false => error,
                }
            }
        })?;
        guard_proc(path, tree, &target, self)?;
        Ok(target)
    }

    /// Adds why, if a file does not go on a directory; the kernel says only that it is invalid.
    pub(super) fn on_unlike(error: Error, tree: &OwnedFd, target: &OwnedFd) -> Error {
        match error.code() == Errno::EINVAL && is_directory(target) && !is_directory(tree) {
            true => error.hint("the source is a file, which covers no directory"),
            false => error,
        }
    }
}

/// Nothing but a procfs on /proc, and nothing inside of it but over a few files, whether the path or
/// what was found there says that it is /proc.
pub(super) fn guard_proc(path: &CStr, tree: &OwnedFd, target: &OwnedFd, what: &dyn fmt::Display) -> Result<()> {
    let is_proc = |fd: &OwnedFd| fstatfs(fd).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC);
    let inside = path.to_bytes().starts_with(b"/proc/") || (path != c"/proc" && is_proc(target));
    match refused_on_proc(path, inside, || is_proc(tree)) {
        Some(why) => Err(Error::new(format!("mount {what}: {why}"))),
        None => Ok(()),
    }
}

/// Why nothing may be mounted there, if so; `is_procfs` is asked of what goes on /proc itself.
pub fn refused_on_proc(path: &CStr, inside: bool, is_procfs: impl FnOnce() -> bool) -> Option<&'static str> {
    if path == c"/proc" && !is_procfs() {
        return Some("only a procfs may be mounted on /proc");
    }
    (inside && !OVER_PROC.contains(&path)).then_some("inside of /proc only a few files may be mounted over")
}

fn is_directory(tree: &OwnedFd) -> bool {
    fstat(tree).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}
