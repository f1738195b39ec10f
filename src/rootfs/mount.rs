//! One entry of `mounts`: a detached mount is made, given its attributes, and attached.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::fstat;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::Rootfs;
use super::options::{Attributes, Options};
use crate::error::{Context, Error, Result};
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr, attr};

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

/// What is mounted.
pub enum Source {
    /// A part of the host's tree; its path is absolute.
    Bind(CString),
    /// A new instance of a file system.
    FileSystem {
        /// Its type.
        kind: CString,
        /// Its device or name.
        source: CString,
    },
}

/// Mounts something on a destination.
pub struct Mount {
    /// What.
    pub source: Source,
    /// Where: absolute and clean, inside the container.
    pub destination: CString,
    /// How.
    pub options: Options,
    /// The file system is made read-only only by [`SealReadOnly`], so that mount points can be made in it.
    pub seal_later: bool,
}

impl Mount {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let tree = match &self.source {
            Source::Bind(path) => self.bind(path)?,
            Source::FileSystem { kind, source } => self.file_system(kind, source)?,
        };
        let target = self.target(rootfs, &tree)?;
        attach(&tree, &target, &self.destination)?;
        finish(&tree, &self.options).what(|| format!("set options of {self}"))
    }

    /// A detached copy of the source, with only those attributes changed that the options name.
    fn bind(&self, path: &CStr) -> Result<OwnedFd> {
        let recursive = self.options.bind == Some(true);
        let flags = mount::OPEN_TREE_CLONE | if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
        let tree = mount::open_tree(CWD, path, flags).what(|| format!("bind source {path:?}"))?;
        let Attributes { set, clear } = self.options.here;
        if !self.options.here.is_empty() {
            let change = MountAttr { set, clear, ..MountAttr::default() };
            mount::mount_setattr(&tree, false, &change).what(|| format!("set options of {self}"))?;
        }
        Ok(tree)
    }

    /// A detached new instance.
    fn file_system(&self, kind: &CStr, source: &CStr) -> Result<OwnedFd> {
        let context = mount::fsopen(kind).what(|| format!("mount {self}"))?;
        let configured = self.configure(&context, source);
        configured.map_err(|errno| match mount::kernel_message(&context) {
            Some(said) => Error::os(format!("mount {self}"), errno).detail(said),
            None => Error::os(format!("mount {self}"), errno),
        })?;
        let ro_later = if self.seal_later { attr::RDONLY } else { 0 };
        mount::fsmount(&context, self.options.here.set & !ro_later).what(|| format!("mount {self}"))
    }

    fn configure(&self, context: &OwnedFd, source: &CStr) -> nix::Result<()> {
        mount::fsconfig_string(context, c"source", source)?;
        for flag in &self.options.superblock {
            mount::fsconfig_flag(context, flag)?;
        }
        for data in &self.options.data {
            match &data.value {
                Some(value) => mount::fsconfig_string(context, &data.key, value)?,
                None => mount::fsconfig_flag(context, &data.key)?,
            }
        }
        mount::fsconfig_create(context)
    }

    /// The place to mount on, made if it is missing.
    fn target(&self, rootfs: &Rootfs, tree: &OwnedFd) -> Result<OwnedFd> {
        let path = &self.destination;
        let target = match &self.source {
            Source::FileSystem { kind, .. } if matches!(kind.to_bytes(), b"proc" | b"sysfs") => {
                rootfs.make_directory(path).and_then(|_| {
                    rootfs.open_with(path, OFlag::O_PATH | OFlag::O_DIRECTORY, ResolveFlag::RESOLVE_NO_SYMLINKS)
                })
            }
            Source::Bind(_) if !is_directory(tree) => rootfs.make_file(path),
            _ => rootfs.make_directory(path),
        };
        let target = target.map_err(|errno| match &self.source {
            Source::FileSystem { kind, .. } if matches!(errno, Errno::ELOOP | Errno::ENOTDIR) => {
                Error::new(format!("filesystem {kind:?} must be mounted on ordinary directory, which {path:?} is not"))
            }
            _ => Error::os(format!("mount point {path:?}"), errno),
        })?;
        guard_proc(path, tree, &target)?;
        Ok(target)
    }
}

/// Nothing but a procfs on /proc, and nothing inside of it but over a few files, whether the path or what
/// was found there says that it is /proc.
pub(super) fn guard_proc(path: &CStr, tree: &OwnedFd, target: &OwnedFd) -> Result<()> {
    let is_proc = |fd: &OwnedFd| fstatfs(fd).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC);
    let inside = path.to_bytes().starts_with(b"/proc/") || (path != c"/proc" && is_proc(target));
    if path == c"/proc" && !is_proc(tree) {
        return Err(Error::new("only a procfs may be mounted on /proc"));
    }
    if inside && !OVER_PROC.contains(&path) {
        return Err(Error::new(format!("mount on {path:?}: inside of /proc only a few files may be mounted over")));
    }
    Ok(())
}

/// What can only be set once a mount is in its place: options for the mounts below, and propagation.
pub(super) fn finish(tree: &OwnedFd, options: &Options) -> nix::Result<()> {
    set_all(tree, &options.all)?;
    options.propagation.iter().try_for_each(|(kind, recursive)| {
        let change = MountAttr { propagation: *kind, ..MountAttr::default() };
        mount::mount_setattr(tree, *recursive, &change)
    })
}

fn is_directory(tree: &OwnedFd) -> bool {
    fstat(tree).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

fn set_all(tree: &OwnedFd, change: &Attributes) -> nix::Result<()> {
    if change.is_empty() {
        return Ok(());
    }
    let change = MountAttr { set: change.set, clear: change.clear, ..MountAttr::default() };
    mount::mount_setattr(tree, true, &change)
}

/// Attaches a detached mount.
pub(super) fn attach(tree: impl AsFd, target: impl AsFd, path: &CStr) -> Result<()> {
    mount::move_mount(tree, target).what(|| format!("mount on {path:?}"))
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let destination = self.destination.to_string_lossy();
        match &self.source {
            Source::Bind(path) => write!(f, "bind {} on {destination}", path.to_string_lossy()),
            Source::FileSystem { kind, .. } => write!(f, "{} on {destination}", kind.to_string_lossy()),
        }
    }
}

/// Makes a mount read-only once everything below it is in its place.
pub struct SealReadOnly(pub CString);

impl SealReadOnly {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let change = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
        let seal = || mount::mount_setattr(rootfs.find(&self.0)?, false, &change);
        seal().what(|| format!("make {self} read-only"))
    }
}

impl fmt::Display for SealReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}
