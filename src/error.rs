//! The one error type: which operation on what failed, why, which property asked for it, what to do.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::sys::regular::Unreadable;

/// The result of everything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of failure it is, where somebody decides by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorKind {
    /// None of those below.
    #[default]
    Other,
    /// A property that config.json lacks.
    Missing,
    /// A property that config.json has twice.
    Repeated,
    /// No container of this id.
    NoContainer,
    /// There is a container of this id.
    Exists,
    /// The container is not in a state in which this can be done.
    State,
    /// A signal ended what was waited for.
    Interrupted,
    /// The cgroup is frozen.
    Frozen,
    /// A hook failed.
    Hook,
    /// The init died without a report.
    Died,
    /// The cgroup of v2 can have no processes: it hands controllers down, or is gone.
    Uninhabitable,
    /// Something killed the process before it ran, perhaps as it was born into its cgroup.
    Killed,
    /// The parent is to end itself, as `--fault` asks.
    Fault,
}

/// A failure, told once, at the top (cli/report.rs). Its `Display` is the first line, which is all that
/// engines read; they match words of it (reference: the callers' sources), so those stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Operation and subject: `mount proc on "/proc"`; or a whole sentence where no call failed.
    pub message: String,
    /// What others decide by.
    #[serde(default)]
    pub kind: ErrorKind,
    /// The number behind the failure, 0 if there is none.
    pub errno: i32,
    /// What is known beyond the number, such as the kernel's own words; ends the first line.
    pub detail: Option<Box<str>>,
    /// The JSON pointer of the property that asked for it.
    pub pointer: Option<Box<str>>,
    /// Where that property stands: `config.json:14`.
    pub place: Option<Box<str>>,
    /// What the reader can do.
    pub hint: Option<Box<str>>,
}

impl Error {
    /// A failure that no system call reported.
    pub fn new(message: impl Into<String>) -> Error {
        Error {
            message: message.into(),
            kind: ErrorKind::Other,
            errno: 0,
            detail: None,
            pointer: None,
            place: None,
            hint: None,
        }
    }

    /// A container that is not in a state in which this can be done.
    pub fn state(message: impl Into<String>) -> Error {
        Error::new(message).of_kind(ErrorKind::State)
    }

    /// A system call's failure: `what` names operation and subject.
    pub fn os(what: impl Into<String>, errno: Errno) -> Error {
        Error { errno: errno as i32, ..Error::new(what) }
    }

    /// A failure of the standard library's file functions.
    pub fn io(what: impl Into<String>, error: &std::io::Error) -> Error {
        match error.raw_os_error() {
            Some(errno) => Error::os(what, Errno::from_raw(errno)),
            None => Error::new(format!("{}: {error}", what.into())),
        }
    }

    /// Says of which kind it is.
    pub fn of_kind(self, kind: ErrorKind) -> Error {
        Error { kind, ..self }
    }

    /// Names the property behind it, unless a closer one is known.
    pub fn from_property(mut self, pointer: impl fmt::Display) -> Error {
        self.pointer.get_or_insert_with(|| pointer.to_string().into());
        self
    }

    /// Names the variable of the environment behind it, of which config.json knows nothing.
    pub fn of_variable(self, name: &str) -> Error {
        Error { message: format!("{name}: {}", self.message), ..self }
    }

    /// Adds what is known beyond the number.
    pub fn detail(self, detail: impl Into<Box<str>>) -> Error {
        Error { detail: Some(detail.into()), ..self }
    }

    /// Adds what went wrong as well, after the rest.
    pub fn note(self, note: String) -> Error {
        let detail = match &self.detail {
            Some(detail) => format!("{detail}; {note}"),
            None => note,
        };
        self.detail(detail)
    }

    /// Adds what the reader can do.
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Error {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The errno as nix has it.
    pub fn code(&self) -> Errno {
        Errno::from_raw(self.errno)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.errno != 0 {
            write!(f, ": {}", Reason(self.code()))?;
        }
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// An errno in words, in lower case, as engines match them ("no such file or directory").
pub struct Reason(pub Errno);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let text = self.0.desc();
        let mut letters = text.chars();
        let first = letters.next().unwrap_or(' ');
        // "I/O error" and "RPC …" keep their capitals.
        match letters.clone().next() {
            Some(second) if second.is_ascii_lowercase() => {
                write!(f, "{}{}", first.to_ascii_lowercase(), letters.as_str())
            }
            _ => f.write_str(text),
        }
    }
}

/// Says what was tried when a system call fails.
pub trait Context<T> {
    /// `what` is only built on failure: operation and subject, such as `mkdir "/a"`.
    fn what<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for nix::Result<T> {
    fn what<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::os(what(), errno))
    }
}

impl<T> Context<T> for std::result::Result<T, Unreadable> {
    fn what<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|why| match why {
            Unreadable::Kernel(errno) => Error::os(what(), errno),
            Unreadable::NotRegular | Unreadable::Link | Unreadable::LongerThan(_) => {
                Error::new(format!("{}: {why}", what().into()))
            }
        })
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn what<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::io(what(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_engines_match() {
        let said = |errno| Error::os("exec \"/x\"", errno).to_string();
        assert_eq!(said(Errno::ENOENT), "exec \"/x\": no such file or directory");
        assert_eq!(said(Errno::EACCES), "exec \"/x\": permission denied");
        assert_eq!(said(Errno::EISDIR), "exec \"/x\": is a directory");
        assert_eq!(said(Errno::EPERM), "exec \"/x\": operation not permitted");
        assert_eq!(said(Errno::EIO), "exec \"/x\": I/O error");
    }

    #[test]
    fn the_closest_property_is_kept() {
        let error = Error::new("no").from_property("/mounts/1").from_property("/mounts");
        assert_eq!(error.pointer.as_deref(), Some("/mounts/1"));
    }
}
