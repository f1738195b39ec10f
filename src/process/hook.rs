//! Hooks: programs of the bundle that run at points of the container's life. config.md of the OCI
//! runtime spec, "POSIX-platform Hooks".

use std::ffi::CString;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use serde::{Deserialize, Serialize, Serializer};

use super::diagnose;
use super::run_hook::{Command, End};
use crate::error::{self, Error, Result};
use crate::types::hooks::Kind;

/// Runs a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// When.
    pub kind: Kind,
    /// Which of its kind.
    pub index: usize,
    /// The file, by its absolute path.
    #[serde(serialize_with = "text")]
    pub path: CString,
    /// Its arguments, the first of which is its name.
    #[serde(serialize_with = "texts")]
    pub args: Vec<CString>,
    /// All of its environment. `None`: ferrun's own, and for a hook of `startContainer` the program's.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "texts_if_given")]
    pub env: Option<Vec<CString>>,
    /// Seconds that it may take.
    pub timeout: Option<u64>,
}

impl Hook {
    /// Runs the step: gives the hook the container's state, and waits for it. It works in `directory`, or
    /// where this process does, and is killed when `interrupt` is readable.
    pub fn run(&self, state: &[u8], directory: Option<&Path>, interrupt: Option<BorrowedFd>) -> Result<()> {
        let Hook { path, args, env, .. } = self;
        let timeout = self.timeout.map(Duration::from_secs);
        let command = Command { path, args, env: env.as_deref(), directory, timeout, interrupt };
        match command.run(state) {
            Ok((End::Exited(0), _)) => Ok(()),
            Ok((end, said)) => {
                let error = self.ended(&end);
                Err(match one_line(&said) {
                    said if said.is_empty() => error,
                    said => error.detail(said),
                })
            }
            Err(errno) => Err(self.not_executed(errno)),
        }
    }

    /// The error for something about this hook.
    pub(super) fn failed(&self, why: &str) -> Error {
        self.named(Error::new(format!("{}: {why}", self.name())))
    }

    /// The error for a hook that cannot be executed, after a look at its file.
    pub(super) fn not_executed(&self, errno: Errno) -> Error {
        let error = Error { message: self.name(), hint: None, ..diagnose::failed(&self.path, errno) };
        self.named(error)
    }

    fn named(&self, error: Error) -> Error {
        error.of_kind(error::ErrorKind::Hook).from_property(self.kind.pointer(self.index))
    }

    /// The error for a hook that ended so.
    pub(super) fn ended(&self, end: &End) -> Error {
        self.failed(&match end {
            End::Exited(status) => format!("exit status {status}"),
            End::Signal(signal) => format!("killed by signal {signal}"),
            End::Interrupted => "killed, as ferrun was told to end".into(),
            End::TimedOut => format!("killed, as it took longer than its timeout of {} s", self.timeout.unwrap_or(0)),
        })
    }

    /// The error for a hook that was killed because it took too long.
    pub fn timed_out(&self) -> Error {
        self.ended(&End::TimedOut)
    }

    pub(super) fn name(&self) -> String {
        format!("{}: hook {}", self.kind.pointer(self.index), diagnose::shown(&self.path))
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.path.to_string_lossy())?;
        self.args.iter().skip(1).try_for_each(|word| write!(f, " {}", word.to_string_lossy()))
    }
}

/// What a hook printed, as the end of an error's first line, which is all that engines show.
pub fn one_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ").replace(char::is_control, " ")
}

/// Writes a string as one: serde would write a list of numbers. It came from JSON, so it is text.
fn text<S: Serializer>(string: &CString, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(&string.to_string_lossy())
}

fn texts<S: Serializer>(strings: &[CString], to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_seq(strings.iter().map(|string| string.to_string_lossy()))
}

fn texts_if_given<S: Serializer>(strings: &Option<Vec<CString>>, to: S) -> std::result::Result<S::Ok, S::Error> {
    texts(strings.as_deref().unwrap_or_default(), to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str) -> Hook {
        let text = |text: &str| CString::new(text).unwrap();
        let args = ["sh", "-c", script].map(text).to_vec();
        Hook {
            kind: Kind::Poststop,
            index: 2,
            path: text("/bin/sh"),
            args,
            env: Some(vec![text("ä=1")]),
            timeout: Some(7),
        }
    }

    #[test]
    fn a_failure_names_the_hook_and_has_its_words() {
        let error = hook("echo a; echo; echo ' b\t' >&2; exit 3").run(b"", None, None).unwrap_err();
        assert_eq!(error.detail.as_deref(), Some("a; b"));
        crate::golden::compare(&error.to_string());
        assert_eq!(error.pointer.as_deref(), Some("/hooks/poststop/2"));
        let missing = Hook { path: c"/nowhere".into(), ..hook("") };
        let error = missing.run(b"", None, None).unwrap_err();
        assert_eq!(error.code(), Errno::ENOENT);
        crate::golden::compare(&error.to_string());
        assert_eq!(hook("cat >&2; false").run(b"state", None, None).unwrap_err().detail.as_deref(), Some("state"));
    }

    #[test]
    fn it_survives_the_state_file_as_text() {
        let before = hook("true");
        let json = serde_json::to_string(&before).unwrap();
        assert!(json.contains(r#""kind":"poststop""#) && json.contains(r#""env":["ä=1"]"#), "{json}");
        assert_eq!(serde_json::from_str::<Hook>(&json).unwrap(), before);
        let inheriting = Hook { env: None, ..before };
        let json = serde_json::to_string(&inheriting).unwrap();
        assert!(!json.contains("env"), "{json}");
        assert_eq!(serde_json::from_str::<Hook>(&json).unwrap(), inheriting);
    }
}
