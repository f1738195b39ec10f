//! `exec`: a further process in a running container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, stat};
use nix::unistd::Pid;

use super::console::Ends;
use super::create::keep_statuses;
use super::directory::Purpose;
use super::hooks::Warn;
use super::id::Id;
use super::state::{Root, State};
use super::status::{Status, status};
use super::sub_cgroups::sub_cgroups;
use super::{kept_config, pid_file, pidfd_socket, seccomp_agent};
use crate::bundle::Bundle;
use crate::cgroup::current;
use crate::cgroup::directory::Directory;
use crate::cgroup::layout::Layout;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::launch::exec_fifo;
use crate::launch::signals::{self, Held, Interrupt};
use crate::launch::start_page::StartPage;
use crate::launch::watch::is_exiting;
use crate::launch::{self, GoesOn, Launch, Means, Process, exit_reason, relay};
use crate::plan::{Host, Options, Plan, Target, compile_exec};
use crate::sys::fd::CWD;
use crate::sys::namespace::NEWTIME;
use crate::types::hooks::Kind;
use crate::types::namespaces::NamespaceKind;
use crate::types::seccomp::profile::Listener;

/// What the caller asks for.
pub struct Request<'a> {
    /// Where states are kept.
    pub root: &'a Root,
    /// The container.
    pub id: Id,
    /// Makes the process out of the container's own; the descriptor is a handle of the container's root directory.
    pub process: &'a dyn Fn(&mut Bundle, &OwnedFd) -> Result<()>,
    /// Return once the program runs.
    pub detach: bool,
    /// Where to write its pid.
    pub pid_file: Option<PathBuf>,
    /// The socket that gets its terminal.
    pub console_socket: Option<PathBuf>,
    /// How many descriptors after the standard streams it gets: those of a service manager, and further ones.
    pub descriptors: [u32; 2],
    /// Cgroups below the container's: [`sub_cgroups`].
    pub cgroup: Vec<String>,
    /// The socket that gets its descriptor.
    pub pidfd_socket: Option<PathBuf>,
    /// Also in a paused container, where it waits.
    pub ignore_paused: bool,
    /// Where warnings go.
    pub warn: Warn<'a>,
}

/// Runs a further process in a container; gives its exit status (0 when detached).
///
/// # Errors
/// "container does not exist" and others that engines match; a program that cannot be executed. Nothing is left then.
pub fn exec(request: &Request) -> Result<i32> {
    let _statuses = keep_statuses()?;
    let state = request.root.load(&request.id, Purpose::Act)?;
    let init = running_init(request, &state)?;
    let container = Container::look(request, &state, init)?;
    let mut bundle = kept_config::read(&state)?;
    (request.process)(&mut bundle, &container.target.root)?;
    let console = Ends::new(&bundle.spec, request.console_socket.as_deref(), request.detach)?;
    if request.detach {
        return container.run(&bundle, &console, None).map(|_| 0);
    }
    let held = Held::begin()?;
    let interrupt = Interrupt::new()?;
    let (process, terminal, plan) = container.run(&bundle, &console, Some(&interrupt))?;
    let status = match terminal {
        Some(terminal) => relay::until_exit(&held.signals, &process, terminal, None),
        None => signals::pass_on_until_exit(&held.signals, &process, None),
    }?;
    exit_reason::of_the_program(status, &plan, &state.cgroup).iter().for_each(request.warn);
    Ok(status)
}

/// The init's descriptor, if the container is in a state in which it can have more processes.
fn running_init(request: &Request, state: &State) -> Result<(Pid, OwnedFd)> {
    let id = &request.id;
    let (status, process) = status(state)?;
    match (status, process, state.init) {
        (Status::Paused, ..) if !request.ignore_paused => {
            let message = format!("cannot exec in a paused container (use --ignore-paused to override): {id}");
            Err(Error::state(message))
        }
        (Status::Running | Status::Created | Status::Paused, Some(process), Some(init)) => {
            Ok((Pid::from_raw(init.pid), process))
        }
        (Status::Creating, ..) => Err(Error::state(format!("cannot exec in container {id}: it is not created yet"))),
        _ => Err(Error::state(format!("cannot exec in a stopped container: container not running: {id}"))),
    }
}

/// The container as it is now.
struct Container<'a> {
    request: &'a Request<'a>,
    state: &'a State,
    pid: Pid,
    target: launch::Target,
    namespaces: CloneFlags,
}

