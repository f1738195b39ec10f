//! Signals to all processes of a cgroup, waiting until it is empty, removing it with those below.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::directory::Directory;
use super::events::Events;
use super::layout::MOUNT_POINT;
use super::members::{has_members, members};
use super::parents::Top;
use super::tree;
use crate::error::{Context, Error, Result};
use crate::sys::{file, pidfd};

/// Sends a signal to every process of the cgroup and of those below it.
///
/// For SIGKILL the kernel does it at once where there is a v2 directory (cgroup.kill, Linux 5.14); otherwise, and
/// for those that a hybrid host has in a v1 directory alone, every process is signalled by its pidfd, until none is
/// found that was not.
pub fn signal_all(directories: &[Directory], signal: i32) -> Result<()> {
    let killed = |directory: &&Directory| signal == libc::SIGKILL && kill_at_once(directory);
    let left: Vec<Directory> = directories.iter().filter(|one| !killed(one)).cloned().collect();
    signal_each(&left, signal)
}

fn signal_each(directories: &[Directory], signal: i32) -> Result<()> {
    let mut seen = BTreeSet::new();
    for _ in 0..ROUNDS {
        let found = members(directories)?;
        let fresh: Vec<i32> = found.pids.iter().copied().filter(|pid| !seen.contains(pid)).collect();
        let opened: Vec<(i32, OwnedFd)> = open(&fresh)?;
        if opened.is_empty() {
            return found.none_hidden();
        }
        // A pid may have passed on between the list and its descriptor; one that is listed still, with the
        // descriptor in hand, is the container's or dead.
        let still = members(directories)?.pids;
        for (pid, process) in opened.iter().filter(|(pid, _)| still.binary_search(pid).is_ok()) {
            match pidfd::send_signal(process, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno).what(|| format!("kill process {pid}")),
            }
        }
        seen.extend(fresh);
    }
    Ok(())
}

/// The descriptors of those that have not exited yet.
fn open(pids: &[i32]) -> Result<Vec<(i32, OwnedFd)>> {
    let open = |pid: &i32| match pidfd::open(Pid::from_raw(*pid)) {
        Ok(process) => Some(Ok((*pid, process))),
        // As for an init: init_identity.rs.
        Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => None,
        Err(errno) => Some(Err(errno).what(|| format!("open process {pid} of the container"))),
    };
    pids.iter().filter_map(open).collect()
}

/// How often new processes are looked for before a container that creates them faster has won.
const ROUNDS: usize = 1000;

/// How long a process may take to die.
const LONGEST: Duration = Duration::from_secs(10);

/// Has the kernel kill everything in a v2 cgroup and below. False: it is one of v1.
fn kill_at_once(directory: &Directory) -> bool {
    file::write(format!("{}/cgroup.kill", directory.path).as_str(), b"1").is_ok()
}

/// Kills every process of the cgroup and waits until they are gone: on v2 for the event that the cgroup is
/// empty, on v1 for the exit of each process.
///
/// # Errors
/// Processes that are still there after 10 s (a device or network file system may hold them).
pub fn kill_and_wait(directories: &[Directory]) -> Result<()> {
    for directory in directories.iter().filter(|directory| kill_at_once(directory)) {
        thaw(directories);
        wait_until_empty(directory)?;
    }
    for _ in 0..ROUNDS {
        let found = members(directories)?;
        if found.pids.is_empty() {
            return found.none_hidden();
        }
        let processes = open(&found.pids)?;
        signal_all(directories, libc::SIGKILL)?;
        thaw(directories);
        for (_, process) in &processes {
            wait_for_exit(process)?;
        }
    }
    Err(Error::new("the container's processes multiply faster than they can be killed"))
}

/// Waits up to 10 s for the exit of a process.
pub fn wait_for_exit(process: &OwnedFd) -> Result<()> {
    match exits_within(process, LONGEST)? {
        true => Ok(()),
        false => Err(Error::new("a process of the container does not die: still there 10 s after SIGKILL")),
    }
}

/// Whether a process has exited, after so much time at most.
fn exits_within(process: &OwnedFd, bound: Duration) -> Result<bool> {
    use std::os::fd::AsFd;
    let mut wanted = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let bound = PollTimeout::try_from(bound).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut wanted, bound) {
            Err(Errno::EINTR) => {}
            result => return result.map(|count| count > 0).what(|| "wait for a process of the container"),
        }
    }
}

