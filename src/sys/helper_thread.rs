//! A second thread that puts the whole process under a filter of system calls, while the first one waits in a call that
//! it has entered before: so that call is not under the filter, and the first thread needs no right to install one.
//!
//! The thread is made by clone(2) without thread-local storage of its own, so its code is here and does nothing but system
//! calls and loads and stores of words.

use std::ffi::{c_int, c_void};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};

use nix::errno::Errno;

use super::seccomp::{self, Insn};
use super::{check, fd, program, shared};

/// Bytes of the stack.
const STACK: usize = 64 * 1024;
/// The number of no system call, below the bit of x32 calls.
const NO_CALL: u32 = 0x3fff_fff0;

/// What the thread does, in this order.
pub struct Job {
    /// Waits until this is not 0 ...
    pub ready: AtomicU32,
    /// ... and until the first thread waits on the first of these words, which is 0; moves it to the second.
    pub entry: Option<(&'static AtomicU32, &'static AtomicU32)>,
    /// Installs this filter for all threads.
    pub program: &'static [Insn],
    /// With these flags, and SECCOMP_FILTER_FLAG_TSYNC.
    pub flags: u32,
    /// Stores the number of the filter's listener and 1 here, if it has one, and waits until that is `u32::MAX` ...
    pub listener: &'static AtomicU32,
    /// ... for at most that many nanoseconds; then ends the process.
    pub patience: u64,
    /// Closes the listener.
    pub closes: bool,
    /// Stores the second value in the first.
    pub done: (&'static AtomicU32, u32),
    /// Whether the filter allows exit(2). Where it does not, a filter of two comparisons is installed below it, which ends
    /// the thread at a call that does not exist.
    pub exits: bool,
    /// In case of failure: the errno.
    pub failed: AtomicU32,
}

/// Begins the job.
///
/// # Errors
/// Those of clone(2): EAGAIN where pids.max or RLIMIT_NPROC leaves no room.
pub fn begin(job: &'static Job) -> nix::Result<()> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
    let stack = unsafe { libc::mmap(std::ptr::null_mut(), STACK, protection, flags, -1, 0) };
    if stack == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_SYSVSEM
        | libc::CLONE_THREAD;
    let argument = std::ptr::from_ref(job).cast_mut().cast();
    // SAFETY: the stack is new, grows down from its end and is never unmapped; the job lives for ever and is shared by
    // atomics alone; what the thread shares with the caller beyond that is the C library's errno, which the caller does
    // not look at while the thread runs.
    check(unsafe { libc::clone(main, stack.add(STACK), flags, argument) }.into()).map(drop)
}

extern "C" fn main(job: *mut c_void) -> c_int {
    // SAFETY: the pointer is that of `begin`, to a job that lives for ever.
    let job = unsafe { &*job.cast::<Job>() };
    match install(job) {
        Ok(listener) => {
            hand_over(job, listener);
            job.done.0.store(job.done.1, Release);
            end(job)
        }
        Err(errno) => {
            job.failed.store(errno as u32, Release);
            // Nothing is denied yet.
            job.entry.iter().for_each(|(_, word)| shared::wake(word));
            end(job)
        }
    }
}

fn install(job: &Job) -> nix::Result<Option<i32>> {
    while job.ready.load(Acquire) == 0 {
        std::hint::spin_loop();
    }
    if let Some((from, to)) = job.entry {
        while shared::requeue(from, 0, to)? == 0 {
            std::hint::spin_loop();
        }
    }
    if !job.exits {
        seccomp::set_filter(&LAST, 0)?;
    }
    let flags = job.flags | seccomp::TSYNC | seccomp::TSYNC_ESRCH;
    let listener = seccomp::set_filter(job.program, flags)?;
    Ok(listener.map(std::os::fd::IntoRawFd::into_raw_fd))
}

/// Kills the thread that calls [`NO_CALL`], and allows everything else.
const LAST: [Insn; 4] = [
    Insn { code: 0x20, jt: 0, jf: 0, k: 0 },
    Insn { code: 0x15, jt: 0, jf: 1, k: NO_CALL },
    Insn { code: 0x06, jt: 0, jf: 0, k: 0 },
    Insn { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 },
];

fn hand_over(job: &Job, listener: Option<i32>) {
    let Some(number) = listener else { return };
    job.listener.store(number.unsigned_abs() + 1, Release);
    let begin = program::nanoseconds();
    while job.listener.load(Acquire) != u32::MAX {
        std::hint::spin_loop();
        if program::nanoseconds() - begin > job.patience {
            program::exit(1);
        }
    }
    if job.closes {
        let _ = fd::close(number);
    }
}

fn end(job: &Job) -> ! {
    loop {
        // SAFETY: exit(2) ends this thread, which owns nothing; the other is a number of no call.
        unsafe {
            match job.exits || job.failed.load(Acquire) != 0 {
                true => libc::syscall(libc::SYS_exit, 0),
                false => libc::syscall(libc::c_long::from(NO_CALL)),
            }
        };
        std::hint::spin_loop();
    }
}
