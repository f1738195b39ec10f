//! A second thread that puts the whole process under a filter of system calls, while the first one waits in a call that
//! it has entered before: so that call is not under the filter, and the first thread needs no right to install one.
//!
//! The thread is made by clone(2) without thread-local storage of its own, so its code is here: system calls, reading the
//! clock, and loads and stores of words. It allocates nothing, which a debug build makes sure of ([`is_current`]).

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::forget;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};

use nix::errno::Errno;

use super::seccomp::{self, Insn};
use super::{check, program, shared};

/// Bytes of the stack.
const STACK: usize = 16 * 1024;
/// The number of no system call, below the bit of x32 calls.
const NO_CALL: u32 = 0x3fff_fff0;

/// What the thread does, in this order.
pub struct Job {
    /// Waits until this is not 0 ...
    pub ready: AtomicU32,
    /// ... and until the first thread waits on the first of these words, which is 0; moves it to the second.
    pub wait: [&'static AtomicU32; 2],
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
    pub done: Option<(&'static AtomicU32, u32)>,
    /// Whether the filter allows exit(2). Where it does not, a filter of two comparisons is installed below it, which ends
    /// the thread at a call that does not exist.
    pub exits: bool,
    /// In case of failure: the errno.
    pub failed: AtomicU32,
    /// Not 0 until the thread has ended: the kernel clears it, and wakes up who waits on it (CLONE_CHILD_CLEARTID).
    pub runs: &'static AtomicU32,
}

/// Memory for the stack of one thread: a mapping could be refused by limits by then.
#[repr(align(16))]
struct Stack(UnsafeCell<[u8; STACK]>);

// SAFETY: only the one helper thread of a process uses it, as `begin` makes sure.
unsafe impl Sync for Stack {}

static MEMORY: Stack = Stack(UnsafeCell::new([0; STACK]));
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Begins the job. A process can do that once.
///
/// # Errors
/// Those of clone(2): EAGAIN where pids.max or RLIMIT_NPROC leaves no room. EALREADY: there was a job before.
pub fn begin(job: &'static Job) -> nix::Result<()> {
    if BEGUN.swap(true, AcqRel) {
        return Err(Errno::EALREADY);
    }
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_SYSVSEM
        | libc::CLONE_THREAD
        | libc::CLONE_CHILD_CLEARTID;
    job.runs.store(1, Release);
    let argument = std::ptr::from_ref(job).cast_mut().cast();
    let null = std::ptr::null_mut::<c_void>();
    // SAFETY: the stack grows down from its end and is nobody else's; the job lives for ever and is shared by atomics
    // alone. Until `ready` the thread makes no system call, and afterwards the caller makes one, whose errno it does not
    // look at: they share that of the C library.
    let cloned = unsafe {
        let top = MEMORY.0.get().cast::<u8>().add(STACK);
        libc::clone(main, top.cast(), flags, argument, null, null, job.runs.as_ptr())
    };
    check(cloned.into()).map(drop).inspect_err(|_| job.runs.store(0, Release))
}

/// Whether it is the helper thread that asks.
pub(super) fn is_current() -> bool {
    let here = 0u8;
    let stack = MEMORY.0.get().cast::<u8>();
    (&raw const here).addr().wrapping_sub(stack.addr()) < STACK
}

extern "C" fn main(job: *mut c_void) -> c_int {
    // SAFETY: the pointer is that of `begin`, to a job that lives for ever.
    let job = unsafe { &*job.cast::<Job>() };
    match install(job) {
        Ok(listener) => {
            hand_over(job, listener);
            job.done.iter().for_each(|(word, value)| word.store(*value, Release));
        }
        Err(errno) => {
            job.failed.store(errno as u32, Release);
            // Nothing is denied yet.
            shared::wake(job.wait[1]);
        }
    }
    end(job)
}

fn install(job: &Job) -> nix::Result<Option<OwnedFd>> {
    while job.ready.load(Acquire) == 0 {
        std::hint::spin_loop();
    }
    let [from, to] = job.wait;
    while shared::requeue(from, 0, to)? == 0 {
        std::hint::spin_loop();
    }
    // The kernel begins a wait that is interrupted anew, on the first word: nobody would wake it up there.
    from.store(1, Release);
    if !job.exits {
        seccomp::set_filter(&LAST, 0)?;
    }
    let flags = job.flags | seccomp::TSYNC | seccomp::TSYNC_ESRCH;
    seccomp::set_filter(job.program, flags)
}

/// Kills the thread that calls [`NO_CALL`], and allows everything else.
const LAST: [Insn; 4] = [
    Insn { code: 0x20, jt: 0, jf: 0, k: 0 },
    Insn { code: 0x15, jt: 0, jf: 1, k: NO_CALL },
    Insn { code: 0x06, jt: 0, jf: 0, k: 0 },
    Insn { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 },
];

fn hand_over(job: &Job, listener: Option<OwnedFd>) {
    let Some(listener) = listener else { return };
    job.listener.store(listener.as_raw_fd().unsigned_abs() + 1, Release);
    spin_until_taken(job.listener, job.patience);
    match job.closes {
        true => drop(listener),
        // The execution closes it.
        false => forget(listener),
    }
}

/// Waits until a word is `u32::MAX`, without a system call; ends the process after so many nanoseconds.
pub fn spin_until_taken(word: &AtomicU32, patience: u64) {
    let begin = program::monotonic();
    while word.load(Acquire) != u32::MAX {
        std::hint::spin_loop();
        // Once more: it may have stood still since the last look.
        if program::monotonic().saturating_sub(begin) > patience && word.load(Acquire) != u32::MAX {
            program::exit(1);
        }
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Runs a function in a process that shares this memory, on the stack of the helper thread, and returns its exit status.
    pub(in crate::sys) fn process_on_the_stack(function: extern "C" fn(*mut c_void) -> c_int) -> i32 {
        // SAFETY: no other test uses the stack; the function is to make system calls only, as the thread does.
        let pid = unsafe {
            let top = MEMORY.0.get().cast::<u8>().add(STACK);
            libc::clone(function, top.cast(), libc::CLONE_VM | libc::SIGCHLD, std::ptr::null_mut())
        };
        program::wait_for(nix::unistd::Pid::from_raw(pid), true).unwrap().unwrap()
    }
}
