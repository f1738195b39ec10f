//! The host's tree of mounts, for a process that has left it already: its mount namespace was created from the container's
//! root alone (open_tree(2), `OPEN_TREE_NAMESPACE`), which pivot_root(2) would else do last of all.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
    /// The sources of the binds, in the order in which they are mounted.
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

    /// The source of the next bind, if it was opened before the host's tree was left.
    pub(super) fn opened_source(&mut self, path: &CStr) -> Result<Option<OwnedFd>> {
        let Some(host) = &mut self.host else { return Ok(None) };
        match host.sources.pop_front() {
            Some((opened, source)) if opened.as_c_str() == path => Ok(Some(source)),
            _ => Err(Error::new(format!("the plan binds {path:?}, which is not the source that was opened"))),
        }
    }
}
