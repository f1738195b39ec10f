//! Whoever answers the calls that a filter asks about: config-linux.md of the spec, "Seccomp".

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::unistd::Pid;
use serde_json::json;

use super::state::State;
use crate::error::{Context, Result};
use crate::seccomp::profile::Listener;
use crate::sys::fd;

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
    let mut socket = UnixStream::connect(&to.path).what(|| format!("connect to listenerPath {:?}", to.path))?;
    let what = || format!("send the container process state to listenerPath {:?}", to.path);
    let sent = fd::send_with(&socket, text.as_bytes(), descriptor).what(what)?;
    // The descriptor goes with the first part; a state that is longer than the buffer has more.
    socket.write_all(&text.as_bytes()[sent..]).what(what)
}
