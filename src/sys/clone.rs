//! The calls that create a process. Only [`super::child`] makes them: what it builds on them is safe to use.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU32;

use nix::sched::CloneFlags;
use nix::unistd::Pid;

use super::int;

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_PARENT_SETTID: u64 = 0x0010_0000;

/// Which side of [`clone3`] returned.
pub(super) enum Side {
    /// The new process.
    Child,
    /// The caller, which holds the child's pid and a pidfd.
    Parent(Pid, OwnedFd),
}

/// `struct clone_args` of clone3(2), as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks by clone3(2): the child returns here as well, with a copy of this memory, in the new namespaces of `flags` and,
/// if given, in the cgroup v2 directory `cgroup` (which spares the lock that a later move takes). With CLONE_PARENT it is
/// the caller's sibling. The kernel itself writes the pid to `pid_to`, in the caller's memory.
///
/// # Errors
/// Those of clone3(2).
///
/// # Safety
/// The child must never return to the caller's own callers, nor otherwise use or drop what they own: their values exist
/// twice then. `flags` must not contain CLONE_VM or CLONE_FILES, which would share them instead.
pub(super) unsafe fn clone3(
    flags: CloneFlags,
    cgroup: Option<BorrowedFd>,
    pid_to: Option<&AtomicU32>,
) -> nix::Result<Side> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: u64::from(flags.bits().cast_unsigned()) | CLONE_PIDFD,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        // A sibling is its parent's child, and has the signal that the caller has.
        exit_signal: if flags.contains(CloneFlags::CLONE_PARENT) { 0 } else { libc::SIGCHLD as u64 },
        ..CloneArgs::default()
    };
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(dir.as_raw_fd().cast_unsigned());
    }
    if let Some(word) = pid_to {
        args.flags |= CLONE_PARENT_SETTID;
        args.parent_tid = word.as_ptr() as u64;
    }
    // SAFETY: without CLONE_VM the child has its own copy of the memory, so that this is a fork; ferrun
    // has one thread, so no lock can be held by a thread that the child lacks. `args`, `pidfd` and `pid_to`
    // outlive the call.
    let pid = int(unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: the kernel stored a new descriptor there, which nothing else owns.
    Ok(Side::Parent(Pid::from_raw(pid), unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Forks by clone(2), which a filter that answers clone3(2) with ENOSYS allows. Returns `None` in the child, its pid in
/// the caller.
///
/// # Errors
/// Those of clone(2), and what a filter answers.
///
/// # Safety
/// As [`clone3`].
pub(super) unsafe fn clone() -> nix::Result<Option<Pid>> {
    // SAFETY: without CLONE_VM the child has its own copy of the memory and goes on with the same stack; ferrun has one
    // thread, so no lock can be held by a thread that the child lacks.
    let pid = int(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })?;
    Ok((pid != 0).then(|| Pid::from_raw(pid)))
}

/// Forks by clone(2) with CLONE_PARENT: what is created is the caller's sibling. Returns `None` there, its pid in the caller,
/// in whose memory the kernel itself writes that to `pid_to`.
///
/// # Errors
/// Those of clone(2), and what a filter answers.
///
/// # Safety
/// As [`clone3`].
pub(super) unsafe fn clone_sibling(pid_to: &AtomicU32) -> nix::Result<Option<Pid>> {
    let flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID;
    // SAFETY: as above; the word outlives the call.
    let pid = int(unsafe { libc::syscall(libc::SYS_clone, flags, 0, pid_to.as_ptr(), 0, 0) })?;
    Ok((pid != 0).then(|| Pid::from_raw(pid)))
}
