//! Failures on demand, so that the tests can see what each step leaves behind: `--fault error@N`, `--fault kill@N` and
//! `--fault panic@N`, hidden options of `create` and `run`.

use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::Action;

/// What happens instead of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The step's number, as `explain` prints it.
    pub step: usize,
    /// How.
    pub way: Way,
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With an error.
    Error,
    /// Ferrun is killed, as by `kill -9`.
    Kill,
    /// By a mistake of ferrun's own.
    Panic,
}

impl FromStr for Fault {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Fault, String> {
        let (way, step) = match text.split_once('@') {
            Some(("error", step)) => (Way::Error, step),
            Some(("kill", step)) => (Way::Kill, step),
            Some(("panic", step)) => (Way::Panic, step),
            _ => return Err("a fault is error@STEP, kill@STEP or panic@STEP".into()),
        };
        step.parse().map(|step| Fault { step, way }).map_err(|_| format!("{text:?} names no step"))
    }
}

impl Fault {
    /// Fails the step in its place. For a kill the init asks the parent, which it cannot see.
    pub(super) fn strike(self, in_init: bool, action: &dyn Action) -> Result<()> {
        match self.way {
            Way::Kill if in_init => Err(Error::new("kill the parent, as --fault asks").of_kind(ErrorKind::Fault)),
            Way::Kill => Fault::kill_myself(),
            Way::Panic => panic!("a fault was asked for before\n\"{action}\""),
            Way::Error => Err(Error::new(format!("a fault was asked for before \"{action}\""))),
        }
    }

    /// Whether an error of the init asks for the parent's end, as its own command line does.
    pub(super) fn is_kill(self, error: &Error) -> bool {
        self.way == Way::Kill && error.kind == ErrorKind::Fault
    }

    /// Ends this process as `kill -9` would.
    pub(super) fn kill_myself() -> ! {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        std::process::abort()
    }
}
