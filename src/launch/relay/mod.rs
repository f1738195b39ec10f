//! The terminal of a foreground `run`: what is typed goes to the container's, what that shows comes back.

mod pipe;
mod raw;

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr};

pub use self::raw::{is_shown, size};

use self::pipe::{BUFFER, Pipe};
use self::raw::{Raw, is_in_background};
use super::Process;
use super::notify::Notify;
use super::signals::ENDING;
use crate::error::{Context, Result};
use crate::sys::pidfd;
use crate::sys::terminal;

/// What can still come after the exit: the kernel holds two buffers of 8 KiB and a line of 4 KiB.
const LAST: usize = 64 * 1024 / BUFFER;
/// Between two looks at a terminal that nobody has open, or whose reader may need the end of the input.
const PAUSE: Duration = Duration::from_millis(100);

/// How far ferrun's own input is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// It has ended, which is reported to the container's terminal.
    Ended {
        /// When that is due, or perhaps due again.
        next: Instant,
        /// For whom the last report was.
        reported: Option<Reader>,
    },
    /// There is none.
    None,
}

/// What a program reads from its terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Lines,
    Keys,
}

/// Whether something that was typed, or its end, is not read yet in the container.
fn is_unread(master: &OwnedFd) -> bool {
    let Ok(peer) = terminal::open_peer(master) else { return false };
    let mut events = [PollFd::new(peer.as_fd(), PollFlags::POLLIN)];
    poll(&mut events, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

struct Relay<'a> {
    signals: &'a SignalFd,
    process: &'a Process,
    /// The other side of the container's terminal; none once it is hung up.
    master: Option<OwnedFd>,
    /// The input is a terminal. One that is hung up says that it is none.
    raw: Option<Raw>,
    input: Input,
    /// Stopped, or moved to the background: when it is looked at again whether ferrun is back.
    away: Option<Instant>,
    typed: Pipe,
    shown: Pipe,
    /// Nobody in the container has the terminal open.
    idle: bool,
    /// Whether the program is ready is still to be told.
    notify: Option<Notify>,
}

/// As [`super::signals::pass_on_until_exit`] for a container with a terminal, `master` being its other side.
/// What the program has written is shown before this returns, and ferrun's own terminal is as before.
pub fn until_exit(signals: &SignalFd, process: &Process, master: OwnedFd, notify: Option<Notify>) -> Result<i32> {
    fcntl(&master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK)).what(|| "make the terminal nonblocking")?;
    let background = is_in_background();
    let raw = if background { None } else { Raw::begin()? };
    let mut relay = Relay {
        signals,
        process,
        master: Some(master),
        raw,
        input: if background { Input::None } else { Input::Open },
        away: None,
        typed: Pipe::new(),
        shown: Pipe::new(),
        idle: false,
        notify,
    };
    while relay.turn()? {}
    relay.show_the_rest();
    process.wait()
}

