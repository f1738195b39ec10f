//! A program that runs beside ferrun: it gets a text on standard input, what it says is kept, and it may
//! take only so long. The parent uses this as well as the init, which after clone3(2) is a process of one
//! thread like any other.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, sigprocmask};
use nix::unistd::{Pid, chdir, pipe2, read, setpgid, write};

use crate::sys;
use crate::sys::child::{Options, Reporter};
use crate::sys::fd::Stream;
use crate::sys::program::Strings;
use crate::sys::sigchld::KeptStatuses;

/// How much is kept of what the program says: its end, where the reason stands.
const LONGEST: usize = 4096;
/// How much is read at once.
const PIECE: usize = 4096;
/// What a pipe holds, in pieces: nobody has to wait for a process that the program left behind.
const LAST_PIECES: usize = 16;

/// The program.
pub struct Command<'a> {
    /// Its file.
    pub path: &'a CStr,
    /// Its arguments, the first of which is its name.
    pub args: &'a [CString],
    /// All of its environment; `None`: the caller's.
    pub env: Option<&'a [CString]>,
    /// Its working directory; none: the caller's.
    pub directory: Option<&'a Path>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// It is killed when this is readable.
    pub interrupt: Option<BorrowedFd<'a>>,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal.
    Signal(i32),
    /// It took too long and was killed.
    TimedOut,
    /// It was killed as ferrun is to end.
    Interrupted,
}

/// The program while it runs.
struct Running {
    /// It reports why it could not be executed.
    process: Reporter,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    said: Vec<u8>,
}

impl Command<'_> {
    /// Runs the program to its end; gives that, and the last of what it said on both streams.
    ///
    /// # Errors
    /// A program that cannot be executed.
    pub fn run(&self, input: &[u8]) -> nix::Result<(End, Vec<u8>)> {
        let _statuses = KeptStatuses::begin()?;
        let mut running = self.spawn()?;
        // One that the clock does not reach is none.
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let end = running.watch(input, deadline, self.interrupt)?;
        let Running { process, mut said, .. } = running;
        let (report, _) = process.finish()?;
        match report.as_slice().try_into() {
            Ok(errno) => Err(Errno::from_raw(i32::from_ne_bytes(errno))),
            Err(_) => {
                said.extend(report);
                Ok((end, said))
            }
        }
    }

    fn spawn(&self) -> nix::Result<Running> {
        let (stdin, input) = pipe2(OFlag::O_CLOEXEC)?;
        let (output, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        // The report is closed by the execution.
        let errno = move |_| (self.become_it(&stdin, &stdout) as i32).to_ne_bytes();
        let process = Reporter::create(&Options::default(), errno)?;
        for end in [&input, &output] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Running { process, input: Some(input), output: Some(output), said: Vec::new() })
    }

    /// The child's part: none of the caller's descriptors, signal mask and process group.
    fn become_it(&self, stdin: &OwnedFd, stdout: &OwnedFd) -> Errno {
        let prepare = || {
            sys::fd::duplicate(stdin, Stream::Input)?;
            sys::fd::duplicate(stdout, Stream::Output)?;
            sys::fd::duplicate(stdout, Stream::Error)?;
            sys::fd::close_on_exec_from(3)?;
            // A group of its own, so that its children can be killed with it.
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            if let Some(directory) = self.directory {
                chdir(directory)?;
            }
            sys::program::default_signals();
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        };
        match prepare() {
            Ok(()) => {
                let env = self.env.map_or_else(sys::program::environment, Strings::new);
                sys::program::execve(self.path, &Strings::new(self.args), &env)
            }
            Err(errno) => errno,
        }
    }
}

