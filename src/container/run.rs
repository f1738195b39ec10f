//! `run`: create, start, and in the foreground wait and clean up.

use super::create::{Created, Request, create};
use super::delete::destroy;
use super::id::Id;
use super::state::Root;
use crate::error::{Error, Result};
use crate::launch::signals;

/// How `run` goes on once the program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Return at once.
    Detach,
    /// Wait for its exit and delete the container.
    Foreground,
    /// Wait for its exit and keep the container as stopped.
    Keep,
}

/// How a run ended.
pub struct Ended {
    /// The exit status of the program; 0 when detached.
    pub status: i32,
    /// What of the container could not be removed, and why.
    pub left: Option<Error>,
}

/// Runs a container.
///
/// # Errors
/// The step that failed.
pub fn run(mut request: Request, mode: Mode) -> Result<Ended> {
    let (root, id): (&Root, Id) = (request.root, request.id.clone());
    request.signal_mask = signals::current_mask()?;
    if mode == Mode::Detach {
        return create(&request).map(|_| Ended { status: 0, left: None });
    }
    // Held back from here on, a signal to ferrun cannot end it halfway.
    let held = signals::hold()?;
    let Created { process, state } = create(&request)?;
    let status = signals::pass_on_until_exit(&held, &process);
    let left = if mode == Mode::Foreground { destroy(root, &id, &state).err() } else { None };
    Ok(Ended { status: status?, left })
}
