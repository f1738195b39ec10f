//! The clone: from the namespaces that the init shall be born into, and back.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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
use crate::sys::{fd, pidfd, program};

const WHAT: &str = "make the container's first process";

/// Makes the init, which is ferrun's own child in any case.
///
/// `own`: the descriptors that the init keeps of ferrun's.
pub(super) fn birth(step: &Clone, opened: &[Opened], own: &[i32]) -> Result<Side> {
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
        true => birth_between(step, opened, cgroup, own)?,
        false => {
            Enter(step.enter).run(opened)?;
            clone3(step.flags, cgroup).map_err(|errno| failed(step, errno))?
        }
    };
    match side {
        Side::Parent(..) => way_back.go()?,
        // The intermediate process has closed what these own.
        Side::Child if step.between => std::mem::forget((directory, way_back)),
        Side::Child => {}
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

/// An intermediate process enters the namespaces, creates the init as its sibling, reports its pid and ends. Of what
/// ferrun has open the init has its own alone, from its first moment on: a neighbour in its pid namespace sees it then.
fn birth_between(step: &Clone, opened: &[Opened], cgroup: Option<BorrowedFd>, own: &[i32]) -> Result<Side> {
    let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let (answer, said) = pipe2(flags).what(|| "make a pipe to the intermediate process")?;
    // In a user namespace there is no right to enter the cgroup, and outside of one no need to count twice in it.
    let (for_between, for_init) = match step.enter.contains(CloneFlags::CLONE_NEWUSER) {
        true => (cgroup, None),
        false => (None, cgroup),
    };
    let between = clone3(CloneFlags::empty(), for_between).map_err(|errno| failed(step, errno))?;
    let Side::Parent(_, between) = between else {
        let mut keep = own.to_vec();
        keep.push(said.as_raw_fd());
        keep.extend(for_init.iter().map(AsRawFd::as_raw_fd));
        // The owners of all others live on in this copy of the memory, which never comes to drop them.
        std::mem::forget(answer);
        let sibling = || clone3(step.flags | CloneFlags::CLONE_PARENT, for_init).map_err(|errno| failed(step, errno));
        let closed = fd::close_all_but(&keep).what(|| "close what is not the init's");
        let told = match closed.and_then(|()| Enter(step.enter).run(opened)).and_then(|()| sibling()) {
            Ok(Side::Child) => return Ok(Side::Child),
            Ok(Side::Parent(pid, _)) => Ok(pid.as_raw()),
            Err(error) => Err(error),
        };
        let _ = File::from(said).write_all(&serde_json::to_vec(&told).unwrap_or_default());
        program::exit(0)
    };
    drop(said);
    // Its end, and not that of the pipe, which others may keep open: the init has a copy at first.
    while pidfd::wait(&between) == Err(Errno::EINTR) {}
    let mut told = Vec::new();
    match File::from(answer).read_to_end(&mut told) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => {
            return Err(Error::io("hear from the intermediate process", &error));
        }
        _ => {}
    }
    let told = serde_json::from_slice::<std::result::Result<i32, Error>>(&told);
    let pid = Pid::from_raw(told.map_err(|_| Error::new(format!("{WHAT}: the intermediate process died")))??);
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
