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
        (self.start, self.end) = (0, length);
        Ok(length)
    }

    /// Puts these few bytes into the empty buffer.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        (self.start, self.end) = (0, bytes.len());
    }

    /// Whether what was taken last ends a line.
    pub(super) fn ends_line(&self) -> bool {
        self.end > 0 && self.bytes[self.end - 1] == b'\n'
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
