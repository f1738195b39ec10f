//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{check, uninterrupted};

/// A descriptor of the process that has this pid now. ESRCH: there is none.
pub fn open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: only integers are passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the kernel made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Waits for the exit of a child and takes its status: its code, or the number of the signal that ended it
/// (any: nix has no names for real-time signals). A signal to the caller does not end the wait.
pub fn wait(process: impl AsFd) -> nix::Result<Result<i32, i32>> {
    // SAFETY: all-zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let fd = process.as_fd().as_raw_fd() as libc::id_t;
    // SAFETY: `info` outlives the call, which fills it in.
    uninterrupted(|| check(unsafe { libc::waitid(libc::P_PIDFD, fd, &mut info, libc::WEXITED) }.into()))?;
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
