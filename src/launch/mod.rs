//! Running a plan: the clone, the two lanes, and the protocol between parent and init.

mod bind_sources;
mod channel;
mod clone;
mod confine;
pub mod exec_fifo;
pub mod exit_reason;
pub mod fault;
pub mod host_checks;
mod init;
mod lane;
pub mod notify;
mod parent;
pub mod relay;
mod rollback;
pub mod signals;
pub mod start_page;
pub mod trace;
pub mod watch;

use std::cell::Cell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use nix::unistd::Pid;

use crate::cgroup::directory::Directory;
use crate::cgroup::kill;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::process::terminal::Console;
use crate::sys::pidfd;
use crate::types::hooks::Kind;
use crate::types::seccomp::profile::Listener;
use fault::Fault;
use rollback::Rollback;
use signals::Interrupt;
use start_page::StartPage;
use trace::Trace;

/// A process that runs the container, or will.
pub struct Process {
    /// Its pid here.
    pub pid: Pid,
    /// Its descriptor.
    pub fd: OwnedFd,
}

/// A plan and how it is run.
pub struct Launch<'a> {
    /// What is run.
    pub plan: &'a Plan,
    /// The container that it is run for.
    pub container: &'a dyn Container,
    /// How the init is started.
    pub means: Means,
    /// Who gets the terminal's other side; the init takes it and lets go of it.
    pub console: Cell<Option<Console>>,
    /// Where each step's time is written.
    pub trace: Option<&'a Trace>,
    /// A failure that a test asks for.
    pub fault: Option<Fault>,
    /// What ends the start before the program runs.
    pub interrupt: Option<&'a Interrupt>,
    /// The container that the process is a further one of.
    pub target: Option<&'a Target>,
}

/// A running container, by descriptors.
pub struct Target {
    /// Its init.
    pub init: OwnedFd,
    /// The init's root directory.
    pub root: OwnedFd,
}

/// The records of a container and those who wait for it, as far as the lanes need them.
pub trait Container {
    /// Where the parent's hooks work.
    fn bundle(&self) -> &Path;

    /// Writes the init's identity to the state directory.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn record(&self, init: Pid, process: BorrowedFd) -> Result<()>;

    /// The state that hooks of a kind are given, with the init's pid as they see it.
    fn state_for(&self, kind: Kind, init: Pid) -> Vec<u8>;

    /// Gives the descriptor of a filter to whoever answers its calls.
    ///
    /// # Errors
    /// An agent that does not take it.
    fn hand_over(&self, init: Pid, descriptor: OwnedFd, to: &Listener) -> Result<()>;
}

/// How the init is started.
pub struct Means {
    /// What the init shares with whoever starts it.
    pub page: StartPage,
    /// The one descriptor that the init keeps where code of the image can look: where it waits for `start`, or runs hooks.
    pub outlet: Cell<Option<OwnedFd>>,
    /// Its other end, where the init goes on to the program at once; `None`: it waits for `start`.
    pub goes_on: Option<GoesOn>,
}

/// An init that does not wait for `start`.
#[derive(Default)]
pub struct GoesOn {
    /// The reader's end of its outlet, if it has one.
    pub outlet: Cell<Option<OwnedFd>>,
}

/// An init that has executed the program, or waits for `start`. The caller decides by [`Launched::keep`] or
/// [`Launched::undo`] whether that is to stay so.
#[must_use]
pub struct Launched<'a> {
    /// The init.
    pub process: Process,
    plan: &'a Plan,
    interrupt: Option<&'a Interrupt>,
    rollback: Option<Rollback>,
}

impl<'a> Launch<'a> {
    /// Runs the plan.
    ///
    /// # Errors
    /// The step that failed, in either lane. The init is then gone; what was made on the host (cgroups)
    /// is for the caller to remove.
    pub fn run(&self) -> Result<Launched<'a>> {
        parent::run(self)
    }

    /// Whether the init waits for `start`.
    fn waits_for_start(&self) -> bool {
        self.means.goes_on.is_none()
    }
}

impl Launched<'_> {
    /// What was launched stays.
    pub fn keep(self) -> Process {
        self.rollback.iter().for_each(Rollback::dismiss);
        self.process
    }

    /// Ends the init after a failure, and removes what would outlive it in a namespace that is joined.
    pub fn undo(self, error: Error) -> Error {
        undo(Some(&self.process), self.rollback, self.plan, self.interrupt, error)
    }
}

/// The same for a start that may have failed before there was an init.
fn undo(
    process: Option<&Process>,
    rollback: Option<Rollback>,
    plan: &Plan,
    interrupt: Option<&Interrupt>,
    error: Error,
) -> Error {
    process.iter().for_each(|process| process.end(plan));
    let error = match interrupt {
        Some(interrupt) if error.kind == ErrorKind::Interrupted => interrupt.error().unwrap_or(error),
        _ => error,
    };
    match rollback.map(Rollback::run) {
        Some(Err(other)) => error.note(other.to_string()),
        _ => error,
    }
}

impl Process {
    /// Ends what a plan has created. A further process leaves the container as it is, which may be paused.
    fn end(&self, plan: &Plan) {
        match plan.is_further {
            true => self.kill_and_reap_after(|| kill::thaw_alone(self.pid, &plan.cgroup)),
            false => self.kill_and_reap(&plan.cgroup),
        }
    }

    /// Ends it, whatever it does and wherever it stands still, and takes its status.
    pub(crate) fn kill_and_reap(&self, cgroup: &[Directory]) {
        self.kill_and_reap_after(|| kill::thaw(cgroup));
    }

    fn kill_and_reap_after(&self, thaw: impl FnOnce()) {
        // Its pid may be another's.
        if pidfd::is_gone(&self.fd) {
            return;
        }
        let _ = pidfd::send_signal(&self.fd, libc::SIGKILL);
        thaw();
        let _ = kill::wait_for_exit(&self.fd).and_then(|()| self.wait());
    }

    /// Waits for its exit and takes its status, as a shell tells it: 128 and the number for a signal.
    pub fn wait(&self) -> Result<i32> {
        let exit = pidfd::wait(self.pid, &self.fd).what(|| "wait for the container's process")?;
        Ok(exit.unwrap_or_else(|signal| 128 + signal))
    }
}
