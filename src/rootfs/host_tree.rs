//! The host's tree of mounts, for a process that has left it already: its mount namespace was created from the container's
//! root alone (open_tree(2), `OPEN_TREE_NAMESPACE`), which pivot_root(2) would else do last of all.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chroot, fchdir};

use super::Rootfs;
use crate::error::{Context, Error, Result};
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr};

/// The host's tree, kept until the container's is complete, and dropped where pivot_root(2) would be.
pub struct HostTree {
    namespace: OwnedFd,
    root: OwnedFd,
    /// Handles of the sources of the binds, in the order in which they are mounted.
    sources: VecDeque<(CString, OwnedFd)>,
    /// The propagation (`MS_*`) of a copy of the host's tree.
    propagation: u64,
    /// The container's mount namespace.
    own: OwnedFd,
}

impl HostTree {
    /// Leaves the host's mount namespace for the container's own. Whatever fails, the process is still where it was.
    pub(super) fn leave(
        own: OwnedFd,
        sources: VecDeque<(CString, OwnedFd)>,
        propagation: u64,
    ) -> nix::Result<HostTree> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let host = openat(CWD, c"/", flags, Mode::empty())?;
        let namespace = openat(CWD, c"/proc/self/ns/mnt", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        setns(&own, CloneFlags::CLONE_NEWNS)?;
        Ok(HostTree { namespace, root: host, sources, propagation, own })
    }

    /// A copy of the next source, cut off from the host as in a copy of its tree. Only a mount of one's own namespace can be
    /// copied, and it is done only now since the kernel lists mounts in the order of their making. `None`: it may not be
    /// copied there, as one that is unbindable.
    fn copy_source(&mut self, path: &CStr, recursive: bool) -> Result<Option<OwnedFd>> {
        let what = || format!("bind source {path:?}");
        let place = match self.sources.pop_front() {
            Some((opened, place)) if opened.as_c_str() == path => place,
            _ => return Err(Error::new(format!("the plan binds {path:?}, which is not the source that was opened"))),
        };
        setns(&self.namespace, CloneFlags::CLONE_NEWNS).what(|| "go back to the host's mount namespace")?;
        let copy = mount::clone_tree(place, recursive);
        setns(&self.own, CloneFlags::CLONE_NEWNS).what(|| "return to the container's mount namespace")?;
        let copy = match copy {
            Err(Errno::EINVAL) => return Ok(None),
            copy => copy.what(what)?,
        };
        let change = MountAttr { propagation: self.propagation, ..MountAttr::default() };
        mount::mount_setattr(&copy, true, &change).what(what)?;
        Ok(Some(copy))
    }

    /// Runs something in a copy of the host's tree, as a container's mount namespace usually begins: without the files of
    /// mount namespaces, which the kernel attaches in no younger one (ELOOP). It costs what the rest of this saves.
    fn visit<T>(&self, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let entered = || -> Result<()> {
            setns(&self.namespace, CloneFlags::CLONE_NEWNS).what(|| "go back to the host's mount namespace")?;
            // Which need not be the namespace's own root.
            fchdir(&self.root).and_then(|()| chroot(".")).what(|| "go back to the host's root")?;
            unshare(CloneFlags::CLONE_NEWNS).what(|| "unshare mnt")?;
            let change = MountAttr { propagation: self.propagation, ..MountAttr::default() };
            mount::mount_setattr_on(c"/", true, &change).what(|| "cut the mounts off from the host's")
        };
        let result = entered().and_then(|()| look());
        setns(&self.own, CloneFlags::CLONE_NEWNS).what(|| "return to the container's mount namespace")?;
        result
    }
}

impl Rootfs {
    /// Finds something by its path on the host, wherever this process is.
    pub(super) fn on_host<T>(&self, look: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.host {
            Some(host) => host.visit(look),
            None => look(),
        }
    }

    /// Whether this process has left the host's tree already.
    pub(super) fn has_left_host(&self) -> bool {
        self.host.is_some()
    }

    /// The host's root directory, if that is no longer this process's own.
    pub fn host_root(&self) -> Option<BorrowedFd<'_>> {
        self.host.as_ref().map(|host| host.root.as_fd())
    }

    /// A copy of the source of the next bind, if the host's tree has been left already and that is possible.
    pub(super) fn copy_opened_source(&mut self, path: &CStr, recursive: bool) -> Result<Option<OwnedFd>> {
        self.host.as_mut().map_or(Ok(None), |host| host.copy_source(path, recursive))
    }
}
