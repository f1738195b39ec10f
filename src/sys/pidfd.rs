//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::null;

use nix::errno::Errno;
use nix::fcntl::readlink;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::{check, new_descriptor, proc_stat, uninterrupted};

/// A descriptor of the process that has this pid now. ESRCH: there is none.
pub fn open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: only integers are passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    // SAFETY: the kernel made this descriptor for us.
    unsafe { new_descriptor(fd) }
}

/// Waits for the exit of a child and takes its status: its code, or the number of the signal that ended it
/// (any: nix has no names for real-time signals). A signal to the caller does not end the wait.
///
/// A process that traces the child keeps its status from its parent, for as long as it likes: then it is read, and not
/// taken.
pub fn wait(pid: Pid, process: impl AsFd) -> nix::Result<Result<i32, i32>> {
    let fd = process.as_fd().as_raw_fd().cast_unsigned();
    let take = || wait_by(libc::P_PIDFD, fd, libc::WNOHANG);
    if let Some(exit) = take()? {
        return Ok(exit);
    }
    uninterrupted(|| poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE))?;
    match take()? {
        Some(exit) => Ok(exit),
        // As wait4(2) gives it; proc_pid_stat(5).
        None => {
            let exit = proc_stat::field(pid, 52)?;
            // It is 0 for who may not look, and so is this link not for him.
            match readlink(format!("/proc/{pid}/exe").as_str()) {
                Err(errno @ (Errno::EACCES | Errno::EPERM)) if exit == 0 => return Err(errno),
                _ => {}
            }
            Ok(match i32::try_from(exit & 0x7f).unwrap_or(0) {
                0 => Ok(i32::try_from(exit >> 8 & 0xff).unwrap_or(0)),
                signal => Err(signal),
            })
        }
    }
}

/// The same for a child by its pid or its descriptor, unless a signal interrupts it: waitid(2). `None`: not with WNOHANG
/// among the options.
pub(super) fn wait_by(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> nix::Result<Option<Result<i32, i32>>> {
    // SAFETY: all-zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` outlives the call, which fills it in.
    check(unsafe { libc::waitid(kind, id, &mut info, libc::WEXITED | options) }.into())?;
    // SAFETY: a successful waitid(2) for an exit has set the pid and the status, or left the zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let exit = if info.si_code == libc::CLD_EXITED { Ok(status) } else { Err(status) };
    Ok((pid != 0).then_some(exit))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::unistd::{pipe, read, write};

    use super::*;
    use crate::sys::child::{Child, Options};

    /// A process that ends with 42 when it is told to, and one that traces it and never looks what becomes of it.
    fn traced() -> (Child, Child, impl FnOnce()) {
        let (told, tell) = pipe().unwrap();
        let (ready, set) = pipe().unwrap();
        let traced = Child::create(&Options::default(), |_| {
            // Where Yama lets only a parent do it. SAFETY: only integers are passed.
            unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
            let _ = read(&told, &mut [0; 1]);
            42
        });
        let traced = traced.unwrap();
        let pid = traced.pid();
        let tracer = Child::create(&Options::default(), |_| {
            // SAFETY: only integers are passed.
            let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE as _, pid.as_raw(), 0, 0) };
            let _ = write(&set, &[u8::from(seized == 0)]);
            std::thread::sleep(Duration::from_secs(1000));
            0
        });
        let mut seized = [0];
        read(&ready, &mut seized).unwrap();
        assert_eq!(seized, [1], "the tracer could not seize it");
        (traced, tracer.unwrap(), move || {
            let _ = write(&tell, b"x");
        })
    }

    #[test]
    fn who_traces_a_child_does_not_keep_its_status() {
        let (mut traced, tracer, end) = traced();
        end();
        assert_eq!(traced.wait(), Ok(Ok(42)));
        let pid = traced.pid();
        // Still there for whoever traces it.
        assert!(proc_stat::field(pid, 52).is_ok());
        drop(tracer);
        let (mut traced, _tracer, _end) = self::traced();
        traced.kill();
        assert_eq!(traced.wait(), Ok(Err(libc::SIGKILL)));
    }
}
