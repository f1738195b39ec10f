//! Executing a program: execve(2) and execveat(2) with prepared strings.

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr::null;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;

use super::pidfd;

unsafe extern "C" {
    /// The environment: environ(7).
    static environ: *const *const c_char;
}

/// A null-terminated array of pointers to strings, as execve(2) takes them. Made before limits of memory are set.
pub struct Strings<'a> {
    pointers: Vec<*const c_char>,
    strings: PhantomData<&'a CStr>,
    /// One more, which it owns.
    pushed: Option<CString>,
}

impl<'a> Strings<'a> {
    /// The array of these strings, with room for one more.
    pub fn new<S: AsRef<CStr>>(strings: &'a [S]) -> Strings<'a> {
        let mut pointers = Vec::with_capacity(strings.len() + 2);
        pointers.extend(strings.iter().map(|string| string.as_ref().as_ptr()));
        pointers.push(null());
        Strings { pointers, strings: PhantomData, pushed: None }
    }

    /// Adds that one. Allocates nothing.
    pub fn push(&mut self, string: CString) {
        assert!(self.pushed.is_none(), "a second string is added where there is room for one");
        let string = self.pushed.insert(string);
        self.pointers.insert(self.pointers.len() - 1, string.as_ptr());
    }

    /// What was added.
    pub fn pushed(&self) -> Option<&CStr> {
        self.pushed.as_deref()
    }
}

/// The variable that ferrun passes across its re-execution: where its protected copy is: `PID:FD`, the process
/// that re-executed itself, and its descriptor of the mount. The pid tells a variable that the caller had in its
/// environment from one that this process has set.
pub const COPY: &str = "FERRUN_COPY";

/// This process's own environment, as it is in memory, without [`COPY`].
pub fn environment<'a>() -> Strings<'a> {
    let mut pointers = Vec::new();
    // SAFETY: the C library's `environ` is null or a null-terminated array of pointers to NUL-terminated strings, and
    // nothing changes it meanwhile: there is one thread. No comparison reads beyond the end of either.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let is_named = libc::strncmp(*entry, COPY.as_ptr().cast(), COPY.len()) == 0;
            if !(is_named && *(*entry).add(COPY.len()) == c_char::from_ne_bytes([b'='])) {
                pointers.push(*entry);
            }
            entry = entry.add(1);
        }
    }
    pointers.push(null());
    Strings { pointers, strings: PhantomData, pushed: None }
}

/// Replaces this process; returns only the reason why that failed. Allocates nothing.
pub fn execve(path: &CStr, args: &Strings, env: &Strings) -> Errno {
    // SAFETY: `path` and both null-terminated arrays point at NUL-terminated strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    Errno::last()
}

/// Replaces this process by the program that `file` is open on. It has this one's environment with `copy`, the entry
/// of [`COPY`].
pub fn execute_file(file: impl AsFd, args: &[CString], copy: &CStr) -> Errno {
    let (args, mut env) = (Strings::new(args), environment());
    env.pointers.insert(0, copy.as_ptr());
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: as above; the path is the empty string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd,
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}

/// Ends this process at once, without what the standard library does at an exit: exit_group(2). Where a filter of
/// system calls denies that, by a fault, whose signal ends the first process of a pid namespace as well.
pub fn exit(status: i32) -> ! {
    // SAFETY: exit_group(2) has no precondition.
    unsafe { libc::syscall(libc::SYS_exit_group, status) };
    fault()
}

/// Executes an instruction that there is not: SIGILL.
fn fault() -> ! {
    // SAFETY: the instruction does not return.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("ud2", options(noreturn));
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("udf #0", options(noreturn));
        #[cfg(target_arch = "riscv64")]
        std::arch::asm!("unimp", options(noreturn));
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
        libc::abort()
    }
}

/// Makes every panic end this process by itself, with one line. The C library's abort(3), which would follow, sends
/// its signal to the thread id that it remembers: in a process made by clone3(2) that is another's.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        // One write, so that lines of several processes do not mix.
        let line = format!("ferrun: internal error: {info}\n").replace('\n', " ");
        last_words(line.trim_end());
        exit(PANIC)
    }));
}

/// Makes a write above RLIMIT_FSIZE fail with EFBIG instead of ending this process by SIGXFSZ: setrlimit(2). Programs
/// and hooks get the default action again.
pub fn ignore_file_size_signal() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// The exit status after a panic, which is no other program's.
pub(super) const PANIC: i32 = 1;

/// The descriptor of [`last_words`], counted from standard error.
static LAST_WORDS: AtomicI32 = AtomicI32::new(0);

/// The number of no descriptor.
pub(super) const NOWHERE: RawFd = -1;

