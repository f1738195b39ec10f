//! The step for an entry of `mounts`: it creates a detached mount, sets its attributes, and attaches it.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;

use super::Rootfs;
use super::copy_up::copy_up;
use super::file_system::{FileSystem, relabel, tmpfs_place};
use super::idmap::IdMap;
use crate::error::{Context, Error, Result};
use crate::sys::fd::CWD;
use crate::sys::file::is_directory;
use crate::sys::mount::{self, MountAttr, attr};
use crate::types::mount_options::{Attributes, Options};

/// What is mounted.
#[derive(PartialEq)]
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
#[derive(PartialEq)]
pub struct Mount {
    /// What.
    pub source: Source,
    /// Where: absolute and clean, inside the container.
    pub destination: Rc<CStr>,
    /// How.
    pub options: Options,
    /// A bind of what is shared with the host does not stay so.
    pub cut_off: bool,
    /// How owners are mapped.
    pub idmap: Option<IdMap>,
    /// The source of this bind came from the parent, with its owners mapped.
    pub handed: bool,
    /// The SELinux context of its root, where none can be had as an option.
    pub label: Option<CString>,
    /// It is changed later: by another entry of `mounts`, or by [`SealReadOnly`].
    pub keep: bool,
}

impl Mount {
    /// Runs the step.
    ///
    /// What is mounted is there, and known to be a directory or not, before its mount point is made: a failure must leave
    /// nothing that another start would meet.
    pub fn run(&self, rootfs: &mut Rootfs) -> Result<()> {
        let (mut tree, directory) = match &self.source {
            Source::Bind(path) => {
                let copy = match self.handed {
                    true => Some(rootfs.handed()),
                    false => rootfs.copy_opened_source(path, self.is_recursive())?,
                };
                let tree = self.set_up(copy.map_or_else(|| rootfs.on_host(|| self.copy(path)), Ok)?)?;
                let directory = is_directory(&tree).what(|| format!("bind source {path:?}"))?;
                (tree, directory)
            }
            Source::FileSystem { kind, source } => (self.file_system(rootfs, kind, source)?, true),
        };
        let finish = |tree: &OwnedFd| set_mount_options(tree, &self.options, self);
        if &*self.destination == c"/" {
            let error = || Error::os(format!("mount {self}"), Errno::ENOTDIR);
            return if directory { rootfs.cover(tree, finish) } else { Err(error()) };
        }
        let target = self.target(rootfs, &tree, directory)?;
        let mut attached = rootfs.attach_and(&tree, &target, &self.destination, || finish(&tree));
        if let (Err(error), Source::Bind(path)) = (&attached, &self.source)
            && error.code() == Errno::ELOOP
            && rootfs.has_left_host()
        {
            // A file of a mount namespace, which a copy of the host's mounts is without.
            tree = self.set_up(rootfs.on_host(|| self.copy(path))?)?;
            attached = rootfs.attach_and(&tree, &target, &self.destination, || finish(&tree));
        }
        attached.map_err(|error| Mount::on_unlike(error, directory, &target))?;
        rootfs.note_dev(self, &tree)?;
        if self.keep {
            let is_own = matches!(self.source, Source::FileSystem { .. });
            rootfs.keep(self.destination.clone(), tree, is_own);
        }
        Ok(())
    }

    fn is_recursive(&self) -> bool {
        self.options.bind == Some(true)
    }

    /// A detached copy of the source.
    fn copy(&self, path: &CStr) -> Result<OwnedFd> {
        let flags = mount::OPEN_TREE_CLONE | if self.is_recursive() { libc::AT_RECURSIVE as u32 } else { 0 };
        mount::open_tree(CWD, path, flags).what(|| format!("bind source {path:?}"))
    }

    /// Changes only those attributes of a copy that the options name.
    fn set_up(&self, tree: OwnedFd) -> Result<OwnedFd> {
        if self.cut_off {
            mount::mount_setattr(&tree, true, &super::propagation::SLAVE).what(|| format!("cut off {self}"))?;
        }
        let Attributes { set, clear } = self.options.here;
        if !self.options.here.is_empty() {
            let change = MountAttr { set, clear, ..MountAttr::default() };
            mount::mount_setattr(&tree, false, &change).map_err(|errno| not_set("options", self, errno))?;
        }
        if let Some(idmap) = &self.idmap {
            idmap.apply(&tree, None, self)?;
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
        let made = FileSystem { kind, source, place: place.as_ref() };
        let what = || format!("mount {self}");
        let tree = match made.is_long(&self.options) {
            false => made.make(&self.options, what)?,
            true => made.make_with_long_options(&self.options, rootfs, what)?,
        };
        if let Some(place) = place.filter(|_| self.options.copy_up) {
            copy_up(&place, &tree).map_err(|error| error.hint(format!("tmpcopyup fills {self} with what is there")))?;
        }
        if let Some(label) = &self.label {
            relabel(&tree, label).what(|| format!("label {self} {label:?}"))?;
        }
        Ok(tree)
    }
}

fn not_set(options: &str, what: &dyn fmt::Display, errno: Errno) -> Error {
    let error = Error::os(format!("set {options} of {what}"), errno);
    match errno {
        Errno::EPERM => error.hint(
            "in a user namespace, ro, nosuid, nodev, noexec and the access times of a mount of the host cannot be changed",
        ),
        _ => error,
    }
}

/// Sets what holds for the mounts below, too, and the propagation.
pub(super) fn set_mount_options(tree: &OwnedFd, options: &Options, what: &dyn fmt::Display) -> Result<()> {
    let Attributes { set, clear } = options.all;
    if set | clear != 0 {
        let change = MountAttr { set, clear, ..MountAttr::default() };
        mount::mount_setattr(tree, true, &change).map_err(|errno| not_set("recursive options", what, errno))?;
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
#[derive(PartialEq)]
pub struct SealReadOnly {
    /// Where it is: absolute and clean, inside the container.
    pub destination: CString,
    /// Its file system was made for it alone; others may be the host's, too, as every devtmpfs is.
    pub own: bool,
    /// The file system becomes read-only as well, as by a `remount` that is no bind.
    pub file_system: bool,
}

impl SealReadOnly {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let sealed = match rootfs.kept(&self.destination) {
            _ if self.destination.as_c_str() == c"/" => mount::mount_setattr(rootfs.root(), false, &READ_ONLY),
            Some(kept) if !rootfs.nowhere => mount::mount_setattr(&kept.mount, false, &READ_ONLY)
                .and_then(|()| if self.file_system { make_read_only(&kept.mount) } else { Ok(()) }),
            Some(kept) if self.own => make_read_only(&kept.mount),
            Some(kept) => cover_read_only(&kept.mount),
            None => unreachable!("a mount that is sealed is kept"),
        };
        sealed.what(|| format!("make {self} read-only"))
    }
}

const READ_ONLY: MountAttr = MountAttr { set: attr::RDONLY, clear: 0, propagation: 0, userns_fd: 0 };

/// Makes the instance of the file system read-only.
fn make_read_only(mount: &OwnedFd) -> nix::Result<()> {
    let instance = mount::fspick(mount)?;
    mount::fsconfig_flag(&instance, c"ro")?;
    mount::fsconfig_reconfigure(&instance)
}

/// Covers a mount that cannot be changed any more by a copy, with all that is mounted on it.
fn cover_read_only(mount: &OwnedFd) -> nix::Result<()> {
    let copy = mount::clone_tree(mount, true)?;
    mount::mount_setattr(&copy, false, &READ_ONLY)?;
    mount::move_mount(copy, mount)
}

impl fmt::Display for SealReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.destination.to_string_lossy())
    }
}
