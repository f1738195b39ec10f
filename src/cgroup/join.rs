//! Entering the container's cgroups of v1. On v2 the process is created in its cgroup (clone3 with
//! CLONE_INTO_CGROUP).

use std::fmt;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use nix::unistd::Pid;

use crate::error::{Context, Result};
use crate::sys::file;

/// The process moves itself: `0` written to `tasks` moves the calling thread alone, for which the
/// kernel takes no global lock and waits for no grace period (docs/decisions.md has the figures).
#[derive(PartialEq)]
pub struct Join {
    /// The file `tasks` of the directory in each hierarchy of v1.
    tasks: Vec<String>,
}

/// The same on v2, where the process cannot be created in its cgroup.
#[derive(PartialEq)]
pub struct Move(pub Rc<str>);

impl Move {
    /// Runs the step in the process itself. `root` is the host's root directory, if it is not the process's own.
    pub fn run(&self, root: Option<BorrowedFd>) -> Result<()> {
        self.move_in("0", root)
    }

    /// Runs the step for a process that does not see the host's cgroups.
    pub fn run_for(&self, process: Pid) -> Result<()> {
        self.move_in(&process.to_string(), None)
    }

    fn move_in(&self, process: &str, root: Option<BorrowedFd>) -> Result<()> {
        let path = format!("{}/cgroup.procs", self.0);
        file::write_below(root, path.as_str(), process.as_bytes()).what(|| format!("join cgroup {path}"))
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "move to {}", self.0)
    }
}

impl Join {
    /// For these directories, one in each hierarchy of v1.
    pub fn new<'a>(directories: impl Iterator<Item = &'a str>) -> Join {
        Join { tasks: directories.map(|directory| format!("{directory}/tasks")).collect() }
    }

    /// Runs the step in the process itself; `root` as of [`Move::run`].
    pub fn run(&self, root: Option<BorrowedFd>) -> Result<()> {
        self.move_in("0", root)
    }

    /// Runs the step for a process that does not see the host's cgroups.
    pub fn run_for(&self, process: Pid) -> Result<()> {
        self.move_in(&process.to_string(), None)
    }

    fn move_in(&self, process: &str, root: Option<BorrowedFd>) -> Result<()> {
        let mut tasks = self.tasks.iter();
        tasks.try_for_each(|tasks| {
            file::write_below(root, tasks.as_str(), process.as_bytes()).what(|| format!("join cgroup {tasks}"))
        })
    }
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "join in {} v1 hierarchies", self.tasks.len())
    }
}
