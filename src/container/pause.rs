//! `pause` and `resume`.

use super::directory::Purpose;
use super::id::Id;
use super::state::Root;
use super::status::{Status, status};
use crate::cgroup::freezer;
use crate::error::{Error, Result};

/// Holds all processes of a container still.
///
/// # Errors
/// "container not running", which engines match; runc says so of a paused one, too.
pub fn pause(root: &Root, id: &Id) -> Result<()> {
    let state = root.load(id, Purpose::Act)?;
    match status(&state)?.0 {
        Status::Running | Status::Created => freezer::freeze(&state.cgroup),
        other => Err(Error::state(format!("container not running: {id} is {other}"))),
    }
}

/// Lets them go on.
///
/// # Errors
/// "container not paused".
pub fn resume(root: &Root, id: &Id) -> Result<()> {
    let state = root.load(id, Purpose::Act)?;
    match status(&state)?.0 {
        Status::Paused => freezer::thaw(&state.cgroup),
        other => Err(Error::new(format!("container not paused: {id} is {other}"))),
    }
}
