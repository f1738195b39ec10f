//! The identity of a container's init. A pid alone may have passed on to another process.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{fstat, stat};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::boot::Boot;
use crate::cgroup::current;
use crate::cgroup::directory::Directory;
use crate::error::{Context, Error, Result};
use crate::sys::{pidfd, proc_stat};

const PIDFS_MAGIC: FsType = FsType(0x5049_4446);

/// The identity of an init, unique for a boot.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Init {
    /// Its pid.
    pub pid: i32,
    /// The inode of its pidfd, which no other process of this boot has (pidfs, Linux 6.9); before, 0.
    pub inode: u64,
    /// Where there is no pidfs: its start time in clock ticks since boot (proc(5)); else 0.
    pub start_time: u64,
    /// Where there is no pidfs: the inode of the pid namespace in which it has this pid. Format 1 lacks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<u64>,
}

/// Its field in proc_pid_stat(5).
const START_TIME: usize = 22;

impl Init {
    /// The identity of a process that exists now.
    ///
    /// # Errors
    /// A process that is gone; a /proc that does not show it, where there is no pidfs.
    pub fn of(pid: Pid, process: impl AsFd) -> Result<Init> {
        let what = || "identify the container's process";
        let none = Init { pid: pid.as_raw(), inode: 0, start_time: 0, pid_namespace: None };
        if fstatfs(process.as_fd()).what(what)?.filesystem_type() == PIDFS_MAGIC {
            return Ok(Init { inode: fstat(process).what(what)?.st_ino, ..none });
        }
        let namespace = stat("/proc/self/ns/pid").what(what)?.st_ino;
        Ok(Init { start_time: proc_stat::field(pid, START_TIME).what(what)?, pid_namespace: Some(namespace), ..none })
    }

    /// Opens the process if it is still the init, dead or alive. Where the boot is unknown, it must also be in
    /// one of the container's cgroups or below. `None`: the init is gone.
    ///
    /// # Errors
    /// Whatever leaves the question open: too many open files, a /proc that does not show the process, or an
    /// unknown boot without a cgroup to ask.
    pub fn open(&self, boot: Boot, cgroup: &[Directory]) -> Result<Option<OwnedFd>> {
        if boot == Boot::Other {
            return Ok(None);
        }
        let pid = Pid::from_raw(self.pid);
        let process = match pidfd::open(pid) {
            Ok(process) => process,
            // No such process, or by now the pid is a thread's (EINVAL, in newer kernels ENOENT).
            Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno).what(|| format!("open the container's process {pid}")),
        };
        match self.is(pid, &process, boot, cgroup) {
            Ok(false) => Ok(None),
            Ok(true) if boot == Boot::This => Ok(Some(process)),
            // /proc was asked by pid: the answer is about this process only if it still has the pid.
            _ if pidfd::is_gone(&process) => Ok(None),
            answer => answer.map(|_| Some(process)),
        }
    }

    fn is(&self, pid: Pid, process: &OwnedFd, boot: Boot, cgroup: &[Directory]) -> Result<bool> {
        let found = Init::of(pid, process)?;
        let same = (found.inode, found.start_time) == (self.inode, self.start_time)
            && self.pid_namespace.is_none_or(|namespace| found.pid_namespace == Some(namespace));
        if !same || boot == Boot::This {
            return Ok(same);
        }
        current::is_in(pid, cgroup).map_err(|error| {
            Error::new(format!("identify the container's process {pid}: the boot is unknown"))
                .detail(error.to_string())
                .hint("kill the process if it is the container's, or else remove the state directory")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_open(init: Init, boot: Boot, cgroup: &[Directory]) -> bool {
        init.open(boot, cgroup).unwrap().is_some()
    }

    #[test]
    fn identities_do_not_pass_on() {
        let pid = nix::unistd::getpid();
        let me = Init::of(pid, pidfd::open(pid).unwrap()).unwrap();
        assert!(is_open(me, Boot::This, &[]));
        for other in [
            Init { inode: me.inode + 1, ..me },
            Init { start_time: me.start_time + 1, ..me },
            Init { pid_namespace: Some(me.pid_namespace.unwrap_or(0) + 1), ..me },
            Init { pid: i32::MAX, ..me },
            Init { pid: 0, ..me },
        ] {
            assert!(!is_open(other, Boot::This, &[]), "{other:?}");
        }
        assert!(proc_stat::field(pid, START_TIME).unwrap() > 0);
    }

    #[test]
    fn a_pid_of_another_boot_is_nobody() {
        let pid = nix::unistd::getpid();
        let me = Init::of(pid, pidfd::open(pid).unwrap()).unwrap();
        assert!(!is_open(me, Boot::Other, &[]));
        let none = me.open(Boot::Unknown, &[]).unwrap_err();
        crate::golden::compare(&none.to_string());
        let elsewhere = crate::cgroup::layout::Layout::probe().unwrap();
        let hierarchy = elsewhere.v1.first().or(elsewhere.unified.as_ref());
        let Some(hierarchy) = hierarchy else { return };
        let elsewhere = Directory { path: format!("{}/ferrun-nowhere", hierarchy.mount_point).into(), existed: false };
        assert!(!is_open(me, Boot::Unknown, &[elsewhere]));
    }
}
