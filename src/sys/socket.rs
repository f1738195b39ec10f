//! Unix sockets: paths of any length, and other ends that may have too many waiting already.

use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::stat::Mode;
use nix::sys::time::{TimeVal, TimeValLike};

use super::fd::CWD;

/// Bytes of a path in an address, with the one that ends it: unix(7).
const ADDRESS_LENGTH: usize = 108;

/// A path of a socket that an address has room for.
pub struct Reachable {
    path: PathBuf,
    /// What the path leads through.
    _held: Option<OwnedFd>,
}

impl Reachable {
    /// A socket that is there; one with a long path is reached through a descriptor.
    ///
    /// # Errors
    /// A long path on which nothing is found.
    pub fn new(path: &Path) -> nix::Result<Reachable> {
        if path.as_os_str().len() < ADDRESS_LENGTH {
            return Ok(Reachable { path: path.to_owned(), _held: None });
        }
        let held = openat(CWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Reachable { path: through(&held), _held: Some(held) })
    }
}

impl Deref for Reachable {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.path
    }
}

/// The path that leads to what a descriptor is open on.
pub fn through(descriptor: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()).into()
}

/// A connection on which neither connect(2) nor a write waits for longer than that: SO_SENDTIMEO, unix(7).
///
/// EAGAIN: the other end has not accepted it in time.
pub fn connect_within(patience: Duration, address: &UnixAddr) -> nix::Result<OwnedFd> {
    let patience = patience.as_millis().try_into().map_err(|_| Errno::EDOM)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::milliseconds(patience))?;
    // A signal, or a stop and its end, breaks off such a wait.
    while let Err(errno) = connect(socket.as_raw_fd(), address) {
        if errno != Errno::EINTR {
            return Err(errno);
        }
    }
    Ok(socket)
}
