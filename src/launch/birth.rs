//! The clone: from the namespaces that the init shall be born into, and back.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::unistd::{Pid, pipe2};

use crate::error::{Context, Error, Result};
use crate::plan::step::Clone;
use crate::process::join::{Enter, Opened};
use crate::sys::clone::{Side, clone3};
use crate::sys::namespace::NEWTIME;
use crate::sys::{pidfd, program};

const WHAT: &str = "make the container's first process";

/// Makes the init, which is ferrun's own child in any case.
pub(super) fn birth(step: &Clone, opened: &[Opened]) -> Result<Side> {
    let directory = match &step.cgroup {
        Some(path) => Some(File::open(&**path).what(|| format!("open cgroup {path}"))?),
        None => None,
    };
    let cgroup = directory.as_ref().map(AsFd::as_fd);
    if !step.enter.is_empty() {
        // From its first moment on the init shares a namespace with processes of others, which must not
        // reach into it; it inherits this (CVE-2016-9962).
        prctl::set_dumpable(false).what(|| "make ferrun undumpable")?;
    }
    let way_back = WayBack::remember(step)?;
    let side = match step.between {
        true => birth_between(step, opened, cgroup)?,
        false => {
            Enter(step.enter).run(opened)?;
            clone3(step.flags, cgroup).map_err(|errno| failed(step, errno))?
        }
    };
    if let Side::Parent(..) = side {
        way_back.go()?;
    }
    Ok(side)
}

fn failed(step: &Clone, errno: Errno) -> Error {
    let error = Error::os(WHAT, errno);
    match errno {
        Errno::ENOMEM if step.enter.contains(CloneFlags::CLONE_NEWPID) => {
            error.hint("a pid namespace whose first process has ended takes no other")
        }
        Errno::ENOSPC => error.hint("the limits in /proc/sys/user say how many namespaces there may be"),
        Errno::EOPNOTSUPP if step.cgroup.is_some() => error.hint(
            "a cgroup above the container's has processes and hands controllers down (cgroup.type: domain threaded)",
        ),
        Errno::EBUSY if step.cgroup.is_some() => {
            error.hint("the container's cgroup hands controllers down: it can have no processes")
        }
        _ => error,
    }
}

/// A process in between enters the namespaces, makes the init as its sibling, tells its pid and ends.
fn birth_between(step: &Clone, opened: &[Opened], cgroup: Option<BorrowedFd>) -> Result<Side> {
    let (answer, said) = pipe2(OFlag::O_CLOEXEC).what(|| "make a pipe to the process in between")?;
    let Side::Parent(_, between) = clone3(CloneFlags::empty(), cgroup).map_err(|errno| failed(step, errno))? else {
        drop(answer);
        let sibling = || clone3(step.flags | CloneFlags::CLONE_PARENT, None).map_err(|errno| failed(step, errno));
        let told = match Enter(step.enter).run(opened).and_then(|()| sibling()) {
            Ok(Side::Child) => return Ok(Side::Child),
            Ok(Side::Parent(pid, _)) => Ok(pid.as_raw()),
            Err(error) => Err(error),
        };
        let _ = File::from(said).write_all(&serde_json::to_vec(&told).unwrap_or_default());
        program::exit(0)
    };
    drop(said);
    let mut told = Vec::new();
    let read = File::from(answer).read_to_end(&mut told);
    while pidfd::wait(&between) == Err(Errno::EINTR) {}
    read.what(|| "hear from the process in between")?;
    let told = serde_json::from_slice::<std::result::Result<i32, Error>>(&told);
    let pid = Pid::from_raw(told.map_err(|_| Error::new(format!("{WHAT}: the process in between died")))??);
    // It is our child, and nobody else waits for it: its pid is its own.
    let process = pidfd::open(pid).what(|| WHAT)?;
    Ok(Side::Parent(pid, process))
}

/// Ferrun's own namespaces of those kinds that its next children would be born into.
struct WayBack(Vec<(OwnedFd, CloneFlags)>);

impl WayBack {
    fn remember(step: &Clone) -> Result<WayBack> {
        let mut left = if step.between { CloneFlags::empty() } else { step.enter };
        left.set(NEWTIME, left.contains(NEWTIME) || step.new_time);
        let own = [("pid", CloneFlags::CLONE_NEWPID), ("time", NEWTIME)];
        let own = own.into_iter().filter(|(_, kind)| left.contains(*kind)).map(|(name, kind)| {
            let path = format!("/proc/self/ns/{name}");
            let file = File::open(&path).what(|| format!("open {path}"))?;
            Ok((OwnedFd::from(file), kind))
        });
        own.collect::<Result<_>>().map(WayBack)
    }

    fn go(&self) -> Result<()> {
        self.0.iter().try_for_each(|(file, kind)| setns(file, *kind).what(|| "go back to ferrun's own namespaces"))
    }
}
