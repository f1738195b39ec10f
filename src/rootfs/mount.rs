//! One entry of `mounts`: a detached mount is made, given its attributes, and attached.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use super::Rootfs;
use super::copy_up::copy_up;
use super::file_system::{FileSystem, tmpfs_place};
use super::idmap::IdMap;
use super::options::{Attributes, Options};
use crate::error::{Context, Result};
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr, attr};

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
    /// A bind of what is shared with the host does not stay so.
    pub cut_off: bool,
    /// How owners are mapped.
    pub idmap: Option<IdMap>,
    /// A later entry of `mounts` changes this one.
    pub keep: bool,
}

impl Mount {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let tree = match &self.source {
            Source::Bind(path) => self.bind(path)?,
            Source::FileSystem { kind, source } => self.file_system(rootfs, kind, source)?,
        };
        let target = self.target(rootfs, &tree)?;
        attach(&tree, &target, &self.destination)?;
        set_mount_options(&tree, &self.options, self.seal_later, self)?;
        if self.keep {
            rootfs.keep(self.destination.clone(), tree);
        }
        Ok(())
    }

    /// A detached copy of the source, with only those attributes changed that the options name.
    fn bind(&self, path: &CStr) -> Result<OwnedFd> {
        let recursive = self.options.bind == Some(true);
        let flags = mount::OPEN_TREE_CLONE | if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
        let tree = mount::open_tree(CWD, path, flags).what(|| format!("bind source {path:?}"))?;
        if self.cut_off {
            mount::mount_setattr(&tree, true, &super::propagation::SLAVE).what(|| format!("cut off {self}"))?;
        }
        let Attributes { set, clear } = self.options.here;
        if !self.options.here.is_empty() {
            let change = MountAttr { set, clear, ..MountAttr::default() };
            mount::mount_setattr(&tree, false, &change).what(|| format!("set options of {self}"))?;
        }
        if let Some(idmap) = &self.idmap {
            idmap.apply(&tree, self)?;
        }
        Ok(tree)
    }

    /// A detached new instance.
    fn file_system(&self, rootfs: &Rootfs, kind: &CStr, source: &CStr) -> Result<OwnedFd> {
        let place = match kind == c"tmpfs" {
            true => tmpfs_place(rootfs, &self.destination, &self.options)
                .what(|| format!("mount point {:?}", self.destination))?,
            false => None,
        };
        let made = FileSystem { kind, source, place: place.as_ref(), writable: self.seal_later };
        let tree = made.make(&self.options, || format!("mount {self}"))?;
        if let Some(place) = place.filter(|_| self.options.copy_up) {
            copy_up(&place, &tree).map_err(|error| error.hint(format!("tmpcopyup fills {self} with what is there")))?;
        }
        Ok(tree)
    }
}

/// Sets what holds for the mounts below, too, and the propagation.
pub(super) fn set_mount_options(
    tree: &OwnedFd,
    options: &Options,
    seal_later: bool,
    what: &dyn fmt::Display,
) -> Result<()> {
    let Attributes { set, clear } = options.all;
    let set = if seal_later { set & !attr::RDONLY } else { set };
    if set | clear != 0 {
        let change = MountAttr { set, clear, ..MountAttr::default() };
        mount::mount_setattr(tree, true, &change).what(|| format!("set recursive options of {what}"))?;
    }
    for (kind, recursive) in &options.propagation {
        let change = MountAttr { propagation: *kind, ..MountAttr::default() };
        mount::mount_setattr(tree, *recursive, &change).what(|| format!("set propagation of {what}"))?;
    }
    Ok(())
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
