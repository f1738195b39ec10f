//! Child processes: src/sys/child.rs and src/process/child.rs. One test, and so one thread that does anything: the child of
//! a process with others could wait forever for a lock that one of them held.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use ferrun::error::{Error, Result};
use ferrun::process::child;
use ferrun::sys::child::{Child, InChild, Options, PidCell, Reporter};
use ferrun::sys::{fd, program};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, raise};
use nix::unistd::{getppid, pipe2};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[test]
fn children() {
    ends_with_its_status_and_owns_what_was_moved_into_it();
    is_killed_by_an_owner_that_is_dropped();
    closes_what_is_not_kept_but_for_the_report();
    has_no_report_when_it_dies();
    shares_no_memory();
    has_its_pid_written_by_the_kernel();
    goes_on_in_a_sibling_that_does_not_have_the_place_of_its_pid();
    returns_a_result();
    reports_its_end_without_a_result();
}

fn ends_with_its_status_and_owns_what_was_moved_into_it() {
    let (ours, its) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let (number, kept) = (ours.as_raw_fd(), Cell::new(1));
    let mut its = File::from(its);
    let (mut child, ours) = Child::create_with(&Options::default(), ours, |_| {
        kept.set(2);
        its.write_all(b"here").unwrap();
        i32::from(fd::is_open(number)) + 5
    })
    .unwrap();
    drop(its);
    let mut said = String::new();
    File::from(ours).read_to_string(&mut said).unwrap();
    assert_eq!((child.wait(), child.wait(), said.as_str(), kept.get()), (Ok(Ok(5)), Ok(Ok(5)), "here", 1));
}

fn is_killed_by_an_owner_that_is_dropped() {
    let child = Child::create(&Options::default(), |_| {
        loop {
            std::thread::park();
        }
    });
    let child = child.unwrap();
    let pid = child.pid();
    assert!(std::fs::exists(format!("/proc/{pid}")).unwrap());
    drop(child);
    assert!(!std::fs::exists(format!("/proc/{pid}")).unwrap());
}

fn closes_what_is_not_kept_but_for_the_report() {
    let pipes = [(); 3].map(|()| pipe2(OFlag::O_CLOEXEC).unwrap());
    let kept = pipes.each_ref().map(|(read, _)| read.as_raw_fd());
    let closed = pipes.each_ref().map(|(_, write)| write.as_raw_fd());
    let reporter = Reporter::create(&Options::default(), |own| {
        // In any order, twice, and below the first.
        let keep = [kept[2], kept[0], 1, kept[1], kept[2]];
        own.close_from(3, keep.into_iter(), ()).unwrap();
        [kept, closed, [0, 1, 2]].concat().into_iter().map(fd::is_open).map(u8::from).collect::<Vec<_>>()
    });
    assert_eq!(reporter.unwrap().finish(), Ok((vec![1, 1, 1, 0, 0, 0, 1, 1, 1], Ok(0))));
}

fn has_no_report_when_it_dies() {
    let killed = Reporter::create(&Options::default(), |_| {
        raise(Signal::SIGKILL).unwrap();
        "unsaid"
    });
    assert_eq!(killed.unwrap().finish(), Ok((Vec::new(), Err(9))));
    let panicked = Reporter::create(&Options::default(), |_| -> &str { panic!("on purpose") });
    assert_eq!(panicked.unwrap().finish().unwrap().1, Ok(1));
}

fn shares_no_memory() {
    let options = Options { flags: CloneFlags::CLONE_VM, ..Options::default() };
    assert_eq!(Child::create(&options, |_| 0).map(drop), Err(Errno::EINVAL));
}

/// The sibling that a child creates has the report's pipe, but not the memory with its pid.
fn has_its_pid_written_by_the_kernel() {
    let cell = PidCell::new().unwrap();
    assert_eq!(cell.pid(), None);
    let between = Reporter::create(&Options::default(), |_| {
        let options = Options { flags: CloneFlags::CLONE_PARENT, pid_to: Some(&cell), ..Options::default() };
        let parent = getppid();
        let sibling = Child::create(&options, |_| {
            // What is not mapped ends it by a signal.
            i32::from(getppid() != parent) + i32::from(cell.pid().is_some())
        });
        sibling.unwrap().into_parts().0.to_string()
    });
    let (report, exit) = between.unwrap().finish().unwrap();
    let pid = cell.pid().unwrap();
    assert_eq!((String::from_utf8(report).unwrap(), exit), (pid.to_string(), Ok(0)));
    assert_eq!(Child::adopt(pid).unwrap().wait(), Ok(Err(11)));
}

fn run<T: Serialize + DeserializeOwned>(work: impl FnOnce(InChild) -> Result<T>) -> Result<T> {
    child::run(&Options::default(), "the worker", |errno| Error::os("create it", errno), work)
}

fn goes_on_in_a_sibling_that_does_not_have_the_place_of_its_pid() {
    let cell = PidCell::new().unwrap();
    let own = std::process::id();
    let first = Child::create(&Options::default(), |child| {
        let before = mappings();
        cell.hide().unwrap();
        child.go_on_in_sibling(&cell).unwrap();
        // Ferrun's own child, and without the shared page.
        let is_sibling = getppid().as_raw().unsigned_abs() == own;
        if is_sibling && mappings() == before - 1 { 7 } else { 8 }
    });
    assert_eq!(first.unwrap().wait(), Ok(Ok(0)));
    assert_eq!(Child::adopt(cell.pid().unwrap()).unwrap().wait(), Ok(Ok(7)));
}

/// The shared anonymous mappings of this process.
fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().matches("/dev/zero (deleted)").count()
}

fn returns_a_result() {
    assert_eq!(run(|_| Ok(7)), Ok(7));
    let error = Error::os("open \"/x\"", Errno::ENOENT).from_property("/mounts/1").hint("create it");
    assert_eq!(run::<()>(|_| Err(error.clone())), Err(error));
}

fn reports_its_end_without_a_result() {
    let killed = run::<()>(|_| {
        raise(Signal::SIGKILL).unwrap();
        Ok(())
    });
    assert_eq!(killed.unwrap_err().to_string(), "the worker died: killed by signal 9");
    let left = run::<()>(|_| program::exit(3));
    assert_eq!(left.unwrap_err().to_string(), "the worker died: exit status 3");
}
