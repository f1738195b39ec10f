//! Mount points: created where they are missing, refused on /proc.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::Rootfs;
use super::mount::{Mount, Source};
use crate::error::{Context, Error, Result};
use crate::sys::file::is_directory;
use crate::types::proc_mounts::refused_on_proc;

/// The mode of a tmpfs that nobody gives one: shmem_init_fs_context() of the kernel.
const MODE_OF_TMPFS: Mode = Mode::from_bits_truncate(0o1777);

impl Mount {
    /// The place to mount on, made if it is missing. What is mounted there is known to be a directory or not.
    pub(super) fn target(&self, rootfs: &Rootfs, tree: &OwnedFd, directory: bool) -> Result<OwnedFd> {
        let path = &*self.destination;
        let target = match &self.source {
            Source::FileSystem { kind, .. } if matches!(kind.to_bytes(), b"proc" | b"sysfs") => {
                let ordinary =
                    || rootfs.open_with(path, OFlag::O_PATH | OFlag::O_DIRECTORY, ResolveFlag::RESOLVE_NO_SYMLINKS);
                match ordinary() {
                    Err(Errno::ENOENT) => rootfs.make_directory(path).and_then(|_| ordinary()),
                    result => result,
                }
            }
            Source::Bind(_) if !directory => rootfs.make_file(path),
            // The next start takes the mode of the tmpfs from there.
            Source::FileSystem { kind, .. } if kind.as_c_str() == c"tmpfs" && !self.options.has_data(c"mode") => {
                rootfs.make_directory_with(path, MODE_OF_TMPFS)
            }
            _ => rootfs.make_directory(path),
        };
        let target = target.map_err(|errno| match &self.source {
            Source::FileSystem { kind, .. } if matches!(errno, Errno::ELOOP | Errno::ENOTDIR) => {
                Error::new(format!("filesystem {kind:?} must be mounted on ordinary directory, which {path:?} is not"))
            }
            source => {
                let error = Error::os(format!("mount point {path:?}"), errno);
                match matches!(source, Source::Bind(_)) && errno == Errno::ENOTDIR && directory {
                    true => error.hint("the source is a directory but the mount point is a file"),
                    false => error,
                }
            }
        })?;
        guard_proc(path, tree, &target, self)?;
        Ok(target)
    }

    /// Says why, if a file does not go on a directory: move_mount(2) fails with EINVAL, where mount(2) has ENOTDIR, from
    /// which Docker derives its message and the status 127.
    pub(super) fn on_unlike(error: Error, directory: bool, target: &OwnedFd) -> Error {
        match error.code() == Errno::EINVAL && !directory && is_directory(target) == Ok(true) {
            true => Error { errno: Errno::ENOTDIR as i32, ..error }
                .hint("the source is a file but the mount point is a directory"),
            false => error,
        }
    }
}

/// Nothing but a procfs on /proc, and nothing inside of it but over a few files, whether the path or
/// what was found there says that it is /proc.
pub(super) fn guard_proc(path: &CStr, tree: &OwnedFd, target: &OwnedFd, what: &dyn fmt::Display) -> Result<()> {
    let is_proc = |fd: &OwnedFd| {
        match fstatfs(fd) {
            Ok(found) => Ok(found.filesystem_type() == PROC_SUPER_MAGIC),
            // Its server is gone, and a procfs has none.
            Err(Errno::ENOTCONN) => Ok(false),
            Err(errno) => Err(errno).what(|| format!("mount {what}: look at the file system")),
        }
    };
    let inside = path.to_bytes().starts_with(b"/proc/") || (path != c"/proc" && is_proc(target)?);
    let procfs = path == c"/proc" && is_proc(tree)?;
    match refused_on_proc(path, inside, || procfs) {
        Some(why) => Err(Error::new(format!("mount {what}: {why}"))),
        None => Ok(()),
    }
}
