//! What state a container is in: runtime.md of the OCI runtime spec, "State".

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::id::Id;
use super::state::{Root, State};
use crate::cgroup::freezer;
use crate::error::Result;
use crate::launch::gate;

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
///
/// # Errors
/// Those of [`State::open_init`].
pub fn status(root: &Root, id: &Id, state: &State) -> Result<(Status, Option<OwnedFd>)> {
    let alive = state.open_init()?.filter(lives);
    let status = match (&alive, state.complete) {
        (None, false) => Status::Creating,
        (Some(_), false) => Status::Creating,
        (None, true) => Status::Stopped,
        (Some(_), true) if freezer::is_frozen(&state.cgroup) => Status::Paused,
        (Some(_), true) if waits_for_start(root, id) => Status::Created,
        (Some(_), true) => Status::Running,
    };
    Ok((status, alive))
}

/// Whether the container's program has not been started yet; it may be paused before that.
pub fn waits_for_start(root: &Root, id: &Id) -> bool {
    root.of(id).join(gate::FIFO).exists()
}

/// A process lives until it has exited; a zombie has.
fn lives(process: &OwnedFd) -> bool {
    let mut exited = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut exited, PollTimeout::ZERO), Ok(1..))
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

/// The report on a container.
///
/// # Errors
/// Those of [`status`].
pub fn report(root: &Root, id: &Id, state: State, owner: String) -> Result<Report> {
    let (status, alive) = status(root, id, &state)?;
    let pid = alive.and(state.init).map_or(0, |init| init.pid);
    let State { oci_version, id, bundle, rootfs, created, annotations, .. } = state;
    Ok(Report { oci_version, id, pid, status, bundle, rootfs, created, annotations, owner })
}
