//! Child processes, by clone3(2), and by clone(2) where a filter of system calls is on already.
//!
//! A child has a copy of this memory, so that every value of its parent exists twice. It runs one closure, owns what was
//! moved into that, and ends with it by exit_group(2): it never returns to the frames of its parent, whose owners would
//! be dropped there. A panic or a failed allocation ends it in the same way. abort(3) is never called: its signal would
//! go to the thread id that the C library remembers, which is the parent's.
//!
//! No type shows which descriptors of its parent a closure reaches by reference. They are open in the child as well, up
//! to [`InChild::close_from`]: what is neither kept nor given up there must not be used from then on, which is left to
//! the closure. At worst it gets EBADF, or another file of the child's own.

use std::mem::{ManuallyDrop, forget};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::Acquire;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2, read, write};

use super::clone::{Side, clone, clone_sibling, clone3};
use super::namespace::NEWTIME;
use super::shared::SharedMemory;
use super::{fd, pidfd, program, uninterrupted};

/// How a child is created.
pub struct Options<'a> {
    /// Its new namespaces. With CLONE_PARENT it is the caller's sibling.
    pub flags: CloneFlags,
    /// The cgroup v2 directory that it is created in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Where its pid is written.
    pub pid_to: Option<&'a PidCell>,
    /// Whether it prints why it ends for a panic or for want of memory. Else that is in its report, if it makes one.
    pub prints: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { flags: CloneFlags::empty(), cgroup: None, pid_to: None, prints: false }
    }
}

/// Where the kernel writes the pid of a child's child, for the child's parent: memory of these two. What is created does
/// not have it, so that nobody who has power over that can change it.
pub struct PidCell(SharedMemory);

impl PidCell {
    /// An empty one, for children that are created later.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn new() -> nix::Result<PidCell> {
        SharedMemory::anonymous(size_of::<u32>()).map(PidCell)
    }

    /// Keeps it from what this process creates from now on.
    ///
    /// # Errors
    /// Those of madvise(2).
    pub fn hide(&self) -> nix::Result<()> {
        self.0.keep_from_children()
    }

    /// The pid, once there is one.
    pub fn pid(&self) -> Option<Pid> {
        let pid = self.0.word(0).load(Acquire);
        i32::try_from(pid).ok().filter(|pid| *pid > 0).map(Pid::from_raw)
    }
}

/// How a child ended: its exit status, or the signal that killed it.
pub type Exit = Result<i32, i32>;

/// A child, which is killed where its owner is dropped before it has ended.
pub struct Child {
    pid: Pid,
    process: OwnedFd,
    exit: Option<Exit>,
}

impl Child {
    /// Runs `body` in a child, which ends with the status that `body` returns. The parent drops its copy of `body`, and
    /// with it what was moved in.
    ///
    /// # Errors
    /// Those of clone3(2).
    pub fn create(options: &Options, body: impl FnOnce(InChild) -> i32) -> nix::Result<Child> {
        let words = if options.prints { libc::STDERR_FILENO } else { program::NOWHERE };
        create(options, (), words, None, body).map(|(child, ())| child)
    }

    /// As [`Child::create`], for a pair of descriptors: the child closes `ours`, which is the parent's alone, and has
    /// the other one moved into `body`.
    ///
    /// # Errors
    /// Those of clone3(2).
    pub fn create_with(
        options: &Options,
        ours: OwnedFd,
        body: impl FnOnce(InChild) -> i32,
    ) -> nix::Result<(Child, OwnedFd)> {
        create(options, ours, program::NOWHERE, None, body)
    }

    /// A child that another one created, as its sibling: nobody else waits for it, so that its pid is its own.
    ///
    /// # Errors
    /// Those of pidfd_open(2): then it is killed.
    pub fn adopt(pid: Pid) -> nix::Result<Child> {
        let opened = pidfd::open(pid).map(|process| Child { pid, process, exit: None });
        opened.inspect_err(|_| {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = uninterrupted(|| program::wait_for(pid, true));
        })
    }

    /// Its pid, which is its own until [`Child::wait`].
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Kills it; its exit is still to be waited for.
    pub fn kill(&self) {
        let _ = pidfd::send_signal(&self.process, libc::SIGKILL);
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Those of waitid(2).
    pub fn wait(&mut self) -> nix::Result<Exit> {
        match self.exit {
            Some(exit) => Ok(exit),
            None => pidfd::wait(self.pid, &self.process).inspect(|exit| self.exit = Some(*exit)),
        }
    }

    /// Lets it live on, whoever waits for it.
    pub fn into_parts(self) -> (Pid, OwnedFd) {
        let child = ManuallyDrop::new(self);
        // SAFETY: the descriptor is read once, and the value that it is taken from is neither used nor dropped any more.
        (child.pid, unsafe { std::ptr::read(&child.process) })
    }
}

impl AsFd for Child {
    /// Its pidfd.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.kill();
            let _ = self.wait();
        }
    }
}

/// Bytes after which a report is not read on: /proc/sys/fs/pipe-max-size is no larger unless root changes it.
const LONGEST_REPORT: usize = 1 << 20;

/// A child that leaves its parent a report.
pub struct Reporter {
    /// The child.
    pub child: Child,
    answer: OwnedFd,
}

impl Reporter {
    /// Runs `body` in a child, which reports what `body` returns and ends. What a pipe does not hold is cut off.
    ///
    /// # Errors
    /// Those of pipe2(2) and clone3(2).
    pub fn create<R: AsRef<[u8]>>(options: &Options, body: impl FnOnce(InChild) -> R) -> nix::Result<Reporter> {
        // The child never waits for its parent, which reads when it has ended.
        let (answer, report) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let number = report.as_raw_fd();
        let (child, answer) = create(options, answer, number, Some(number), |own| {
            write_all(&report, body(own).as_ref());
            0
        })?;
        drop(report);
        Ok(Reporter { child, answer })
    }

