//! What state a container is in: runtime.md of the OCI runtime spec, "State".

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use nix::unistd::Pid;

use super::id::Id;
use super::state::{Root, State};
use crate::cgroup::freezer;
use crate::launch::watch::has_executed;

/// The states of the spec, and the one that runtimes add to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// The status of a container, and the descriptor of its init if that lives.
pub fn status(root: &Root, id: &Id, state: &State) -> (Status, Option<OwnedFd>) {
    let alive = state.init.and_then(|init| init.open()).filter(lives);
    let status = match (&alive, state.complete) {
        (None, false) => Status::Creating,
        (Some(_), false) => Status::Creating,
        (None, true) => Status::Stopped,
        (Some(_), true) if freezer::is_frozen(&state.cgroup) => Status::Paused,
        (Some(_), true) if waits_for_start(state) => Status::Created,
        (Some(_), true) => Status::Running,
    };
    (status, alive)
}

/// Whether the init, which lives, has not executed the container's program yet: it waits for `start`, or runs hooks. It may
/// be paused.
pub fn waits_for_start(state: &State) -> bool {
    state.init.is_some_and(|init| has_executed(Pid::from_raw(init.pid)).is_ok_and(|executed| !executed))
}

/// A process lives until it has exited; a zombie has.
fn lives(process: &OwnedFd) -> bool {
    let mut exited = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut exited, PollTimeout::ZERO), Ok(0))
}

/// The state as `state` and `list` print it: runc's properties in runc's order.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Report {
    pub oci_version: String,
    pub id: String,
    pub pid: i32,
    pub status: Status,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub owner: String,
}

/// What is told of a container.
pub fn report(root: &Root, id: &Id, state: State, owner: String) -> Report {
    let (status, alive) = status(root, id, &state);
    let pid = alive.and(state.init).map_or(0, |init| init.pid);
    let State { oci_version, id, bundle, rootfs, created, annotations, .. } = state;
    Report { oci_version, id, pid, status, bundle, rootfs, created, annotations, owner }
}
