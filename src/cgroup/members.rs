//! The processes in cgroups, also those that have no pid here.
//!
//! Without a cgroup namespace, ferrun in a pid namespace of its own (in a container, or under unshare(1)) sees
//! cgroups whose processes it cannot name.

use nix::errno::Errno;
use nix::sys::stat::stat;

use super::directory::Directory;
use super::tree;
use crate::error::{Context, Error, Result};
use crate::sys::file;

/// The processes in some cgroups and below.
#[derive(Debug, Default)]
pub struct Members {
    /// Those that have a pid in ferrun's pid namespace, in order.
    pub pids: Vec<i32>,
    /// The path of a cgroup with others.
    pub hidden_in: Option<String>,
}

impl Members {
    /// Checks that all have a pid.
    ///
    /// # Errors
    /// The cgroup in which one has none: it cannot be signalled.
    pub fn none_hidden(&self) -> Result<()> {
        match &self.hidden_in {
            None => Ok(()),
            Some(path) => Err(Error::new(format!("signal the processes in cgroup {path}: {HIDDEN}"))
                .hint("use ferrun in the pid namespace in which the container was created")),
        }
    }

    fn add(&mut self, list: &[u8], path: &str) {
        for pid in String::from_utf8_lossy(list).lines().filter_map(|pid| pid.parse::<i32>().ok()) {
            match pid {
                0 => self.hidden_in = Some(path.to_owned()),
                pid => self.pids.push(pid),
            }
        }
    }
}

/// Why a process cannot be named.
pub const HIDDEN: &str = "some are outside of this pid namespace";

/// The processes in the cgroups and below. One hierarchy is enough where all agree; a process that a hierarchy lost is
/// found in another. Hidden ones are known on v2 alone: v1 does not list them.
///
/// # Errors
/// One whose list cannot be read: whether it has processes is then not known.
pub fn members(directories: &[Directory]) -> Result<Members> {
    let mut found = Members::default();
    for Directory { path, .. } in directories {
        let mut failed = None;
        let visited = tree::visit(path, &mut |at| match file::read_at(at, c"cgroup.procs") {
            Ok(list) => found.add(&list, path),
            // Gone, or a threaded cgroup, whose processes are listed above.
            Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => {}
            Err(errno) => failed = Some(errno),
        });
        visited.and(failed.map_or(Ok(()), Err)).what(|| format!("read the processes in cgroup {path}"))?;
    }
    found.pids.sort_unstable();
    found.pids.dedup();
    Ok(found)
}

/// Whether there are processes in the cgroups or below, hidden ones included. Of v1 hierarchies only that of pids
/// shows hidden ones.
pub fn has_members(directories: &[Directory]) -> Result<bool> {
    let found = members(directories)?;
    Ok(!found.pids.is_empty() || found.hidden_in.is_some() || counts_hidden(directories))
}

/// Whether ferrun is in a pid namespace of its own, and a v1 hierarchy of pids counts a process. It also counts those
/// that have died and were not waited for; whose they are cannot be known from here.
fn counts_hidden(directories: &[Directory]) -> bool {
    // PROC_PID_INIT_INO: in the first pid namespace every process has a pid.
    let sees_all = || stat("/proc/self/ns/pid").is_ok_and(|namespace| namespace.st_ino == 0xeffffffc);
    let count = |one: &Directory| {
        let v2 = file::read(format!("{}/cgroup.events", one.path).as_str()).is_ok();
        if v2 { None } else { file::read(format!("{}/pids.current", one.path).as_str()).ok() }
    };
    !sees_all() && directories.iter().filter_map(count).any(|count| count.trim_ascii() != b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_a_pid_is_a_member() {
        let mut found = Members::default();
        found.add(b"12\n3\n", "/cg/a");
        assert!(found.none_hidden().is_ok());
        found.add(b"0\n0\n7\n", "/cg/b");
        assert_eq!((&found.pids[..], found.hidden_in.as_deref()), (&[12, 3, 7][..], Some("/cg/b")));
        assert!(found.none_hidden().unwrap_err().to_string().contains("/cg/b"));
    }
}
