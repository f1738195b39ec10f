//! `run`: create, start, and in the foreground wait and clean up.

use std::os::fd::AsFd;

use super::create::{Created, create_process, keep_statuses};
use super::delete::destroy;
use super::hooks::{Warn, poststart};
use super::request::{Mode, Planned};
use crate::error::{Error, Result};
use crate::launch::signals::{self, Interrupt};
use crate::launch::{exit_reason, relay};

/// Runs a container; gives the exit status of its program (0 when detached). In the foreground all signals stay held back,
/// up to the end of the calling process.
///
/// # Errors
/// The step that failed.
pub fn run(planned: &Planned) -> Result<i32> {
    let _statuses = keep_statuses()?;
    planned.carry_out(run_planned)
}

fn run_planned(planned: &Planned) -> Result<i32> {
    let request = planned.request;
    let warn: Warn = &|warning| planned.warn(warning);
    if planned.bundle.spec.process.is_none() {
        return Err(Error::new("cannot run the container: process must be set").from_property("/process"));
    }
    if request.mode.is_detached() {
        let Created { process, notify, .. } = create_and_start(planned, None)?;
        notify.iter().for_each(|notify| notify.wait(process.pid, process.fd.as_fd()));
        return Ok(0);
    }
    // Held back from here on, a signal to ferrun cannot end it halfway; what would is an error of what it waits for.
    let held = signals::hold()?;
    let interrupt = Interrupt::new()?;
    let Created { process, state, terminal, notify } = create_and_start(planned, Some(&interrupt))?;
    let status = match terminal {
        Some(terminal) => relay::until_exit(&held, &process, terminal, notify),
        None => signals::pass_on_until_exit(&held, &process, notify),
    };
    let killed =
        status.as_ref().ok().and_then(|status| exit_reason::of_the_program(*status, &planned.plan, &state.cgroup));
    killed.iter().for_each(warn);
    if request.mode == Mode::Foreground {
        // The program's status is what was asked for; what could not be removed is only warned about.
        if let Err(error) = destroy(&request.id, &state, warn) {
            warn(&error);
        }
    }
    status
}

/// The program runs, and the hooks have been told; if one of them fails, nothing of the container is left.
fn create_and_start(planned: &Planned, interrupt: Option<&Interrupt>) -> Result<Created> {
    let created = create_process(planned, interrupt)?;
    if let Err(error) = poststart(&created.state, interrupt.map(AsFd::as_fd)) {
        // As its parent, ferrun has to take its status.
        created.process.kill_and_reap(&created.state.cgroup);
        return Err(match destroy(&planned.request.id, &created.state, &|warning| planned.warn(warning)) {
            Ok(()) => error,
            Err(other) => error.note(other.to_string()),
        });
    }
    Ok(created)
}
