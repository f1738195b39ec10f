//! The exec fifo: the one descriptor that a created init has open besides the streams of its program.
//!
//! startContainer hooks print to it, and `start` reads that. Nothing is decided by what comes through it: that its last
//! end is closed, which execve(2) does, tells `start` to look whether the program runs. Whoever reopens it by
//! /proc/PID/fd, writes to it, or keeps it open changes what an error says, or makes `start` look a little later.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Uid, fchown, mkfifoat, pipe2};

use crate::error::{Context, Error, Result};

/// The fifo's name in the state directory.
pub const FIFO: &str = "exec.fifo";

/// Makes the fifo in a state directory, for hooks that run as this user of the host. It is open for both directions, so
/// that neither side must be there for the other.
pub fn make(state: impl AsFd, owner: Option<u32>) -> Result<OwnedFd> {
    mkfifoat(&state, FIFO, Mode::from_bits_truncate(0o600)).what(|| format!("mkfifo {FIFO:?}"))?;
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    give(openat(&state, FIFO, flags, Mode::empty()).what(|| format!("open {FIFO:?}"))?, owner)
}

/// The same without a name, for `run`: the init's end, and the one that is read.
pub fn unnamed(owner: Option<u32>) -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).what(|| "make a pipe for the container's hooks")?;
    // Of the two ends only the reader's is read without waiting.
    nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty())).what(|| "make a pipe blocking")?;
    give(theirs, owner).map(|theirs| (theirs, ours))
}

/// A hook that opens its standard output anew, as by /dev/stdout, needs the right to.
fn give(file: OwnedFd, owner: Option<u32>) -> Result<OwnedFd> {
    if let Some(uid) = owner {
        fchown(&file, Some(Uid::from_raw(uid)), None).what(|| "give the exec fifo to the container's user")?;
    }
    Ok(file)
}

/// Opens the reader's end of a created container's fifo.
pub fn open_to_read(state: impl AsFd) -> Result<OwnedFd> {
    let what = || format!("open {FIFO:?} of the container");
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(state, FIFO, flags, Mode::empty()).what(what)?;
    let stat = fstat(&file).what(what)?;
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO {
        true => Ok(file),
        false => Err(Error::new(format!("{}: not a fifo", what()))),
    }
}
