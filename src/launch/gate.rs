//! Where a created container waits for `start`: a fifo in its state directory, and another for the
//! reason why the program could not be executed, which a file would not take if RLIMIT_FSIZE forbids it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use crate::error::{Context, Error, Result};

/// The fifo's name: while it is there, the container has not been started.
pub const FIFO: &str = "exec.fifo";
/// The other one's name.
pub const FAILURE: &str = "exec.error";

/// The init's side.
pub struct Gate {
    fifo: File,
    failure: File,
}

impl Gate {
    /// Makes the gate in a state directory. The init inherits both descriptors; they are close-on-exec.
    /// They are open for both directions, so that neither needs the other side to be there.
    pub fn make(state: &Path) -> Result<Gate> {
        let make = |name| {
            let path = state.join(name);
            nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).what(|| format!("mkfifo {path:?}"))?;
            OpenOptions::new().read(true).write(true).open(&path).what(|| format!("open {path:?}"))
        };
        Ok(Gate { fifo: make(FIFO)?, failure: make(FAILURE)? })
    }

    /// Blocks until `start`.
    pub(super) fn wait(&self) -> Result<()> {
        (&self.fifo).read_exact(&mut [0]).what(|| "wait for the container's start")
    }

    /// Leaves the reason for `start` to read.
    pub(super) fn fail(&self, error: &Error) {
        let _ = (&self.failure).write_all(&serde_json::to_vec(error).unwrap_or_default());
    }
}

/// Opens the gate: returns when the init has executed the program.
///
/// # Errors
/// ENXIO: nothing waits there any more. Otherwise the reason why the program could not be executed.
pub fn open(state: &Path) -> Result<()> {
    let open = |path: &Path, options: &mut OpenOptions| {
        options.custom_flags(libc::O_NONBLOCK).open(path).what(|| format!("open {path:?}"))
    };
    let path = state.join(FIFO);
    let fifo = open(&path, OpenOptions::new().write(true))?;
    // What nobody has open is lost with whoever wrote it.
    let failure = open(&state.join(FAILURE), OpenOptions::new().read(true))?;
    (&fifo).write_all(b"g").what(|| "start the container")?;
    let mut told = Vec::new();
    // The init's end is close-on-exec: when nothing reads any more, the program runs or the init ended. The other
    // end may be closed a moment before: then it has nothing more to say, and would be told over and over.
    let mut watched = 2;
    loop {
        let mut events =
            [PollFd::new(fifo.as_fd(), PollFlags::empty()), PollFd::new(failure.as_fd(), PollFlags::POLLIN)];
        match poll(&mut events[..watched], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).what(|| "wait for the container's program"),
        }
        let closed = events[0].any() == Some(true);
        // At once: a pipe of a user who has many holds no more than a page. An end that is still open is no failure.
        if (&failure).read_to_end(&mut told).is_ok() {
            watched = 1;
        }
        if closed {
            break;
        }
    }
    match std::fs::remove_file(&path) {
        // The container has just been deleted.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        result => result.what(|| format!("remove {path:?}"))?,
    }
    match serde_json::from_slice::<Error>(&told) {
        Ok(error) => Err(error),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;

    #[test]
    fn a_long_reason_comes_through_a_short_pipe() {
        let state = std::env::temp_dir().join(format!("ferrun-gate-{}", std::process::id()));
        std::fs::create_dir(&state).unwrap();
        let gate = Gate::make(&state).unwrap();
        fcntl(&gate.failure, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let told = std::thread::scope(|scope| {
            scope.spawn(move || {
                gate.wait().unwrap();
                gate.fail(&Error::new("x".repeat(20_000)));
                drop(gate);
            });
            open(&state)
        });
        std::fs::remove_dir_all(&state).unwrap();
        assert_eq!(told.unwrap_err().message.len(), 20_000);
    }

    #[test]
    fn while_one_end_is_closed_the_other_is_waited_for_asleep() {
        let state = std::env::temp_dir().join(format!("ferrun-gate-ends-{}", std::process::id()));
        std::fs::create_dir(&state).unwrap();
        let gate = Gate::make(&state).unwrap();
        // Nanoseconds on the CPU: proc(5).
        let used = || {
            let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let spent = std::thread::scope(|scope| {
            scope.spawn(move || {
                gate.wait().unwrap();
                drop(gate.failure);
                std::thread::sleep(std::time::Duration::from_millis(500));
                drop(gate.fifo);
            });
            let before = used();
            open(&state).unwrap();
            used() - before
        });
        std::fs::remove_dir_all(&state).unwrap();
        assert!(spent < 100_000_000, "{spent} ns");
    }
}
