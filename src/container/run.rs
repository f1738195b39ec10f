//! `run`: create, start, and in the foreground wait and clean up.

use super::create::{Created, Request, create};
use super::delete::destroy;
use super::hooks::poststart;
use super::id::Id;
use super::state::Root;
use crate::error::Result;
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

/// Runs a container; gives the exit status of its program (0 when detached).
///
/// # Errors
/// The step that failed.
pub fn run(request: &Request, mode: Mode) -> Result<i32> {
    let (root, id): (&Root, Id) = (request.root, request.id.clone());
    if mode == Mode::Detach {
        return create_and_start(request).map(|_| 0);
    }
    // Held back from here on, a signal to ferrun cannot end it halfway.
    let held = signals::hold()?;
    let Created { process, state } = create_and_start(request)?;
    let status = signals::pass_on_until_exit(&held, &process);
    if mode == Mode::Foreground {
        // The program's status is what was asked for; what could not be removed is only warned about.
        if let Err(error) = destroy(root, &id, &state, request.warn) {
            (request.warn)(&error);
        }
    }
    status
}

/// The program runs, and the hooks have been told; if one of them fails, nothing of the container is left.
fn create_and_start(request: &Request) -> Result<Created> {
    let created = create(request)?;
    if let Err(error) = poststart(&created.state) {
        // As its parent, ferrun has to take its status.
        created.process.kill_and_reap();
        let _ = destroy(request.root, &request.id, &created.state, request.warn);
        return Err(error);
    }
    Ok(created)
}
