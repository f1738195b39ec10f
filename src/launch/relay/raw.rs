//! Ferrun's own terminal, on the other side of which is whoever types.

use std::io::{stderr, stdin, stdout};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, isatty, tcgetpgrp};

use crate::error::{Context, Result};
use crate::sys::terminal::{self, Size};

/// The size of the terminal that ferrun shows on, if there is one.
pub fn size() -> Option<Size> {
    terminal::size(stdout()).or_else(|_| terminal::size(stdin())).or_else(|_| terminal::size(stderr())).ok()
}

/// Whether ferrun's output is shown on a terminal.
pub fn is_shown() -> bool {
    isatty(stdout()).unwrap_or(false)
}

/// Ferrun's own terminal, which passes on every key as it is, until this is dropped.
pub(super) struct Raw {
    before: Termios,
    raw: Termios,
}

impl Raw {
    /// None: the input is no terminal.
    pub(super) fn begin() -> Result<Option<Raw>> {
        let Ok(before) = tcgetattr(stdin()) else { return Ok(None) };
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        if !is_shown() {
            // Perhaps through a pipe: then lines without a carriage return come here.
            raw.output_flags = before.output_flags;
        }
        tcsetattr(stdin(), SetArg::TCSANOW, &raw).what(|| "make ferrun's terminal raw")?;
        Ok(Some(Raw { before, raw }))
    }

    /// Makes it so again, after a shell has had it.
    pub(super) fn again(&self) {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.raw);
    }
}

/// Whether ferrun's terminal is someone else's now.
pub(super) fn is_in_background() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group != getpgrp())
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.before);
    }
}
