//! The clone: from the namespaces that the init shall be born into, and back.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::unistd::Pid;

use super::Process;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::plan::step::Clone;
use crate::process::child;
use crate::process::join::{Enter, Opened};
use crate::sys::child::{Child, InChild, Options, PidCell};
use crate::sys::file;
use crate::sys::namespace::NEWTIME;
use crate::sys::program::is_dumpable;
use crate::types::namespaces::NamespaceKind;

pub(super) const WHAT: &str = "make the container's first process";

/// Creates the init, which is ferrun's own child in any case and runs `main`.
///
/// `handed_on`: below this number, the init keeps all descriptors; `own`: those that it keeps of ferrun's.
pub(super) fn create_init(
    step: &Clone,
    opened: &[Opened],
    handed_on: u32,
    own: &[RawFd],
    main: impl FnOnce(InChild) -> i32,
) -> Result<Process> {
    let directory = open_cgroup(step)?;
    let cgroup = directory.as_ref().map(AsFd::as_fd);
    let way_back = WayBack::remember(step)?;
    let init = match step.between {
        true => by_intermediate_process(step, opened, cgroup, handed_on, own, main),
        false => Enter(step.enter)
            .run(opened)
            .and_then(|()| Child::create(&as_init(step.flags, cgroup), main).map_err(|errno| failed(step, errno))),
    };
    let back = way_back.go();
    init.and_then(|init| back.map(|()| init)).map(Process::from)
}

/// A child that another one has created as its sibling.
pub(super) fn adopt(pid: Pid) -> Result<Process> {
    Child::adopt(pid).map(Process::from).what(|| WHAT)
}

impl From<Child> for Process {
    fn from(child: Child) -> Process {
        let (pid, fd) = child.into_parts();
        Process { pid, fd }
    }
}

fn open_cgroup(step: &Clone) -> Result<Option<OwnedFd>> {
    match &step.cgroup {
        Some(path) => file::open(&**path, OFlag::O_RDONLY).map(Some).map_err(|errno| {
            let error = Error::os(format!("open cgroup {path}"), errno);
            if error.code() == Errno::ENOENT { error.of_kind(ErrorKind::Uninhabitable) } else { error }
        }),
        None => Ok(None),
    }
}

fn as_init(flags: CloneFlags, cgroup: Option<BorrowedFd>) -> Options {
    Options { flags, cgroup, prints: true, pid_to: None }
}

fn failed(step: &Clone, errno: Errno) -> Error {
    let error = Error::os(WHAT, errno);
    match errno {
        Errno::ENOMEM if step.enter.contains(CloneFlags::CLONE_NEWPID) => {
            error.hint("a pid namespace whose first process has ended takes no other")
        }
        Errno::EAGAIN if step.crosses && step.cgroup.is_some() => {
            error.hint("pids.max of the container's cgroup leaves room for no process")
        }
        Errno::ENOSPC => error.hint("the limits in /proc/sys/user say how many namespaces there may be"),
        Errno::EOPNOTSUPP if step.cgroup.is_some() => error.hint(
            "a cgroup above the container's has processes and hands controllers down (cgroup.type: domain threaded)",
        ),
        Errno::EBUSY if step.cgroup.is_some() => {
            let hint = "the container's cgroup hands controllers down: it can have no processes";
            error.of_kind(ErrorKind::Uninhabitable).hint(hint)
        }
        _ => error,
    }
}

/// An intermediate process enters the namespaces, creates the init as its sibling and ends. Of what ferrun has open the
/// init has its own alone, and the pipe for the report of a failure, from its first moment on: a neighbour in its pid
/// namespace sees it then. So its pid comes from the kernel, and where there is one, no report counts.
fn by_intermediate_process(
    step: &Clone,
    opened: &[Opened],
    cgroup: Option<BorrowedFd>,
    handed_on: u32,
    own: &[RawFd],
    main: impl FnOnce(InChild) -> i32,
) -> Result<Child> {
    // In a user namespace there is no right to enter the cgroup, and outside of one no need to count twice in it.
    let (for_between, for_init) = match step.enter.contains(CloneFlags::CLONE_NEWUSER) {
        true => (cgroup, None),
        false => (None, cgroup),
    };
    let failed = |errno| failed(step, errno);
    let cell = PidCell::new().what(|| WHAT)?;
    let work = |between: InChild| {
        let keep = own.iter().copied().chain(for_init.map(|cgroup| cgroup.as_raw_fd()));
        between.close_from(handed_on, keep, ()).what(|| "close what is not the init's")?;
        Enter(step.enter).run(opened)?;
        let as_sibling = as_init(step.flags | CloneFlags::CLONE_PARENT, for_init);
        let sibling = Child::create(&Options { pid_to: Some(&cell), ..as_sibling }, main).map_err(failed)?;
        // It lives on.
        sibling.into_parts();
        Ok(())
    };
    let between = Options { cgroup: for_between, ..Options::default() };
    let ended = child::run(&between, &format!("{WHAT}: the intermediate process"), failed, work);
    match (cell.pid(), ended) {
        (Some(pid), _) => Child::adopt(pid).what(|| WHAT),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(Error::new(format!("{WHAT}: the intermediate process has created none"))),
    }
}

/// What the clone changes of ferrun itself: the namespaces that its next children would be born into, and whether others
/// may look into it.
struct WayBack {
    namespaces: Vec<(OwnedFd, CloneFlags)>,
    dumpable: bool,
}

impl WayBack {
    fn remember(step: &Clone) -> Result<WayBack> {
        let mut left = if step.between { CloneFlags::empty() } else { step.enter };
        left.set(NEWTIME, left.contains(NEWTIME) || step.new_time);
        let own = [NamespaceKind::Pid, NamespaceKind::Time].into_iter().filter(|kind| left.contains(kind.flag()));
        let own = own.map(|kind| {
            let path = kind.file("self");
            let file = file::open(path.as_str(), OFlag::O_RDONLY).what(|| format!("open {path}"))?;
            Ok((file, kind.flag()))
        });
        let namespaces = own.collect::<Result<_>>()?;
        let mut dumpable = false;
        if !step.enter.is_empty() {
            // From its first moment on the init shares a namespace with processes of others, which must not
            // reach into it; it inherits this (CVE-2016-9962).
            dumpable = is_dumpable();
            prctl::set_dumpable(false).what(|| "make ferrun undumpable")?;
        }
        Ok(WayBack { namespaces, dumpable })
    }

    fn go(&self) -> Result<()> {
        let mut namespaces = self.namespaces.iter();
        let back =
            namespaces.try_for_each(|(file, kind)| setns(file, *kind)).what(|| "go back to ferrun's own namespaces");
        if self.dumpable {
            prctl::set_dumpable(true).what(|| "make ferrun dumpable again")?;
        }
        back
    }
}