    /// Waits until the child has ended, and gives its report: empty if it made none. Others may have the pipe open still,
    /// such as children of the child, and write to it.
    ///
    /// # Errors
    /// Those of waitid(2) and read(2).
    pub fn finish(mut self) -> nix::Result<(Vec<u8>, Exit)> {
        let exit = self.child.wait()?;
        let (mut report, mut piece) = (Vec::new(), [0; 1024]);
        loop {
            match uninterrupted(|| read(&self.answer, &mut piece)) {
                Ok(0) | Err(Errno::EAGAIN) => return Ok((report, exit)),
                // More than a pipe holds: somebody else writes.
                Ok(_) if report.len() > LONGEST_REPORT => return Ok((report, exit)),
                Ok(length) => report.extend_from_slice(&piece[..length]),
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn write_all(to: &OwnedFd, mut bytes: &[u8]) {
    while let Ok(length @ 1..) = uninterrupted(|| write(to, bytes)) {
        bytes = &bytes[length..];
    }
}

/// A child of a process under a filter of system calls: without a descriptor, and not killed by its owner.
pub struct Filtered {
    pid: Pid,
}

impl Filtered {
    /// Runs `body` in a child, by clone(2) alone. It ends with the status that `body` returns.
    ///
    /// # Errors
    /// Those of clone(2), and what the filter answers.
    pub fn create(body: impl FnOnce(InChild) -> i32) -> nix::Result<Filtered> {
        // SAFETY: the child ends in `run`, which does not return.
        match unsafe { clone() }? {
            None => run(InChild { report: None }, body),
            Some(pid) => Ok(Filtered { pid }),
        }
    }

    /// Waits until it has ended, by wait4(2) or else by waitid(2).
    ///
    /// # Errors
    /// Those of the call, and what the filter answers.
    pub fn wait(self, by_wait4: bool) -> nix::Result<Exit> {
        uninterrupted(|| program::wait_for(self.pid, by_wait4))
    }
}

/// What a child may do and no other process: it has no caller to return to. Only this module creates one.
pub struct InChild {
    report: Option<RawFd>,
}

impl InChild {
    /// Closes all descriptors from `first` on but these few and the report's: close_range(2). Numbers are enough: what is
    /// kept is not touched.
    ///
    /// `given_up`: the owners of the child's own that are closed here, and so never dropped. Those of its parent never are.
    ///
    /// # Errors
    /// Those of close_range(2).
    pub fn close_from<T>(&self, first: u32, keep: impl Iterator<Item = RawFd> + Clone, given_up: T) -> nix::Result<()> {
        forget(given_up);
        // SAFETY: the parent's owners are in frames to which this process never returns; its own were just forgotten. What
        // the closure still reaches of either, it must not use.
        unsafe { fd::close_from(first, &keep.chain(self.report)) }
    }

    /// Goes on in a sibling, in the pid namespace that this process's children are created in, and ends the process that
    /// calls this. `pid_to` must have been hidden before ([`PidCell::hide`]).
    ///
    /// # Errors
    /// Those of clone(2), and what a filter answers: then there is no sibling.
    pub fn go_on_in_sibling(&self, pid_to: &PidCell) -> nix::Result<()> {
        // SAFETY: the caller ends at once, so that what the sibling has of its memory exists once.
        match unsafe { clone_sibling(pid_to.0.word(0)) }? {
            None => Ok(()),
            Some(_) => program::exit(0),
        }
    }

    /// Closes a descriptor that ferrun was executed with, and that it keeps by its number alone: close(2).
    ///
    /// # Errors
    /// Those of close(2).
    pub fn close(&self, number: RawFd) -> nix::Result<()> {
        // SAFETY: an owner, if there is one, is the parent's, to whose frames this process never returns.
        unsafe { fd::close(number) }
    }
}

/// The flags that neither share memory nor descriptors with the child.
fn separate() -> CloneFlags {
    CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_PARENT
        | NEWTIME
}

/// Runs `body` in a child, whose last words go to the descriptor `words`. It drops `ours`, which the parent gets back.
fn create<T>(
    options: &Options,
    ours: T,
    words: RawFd,
    report: Option<RawFd>,
    body: impl FnOnce(InChild) -> i32,
) -> nix::Result<(Child, T)> {
    if !separate().contains(options.flags) {
        return Err(Errno::EINVAL);
    }
    let pid_to = options.pid_to.map(|PidCell(memory)| memory);
    pid_to.map_or(Ok(()), SharedMemory::keep_from_children)?;
    // SAFETY: the flags share neither memory nor descriptors; the child ends in `run`, which does not return.
    match unsafe { clone3(options.flags, options.cgroup, pid_to.map(|memory| memory.word(0))) }? {
        Side::Child => {
            program::last_words_to(words);
            program::end_on_panic();
            drop(ours);
            run(InChild { report }, body)
        }
        Side::Parent(pid, process) => Ok((Child { pid, process, exit: None }, ours)),
    }
}

/// The whole of a child's life.
fn run(own: InChild, body: impl FnOnce(InChild) -> i32) -> ! {
    /// Ends the process where a panic unwinds, which it does in unit tests.
    struct Unwound;
    impl Drop for Unwound {
        fn drop(&mut self) {
            program::exit(program::PANIC)
        }
    }
    let _unwound = Unwound;
    program::exit(body(own))
}