impl<'a> Container<'a> {
    fn look(request: &'a Request, state: &'a State, (pid, init): (Pid, OwnedFd)) -> Result<Container<'a>> {
        let path = format!("/proc/{pid}/root");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = openat(CWD, path.as_str(), flags, Mode::empty()).what(|| format!("open {path}"));
        let found = root.and_then(|root| Ok((root, namespaces(pid)?)));
        check(&init, &request.id)?;
        let (root, namespaces) = found.map_err(|error| unless_it_ends(error, pid, &init, &request.id))?;
        Ok(Container { request, state, pid, target: launch::Target { init, root }, namespaces })
    }

    fn check(&self) -> Result<()> {
        check(&self.target.init, &self.request.id)
    }

    /// Runs the process; in the foreground gives the other side of its terminal as well.
    fn run(
        &self,
        bundle: &Bundle,
        console: &Ends,
        interrupt: Option<&Interrupt>,
    ) -> Result<(Process, Option<OwnedFd>, Plan)> {
        let given = &self.request.cgroup;
        let cgroup = match given.is_empty() {
            true => self.state.cgroup.clone(),
            false => sub_cgroups(&self.state.cgroup, given, &*self.layout()?)?,
        };
        let mut target = Target { namespaces: self.namespaces, cgroup };
        let mut moves = false;
        let mut tries = 0..3;
        loop {
            let plan = self.plan(bundle, &target, moves)?;
            let error = match self.launch(&plan, console, interrupt) {
                Ok((process, terminal)) => {
                    plan.warnings.iter().for_each(self.request.warn);
                    return Ok((process, terminal, plan));
                }
                Err(error) if error.kind == ErrorKind::Interrupted => return Err(error),
                Err(error) => unless_it_ends(bundle.locate(error), self.pid, &self.target.init, &self.request.id),
            };
            match error.kind {
                _ if tries.next().is_none() => return Err(error),
                ErrorKind::Killed if !moves => moves = true,
                // The container has cgroups of its own below, and its init is in one of them; or somebody has moved it.
                ErrorKind::Uninhabitable if given.iter().all(|path| path.contains(':')) => {
                    target.cgroup = self.current_cgroup(target.cgroup)?;
                }
                _ => return Err(error),
            }
            self.check()?;
        }
    }

    fn plan(&self, bundle: &Bundle, target: &Target, moves: bool) -> Result<Plan> {
        let [listening, preserved] = self.request.descriptors;
        let options = Options { id: self.state.id.clone(), listening, preserved, moves, ..Options::default() };
        let host = Host::with_cgroups((*self.layout()?).clone())?.with_facts_for(&bundle.spec)?;
        compile_exec(bundle, &host, &options, target).map_err(|error| bundle.locate(error))
    }

    /// The hierarchies of this host, as reading the state has found them.
    fn layout(&self) -> Result<Rc<Layout>> {
        self.state.layout.clone().map_or_else(|| Layout::probe().map(Rc::new), Ok)
    }

    /// The directories, with that in which the init is now in the place of the v2 one.
    fn current_cgroup(&self, mut all: Vec<Directory>) -> Result<Vec<Directory>> {
        let layout = self.layout()?;
        let current = current::of(self.pid, &layout)?.unified;
        self.check()?;
        let is_v2 = |path: &str| layout.unified.as_ref().is_some_and(|v2| v2.relative(path).is_some());
        for directory in all.iter_mut().filter(|directory| is_v2(&directory.path)) {
            directory.path = current.as_deref().unwrap_or(&directory.path).into();
        }
        Ok(all)
    }

    fn launch(&self, plan: &Plan, console: &Ends, interrupt: Option<&Interrupt>) -> Result<(Process, Option<OwnedFd>)> {
        let page = StartPage::unnamed(true)?;
        // In the place of the channel: create.rs.
        let (outlet, read) = exec_fifo::unnamed(None)?;
        let launch = Launch {
            plan,
            container: &Running(self.state),
            means: Means { page, outlet: Some(outlet).into(), goes_on: Some(GoesOn { outlet: Some(read).into() }) },
            console: console.for_init()?.into(),
            trace: None,
            fault: None,
            interrupt,
            target: Some(&self.target),
        };
        let launched = launch.run()?;
        let finish = || {
            let terminal = console.receive()?;
            if let Some(path) = &self.request.pidfd_socket {
                pidfd_socket::send(path, &launched.process.fd)?;
            }
            if let Some(path) = &self.request.pid_file {
                pid_file::write(path, launched.process.pid.as_raw())?;
            }
            Ok(terminal)
        };
        match finish() {
            Ok(terminal) => Ok((launched.keep(), terminal)),
            Err(error) => Err(launched.undo(error)),
        }
    }
}

/// Checks that the init lives: what was looked up by its pid was then the init's.
fn check(init: &OwnedFd, id: &Id) -> Result<()> {
    let mut exited = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
    match poll(&mut exited, PollTimeout::ZERO).what(|| "look whether the container's init lives")? {
        0 => Ok(()),
        _ => Err(Error::state(format!("container not running: {id}"))),
    }
}

/// Whatever fails in a container that has ended, or is about to, fails because of that.
fn unless_it_ends(error: Error, pid: Pid, init: &OwnedFd, id: &Id) -> Error {
    match is_exiting(pid) {
        Ok(true) => Error::state(format!("container not running: {id}")),
        _ => check(init, id).err().unwrap_or(error),
    }
}

/// The kinds of namespaces to enter: all, but that nobody can enter the user namespace that he is in.
fn namespaces(init: Pid) -> Result<CloneFlags> {
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | NEWTIME;
    let look =
        |path: String| stat(path.as_str()).what(|| format!("look at {path}")).map(|file| (file.st_dev, file.st_ino));
    let own = look(NamespaceKind::User.file("self"))?;
    Ok(if look(NamespaceKind::User.file(init))? == own { all } else { all | CloneFlags::CLONE_NEWUSER })
}

/// A container that runs already.
struct Running<'a>(&'a State);

impl launch::Container for Running<'_> {
    fn bundle(&self) -> &Path {
        &self.0.bundle
    }

    /// Only its init is on record.
    fn record(&self, _: Pid, _: BorrowedFd) -> Result<()> {
        Ok(())
    }

    fn state_for(&self, kind: Kind, process: Pid) -> Vec<u8> {
        super::hooks::state_for(self.0, kind, Some(process))
    }

    fn hand_over(&self, process: Pid, descriptor: OwnedFd, to: &Listener) -> Result<()> {
        let init = self.0.init.map_or(process, |init| Pid::from_raw(init.pid));
        seccomp_agent::hand_over(self.0, (status(self.0)?.0, init), process, &descriptor, to)
    }
}