/// Waits up to 10 s until a v2 cgroup and those below have no process, not even a dying one.
fn wait_until_empty(directory: &Directory) -> Result<()> {
    let path = &directory.path;
    let empty = match Events::open(path, "cgroup.events") {
        // One of v1, or gone.
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        events => events.and_then(|events| events.wait("populated", 0, LONGEST)),
    };
    match empty {
        Ok(true) | Err(Errno::ENODEV) => Ok(()),
        Ok(false) => Err(Error::new(format!("the processes in {path} do not die: still there after 10 s"))),
        Err(errno) => Err(errno).what(|| format!("wait until {path} is empty")),
    }
}

/// Thaws the v1 cgroup and those below: a frozen process does not even die. (A frozen one of v2 does.) What is
/// frozen from above is taken out, since it would die only when somebody else thaws that.
///
/// For processes that are killed, and only for those.
pub fn thaw(directories: &[Directory]) {
    for directory in directories.iter().filter(is_freezer) {
        let _ = tree::visit(&directory.path, &mut |at| {
            let state = openat(at, c"freezer.state", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
            let _ = state.and_then(|state| nix::unistd::write(state, b"THAWED"));
        });
        if file::read(format!("{}/freezer.parent_freezing", directory.path).as_str()).is_ok_and(|one| one == b"1\n") {
            let pids = members(std::slice::from_ref(directory)).map(|found| found.pids);
            take_out(directory, &pids.unwrap_or_default());
        }
    }
}

/// Takes one process that is killed out of the v1 cgroup, in case that is frozen: all others there stay as they are.
pub fn thaw_alone(pid: Pid, directories: &[Directory]) {
    directories.iter().filter(is_freezer).for_each(|directory| take_out(directory, &[pid.as_raw()]));
}

/// Whether it is in the v1 hierarchy of the freezer, by the name of that: ten files that are not there are not looked for.
fn is_freezer(directory: &&Directory) -> bool {
    hierarchy(directory).is_some_and(|name| name.split(',').any(|controller| controller == "freezer"))
}

/// The name of a directory's v1 hierarchy. On v2 it is that of a cgroup.
fn hierarchy(directory: &Directory) -> Option<&str> {
    directory.path.strip_prefix(MOUNT_POINT)?.split('/').nth(1)
}

/// Moves processes of a v1 cgroup to the root of its hierarchy.
fn take_out(directory: &Directory, pids: &[i32]) {
    let Some(hierarchy) = hierarchy(directory) else { return };
    let root = format!("{MOUNT_POINT}/{hierarchy}/cgroup.procs");
    for pid in pids {
        let _ = file::write(root.as_str(), pid.to_string().as_bytes());
    }
}

/// Removes the container's directories with all that the container created below them; with `kill` what is
/// still inside is killed first. One that cannot be removed does not keep the others.
///
/// # Errors
/// The first that cannot be removed.
pub fn remove(directories: &[Directory], kill: bool) -> Result<()> {
    // Of several, each is in a hierarchy of its own, which is mounted below.
    let top = if directories.len() > 1 { Top::OfOne } else { Top::OfAll };
    let results: Vec<Result<()>> = directories.iter().map(|directory| remove_one(directory, top, kill)).collect();
    results.into_iter().collect()
}

/// How long an `exec` may take to find out that there is no container any more.
const LEAVING: Duration = Duration::from_millis(500);

/// Whether there are no processes, after a while: those that would have run a further process end by themselves.
fn becomes_free(directory: &[Directory]) -> Result<bool> {
    let deadline = Instant::now() + LEAVING;
    while has_members(directory)? {
        for (_, process) in open(&members(directory)?.pids)? {
            exits_within(&process, deadline.saturating_duration_since(Instant::now()))?;
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remove_one(directory: &Directory, top: Top, kill: bool) -> Result<()> {
    match directory.remove(top) {
        Err(error) if matches!(error.code(), Errno::EBUSY | Errno::ENOTEMPTY) => {
            let own = std::slice::from_ref(directory);
            if kill {
                kill_and_wait(own)?;
            } else if !becomes_free(own)? {
                // Somebody else's, and so are the cgroups below.
                return Err(error);
            } else {
                // A process that has died may be counted a moment longer, while it is not listed any more.
                wait_until_empty(directory)?;
            }
            tree::remove_below(&directory.path).what(|| format!("remove the cgroups in {}", directory.path))?;
            directory.remove(top)
        }
        result => result,
    }
}