impl Running {
    /// Feeds it and listens to it until it ends, and takes its status.
    fn watch(
        &mut self,
        mut input: &[u8],
        deadline: Option<Instant>,
        interrupt: Option<BorrowedFd>,
    ) -> nix::Result<End> {
        loop {
            let mut events = vec![PollFd::new(self.process.child.as_fd(), PollFlags::POLLIN)];
            events.extend(self.output.iter().map(|output| PollFd::new(output.as_fd(), PollFlags::POLLIN)));
            events.extend(self.input.iter().map(|input| PollFd::new(input.as_fd(), PollFlags::POLLOUT)));
            events.extend(interrupt.map(|interrupt| PollFd::new(interrupt, PollFlags::POLLIN)));
            match poll(&mut events, time_left(deadline)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            let came = |event: &PollFd| event.any().unwrap_or(true);
            let ended = came(&events[0]);
            let interrupted = interrupt.is_some() && events.last().is_some_and(came);
            drop(events);
            self.feed(&mut input);
            self.listen(if ended { LAST_PIECES } else { 1 });
            if ended {
                let status = self.process.child.wait()?;
                return Ok(status.map_or_else(End::Signal, End::Exited));
            }
            let timed_out = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if interrupted || timed_out {
                self.kill()?;
                return Ok(if timed_out { End::TimedOut } else { End::Interrupted });
            }
        }
    }

    fn kill(&mut self) -> nix::Result<()> {
        let child = &mut self.process.child;
        let _ = killpg(child.pid(), Signal::SIGKILL);
        // Should it have left its group.
        child.kill();
        child.wait().map(drop)
    }

    /// Writes what the pipe takes. A program need not read its input: EPIPE is no failure.
    fn feed(&mut self, rest: &mut &[u8]) {
        let Some(input) = &self.input else { return };
        match write(input, rest) {
            Ok(written) => *rest = &rest[written..],
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(_) => *rest = &[],
        }
        if rest.is_empty() {
            self.input = None;
        }
    }

    /// Reads what it has said, up to some pieces; all but the end of it is forgotten.
    fn listen(&mut self, pieces: usize) {
        for _ in 0..pieces {
            let Some(output) = &self.output else { return };
            let mut piece = [0; PIECE];
            match read(output, &mut piece) {
                Ok(length @ 1..) => self.said.extend_from_slice(&piece[..length]),
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Ok(0) | Err(_) => self.output = None,
            }
            let too_much = self.said.len().saturating_sub(LONGEST);
            self.said.drain(..too_much);
        }
    }
}

/// Up to the deadline, rounded up: a poll that ends too early would be followed by many more.
fn time_left(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
    PollTimeout::try_from(left.min(i32::MAX as u128) as i32).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &[u8], timeout: Option<Duration>) -> (End, String) {
        let text = |text: &str| CString::new(text).unwrap();
        let args = [text("sh"), text("-c"), text(script)];
        let env = [text("A=1"), text("odd"), text("A=2")];
        let command = Command {
            path: c"/bin/sh",
            args: &args,
            env: Some(&env),
            directory: Some(Path::new("/")),
            timeout,
            interrupt: None,
        };
        let (end, said) = command.run(input).unwrap();
        (end, String::from_utf8(said).unwrap())
    }

    #[test]
    fn status_and_words_are_kept() {
        assert_eq!(shell("pwd; echo no >&2; exit 3", b"", None), (End::Exited(3), "/\nno\n".into()));
        assert_eq!(shell("kill -9 $$", b"", None), (End::Signal(9), String::new()));
    }

    #[test]
    fn a_long_input_arrives_and_an_unread_one_is_no_failure() {
        let long = vec![b'x'; 1_000_000];
        assert_eq!(shell("wc -c", &long, None), (End::Exited(0), "1000000\n".into()));
        assert_eq!(shell("exec <&-; sleep 0.1; echo done", &long, None), (End::Exited(0), "done\n".into()));
    }

    #[test]
    fn of_a_long_output_the_end_is_kept() {
        let (end, said) = shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done", b"", None);
        assert_eq!((end, said.len()), (End::Exited(0), LONGEST));
        assert!(said.ends_with("\n19999\n20000\n"), "{said}");
    }

    #[test]
    fn what_takes_too_long_is_killed_with_its_children() {
        let begin = Instant::now();
        let (end, said) = shell("sleep 100 & echo $!; sleep 100", b"", Some(Duration::from_millis(200)));
        assert_eq!(end, End::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(10));
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", said.trim())).unwrap_or_default();
        while !stat().is_empty() && !stat().contains(") Z ") {
            assert!(begin.elapsed() < Duration::from_secs(10), "{}", stat());
        }
    }

    #[test]
    fn a_child_left_behind_is_not_waited_for() {
        let begin = Instant::now();
        assert_eq!(shell("sleep 3 & echo left", b"", None), (End::Exited(0), "left\n".into()));
        assert!(begin.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_missing_program_is_told() {
        let command =
            Command { path: c"/nowhere", args: &[], env: Some(&[]), directory: None, timeout: None, interrupt: None };
        assert_eq!(command.run(b"").unwrap_err(), Errno::ENOENT);
    }
}
