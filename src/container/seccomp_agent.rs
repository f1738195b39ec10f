//! The connection to the seccomp agent: config-linux.md of the spec, "Seccomp".

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::UnixAddr;
use nix::unistd::Pid;
use serde_json::json;

use super::state::State;
use super::status::Status;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::sys::fd;
use crate::sys::socket::{Reachable, connect_within};
use crate::types::seccomp::profile::Listener;

/// How long an agent may take to accept the connection, or to read on. A message can be two calls, and the init
/// waits longer than for both.
const PATIENCE: Duration = Duration::from_secs(4);

/// Sends the filter's descriptor with the container process state over a connection of their own: that of a process of a
/// container which has a status and an init.
pub fn hand_over(
    state: &State,
    (status, init): (Status, Pid),
    pid: Pid,
    descriptor: &OwnedFd,
    to: &Listener,
) -> Result<()> {
    let mut container = json!({
        "ociVersion": state.oci_version,
        "id": state.id,
        "status": status,
        "pid": init.as_raw(),
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
    let connected = Reachable::new(to.path.as_ref()).and_then(|path| connect_within(PATIENCE, &UnixAddr::new(&*path)?));
    let mut socket = UnixStream::from(connected.map_err(|errno| failed("connect", to, errno))?);
    let what = "send the container process state";
    let sent = fd::send_with(&socket, text.as_bytes(), descriptor).map_err(|errno| failed(what, to, errno))?;
    // The descriptor goes with the first part; a state that is longer than the buffer has more.
    let rest = socket.write_all(&text.as_bytes()[sent..]);
    rest.map_err(|error| failed(what, to, Errno::from_raw(error.raw_os_error().unwrap_or_default())))
}

const PATH: Pointer = Pointer::new("/linux/seccomp/listenerPath");

fn failed(what: &str, to: &Listener, errno: Errno) -> Error {
    let error = Error::os(format!("{what} to listenerPath {:?}", to.path), errno).from_property(PATH);
    match errno {
        Errno::EAGAIN => error.hint(format!("the agent has taken nothing for {} s", PATIENCE.as_secs())),
        _ => error,
    }
}
