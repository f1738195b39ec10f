//! Signals around a container: what its program starts with, and what a foreground `run` passes on.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::Process;
use super::notify::Notify;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::{self, pidfd};

/// Unblocks every signal for the container's program, whatever ferrun or its caller blocks.
pub(super) fn unblock_all() -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Holds back every signal that can be passed on; they wait in the descriptor.
pub fn hold() -> Result<SignalFd> {
    let mut held = sys::program::all_signals();
    // The kernel's own reports of a bug here are not for the container, nor is a reader of ferrun's that has left;
    // a child's death is seen by its pidfd.
    for own in [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGILL,
        Signal::SIGFPE,
        Signal::SIGABRT,
        Signal::SIGTRAP,
        // Held, it would wait in the descriptor though it is ignored.
        Signal::SIGPIPE,
        Signal::SIGCHLD,
    ] {
        held.remove(own);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&held), None).what(|| "hold signals back")?;
    SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).what(|| "make a signal descriptor")
}

/// Signals that are held back until this is dropped. Those that nobody has passed on by then are forgotten.
pub struct Held {
    /// Where they wait.
    pub signals: SignalFd,
    before: SigSet,
}

impl Held {
    /// Begins to hold them back.
    ///
    /// # Errors
    /// Those of sigprocmask(2) and signalfd(2).
    pub fn begin() -> Result<Held> {
        let before = SigSet::thread_get_mask().what(|| "read the signal mask")?;
        hold().map(|signals| Held { signals, before })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// What asks for ferrun's own end.
pub(super) const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// The wish for ferrun's end while signals are held back: as long as there is no program to pass it on to, it
/// ends whatever is waited for.
pub struct Interrupt(SignalFd);

impl Interrupt {
    /// Begins to listen.
    pub fn new() -> Result<Interrupt> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&SigSet::from_iter(ENDING), flags).map(Interrupt).what(|| "make a signal descriptor")
    }

    /// The error for what was ended, if it was by this.
    pub(super) fn error(&self) -> Option<Error> {
        let signal = Signal::try_from(self.0.read_signal().ok()??.ssi_signo as i32).ok()?;
        let message = format!("{signal} came before the container's program ran");
        Some(Error::new(message).of_kind(ErrorKind::Interrupted))
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits for the exit of the container's process and passes signals on to it meanwhile. Both are
/// descriptors: a process that is gone at once is seen as well as one that runs for days.
pub fn pass_on_until_exit(signals: &SignalFd, process: &Process, mut notify: Option<Notify>) -> Result<i32> {
    loop {
        let told = notify.as_ref().map_or(signals.as_fd(), AsFd::as_fd);
        let mut events = [process.fd.as_fd(), signals.as_fd(), told].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let watched = 2 + usize::from(notify.is_some());
        match poll(&mut events[..watched], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).what(|| "wait for the container's process"),
        }
        let exited = events[0].any().unwrap_or(true);
        notify = notify.filter(|notify| !notify.pass_on(process.pid));
        if exited {
            return process.wait();
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            // One that exits at this moment needs no signal any more.
            let _ = pidfd::send_signal(&process.fd, signal.ssi_signo as i32);
        }
    }
}
