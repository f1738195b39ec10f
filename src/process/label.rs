//! The security module that confines the program: it is told the profile or label before execve(2), which
//! puts it into force. SELinux is also told the label of the keyring that the program finds.

use std::ffi::{CStr, CString};
use std::fmt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::write;

use super::procfs::Procfs;
use crate::error::{Context, Error, Result};

/// What EINVAL means.
const UNKNOWN_LABEL: &str = "the policy does not know this label";

/// Which security module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// apparmor(7), which takes the name of a profile.
    AppArmor,
    /// selinux(8), which takes a context.
    SeLinux,
}

/// Names the profile or label that execve(2) shall change to, in the thread's attributes (proc(5),
/// /proc/thread-self/attr), which only the thread itself may do.
///
/// It is done while ferrun may still make a procfs of its own: one that the container brings could take
/// the write and confine nothing (CVE-2019-16884, CVE-2025-52881).
#[derive(PartialEq)]
pub struct ExecLabel {
    /// Who is told.
    pub module: Module,
    /// What.
    pub label: CString,
}

impl ExecLabel {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        let procfs = Procfs::of_processes()?;
        let label = self.label.as_bytes();
        match self.module {
            Module::SeLinux => procfs.write(c"thread-self/attr/exec", label),
            Module::AppArmor => {
                let command = [b"exec ", label].concat();
                // Its own directory is there since Linux 5.8; the other is the first module's that wants it.
                match procfs.write(c"thread-self/attr/apparmor/exec", &command) {
                    Err(error) if error.code() == Errno::ENOENT => self.first_module(&procfs, &command, error),
                    result => result,
                }
            }
        }
        .map_err(explain)
    }

    /// Whether SELinux's policy knows the label: for `check`. AppArmor tells of its profiles only in a list.
    pub fn probe(&self) -> Result<()> {
        match self.module {
            Module::SeLinux => known_to_policy(&self.label),
            Module::AppArmor => Ok(()),
        }
    }

    /// ENOENT also says that there is no such profile: then the error stays the first.
    fn first_module(&self, procfs: &Procfs, command: &[u8], error: Error) -> Result<()> {
        match procfs.open(c"thread-self/attr/apparmor/exec", OFlag::O_WRONLY) {
            Ok(_) => Err(error),
            Err(missing) if missing.code() == Errno::ENOENT => procfs.write(c"thread-self/attr/exec", command),
            Err(other) => Err(other),
        }
    }
}

impl fmt::Display for ExecLabel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} on exec", format!("{:?}", self.module).to_lowercase(), self.label.to_string_lossy())
    }
}

/// Names the label of the keys that this thread makes up to execve(2): of the session keyring, to which a
/// confined program has no right if it has ferrun's label.
#[derive(PartialEq)]
pub struct KeyLabel(pub CString);

impl KeyLabel {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        Procfs::of_processes()?.write(c"thread-self/attr/keycreate", self.0.as_bytes()).map_err(explain)
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "selinux {} on keys", self.0.to_string_lossy())
    }
}

fn explain(error: Error) -> Error {
    match error.code() {
        Errno::ENOENT => error.hint("there is no such profile; apparmor_parser loads one"),
        Errno::EINVAL => error.hint(UNKNOWN_LABEL),
        Errno::EACCES | Errno::EPERM => error.hint("the policy does not let ferrun change to it"),
        _ => error,
    }
}

/// Asks SELinux for a context as security_check_context(3) does. Who may not ask is not told.
fn known_to_policy(label: &CStr) -> Result<()> {
    const FILE: &str = "/sys/fs/selinux/context";
    let file = match open(FILE, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::EPERM) => return Ok(()),
        file => file.what(|| format!("open {FILE}"))?,
    };
    match write(file, label.to_bytes_with_nul()).what(|| format!("context {label:?}")) {
        Err(error) if error.code() == Errno::EINVAL => Err(error.hint(UNKNOWN_LABEL)),
        _ => Ok(()),
    }
}
