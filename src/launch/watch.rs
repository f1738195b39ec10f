//! Watches the init from outside, once it has closed its channel: until it waits for `start`, or has executed the
//! program. What its descriptors do is a hint when to look; what counts is the phase, and the kernel's word on whether
//! it has executed anything and whether it lives.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, read};

use super::start_page::{Phase, StartPage};
use crate::cgroup::directory::Directory;
use crate::cgroup::freezer;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::hook::{Hook, one_line};
use crate::sys::{pidfd, proc_stat};

/// The first nap between two looks, and the longest.
const NAPS: [Duration; 2] = [Duration::from_micros(500), Duration::from_millis(50)];
/// How long nothing happens before the cgroups are looked at for a frozen one.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much is kept of what a hook prints: its end, where the reason is.
const LONGEST: usize = 4096;
/// What is read at once, and how often before anything else is looked at: a hook that never stops keeps nobody.
const PIECE: usize = 4096;
const PIECES: usize = 64;

/// What is watched.
pub struct Watch<'a> {
    /// The init's pid here.
    pub pid: Pid,
    /// Its descriptor.
    pub process: BorrowedFd<'a>,
    /// Its page.
    pub page: &'a StartPage,
    /// The other end of its one descriptor: what startContainer hooks print arrives here.
    pub outlet: Option<OwnedFd>,
    /// The startContainer hooks.
    pub hooks: &'a [Hook],
    /// Whether the profile does not allow the program to be executed.
    pub denies_execve: bool,
    /// What ends the waiting.
    pub interrupt: Option<BorrowedFd<'a>>,
    /// Its cgroups.
    pub cgroup: &'a [Directory],
}

/// Why the watching ended without what was waited for.
#[derive(Debug)]
pub enum Ended {
    /// The init is gone, or does not get further, for this reason.
    Failed(Error),
    /// It is gone and left no reason.
    Died,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}

/// The deadlines of the hooks, which the init's words cannot undo: which hook runs is the init's to say, and that may be in
/// others' hands.
struct Deadlines {
    /// The hook that was seen last, and when it must have ended.
    current: Option<(usize, Option<Instant>)>,
    /// When all must have ended, if each has a limit.
    all: Option<Instant>,
}

/// What all hooks may take beyond their limits, for the init's own work between them.
const BETWEEN_HOOKS: Duration = Duration::from_secs(1);

impl Deadlines {
    fn begin(hooks: &[Hook]) -> Deadlines {
        let limits: Option<u64> =
            hooks.iter().map(|hook| hook.timeout).try_fold(0u64, |sum, limit| sum.checked_add(limit?));
        let all = limits.filter(|_| !hooks.is_empty()).and_then(|limit| after(limit)?.checked_add(BETWEEN_HOOKS));
        Deadlines { current: None, all }
    }

    /// The hook that takes longer than it may, now that the init says that it runs the one of this index.
    fn overdue(&mut self, index: Option<usize>, hooks: &[Hook]) -> Option<usize> {
        let seen = self.current.map(|(index, _)| index);
        if let Some(index) = index.filter(|index| *index < hooks.len() && seen.is_none_or(|seen| *index > seen)) {
            self.current = Some((index, hooks[index].timeout.and_then(after)));
        }
        let now = Instant::now();
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        let late = self.current.filter(|(seen, deadline)| index == Some(*seen) && is_over(*deadline));
        late.map(|(index, _)| index).or_else(|| is_over(self.all).then(|| seen.unwrap_or(0)))
    }
}

/// The moment in so many seconds; one that the clock does not reach is none.
fn after(seconds: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(seconds))
}

