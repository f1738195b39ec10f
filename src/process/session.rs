//! What ties a process to whoever started it: session, keyring, and that it may be traced.

use std::fmt;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::setsid;

use crate::error::{Context, Result};
use crate::sys;

/// Hides the process from ptrace(2) and /proc until it has executed the container's program (CVE-2016-9962), from all
/// but those with CAP_SYS_PTRACE, against whom docs/security.md has other measures; and clears the caller's file mode mask,
/// so that modes are what the steps say.
#[derive(PartialEq)]
pub struct Hide;

impl Hide {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        prctl::set_dumpable(false).what(|| "make the process undumpable")?;
        umask(Mode::empty());
        Ok(())
    }
}

impl fmt::Display for Hide {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("undumpable, umask 0")
    }
}

/// The same, as the leader of a session of its own.
#[derive(PartialEq)]
pub struct Isolate;

impl Isolate {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        Hide.run().and_then(|()| Session { terminal: false }.run())
    }
}

impl fmt::Display for Isolate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "own session, {Hide}")
    }
}

/// Makes the process the leader of a session of its own, whose terminal its standard input is if it has one of its own.
#[derive(PartialEq)]
pub struct Session {
    /// Whether it has.
    pub terminal: bool,
}

impl Session {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        setsid().what(|| "setsid")?;
        let control = || sys::terminal::take_control(std::io::stdin()).what(|| "make the terminal the controlling one");
        if self.terminal { control() } else { Ok(()) }
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if self.terminal { "own session, with the terminal" } else { "own session" })
    }
}

/// Leaves the caller's session keyring for a new one. It has no name: by its name another process could
/// have made it before, with keys of its own in it.
#[derive(PartialEq)]
pub struct Keyring;

impl Keyring {
    /// Runs the step. A kernel without keyrings and a used-up quota are no reason to fail: the keyring
    /// is a second line of defence, and its quota is shared with everything that runs as this user.
    pub fn run(&self) -> Result<()> {
        match sys::keyring::new_session() {
            Ok(_) | Err(Errno::ENOSYS | Errno::EDQUOT) => Ok(()),
            Err(errno) => Err(errno).what(|| "make a session keyring"),
        }
    }
}

impl fmt::Display for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("own session keyring")
    }
}
