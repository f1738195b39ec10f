//! Whoever answers the calls that a filter asks about: config-linux.md of the spec, "Seccomp".

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;
use serde_json::json;

use super::state::State;
use crate::error::{Error, Result};
use crate::seccomp::profile::Listener;
use crate::sys::fd;

/// How long an agent may take to accept the connection, or to read on, in seconds. A message can be two calls,
/// and the init waits longer than for both.
const PATIENCE: i64 = 4;

/// Sends the filter's descriptor with the container process state over a connection of their own.
pub fn hand_over(state: &State, pid: Pid, descriptor: &OwnedFd, to: &Listener) -> Result<()> {
    let mut container = json!({
        "ociVersion": state.oci_version,
        "id": state.id,
        "status": "creating",
        "pid": pid.as_raw(),
        "bundle": state.bundle,
    });
    if !state.annotations.is_empty() {
        container["annotations"] = json!(state.annotations);
    }
    let mut message = json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid.as_raw(),
        "state": container,
    });
    if !to.metadata.is_empty() {
        message["metadata"] = json!(to.metadata);
    }
    let text = message.to_string();
    let mut socket = connected(&to.path).map_err(|errno| failed("connect", to, errno))?;
    let what = "send the container process state";
    let sent = fd::send_with(&socket, text.as_bytes(), descriptor).map_err(|errno| failed(what, to, errno))?;
    // The descriptor goes with the first part; a state that is longer than the buffer has more.
    let rest = socket.write_all(&text.as_bytes()[sent..]);
    rest.map_err(|error| failed(what, to, Errno::from_raw(error.raw_os_error().unwrap_or_default())))
}

/// A connection on which nothing waits forever, not even for its other end to be accepted.
fn connected(path: &str) -> nix::Result<UnixStream> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE))?;
    let address = UnixAddr::new(path)?;
    // A stop and its end break off such a wait.
    while let Err(errno) = connect(socket.as_raw_fd(), &address) {
        if errno != Errno::EINTR {
            return Err(errno);
        }
    }
    Ok(socket.into())
}

fn failed(what: &str, to: &Listener, errno: Errno) -> Error {
    let error = Error::os(format!("{what} to listenerPath {:?}", to.path), errno);
    match errno {
        Errno::EAGAIN => error.hint(format!("the agent has taken nothing for {PATIENCE} s")),
        _ => error,
    }
}
