//! `create`, and the first half of `run`.

use std::cell::OnceCell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use nix::unistd::Pid;

use super::boot::BootId;
use super::console::Ends;
use super::delete::undo;
use super::hooks::state_for;
use super::kept_config;
use super::pid_file;
use super::pidfd_socket;
use super::request::{Mode, Planned, Request, rootfs};
use super::seccomp_agent;
use super::state::{Init, Record, State};
use super::state_format::FORMAT;
use super::status::Status;
use crate::bundle::Bundle;
use crate::cgroup::existing;
use crate::error::{Context, ErrorKind, Result};
use crate::launch::exec_fifo;
use crate::launch::notify::{self, Notify};
use crate::launch::signals::Interrupt;
use crate::launch::start_page::StartPage;
use crate::launch::{Container, GoesOn, Launch, Means, Process};
use crate::plan::Plan;
use crate::process::hook::Hook;
use crate::resctrl::own_directory::OwnDirectory;
use crate::sys::program::now;
use crate::sys::sigchld::KeptStatuses;
use crate::types::hooks::Kind;
use crate::types::namespaces::NamespaceKind;
use crate::types::seccomp::profile::Listener;

/// A container that was created.
pub(super) struct Created {
    /// Its init.
    pub process: Process,
    /// Its state.
    pub state: State,
    /// In the foreground: the other side of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Unless `start` does that: where the program tells that it is ready.
    pub notify: Option<Notify>,
}

/// Creates a container whose program waits for `start`. Whatever fails, nothing of it is left. Gives its init, a child of
/// the caller's, which has to wait for it.
///
/// # Errors
/// The step that failed.
pub fn create(planned: &Planned) -> Result<Process> {
    let _statuses = keep_statuses()?;
    planned.carry_out(|planned| create_process(planned, None).map(|created| created.process))
}

/// Where the caller ignores SIGCHLD, the kernel would keep no exit status.
pub(super) fn keep_statuses() -> Result<KeptStatuses> {
    KeptStatuses::begin().what(|| "set SIGCHLD to its default action")
}

/// The same for `run`, up to the point where both go different ways.
pub(super) fn create_process(planned: &Planned, interrupt: Option<&Interrupt>) -> Result<Created> {
    let request = planned.request;
    let console = Ends::new(&planned.bundle.spec, request.console_socket.as_deref(), request.mode.is_detached())?;
    match try_to_create(planned, &planned.plan, &console, interrupt) {
        Err(error) if error.kind == ErrorKind::Killed => {
            try_to_create(planned, &planned.plan_that_moves()?, &console, interrupt)
        }
        result => result,
    }
}

/// One try. An init that was killed as it was born counts for none: no hook of this container has run.
fn try_to_create(planned: &Planned, plan: &Plan, console: &Ends, interrupt: Option<&Interrupt>) -> Result<Created> {
    let Planned { request, bundle, .. } = planned;
    let mut state = State {
        format: FORMAT,
        boot: BootId::current()?,
        oci_version: bundle.spec.oci_version.clone(),
        id: request.id.to_string(),
        bundle: bundle.dir.clone(),
        rootfs: rootfs(bundle),
        created: humantime::format_rfc3339_nanos(now()).to_string(),
        annotations: bundle.spec.annotations.clone(),
        cgroup: plan.cgroup.clone(),
        unit: plan.unit.clone(),
        resctrl: plan.resctrl.clone(),
        shared_pid_namespace: !has_new_pid_namespace(bundle),
        hooks: later_hooks(plan),
        denies_execve: plan.denies_execve,
        no_process: bundle.spec.process.is_none(),
        init: None,
        complete: false,
        file: None,
        directory: None,
        layout: None,
    };
    let record = Record::begin(request.root, &request.id)?;
    (state.file, state.directory) = (Some(record.file.clone()), Some(record.directory.clone()));
    // Only now: another container of this id, whose cgroups these were, is gone.
    let class = state.resctrl.iter_mut().try_for_each(OwnDirectory::probe);
    let class = class.map_err(|error| error.from_property("/linux/intelRdt"));
    let probed = state.cgroup.iter_mut().try_for_each(existing::probe);
    if state.unit.is_some() {
        // Empty cgroups of the unit's name are what an earlier one has left.
        state.cgroup.iter_mut().for_each(|directory| directory.existed = false);
    }
    let probed = probed.map_err(|error| error.from_property("/linux/cgroupsPath"));
    let kept = || kept_config::keep(&record.directory, bundle);
    if let Err(error) = class.and(probed).and_then(|()| record.state(&state)).and_then(|()| kept()) {
        record.withdraw();
        return Err(error);
    }
    let lanes = Lanes { record: &record, state: &state, init: OnceCell::new() };
    let launched = listen(request, &record).and_then(|notify| {
        let (process, terminal) = launch(planned, plan, &lanes, console, interrupt)?;
        Ok((process, terminal, notify))
    });
    let init = lanes.init.into_inner();
    match launched {
        Ok((process, terminal, notify)) => {
            state.init = init;
            state.complete = true;
            Ok(Created { process, state, terminal, notify })
        }
        Err(error) => {
            if error.kind == ErrorKind::Killed {
                state.hooks.clear();
            }
            Err(undo(&request.id, &state, &|warning| planned.warn(warning), error))
        }
    }
}

