//! Devices for a container in a user namespace, where none can be created and which the host has under no such path:
//! ferrun creates them outside, on a file system that belongs to the host's root, and the init binds them from there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mknodat};
use nix::unistd::{Gid, Uid, fchownat};

use super::node::Node;
use super::{Rootfs, withdraw};
use crate::error::{Context, Error, Result};
use crate::pointer::Pointer;
use crate::sys::mount::{self, attr};

/// The devices that are created outside, by their index in `linux.devices`.
#[derive(Default)]
pub struct NodeStore {
    /// The detached file system that they are on, from before the clone, so that the init has a copy, until it is copied.
    file_system: RefCell<Option<OwnedFd>>,
    created: RefCell<Vec<usize>>,
    /// A detached mount of each, in the init.
    mounts: RefCell<BTreeMap<usize, OwnedFd>>,
}

impl NodeStore {
    /// The descriptor of the file system, if there is one.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.file_system.borrow().as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Closes the file system, which is the init's alone after the clone.
    pub fn close(&self) {
        drop(self.file_system.take());
    }

    /// A detached mount of a device, if it was created.
    pub(super) fn take(&self, index: usize, rootfs: &Rootfs) -> nix::Result<Option<OwnedFd>> {
        if let Some(file_system) = self.file_system.take() {
            self.mounts.replace(self.copy_all(&file_system, rootfs)?);
        }
        Ok(self.mounts.borrow_mut().remove(&index))
    }

    /// Before Linux 6.15, a mount can be copied only while it is attached: here over the container's root, where no mount
    /// goes to the host and nothing else is looked up meanwhile.
    fn copy_all(&self, file_system: &OwnedFd, rootfs: &Rootfs) -> nix::Result<BTreeMap<usize, OwnedFd>> {
        mount::move_mount(file_system, rootfs.root())?;
        let copy = |index: &usize| Ok((*index, mount::open_tree(file_system, &name(*index), mount::OPEN_TREE_CLONE)?));
        let copies = self.created.borrow().iter().map(copy).collect();
        withdraw(file_system)?;
        copies
    }
}

fn name(index: usize) -> CString {
    CString::new(index.to_string()).expect("digits")
}

/// Creates the devices that the host does not have under their paths.
pub struct CreateNodes {
    /// The devices, by their index in `linux.devices`; owners are ids of the host.
    pub nodes: Vec<(usize, Node)>,
    /// The init is in a mount namespace with paths of its own, so that all are created.
    pub elsewhere: bool,
    /// The SELinux context of the file system.
    pub label: Option<CString>,
    /// Where they are kept for the init.
    pub store: Rc<NodeStore>,
}

impl CreateNodes {
    /// Runs the step. Without the right to create devices there are none: what the init then misses it reports.
    pub fn run(&self) -> Result<()> {
        for (index, node) in &self.nodes {
            let located = |error: Error| error.from_property(Pointer::at("/linux/devices/#", *index));
            if !self.elsewhere && node.of_host().map_err(located)?.is_some() {
                continue;
            }
            match self.create(*index, node) {
                Err(error) if error.code() == Errno::EPERM => return Ok(()),
                result => result.map_err(located)?,
            }
        }
        Ok(())
    }

    fn create(&self, index: usize, node: &Node) -> Result<()> {
        let mut store = self.store.file_system.borrow_mut();
        let directory = match &mut *store {
            Some(there) => there,
            none => none.insert(file_system(self.label.as_deref()).what(|| "create a file system for devices")?),
        };
        let directory = &*directory;
        let mode = Mode::from_bits_truncate(node.mode.unwrap_or(0o666));
        let name = name(index);
        let name = name.as_c_str();
        mknodat(directory, name, node.kind, mode, node.number).what(|| format!("mknod {node}"))?;
        let (uid, gid) = (node.uid.map(Uid::from_raw), node.gid.map(Gid::from_raw));
        fchownat(directory, name, uid, gid, nix::fcntl::AtFlags::empty()).what(|| format!("chown {node}"))?;
        // The umask is the caller's, and a new owner takes bits away.
        fchmodat(directory, name, mode, FchmodatFlags::FollowSymlink).what(|| format!("chmod {node}"))?;
        self.store.created.borrow_mut().push(index);
        Ok(())
    }
}

fn file_system(label: Option<&CStr>) -> nix::Result<OwnedFd> {
    let context = mount::fsopen(c"tmpfs")?;
    if let Some(label) = label {
        mount::fsconfig_string(&context, c"context", label)?;
    }
    mount::fsconfig_create(&context)?;
    mount::fsmount(&context, attr::NOSUID | attr::NOEXEC)
}

impl PartialEq for CreateNodes {
    fn eq(&self, other: &CreateNodes) -> bool {
        (&self.nodes, self.elsewhere, &self.label) == (&other.nodes, other.elsewhere, &other.label)
    }
}

/// Only what it is filled with by [`CreateNodes`] makes a difference.
impl PartialEq for NodeStore {
    fn eq(&self, _: &NodeStore) -> bool {
        true
    }
}

impl fmt::Display for CreateNodes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("create what the host does not have:")?;
        self.nodes.iter().try_for_each(|(_, node)| write!(f, " {node}"))
    }
}
