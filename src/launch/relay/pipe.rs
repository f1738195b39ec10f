//! The bytes between two terminals.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{read, write};

/// Bytes on their way in one direction: what a pipe surely takes once it takes anything (PIPE_BUF).
pub(super) const BUFFER: usize = 4096;

/// Bytes on their way in one direction.
pub(super) struct Pipe {
    bytes: [u8; BUFFER],
    start: usize,
    end: usize,
}

impl Pipe {
    pub(super) const fn new() -> Pipe {
        Pipe { bytes: [0; BUFFER], start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes what is there into the empty buffer. `Ok(0)` is the end, EAGAIN a pause.
    pub(super) fn fill(&mut self, from: impl AsFd) -> nix::Result<usize> {
        let length = read(from, &mut self.bytes)?;
        if length > 0 {
            (self.start, self.end) = (0, length);
        }
        Ok(length)
    }

    /// Puts one byte into the empty buffer.
    pub(super) fn put(&mut self, byte: u8) {
        self.bytes[0] = byte;
        (self.start, self.end) = (0, 1);
    }

    /// Whether the bytes that came last end a line.
    pub(super) fn ends_line(&self) -> bool {
        self.bytes[..self.end].ends_with(b"\n")
    }

    /// Hands on what the other side takes now.
    pub(super) fn drain(&mut self, to: impl AsFd) -> nix::Result<()> {
        match write(to, &self.bytes[self.start..self.end]) {
            Ok(written) => self.start += written,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}
