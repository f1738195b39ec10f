//! What state a container is in: runtime.md of the OCI runtime spec, "State".

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use serde::Serialize;

use super::directory::Purpose;
use super::id::Id;
use super::state::{Root, State};
use crate::cgroup::freezer;
use crate::error::Result;
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
///
/// # Errors
/// Those of [`State::open_init`]; a /proc that does not show the init.
pub fn status(state: &State) -> Result<(Status, Option<OwnedFd>)> {
    let (Some(init), Some(process)) = (state.init, state.open_init()?) else {
        return Ok((if state.complete { Status::Stopped } else { Status::Creating }, None));
    };
    // In this order: of an init that still lives afterwards the answer is about itself.
    let executed = has_executed(Pid::from_raw(init.pid));
    let status = match (lives(&process), state.complete) {
        (false, true) => return Ok((Status::Stopped, None)),
        (false, false) => return Ok((Status::Creating, None)),
        (true, false) => Status::Creating,
        (true, true) if freezer::is_frozen(&state.cgroup)? => Status::Paused,
        (true, true) if executed? => Status::Running,
        (true, true) => Status::Created,
    };
    Ok((status, Some(process)))
}

/// Whether the init, which lives, has not executed the container's program yet: it waits for `start`, or runs hooks. It may
/// be paused.
///
/// # Errors
/// A /proc that does not show the init.
pub fn waits_for_start(state: &State) -> Result<bool> {
    state.init.map_or(Ok(false), |init| has_executed(Pid::from_raw(init.pid)).map(|executed| !executed))
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

/// The state of a container, as `state` prints it.
///
/// # Errors
/// A container that is not there; those of [`status`].
pub fn state(root: &Root, id: &Id) -> Result<Report> {
    report(root.load(id, Purpose::Look)?, String::new())
}

/// The report on a container.
///
/// # Errors
/// Those of [`status`].
pub fn report(state: State, owner: String) -> Result<Report> {
    let (status, alive) = status(&state)?;
    let pid = alive.and(state.init).map_or(0, |init| init.pid);
    let State { oci_version, id, bundle, rootfs, created, annotations, .. } = state;
    Ok(Report { oci_version, id, pid, status, bundle, rootfs, created, annotations, owner })
}
