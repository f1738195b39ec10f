//! Where a created container waits for `start`: a fifo in its state directory, and a file for the
//! reason why the program could not be executed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use crate::error::{Context, Error, Result};

/// The fifo's name: while it is there, the container has not been started.
pub const FIFO: &str = "exec.fifo";
/// The file's name.
pub const FAILURE: &str = "exec.error";

/// The init's side.
pub struct Gate {
    fifo: File,
    failure: File,
}

impl Gate {
    /// Makes the gate in a state directory. The init inherits both descriptors; they are close-on-exec.
    /// The fifo is open for both directions, so that a read waits whether or not a writer is there.
    pub fn make(state: &Path) -> Result<Gate> {
        let path = state.join(FIFO);
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).what(|| format!("mkfifo {path:?}"))?;
        let fifo = OpenOptions::new().read(true).write(true).open(&path).what(|| format!("open {path:?}"))?;
        let path = state.join(FAILURE);
        let failure = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        Ok(Gate { fifo, failure: failure.what(|| format!("make {path:?}"))? })
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
    let path = state.join(FIFO);
    let fifo = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
    let fifo = fifo.what(|| format!("open {path:?}"))?;
    (&fifo).write_all(b"g").what(|| "start the container")?;
    // The init's end is close-on-exec: when nothing reads any more, the program runs or the init ended.
    let mut closed = [PollFd::new(fifo.as_fd(), PollFlags::empty())];
    while poll(&mut closed, PollTimeout::NONE) == Err(Errno::EINTR) {}
    std::fs::remove_file(&path).what(|| format!("remove {path:?}"))?;
    let failure = std::fs::read(state.join(FAILURE)).unwrap_or_default();
    match serde_json::from_slice::<Error>(&failure) {
        Ok(error) => Err(error),
        Err(_) => Ok(()),
    }
}
