//! Whose /dev it is: nothing is created or changed in one that is the host's, by whatever path it is reached.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode};

use super::Rootfs;
use super::mount::{Mount, Source};
use super::paths::{LINKS, MODE, make_child_directory, names};
use crate::error::{Context, Result};
use crate::sys::mount::MountedFile;
use crate::types::default_devices::NODES;

/// The names of the default devices that were created, and nothing in place of the others.
pub(super) type CreatedDefaults = [Option<&'static CStr>; NODES.len()];

/// What is known of /dev and of the nodes that this start has created.
#[derive(Default)]
pub(super) struct Dev {
    /// The mount of a file system that `mounts` created on /dev.
    created: Cell<Option<u64>>,
    /// The mount that /dev lies on, if it is not the container's own.
    foreign: OnceCell<Option<u64>>,
    /// The default devices that were created, and their directory.
    defaults: RefCell<Option<(MountedFile, CreatedDefaults)>>,
    /// Device and inode of the nodes of `linux.devices` that were created.
    nodes: RefCell<Vec<(u64, u64)>>,
}

impl Dev {
    /// Remembers nodes in this list.
    pub(super) fn with(nodes: Vec<(u64, u64)>) -> Dev {
        Dev { nodes: nodes.into(), ..Dev::default() }
    }

    /// Remembers the default devices that were created in a directory.
    pub(super) fn created_defaults(&self, directory: MountedFile, names: CreatedDefaults) {
        self.defaults.replace(Some((directory, names)));
    }

    /// Remembers a node that was created.
    pub(super) fn created_node(&self, stat: &FileStat) {
        self.nodes.borrow_mut().push((stat.st_dev, stat.st_ino));
    }

    /// Whether this start has created the node with a name in a directory: its owner and mode may be changed.
    pub(super) fn has_created(&self, directory: &OwnedFd, name: &[u8], stat: &FileStat) -> nix::Result<bool> {
        if self.nodes.borrow().contains(&(stat.st_dev, stat.st_ino)) {
            return Ok(true);
        }
        match &*self.defaults.borrow() {
            Some((dev, names)) if names.iter().flatten().any(|one| one.to_bytes() == name) => {
                Ok(MountedFile::of(directory)? == *dev)
            }
            _ => Ok(false),
        }
    }
}

impl Rootfs {
    /// Remembers the mount of a new file system on /dev. A devtmpfs is no new one: there is one of it, the host's.
    pub(super) fn note_dev(&self, mount: &Mount, tree: &OwnedFd) -> Result<()> {
        if &*mount.destination != c"/dev" {
            return Ok(());
        }
        let created = matches!(&mount.source, Source::FileSystem { kind, .. } if kind.as_c_str() != c"devtmpfs");
        let id = if created { Some(MountedFile::of(tree).what(|| format!("statx {mount}"))?.mount()) } else { None };
        self.dev.created.set(id);
        Ok(())
    }

    /// The mount that /dev lies on, unless that is the root's own or a file system that `mounts` created for it. It is
    /// asked once, when the mounts are made: of the handle `dev`, or of the path.
    pub(super) fn foreign_dev(&self, dev: Option<&MountedFile>) -> Result<Option<u64>> {
        if let Some(known) = self.dev.foreign.get() {
            return Ok(*known);
        }
        let mount = match dev {
            Some(dev) => dev.mount(),
            None => match self.find(c"/dev") {
                Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
                dev => dev.and_then(MountedFile::of).what(|| "look at /dev of the container")?.mount(),
            },
        };
        let is_own = self.dev.created.get() == Some(mount) || self.mount_id()? == mount;
        Ok(*self.dev.foreign.get_or_init(|| (!is_own).then_some(mount)))
    }

    /// The id of the root's mount.
    pub(super) fn mount_id(&self) -> Result<u64> {
        Ok(MountedFile::of(self.root()).what(|| "look at the rootfs")?.mount())
    }

    /// The directory of a node, created if it is missing; none in a /dev that is not the container's own. It is resolved
    /// once: links in a volume may be exchanged meanwhile.
    pub(super) fn directory_of_node(&self, path: &[u8]) -> Result<Option<OwnedFd>> {
        let what = || format!("open directory \"{}\"", path.escape_ascii());
        let (at, missing) = match self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) => self.find_missing_part(path, LINKS).what(what)?,
            found => (found.what(what)?, Cow::default()),
        };
        if self.is_in_foreign_dev(&at)? {
            return Ok(None);
        }
        let made = names(&missing).try_fold(at, |at, name| make_child_directory(&at, name, MODE));
        made.what(what).map(Some)
    }

    /// Whether a directory is in a /dev that is not the container's own, by whatever path it was reached.
    pub(super) fn is_in_foreign_dev(&self, directory: &OwnedFd) -> Result<bool> {
        let what = || "look whose /dev it is";
        let mut file = MountedFile::of(directory).what(what)?;
        if self.dev.created.get() == Some(file.mount()) {
            return Ok(false);
        }
        let root = self.mount_id()?;
        if file.mount() != root && self.on_host(|| is_of_the_hosts_dev(&file).what(what))? {
            return Ok(true);
        }
        let Some(foreign) = self.foreign_dev(None)? else { return Ok(false) };
        let mut at = up(directory).what(what)?;
        loop {
            if file.mount() == foreign {
                return Ok(true);
            }
            if file.mount() == root {
                return Ok(false);
            }
            let above = MountedFile::of(&at).what(what)?;
            if above == file {
                return Ok(false);
            }
            (file, at) = (above, up(&at).what(what)?);
        }
    }
}

/// Whether a file is in the file system of the host's /dev, if that is one of its own.
fn is_of_the_hosts_dev(file: &MountedFile) -> nix::Result<bool> {
    let [dev, root] = [c"/dev", c"/"].map(MountedFile::at);
    let dev = dev?.device();
    Ok(dev != root?.device() && dev == file.device())
}

/// The directory above, across the mounts.
fn up(at: impl AsFd) -> nix::Result<OwnedFd> {
    openat(at, c"..", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}
