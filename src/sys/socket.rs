//! Unix sockets whose other end may have too many waiting already.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

/// A connection on which neither connect(2) nor a write waits for longer than that: SO_SENDTIMEO, unix(7).
///
/// EAGAIN: the other end has not accepted it in time.
pub fn connect_within(patience: Duration, address: &UnixAddr) -> nix::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::milliseconds(patience.as_millis() as i64))?;
    // A signal, or a stop and its end, breaks off such a wait.
    while let Err(errno) = connect(socket.as_raw_fd(), address) {
        if errno != Errno::EINTR {
            return Err(errno);
        }
    }
    Ok(socket)
}
