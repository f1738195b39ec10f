//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;

use nix::unistd::Pid;

use super::check;

/// A descriptor of the process that has this pid now. ESRCH: there is none.
pub fn open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: only integers are passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the kernel made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal (a number, so that real-time signals go too).
pub fn send_signal(process: impl AsFd, signal: i32) -> nix::Result<()> {
    let fd = process.as_fd().as_raw_fd();
    // SAFETY: a null siginfo is what kill(2) would send.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, null::<u8>(), 0) }).map(drop)
}
