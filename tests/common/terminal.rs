//! Terminals as a test has them: the other side of a container's, an engine's socket, and one that ferrun runs on.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ferrun::sys::terminal::{Size, set_size};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Bundle, patience};

pub const SMALL: Size = Size { rows: 11, columns: 33 };
pub const LARGE: Size = Size { rows: 44, columns: 111 };

/// The side of a terminal that types and sees.
pub struct Screen {
    pub master: File,
    pub seen: String,
}

impl Screen {
    pub fn new(master: OwnedFd) -> Screen {
        Screen { master: master.into(), seen: String::new() }
    }

    /// False at the end: nobody has the other side open.
    pub fn read(&mut self) -> bool {
        let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, 10u8).unwrap() == 0 {
            return true;
        }
        let mut bytes = [0; 4096];
        let length = self.master.read(&mut bytes).unwrap_or(0);
        self.seen += &String::from_utf8_lossy(&bytes[..length]);
        length > 0
    }

    #[track_caller]
    pub fn wait_for(&mut self, words: &str) {
        let begin = Instant::now();
        while !self.seen.contains(words) {
            assert!(self.read() && begin.elapsed() < patience(10), "no {words:?} in {:?}", self.seen);
        }
    }

    /// Everything up to the end.
    #[track_caller]
    pub fn rest(mut self) -> String {
        let begin = Instant::now();
        while self.read() {
            assert!(begin.elapsed() < patience(10), "no end after {:?}", self.seen);
        }
        self.seen
    }

    pub fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }
}

/// A console socket as an engine has it.
pub struct Console {
    pub path: PathBuf,
    pub socket: UnixListener,
}

impl Console {
    pub fn of(bundle: &Bundle) -> Console {
        let path = bundle.dir.join("console");
        Console { socket: UnixListener::bind(&path).unwrap(), path }
    }

    pub fn flag(&self) -> [&str; 2] {
        ["--console-socket", self.path.to_str().unwrap()]
    }

    /// What has been sent.
    pub fn screen(&self) -> Screen {
        self.socket.set_nonblocking(true).unwrap();
        let (connection, _) = self.socket.accept().expect("ferrun has connected");
        Screen::new(ferrun::sys::fd::receive(&connection).unwrap().unwrap())
    }
}

/// A ferrun in the foreground of a terminal of the test's own.
pub struct Foreground {
    pub ferrun: Child,
    pub screen: Screen,
    pub terminal: OwnedFd,
    pub before: Termios,
}

impl Foreground {
    /// `ferrun run`.
    pub fn run(bundle: &Bundle) -> Foreground {
        Foreground::run_with(&[], bundle)
    }

    /// The same with further flags.
    pub fn run_with(flags: &[&str], bundle: &Bundle) -> Foreground {
        Foreground::run_by(&[], flags, bundle)
    }

    /// The same by another program.
    pub fn run_by(program: &[&str], flags: &[&str], bundle: &Bundle) -> Foreground {
        let dir = bundle.dir.to_str().unwrap();
        Foreground::of(program, bundle, &[&["run"], flags, &["--bundle", dir, &bundle.id]].concat())
    }

    /// `ferrun ARGS` by another program.
    pub fn of(program: &[&str], bundle: &Bundle, args: &[&str]) -> Foreground {
        let pair = openpty(None, None).unwrap();
        set_size(&pair.slave, SMALL).unwrap();
        // A master that the child has too would stay open.
        fcntl(&pair.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        let before = tcgetattr(&pair.slave).unwrap();
        let stream = || Stdio::from(pair.slave.try_clone().unwrap());
        let ferrun = super::ferrun_binary();
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(program);
        command.args([ferrun.as_os_str(), "--root".as_ref(), bundle.state_root().as_os_str()]).args(args);
        let ferrun = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        Foreground { ferrun, screen: Screen::new(pair.master), terminal: pair.slave, before }
    }

    /// Whether every key goes to the container as it is.
    pub fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Sends a signal to the only job of the shell that runs ferrun.
    pub fn signal_to_job(&self, signal: Signal) {
        let shell = self.ferrun.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        let job: i32 = children.split_whitespace().next().unwrap().parse().unwrap();
        kill(Pid::from_raw(job), signal).unwrap();
    }

    /// Its exit status and all that was seen; the terminal is as it was.
    #[track_caller]
    pub fn end(mut self) -> (i32, String) {
        let begin = Instant::now();
        let status = loop {
            self.screen.read();
            if let Some(status) = self.ferrun.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > patience(10) {
                let _ = self.ferrun.kill();
                panic!("ferrun does not end: {:?}", self.screen.seen);
            }
        };
        assert_eq!(tcgetattr(&self.terminal).unwrap(), self.before, "the terminal is as it was");
        drop(self.terminal);
        (status.code().unwrap_or(-1), self.screen.rest())
    }
}

/// What the descriptors of a process are.
pub fn streams(pid: &Value) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut links: Vec<String> = entries
        .filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    links.sort();
    links
}

/// Its exit status; none: it has not ended in this time.
pub fn ends(child: &mut Child, limit: Duration) -> Option<i32> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code().unwrap_or(-1));
        }
        if begin.elapsed() > limit {
            let _ = child.kill();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