impl Relay<'_> {
    /// Waits for anything and does it. False: the program has ended.
    fn turn(&mut self) -> Result<bool> {
        if self.when_to_report().is_some_and(|when| when <= Instant::now()) {
            self.report_end();
        }
        if self.away.is_some_and(|when| when <= Instant::now()) {
            self.come_back();
        }
        let [exited, signalled, typed, from_terminal, to_terminal, shown, told] = self.wait()?;
        if told {
            self.notify = self.notify.take().filter(|notify| !notify.pass_on(self.process.pid));
        }
        if exited {
            return Ok(false);
        }
        if signalled {
            self.pass_on();
        }
        if typed {
            self.read_input();
        }
        if to_terminal && let Some(master) = &self.master {
            // EIO: nobody has it open, and what was typed waits.
            self.idle |= self.typed.drain(master) == Err(Errno::EIO);
        }
        if from_terminal {
            self.read_terminal();
        }
        if shown && self.shown.drain(stdout()).is_err() {
            // Nobody sees it any more, as when the window of a terminal is closed.
            self.shown = Pipe::new();
            self.master = None;
        }
        Ok(true)
    }

    /// Which of all that is waited for has come: the exit, a signal, input, something to show, room for what
    /// was typed, room for what is shown, a word of the program to its manager.
    fn wait(&mut self) -> Result<[bool; 7]> {
        let (input, output) = (stdin(), stdout());
        let watch = |wanted: bool, fd, flags| match wanted {
            true => PollFd::new(fd, flags),
            // In place of what is not waited for; a hang-up there would be told over and over.
            false => PollFd::new(self.signals.as_fd(), PollFlags::empty()),
        };
        let open = self.master.is_some() && !self.idle;
        let away = self.away.is_some();
        let reads = self.input == Input::Open && !away;
        let master = self.master.as_ref().map_or(self.signals.as_fd(), AsFd::as_fd);
        let mut events = [
            watch(true, self.process.fd.as_fd(), PollFlags::POLLIN),
            watch(true, self.signals.as_fd(), PollFlags::POLLIN),
            watch(open && reads && self.typed.is_empty(), input.as_fd(), PollFlags::POLLIN),
            watch(open && self.shown.is_empty(), master, PollFlags::POLLIN),
            watch(open && !self.typed.is_empty(), master, PollFlags::POLLOUT),
            watch(!self.shown.is_empty(), output.as_fd(), PollFlags::POLLOUT),
            watch(self.notify.is_some(), self.notify.as_ref().map_or(output.as_fd(), AsFd::as_fd), PollFlags::POLLIN),
        ];
        let paused = (self.idle && self.master.is_some()) || away;
        let report = self.when_to_report().map(|when| when.saturating_duration_since(Instant::now()));
        let timeout = report.into_iter().chain(paused.then_some(PAUSE)).min();
        // A millisecond more, as what is left of one is cut off.
        let timeout = timeout.map_or(PollTimeout::NONE, |time| PollTimeout::from(time.as_millis() as u16 + 1));
        match poll(&mut events, timeout) {
            Ok(0) => {
                self.idle = false;
                Ok([false; 7])
            }
            Ok(_) => Ok(events.map(|event| event.any().unwrap_or(true))),
            Err(Errno::EINTR) => Ok([false; 7]),
            Err(errno) => Err(errno).what(|| "wait for the container's process"),
        }
    }

    /// After a stop the terminal is as the shell wants it, which has the keys until ferrun is in the foreground.
    fn come_back(&mut self) {
        let Some(raw) = &self.raw else { return };
        self.away = is_in_background().then(|| Instant::now() + PAUSE);
        if self.away.is_none() {
            raw.again();
        }
    }

    fn pass_on(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo as i32 == libc::SIGCONT {
                self.come_back();
            }
            match (signal.ssi_signo as i32, &self.master, size()) {
                (libc::SIGWINCH, Some(master), Some(size)) => drop(terminal::set_size(master, size)),
                // One that exits at this moment needs no signal any more.
                (number, ..) => drop(pidfd::send_signal(&self.process.fd, number)),
            }
        }
    }

    fn read_input(&mut self) {
        match self.typed.fill(stdin()) {
            Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Moved to the background: what is typed is for others, until ferrun is back.
            Err(Errno::EIO) if is_in_background() => self.away = Some(Instant::now() + PAUSE),
            // The window was closed.
            Ok(0) | Err(_) if self.raw.is_some() => self.master = None,
            Ok(0) | Err(_) => {
                // With no line before it, the program may be about to read single keys: for that a pending VEOF is a NUL.
                let pause = if self.typed.ends_line() { Duration::ZERO } else { PAUSE };
                self.input = Input::Ended { next: Instant::now() + pause, reported: None };
            }
        }
    }

    fn read_terminal(&mut self) {
        let Some(master) = &self.master else { return };
        match self.shown.fill(master) {
            Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(0) | Err(_) => self.idle = true,
        }
    }

    /// When the end of the input is to be reported, or perhaps reported again: not before all that was typed is on its way.
    fn when_to_report(&self) -> Option<Instant> {
        match self.input {
            Input::Ended { next, .. } if self.master.is_some() && self.typed.is_empty() => Some(next),
            _ => None,
        }
    }

    /// Reports the end of the input by the only means of a terminal, the key VEOF (^D). Each further reader of lines needs
    /// its own, as does one whose last line has no end; a reader of single keys gets one only, which it may take for a
    /// command. None is sent while another is pending, but the first one follows a line at once.
    fn report_end(&mut self) {
        let (Input::Ended { next, reported }, Some(master)) = (&mut self.input, &self.master) else { return };
        *next = Instant::now() + PAUSE;
        let Ok(modes) = tcgetattr(master) else { return };
        let reader = if modes.local_flags.contains(LocalFlags::ICANON) { Reader::Lines } else { Reader::Keys };
        let due = match (*reported, reader) {
            (None, Reader::Lines) => true,
            (Some(Reader::Keys), Reader::Keys) => false,
            _ => !is_unread(master),
        };
        if due {
            *reported = Some(reader);
            self.typed.put(modes.control_chars[SpecialCharacterIndices::VEOF as usize]);
        }
    }

    /// Whether a signal asks for ferrun's own end, now that there is no one to pass it on to.
    fn is_to_end(&self) -> bool {
        let mut end = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            end |= ENDING.iter().any(|ending| *ending as u32 == signal.ssi_signo);
        }
        end
    }

    /// What the program wrote before it ended. Another process may hold the terminal and write on, so that this
    /// has a limit; and whoever shows it may be slow, so that a signal ends it too.
    fn show_the_rest(&mut self) {
        for _ in 0..LAST {
            while !self.shown.is_empty() {
                let output = stdout();
                let mut events = [
                    PollFd::new(output.as_fd(), PollFlags::POLLOUT),
                    PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                ];
                let _ = poll(&mut events, PollTimeout::NONE);
                let [writable, signalled] = events.map(|event| event.any().unwrap_or(true));
                if writable {
                    if self.shown.drain(stdout()).is_err() {
                        return;
                    }
                } else if signalled && self.is_to_end() {
                    return;
                }
            }
            match &self.master {
                Some(master) if matches!(self.shown.fill(master), Ok(1..)) => {}
                _ => return,
            }
        }
    }
}