impl Watch<'_> {
    /// Waits until the init waits for `start`. `each` is called at each look.
    pub fn until_waiting(&self, each: &mut dyn FnMut() -> Result<()>) -> std::result::Result<(), Ended> {
        let mut nap = NAPS[0];
        let begin = Instant::now();
        while self.page.phase() == Phase::SettingUp || self.page.has_helper() {
            each()?;
            if self.has_exited()? {
                return Err(self.failure(&[]));
            }
            if begin.elapsed() > PATIENCE {
                freezer::refuse_frozen(self.cgroup)?;
            }
            self.page.wait_while(Phase::SettingUp, Some(nap));
            nap = (nap * 2).min(NAPS[1]);
        }
        Ok(())
    }

    /// Waits until the init has executed the program. `each` is called at each look.
    pub fn until_executed(&mut self, each: &mut dyn FnMut() -> Result<()>) -> std::result::Result<(), Ended> {
        let (mut printed, mut deadlines) = (Vec::new(), Deadlines::begin(self.hooks));
        let mut nap = NAPS[0];
        loop {
            each()?;
            self.listen(&mut printed);
            // In this order: what is dead may have executed the program just before, and its pid may be another's.
            let executed = has_executed(self.pid);
            if self.has_exited()? {
                // What was printed between the last look and the end.
                self.listen(&mut printed);
                return if self.had_executed() { Ok(()) } else { Err(self.failure(&printed)) };
            }
            if executed? {
                return Ok(());
            }
            // The caller ends the init, and with it the hook.
            if let Some(hook) = deadlines.overdue(self.page.hook(), self.hooks).and_then(|index| self.hooks.get(index))
            {
                return Err(Ended::Failed(self.with_output(hook.timed_out(), &printed)));
            }
            self.sleep(nap)?;
            nap = (nap * 2).min(NAPS[1]);
        }
    }

    /// Whether the init, which is gone, had executed the program. Of one whose status is taken the kernel knows nothing any
    /// more: then it had, if all that was left to do was to execute it, and it has not reported that this failed.
    fn had_executed(&self) -> bool {
        let is_unreported = self.page.reported().is_none();
        match has_executed(self.pid) {
            // Of one that is still our child; else the pid may be another's by now.
            Ok(executed) if !pidfd::is_gone(self.process) => executed && is_unreported,
            _ => is_unreported && self.page.phase() == Phase::Executing && !self.denies_execve,
        }
    }

    /// Why the init is gone.
    fn failure(&self, printed: &[u8]) -> Ended {
        self.page.reported().map_or(Ended::Died, |error| Ended::Failed(self.with_output(error, printed)))
    }

    /// Adds what a hook that failed has printed.
    fn with_output(&self, error: Error, printed: &[u8]) -> Error {
        match one_line(printed) {
            said if said.is_empty() || self.page.hook().is_none() => error,
            said => error.note(said),
        }
    }

    fn has_exited(&self) -> Result<bool> {
        let mut exited = [PollFd::new(self.process, PollFlags::POLLIN)];
        poll(&mut exited, PollTimeout::ZERO).map(|count| count > 0).what(|| "look whether the first process lives")
    }

    /// Sleeps until something may have happened.
    fn sleep(&self, nap: Duration) -> Result<()> {
        // In place of what is not there.
        let process = self.process;
        let outlet = self.outlet.as_ref().map_or(process, AsFd::as_fd);
        let mut events =
            [process, outlet, self.interrupt.unwrap_or(process)].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let milliseconds = u16::try_from(nap.as_millis()).unwrap_or(u16::MAX).max(1);
        match poll(&mut events, PollTimeout::from(milliseconds)) {
            Ok(_) if self.interrupt.is_some() && events[2].any().unwrap_or(true) => {
                Err(Error::new("wait for the container's program").of_kind(ErrorKind::Interrupted))
            }
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).what(|| "wait for the container's program"),
        }
    }

    /// Reads what a hook has printed, all but the end of which is dropped. Once nobody has the other end any more there is
    /// nothing to wait for there.
    fn listen(&mut self, printed: &mut Vec<u8>) {
        for _ in 0..PIECES {
            let Some(outlet) = &self.outlet else { return };
            let mut piece = [0; PIECE];
            match read(outlet, &mut piece) {
                Ok(length @ 1..) => printed.extend_from_slice(&piece[..length]),
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Ok(0) | Err(_) => self.outlet = None,
            }
            let too_much = printed.len().saturating_sub(LONGEST);
            printed.drain(..too_much);
        }
    }
}

/// Whether a process has executed a program since it was forked: PF_FORKNOEXEC among the flags of /proc/PID/stat, which
/// execve(2) clears for good and no process can set (include/linux/sched.h; `ps` prints it as the flag 1).
///
/// # Errors
/// ENOENT or ESRCH: there is no such process.
pub fn has_executed(pid: Pid) -> Result<bool> {
    const PF_FORKNOEXEC: u64 = 0x40;
    Ok(flags(pid)? & PF_FORKNOEXEC == 0)
}

/// Whether a process is on its way out: it may have neither root directory nor namespaces any more, and still not be dead.
///
/// # Errors
/// ENOENT or ESRCH: there is no such process.
pub fn is_exiting(pid: Pid) -> Result<bool> {
    const PF_EXITING: u64 = 0x4;
    Ok(flags(pid)? & PF_EXITING != 0)
}

fn flags(pid: Pid) -> Result<u64> {
    proc_stat::field(pid, 9).what(|| format!("read the flags in /proc/{pid}/stat"))
}

#[cfg(test)]
mod tests {
    use nix::unistd::getpid;

    use super::*;
    use crate::sys::child::{Child, Options};

    #[test]
    fn a_process_that_was_forked_and_one_that_was_executed() {
        assert!(has_executed(getpid()).unwrap());
        let child = Child::create(&Options::default(), |_| {
            std::thread::sleep(Duration::from_secs(100));
            0
        });
        let child = child.unwrap();
        let pid = child.pid();
        assert!(!has_executed(pid).unwrap());
        drop(child);
        assert_eq!(has_executed(pid).unwrap_err().code(), Errno::ENOENT);
    }
}
