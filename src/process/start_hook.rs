//! startContainer hooks: programs of the image that run in the container before its own program, with its rights and
//! under its filter of system calls. So the init makes no other calls for one than it must: it forks, and waits. The
//! hook's own process gives it the state and a stream to print to, and executes it. What it prints is read, and how long
//! it may take is watched, by whoever starts the container (launch/watch.rs).

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::pwrite;
use nix::unistd::{pipe2, write};

use super::hook::Hook;
use super::run_hook::End;
use crate::error::{Error, Result};
use crate::seccomp::own_calls::{
    CLOSE_DESCRIPTORS, CREATE_PROCESS, DUP2, EXECVE, OwnCall, STATE_FILE, STATE_PIPE, STREAMS, WAIT_FOR_PROCESS, WAIT4,
    WRITE_FILE, WRITE_PIPE,
};
use crate::seccomp::step::Install;
use crate::sys::child::{Filtered, InChild};
use crate::sys::fd::{self, Stream};
use crate::sys::program::{Strings, execve};

/// What a pipe holds, so that nobody has to read for the write to return: pipe(7). A user with many pipes has shorter ones.
const SHORT: usize = 64 * 1024;

/// A hook that can be executed without allocating anything.
pub struct StartHook<'a> {
    hook: &'a Hook,
    args: Strings<'a>,
    env: Strings<'a>,
    /// What it reads on standard input.
    state: Vec<u8>,
}

impl StartHook<'static> {
    /// Prepares a hook with all of its environment; both are kept for the rest of the process.
    pub fn new(hook: Hook, env: Vec<CString>, state: Vec<u8>) -> StartHook<'static> {
        let hook: &'static Hook = Box::leak(Box::new(hook));
        let env: &'static [CString] = env.leak();
        StartHook { hook, args: Strings::new(&hook.args), env: Strings::new(env), state }
    }
}

impl StartHook<'_> {
    /// Runs the hook to its end. It prints to `outlet`; of the descriptors that are preserved for the program, which
    /// follow the standard streams, it has none. Its process leaves what fails there with `report`.
    ///
    /// # Errors
    /// A hook that fails; a filter that does not allow what is needed to run one.
    pub fn run(
        &self,
        filter: Option<&Install>,
        outlet: BorrowedFd,
        preserved: i32,
        report: &dyn Fn(&Error),
    ) -> Result<()> {
        // An action that kills leaves no room for an error.
        choose(self.hook, &EXECVE, filter)?;
        choose(self.hook, &CREATE_PROCESS, filter)?;
        self.state_by_pipe(filter)?;
        choose(self.hook, &STREAMS, filter)?;
        if preserved > 0 {
            choose(self.hook, &CLOSE_DESCRIPTORS, filter)?;
        }
        let waits = choose(self.hook, &WAIT_FOR_PROCESS, filter)?;
        let child = Filtered::create(|own| {
            self.execute(&own, filter, outlet, preserved, report);
            127
        });
        let child = child.map_err(|errno| self.failed_by("fork", errno))?;
        match child.wait(waits == WAIT4).map_err(|errno| self.failed_by("wait for it", errno))? {
            Ok(0) => Ok(()),
            Ok(status) => Err(self.hook.ended(&End::Exited(status))),
            Err(signal) => Err(self.hook.ended(&End::Signal(signal))),
        }
    }

    fn failed_by(&self, call: &str, errno: Errno) -> Error {
        Error { errno: errno as i32, ..self.hook.failed(call) }
    }

    /// The hook's own process becomes it, or reports why not.
    fn execute(
        &self,
        own: &InChild,
        filter: Option<&Install>,
        outlet: BorrowedFd,
        preserved: i32,
        report: &dyn Fn(&Error),
    ) {
        if let Err(error) = self.lead_streams(filter, outlet) {
            return report(&error);
        }
        for number in 3..3 + preserved {
            if let Err(errno) = own.close(number) {
                return report(&self.failed_by("close", errno));
            }
        }
        let errno = execve(&self.hook.path, &self.args, &self.env);
        // What explains it makes calls that the filter may punish.
        report(&self.failed_by("execve", errno));
        report(&self.hook.not_executed(errno));
    }

    fn lead_streams(&self, filter: Option<&Install>, outlet: BorrowedFd) -> Result<()> {
        let input = self.input(filter)?;
        let duplicate = choose(self.hook, &STREAMS, filter)?;
        let lead = |from: BorrowedFd, to| {
            let led = if duplicate == DUP2 { fd::duplicate(from, to) } else { fd::duplicate3(from, to) };
            led.map_err(|errno| self.failed_by(duplicate, errno))
        };
        lead(input.as_fd(), Stream::Input)?;
        // As above.
        std::mem::forget(input);
        lead(outlet, Stream::Output)?;
        lead(outlet, Stream::Error)
    }

    /// A descriptor from which the state can be read, up to its end. A file in memory is subject to RLIMIT_FSIZE, so a
    /// pipe comes first where the state fits into it.
    fn input(&self, filter: Option<&Install>) -> Result<OwnedFd> {
        let written = match self.state_by_pipe(filter)? {
            // Its writer is gone when the hook reads: it sees the end, never EAGAIN.
            true => pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).and_then(|(input, end)| {
                let length = write(&end, &self.state)?;
                // The execution closes it: a call less under the filter.
                std::mem::forget(end);
                Ok((input, length))
            }),
            false => {
                let file = memfd_create(c"state", MFdFlags::MFD_CLOEXEC);
                file.and_then(|file| self.fill(&file).map(|length| (file, length)))
            }
        };
        match written {
            Ok((input, length)) if length == self.state.len() => Ok(input),
            Ok(_) => Err(self.hook.failed("its state could not be written")),
            Err(errno) => Err(self.failed_by("write its state", errno)),
        }
    }

    /// Whether the state goes through a pipe; else it does through a file in memory.
    fn state_by_pipe(&self, filter: Option<&Install>) -> Result<bool> {
        let usable = |calls: [&OwnCall; 2]| calls.iter().all(|call| call.usable(filter).is_some());
        if self.state.len() <= SHORT && usable([&STATE_PIPE, &WRITE_PIPE]) {
            return Ok(true);
        }
        choose(self.hook, &STATE_FILE, filter)?;
        choose(self.hook, &WRITE_FILE, filter).map(|_| false)
    }

    /// Writes the state to a file without moving the place from which it is read.
    fn fill(&self, file: &OwnedFd) -> nix::Result<usize> {
        let mut written = 0;
        while written < self.state.len() {
            written += pwrite(file, &self.state[written..], written as libc::off_t)?;
        }
        Ok(written)
    }
}

/// The first of some calls that the filter allows.
fn choose(hook: &Hook, call: &OwnCall, filter: Option<&Install>) -> Result<&'static str> {
    call.usable(filter).ok_or_else(|| {
        let names: Vec<&str> = call.names().collect();
        let error = hook.failed(&format!("the seccomp profile (/linux/seccomp) does not allow {}", names.join(" or ")));
        error.hint("allow it, or remove the startContainer hooks: they run under the container's profile")
    })
}
