//! Entering the container's cgroups of v1. On v2 the process is born in its cgroup (clone3 with
//! CLONE_INTO_CGROUP).

use std::ffi::CString;
use std::fmt;

use crate::error::{Context, Result};
use crate::sys::file;

/// The process moves itself: `0` written to `tasks` moves the calling thread alone, for which the
/// kernel takes no global lock and waits for no grace period (docs/decisions.md has the figures).
pub struct Join {
    /// The `tasks` file of each hierarchy.
    pub tasks: Vec<CString>,
}

impl Join {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        self.tasks.iter().try_for_each(|tasks| {
            file::write(tasks.as_c_str(), b"0").what(|| format!("join cgroup {}", tasks.to_string_lossy()))
        })
    }
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "join in {} v1 hierarchies", self.tasks.len())
    }
}
