//! The rollback helper: unmounts the container's root from a joined mount namespace if the start fails. The init may
//! have no rights for that any more, and whoever fails may be killed: so it is a process of its own, which outlives ferrun
//! and init and acts when both are gone. Only a joined mount namespace has one.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::unistd::setsid;

use super::Process;
use crate::error::{Context, Error, Result};
use crate::rootfs;
use crate::sys::child::{Child, Options};
use crate::sys::fd;
use crate::sys::pidfd;

const WHAT: &str = "create the rollback helper for the joined mount namespace";

/// The helper, as ferrun and the init know it.
pub struct Rollback {
    process: Process,
    /// Closed by the end of ferrun, and by that of the init or its program's beginning.
    socket: OwnedFd,
}

impl AsFd for Rollback {
    /// What the init needs of it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Rollback {
    /// Creates the helper for a mount namespace, before there is an init.
    pub fn begin(mounts: &OwnedFd) -> Result<Rollback> {
        let (socket, its) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).what(|| WHAT)?;
        let helper = move |_| {
            // What a terminal sends to ferrun is not for the helper.
            let _ = setsid();
            i32::from(!watch(mounts, &its))
        };
        let (child, socket) = Child::create_with(&Options::default(), socket, helper).what(|| WHAT)?;
        Ok(Rollback { process: child.into(), socket })
    }

    /// Passes the root, which the init has just mounted.
    pub fn pass_root(&self, root: BorrowedFd) -> Result<()> {
        fd::send_with(&self.socket, b"/", root).map(drop).what(|| "pass the root to the rollback helper")
    }

    /// Ends the helper: the container is created, and its root stays.
    pub fn dismiss(&self) {
        let _ = pidfd::send_signal(&self.process.fd, libc::SIGKILL);
        let _ = self.process.wait();
    }

    /// Has the helper unmount the root, and waits for that: the start failed, and the init is gone.
    ///
    /// # Errors
    /// It is still there.
    pub fn run(self) -> Result<()> {
        // Others may keep a copy of the init's end: it waits for this or for the end of all.
        let _ = send(self.socket.as_raw_fd(), b".", MsgFlags::MSG_NOSIGNAL);
        drop(self.socket);
        match self.process.wait() {
            Ok(0) => Ok(()),
            _ => Err(Error::new("the container's root could not be unmounted from the joined mount namespace")),
        }
    }
}

/// Waits for the end of all others at the socket, and gives whether the root is unmounted, if there is one. By
/// descriptor alone: no path of the namespace is looked up.
fn watch(mounts: &OwnedFd, socket: &OwnedFd) -> bool {
    let mut shown = None;
    loop {
        match fd::receive(socket) {
            Ok(Some(root)) => shown = Some(root),
            Ok(None) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(_) => return false,
        }
    }
    let withdraw = |root| setns(mounts, CloneFlags::CLONE_NEWNS).and_then(|()| rootfs::withdraw(&root));
    shown.is_none_or(|root| withdraw(root).is_ok())
}
