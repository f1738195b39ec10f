//! The step that installs a filter.

use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use nix::errno::Errno;

use super::compile::Filter;
use super::evaluate::{Data, evaluate};
use super::readings::differences;
use super::verdict::{Verdict, verdict};
use crate::error::{Error, Result};
use crate::sys::seccomp::{self, Insn};
use crate::types::seccomp::Profile;
use crate::types::seccomp::profile::{Flags, Listener};

/// Puts the process under a filter, for good.
pub struct Install {
    /// The program.
    pub program: Vec<Insn>,
    /// How.
    pub flags: Flags,
    /// Who answers; none: nothing asks.
    pub listener: Option<Listener>,
    /// The profile, whose rules a verdict names.
    profile: Rc<Profile>,
    names: usize,
    unknown: usize,
}

impl Install {
    /// A compiled filter as a step.
    pub fn new(filter: Filter, profile: Rc<Profile>) -> Install {
        let (flags, listener) = (profile.flags, profile.listener.clone());
        let Filter { program, names, unknown, .. } = filter;
        Install { program, flags, listener, profile, names, unknown }
    }

    /// Whether the filter allows a call of ferrun's own with these arguments. False where this architecture has no
    /// such call.
    pub fn allows(&self, name: &str, arguments: [u64; 6]) -> bool {
        Data::native(name, arguments).is_some_and(|data| evaluate(&self.program, &data).allows())
    }

    /// The action for a call with these arguments, and the rule that decides it. `None` where this architecture has no
    /// such call.
    pub fn verdict(&self, name: &str, arguments: [u64; 6]) -> Option<Verdict> {
        verdict(&self.profile, &self.program, name, arguments)
    }

    /// A warning for each system call for which the filter has another kind of action than its rules, read plainly.
    pub fn differences(&self) -> Vec<Error> {
        differences(&self.profile, &self.program)
    }

    /// The flags as the kernel has them.
    pub fn bits(&self) -> u32 {
        let flags = [
            (self.flags.log, seccomp::LOG),
            (self.flags.spec_allow, seccomp::SPEC_ALLOW),
            (self.flags.tsync, seccomp::TSYNC | seccomp::TSYNC_ESRCH),
            (self.listener.is_some(), seccomp::NEW_LISTENER),
            (self.flags.wait_killable && self.listener.is_some(), seccomp::WAIT_KILLABLE_RECV),
        ];
        flags.iter().filter(|(wanted, _)| *wanted).fold(0, |mask, (_, bit)| mask | bit)
    }

    /// Whether this kernel knows the flags; nothing is installed.
    ///
    /// # Errors
    /// As [`Install::run`].
    pub fn probe(&self) -> Result<()> {
        seccomp::probe_flags(self.bits()).map_err(|errno| self.explained(errno))
    }

    /// Runs the step. Gives the descriptor on which calls are answered, if there is someone to answer.
    ///
    /// # Errors
    /// A process without CAP_SYS_ADMIN and no_new_privs; a flag that this kernel does not know.
    pub fn run(&self) -> Result<Option<OwnedFd>> {
        seccomp::set_filter(&self.program, self.bits()).map_err(|errno| self.explained(errno))
    }

    /// The error for an installation that failed.
    pub fn explained(&self, errno: Errno) -> Error {
        let error = Error::os("install the seccomp filter", errno);
        match errno {
            Errno::EACCES => error.hint("set process.noNewPrivileges, or give ferrun CAP_SYS_ADMIN"),
            Errno::EINVAL if self.flags.wait_killable => {
                error.hint("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19")
            }
            Errno::EBUSY => error.hint("another filter of this process has a listener already"),
            _ => error,
        }
    }
}

/// Rules that become the same program are the same step.
impl PartialEq for Install {
    fn eq(&self, other: &Install) -> bool {
        let parts = |step: &Install| (step.bits(), step.names, step.unknown);
        self.program == other.program && self.listener == other.listener && parts(self) == parts(other)
    }
}

impl fmt::Display for Install {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} instructions, {} names", self.program.len(), self.names)?;
        if self.unknown > 0 {
            write!(f, ", {} unknown", self.unknown)?;
        }
        if self.listener.is_some() { f.write_str(", with a listener") } else { Ok(()) }
    }
}
