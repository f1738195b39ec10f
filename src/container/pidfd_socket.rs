//! `--pidfd-socket`: who asks for it gets the descriptor of a container's process.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::error::{Context, Result};
use crate::sys::fd;
use crate::sys::socket::Reachable;

/// The bytes that it is sent with, as by runc.
const NAME: &[u8] = b"pidfd";

/// Sends the descriptor to whoever listens on the socket.
///
/// # Errors
/// A socket that is not there, or that nobody listens on.
pub fn send(path: &Path, process: &OwnedFd) -> Result<()> {
    let what = || format!("send the process's descriptor to pidfd socket {path:?}");
    let socket = UnixStream::connect(&*Reachable::new(path).what(what)?).what(what)?;
    fd::send_with(socket, NAME, process).map(drop).what(what)
}