/// Sets the descriptor to which this process prints why it ends for a panic or for want of memory.
pub(super) fn last_words_to(number: RawFd) {
    let value = number - libc::STDERR_FILENO;
    if LAST_WORDS.load(Relaxed) != value {
        LAST_WORDS.store(value, Relaxed);
    }
}

/// Ends this process for want of memory, with one line. Allocates nothing.
pub fn end_without_memory() -> ! {
    end_saying("ferrun: out of memory")
}

/// Ends this process with one line. Allocates nothing.
pub(super) fn end_saying(line: &str) -> ! {
    last_words(line);
    exit(PANIC)
}

fn last_words(line: &str) {
    let parts = [line.as_bytes(), b"\n"]
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
    let number = LAST_WORDS.load(Relaxed) + libc::STDERR_FILENO;
    // SAFETY: the kernel reads the two parts, which outlive the call; a closed number gives EBADF.
    unsafe { libc::writev(number, parts.as_ptr(), 2) };
}

/// Waits for the exit of a child and takes its status: its code, or the number of the signal that ended it. By wait4(2),
/// or else by waitid(2).
pub(super) fn wait_for(child: Pid, by_wait4: bool) -> nix::Result<Result<i32, i32>> {
    if by_wait4 {
        let mut status = 0;
        // SAFETY: the kernel writes an int to `status`, which outlives the call.
        let ret = unsafe { libc::syscall(libc::SYS_wait4, child.as_raw(), &mut status, 0, null::<u8>()) };
        super::check(ret)?;
        return Ok(if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status)) } else { Err(libc::WTERMSIG(status)) });
    }
    pidfd::wait_by(libc::P_PID, child.as_raw().cast_unsigned(), 0)?.ok_or(Errno::ECHILD)
}

/// Sets every signal to its default action: signal(2). What is ignored stays so over execve(2) otherwise.
pub fn default_signals() {
    (1..=64).for_each(|signal| set_action(signal, libc::SIG_DFL));
}

/// Ignores SIGPIPE, or sets it to its default action.
pub fn ignore_sigpipe(ignored: bool) {
    set_action(libc::SIGPIPE, if ignored { libc::SIG_IGN } else { libc::SIG_DFL });
}

/// Sets the action of a signal to one of the two that run no code.
fn set_action(signal: i32, action: libc::sighandler_t) {
    // `struct sigaction` of the kernel, the rest of which is zero; the C library keeps some numbers for itself, so it is
    // not asked.
    let action = [action as u64, 0, 0, 0];
    // SAFETY: the kernel reads a `struct sigaction` of 32 bytes, whose action runs no code of ours.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), null::<u8>(), 8) };
}

/// Overwrites the arguments and the environment of this process, which /proc/PID/cmdline and environ show. Nothing may
/// look at either afterwards.
pub fn forget_arguments() {
    // SAFETY: the kernel puts the number of arguments, the array of these, a null pointer, and the array of the environment
    // one after the other (`environ` is that one unless somebody has replaced it, which ferrun never does), and the strings
    // into memory of this process that may be written. There is one thread.
    unsafe {
        if environ.is_null() || !(*environ.sub(1)).is_null() {
            return;
        }
        // Backwards up to their number, which is the address of no string: a list of them would be allocated.
        let (mut argument, mut count) = (environ.sub(2), 0);
        while (*argument).addr() != count {
            clear(*argument);
            (argument, count) = (argument.sub(1), count + 1);
        }
        let mut entry = environ;
        while !(*entry).is_null() {
            clear(*entry);
            entry = entry.add(1);
        }
    }
}

/// Overwrites a string with zeros.
///
/// # Safety
/// It is null or a NUL-terminated string that may be written and that nothing refers to.
unsafe fn clear(string: *const c_char) {
    if !string.is_null() {
        // SAFETY: by the caller's promise; the length is that up to the NUL.
        unsafe { std::ptr::write_bytes(string.cast_mut(), 0, libc::strlen(string)) };
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

/// Whether every process of this one's user may look into it: prctl(2), PR_GET_DUMPABLE. Where root alone may, it is not.
pub fn is_dumpable() -> bool {
    // SAFETY: PR_GET_DUMPABLE takes no pointer.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 }
}

/// A clock in nanoseconds that nothing sets, for durations within one process: clock_gettime(2).
pub fn monotonic() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

/// A clock in nanoseconds that is the same for every process: clock_gettime(2). Time namespaces shift the
/// monotonic clock.
pub fn nanoseconds() -> u64 {
    read_clock(libc::CLOCK_TAI)
}

/// The time of day: clock_gettime(2).
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(read_clock(libc::CLOCK_REALTIME))
}

/// By the system call: the C library's function looks for the kernel's own (vdso(7)) first, which takes three page faults,
/// for one look at the clock.
fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a `struct timespec` that the call fills in.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &mut now) };
    // No such clock is negative.
    let [seconds, rest] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * 1_000_000_000 + rest
}
