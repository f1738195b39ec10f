//! Delegation of a v2 cgroup to the container's user, who may then create cgroups below it: cgroup-v2.rst,
//! "Delegation"; config-linux.md of the OCI runtime spec, "Cgroup ownership".

use std::fmt;
use std::rc::Rc;

use nix::errno::Errno;
use nix::unistd::{Uid, chown};

use crate::error::{Context, Result};
use crate::sys::file;

/// The list of the files to delegate: one name a line (Linux 4.15).
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// Those of cgroup-v2.rst, where there is no list.
const USUAL: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// Gives the container's cgroup to a user.
#[derive(PartialEq)]
pub struct GiveCgroup {
    /// The cgroup's directory.
    pub directory: Rc<str>,
    /// The user, as an id of the host.
    pub uid: u32,
}

impl GiveCgroup {
    /// Runs the step. Limits stay root's.
    pub fn run(&self) -> Result<()> {
        let list = file::read(LIST).unwrap_or_else(|_| USUAL.into());
        let list = String::from_utf8_lossy(&list);
        self.give(&self.directory)?;
        list.lines().try_for_each(|name| self.give(&format!("{}/{name}", self.directory)))
    }

    /// A controller that is not enabled has no files.
    fn give(&self, path: &str) -> Result<()> {
        match chown(path, Some(Uid::from_raw(self.uid)), None) {
            Err(Errno::ENOENT) => Ok(()),
            result => result.what(|| format!("give {path} to uid {}", self.uid)),
        }
    }
}

impl fmt::Display for GiveCgroup {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "give it to uid {} of the host", self.uid)
    }
}