/// What the lanes need of the container.
struct Lanes<'a> {
    record: &'a Record,
    state: &'a State,
    /// The init, once it is on record.
    init: OnceCell<Init>,
}

impl Container for Lanes<'_> {
    fn bundle(&self) -> &Path {
        &self.state.bundle
    }

    fn record(&self, init: Pid, process: BorrowedFd) -> Result<()> {
        let init = Init::of(init, process)?;
        let _ = self.init.set(init);
        self.record.init(&init)
    }

    fn state_for(&self, kind: Kind, init: Pid) -> Vec<u8> {
        state_for(self.state, kind, Some(init))
    }

    fn hand_over(&self, init: Pid, descriptor: OwnedFd, to: &Listener) -> Result<()> {
        seccomp_agent::hand_over(self.state, (Status::Creating, init), init, &descriptor, to)
    }
}

/// What the program tells its service manager on; after `create` it is `start` that listens.
fn listen(request: &Request, record: &Record) -> Result<Option<Notify>> {
    let Some(host) = &request.notify else { return Ok(None) };
    notify::make_directory(&*record.directory)?;
    match request.mode {
        Mode::Create => Ok(None),
        _ => Notify::listen(&*record.directory, record.directory.path(), host).map(Some),
    }
}

/// Those that this command, or one after it, runs or watches outside of the lanes.
fn later_hooks(plan: &Plan) -> Vec<Hook> {
    // Of those of the container it is known here how long they may take; what they need is the init's to know.
    let watched = plan.start_hooks.iter().map(|hook| Hook { args: Vec::new(), env: None, ..hook.clone() });
    watched.chain(plan.later.iter().cloned()).collect()
}

/// Without one, other processes of the container outlive its init.
fn has_new_pid_namespace(bundle: &Bundle) -> bool {
    bundle
        .spec
        .linux
        .namespaces
        .iter()
        .any(|namespace| namespace.kind == NamespaceKind::Pid && namespace.path().is_none())
}

fn launch(
    planned: &Planned,
    plan: &Plan,
    lanes: &Lanes,
    console: &Ends,
    interrupt: Option<&Interrupt>,
) -> Result<(Process, Option<OwnedFd>)> {
    let request = planned.request;
    let launch = Launch {
        plan,
        container: lanes,
        means: means(request.mode, plan, lanes.record)?,
        console: console.for_init()?.into(),
        trace: planned.trace.as_ref(),
        fault: request.fault,
        interrupt,
        target: None,
    };
    let launched = launch.run()?;
    let finish = || {
        let terminal = console.receive()?;
        lanes.record.complete()?;
        if let Some(path) = &request.pidfd_socket {
            pidfd_socket::send(path, &launched.process.fd)?;
        }
        // The last that can fail: a file that is left would name a process that is gone.
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

/// How the init is started: its page, its one descriptor where code of the image can look, and what is read of that.
fn means(mode: Mode, plan: &Plan, record: &Record) -> Result<Means> {
    let owner = plan.user_on_host.filter(|_| !plan.start_hooks.is_empty());
    if mode == Mode::Create {
        let outlet = exec_fifo::make(&*record.directory, owner)?;
        return Ok(Means { page: StartPage::create(&*record.directory)?, outlet: Some(outlet).into(), goes_on: None });
    }
    // The channel is a socket, which says whose its other end is (SO_PEERPIDFD): who is in the pid namespace must not find it.
    let is_watched = !plan.start_hooks.is_empty() || plan.listener.is_some() || plan.joins_pid_namespace;
    let page = StartPage::unnamed(is_watched)?;
    if !is_watched {
        return Ok(Means { page, outlet: None.into(), goes_on: Some(GoesOn::default()) });
    }
    let (outlet, read) = exec_fifo::unnamed(owner)?;
    Ok(Means { page, outlet: Some(outlet).into(), goes_on: Some(GoesOn { outlet: Some(read).into() }) })
}
