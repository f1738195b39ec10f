//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::null;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{check, new_descriptor, uninterrupted};

/// A descriptor of the process that has this pid now. ESRCH: there is none.
pub fn open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: only integers are passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    // SAFETY: the kernel made this descriptor for us.
    unsafe { new_descriptor(fd) }
}

/// Waits for the exit of a child and takes its status: its code, or the number of the signal that ended it
/// (any: nix has no names for real-time signals). A signal to the caller does not end the wait.
pub fn wait(process: impl AsFd) -> nix::Result<Result<i32, i32>> {
    let fd = process.as_fd().as_raw_fd().cast_unsigned();
    uninterrupted(|| wait_by(libc::P_PIDFD, fd))
}

/// The same for a child by its pid or its descriptor, unless a signal interrupts it: waitid(2).
pub(super) fn wait_by(kind: libc::idtype_t, id: libc::id_t) -> nix::Result<Result<i32, i32>> {
    // SAFETY: all-zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` outlives the call, which fills it in.
    check(unsafe { libc::waitid(kind, id, &mut info, libc::WEXITED) }.into())?;
    // SAFETY: a successful waitid(2) for an exit has set the status.
    let status = unsafe { info.si_status() };
    Ok(if info.si_code == libc::CLD_EXITED { Ok(status) } else { Err(status) })
}

/// Sends a signal (a number, so that real-time signals go too).
pub fn send_signal(process: impl AsFd, signal: i32) -> nix::Result<()> {
    let fd = process.as_fd().as_raw_fd();
    // SAFETY: a null siginfo is what kill(2) would send.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, null::<u8>(), 0) }).map(drop)
}

/// Whether the process has exited and its parent has taken its status: then its pid may be another's.
pub fn is_gone(process: impl AsFd) -> bool {
    send_signal(process, 0) == Err(Errno::ESRCH)
}
