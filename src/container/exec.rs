//! `exec`: a further process in a running container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

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
use super::{kept_config, pid_file, seccomp_agent};
use crate::bundle::Bundle;
use crate::error::{Context, Error, Result};
use crate::launch::signals::{self, Interrupt};
use crate::launch::start_page::StartPage;
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
    /// Makes the process out of the container's own.
    pub process: &'a dyn Fn(&mut Bundle) -> Result<()>,
    /// Return once the program runs.
    pub detach: bool,
    /// Where to write its pid.
    pub pid_file: Option<PathBuf>,
    /// The socket that gets its terminal.
    pub console_socket: Option<PathBuf>,
    /// How many descriptors after the standard streams it gets: those of a service manager, and further ones.
    pub descriptors: [u32; 2],
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
    let mut bundle = kept_config::read(&state)?;
    (request.process)(&mut bundle)?;
    let (target, plan) = plan(request, &state, &bundle, init)?;
    plan.warnings.iter().for_each(request.warn);
    if request.detach {
        return run(request, &state, &bundle, &plan, &target, None).map(|_| 0);
    }
    let held = signals::hold()?;
    let interrupt = Interrupt::new()?;
    let (process, terminal) = run(request, &state, &bundle, &plan, &target, Some(&interrupt))?;
    let status = match terminal {
        Some(terminal) => relay::until_exit(&held, &process, terminal, None),
        None => signals::pass_on_until_exit(&held, &process, None),
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

fn plan(
    request: &Request,
    state: &State,
    bundle: &Bundle,
    (pid, init): (Pid, OwnedFd),
) -> Result<(launch::Target, Plan)> {
    let namespaces = namespaces(pid)?;
    let path = format!("/proc/{pid}/root");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = openat(CWD, path.as_str(), flags, Mode::empty()).what(|| format!("open {path}"))?;
    // All that was looked up by the pid was its own if it still lives.
    if !lives(&init)? {
        return Err(Error::state(format!("container not running: {}", request.id)));
    }
    let [listening, preserved] = request.descriptors;
    let options = Options { id: state.id.clone(), listening, preserved, ..Options::default() };
    let target = Target { namespaces, cgroup: state.cgroup.clone() };
    let plan = compile_exec(bundle, &Host::for_spec(&bundle.spec)?, &options, &target)?;
    Ok((launch::Target { init, root }, plan))
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

fn lives(process: &OwnedFd) -> Result<bool> {
    let mut exited = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut exited, PollTimeout::ZERO).map(|count| count == 0).what(|| "look whether the container's init lives")
}

/// Launches the process; gives in the foreground the other side of its terminal as well.
fn run(
    request: &Request,
    state: &State,
    bundle: &Bundle,
    plan: &Plan,
    target: &launch::Target,
    interrupt: Option<&Interrupt>,
) -> Result<(Process, Option<OwnedFd>)> {
    let mut console = Ends::new(&bundle.spec, request.console_socket.as_deref(), request.detach)?;
    let page = StartPage::unnamed(true)?;
    let launch = Launch {
        plan,
        container: &Running(state),
        means: Means { page, outlet: None.into(), goes_on: Some(GoesOn::default()) },
        console: console.init.take().into(),
        trace: None,
        fault: None,
        interrupt,
        target: Some(target),
    };
    let launched = launch.run()?;
    let finish = || {
        let terminal = console.receive()?;
        if let Some(path) = &request.pid_file {
            pid_file::write(path, launched.process.pid.as_raw())?;
        }
        Ok(terminal)
    };
    match finish() {
        Ok(terminal) => Ok((launched.keep(), terminal)),
        Err(error) => Err(launched.undo(error)),
    }
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
        seccomp_agent::hand_over(self.0, process, &descriptor, to)
    }
}
