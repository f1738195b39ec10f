//! Executing a program: execve(2) and execveat(2) with prepared strings.

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null;

use nix::errno::Errno;
use nix::sys::signal::SigSet;

unsafe extern "C" {
    /// The environment: environ(7).
    static environ: *const *const c_char;
}

/// A null-terminated array of pointers to the strings, as execve(2) takes them.
fn pointers(strings: &[impl AsRef<CStr>]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ref().as_ptr()).chain([null()]).collect()
}

/// Replaces this process; returns only the reason why that failed.
pub fn execve(path: &CStr, args: &[CString], env: &[&CStr]) -> Errno {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: `path` and both null-terminated arrays point at NUL-terminated strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Errno::last()
}

/// Replaces this process by the program that `file` is open on. It has this one's environment, as it stands
/// in memory, with `entry` (`NAME=value`) in place of others of that name.
pub fn execute_file(file: impl AsFd, args: &[CString], entry: &CStr) -> Errno {
    let name = entry.to_bytes().iter().take_while(|byte| **byte != b'=').count() + 1;
    let mut env = vec![entry.as_ptr()];
    // SAFETY: the C library's `environ` is null or a null-terminated array of pointers to NUL-terminated
    // strings, and nothing changes it meanwhile: there is one thread. No comparison reads beyond an end.
    unsafe {
        let mut others = environ;
        while !others.is_null() && !(*others).is_null() {
            if libc::strncmp(*others, entry.as_ptr(), name) != 0 {
                env.push(*others);
            }
            others = others.add(1);
        }
    }
    env.push(null());
    let args = pointers(args);
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: as above; the path is the empty string.
    unsafe { libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), args.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH) };
    Errno::last()
}

/// Ends this process at once, without what the standard library does at an exit.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(status) }
}

/// Sets every signal to its default action: signal(2). What is ignored stays so over execve(2) otherwise.
pub fn default_signals() {
    // `struct sigaction` of the kernel, whose zero is the default action; the C library keeps some numbers
    // for itself, so it is not asked.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads a `struct sigaction` of 32 bytes; the default action runs no code of ours.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), null::<u8>(), 8) };
    }
}

/// Every signal. The C library's own set of all has not those that it keeps for itself, which others may send.
pub fn all_signals() -> SigSet {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: a set of signals is bits, each of which may be set.
    unsafe {
        set.as_mut_ptr().write_bytes(0xff, 1);
        SigSet::from_sigset_t_unchecked(set.assume_init())
    }
}

/// Sets SIGCHLD to its default action: a caller that ignores it makes the kernel drop exit statuses.
pub fn default_sigchld() -> nix::Result<()> {
    // SAFETY: the default action runs no code of ours.
    match unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(Errno::last()),
        _ => Ok(()),
    }
}

/// A clock in nanoseconds that is the same for every process: clock_gettime(2). Time namespaces shift the
/// monotonic clock.
pub fn nanoseconds() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a `struct timespec` that the call fills in.
    unsafe { libc::clock_gettime(libc::CLOCK_TAI, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
