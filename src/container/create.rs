//! `create`, and the first half of `run`.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::boot::BootId;
use super::console::Ends;
use super::delete::undo;
use super::hooks::{Warn, state_for};
use super::id::Id;
use super::listener;
use super::pid_file;
use super::state::{Init, Record, Root, State};
use super::state_format::FORMAT;
use crate::bundle::linux::NamespaceKind;
use crate::bundle::{Bundle, Problems};
use crate::cgroup::directory::Directory;
use crate::cgroup::resctrl::OwnDirectory;
use crate::error::{Context, Error, Result};
use crate::launch::exec_fifo;
use crate::launch::fault::Fault;
use crate::launch::notify::{self, Notify};
use crate::launch::probe::probe;
use crate::launch::signals::Interrupt;
use crate::launch::start_page::StartPage;
use crate::launch::trace::Trace;
use crate::launch::{GoesOn, Launch, Process};
use crate::plan::{self, Action, Host, Plan, Step};
use crate::process::hook::Hook;

/// How the command goes on once the container is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Return; the program waits for `start`.
    Create,
    /// Return once the program runs.
    Detach,
    /// Wait for the program's exit and delete the container.
    Foreground,
    /// Wait for its exit and keep the container as stopped.
    Keep,
}

impl Mode {
    /// Whether the container outlives the command.
    pub fn is_detached(self) -> bool {
        matches!(self, Mode::Create | Mode::Detach)
    }
}

/// What the command line says about a new container.
pub struct Request<'a> {
    /// Where states are kept.
    pub root: &'a Root,
    /// The container's id.
    pub id: Id,
    /// Its bundle.
    pub bundle: &'a Bundle,
    /// Its plan.
    pub plan: &'a Plan,
    /// Where to write the init's pid.
    pub pid_file: Option<PathBuf>,
    /// The socket that gets its terminal.
    pub console_socket: Option<PathBuf>,
    /// How the command goes on.
    pub mode: Mode,
    /// Where each step's time is written.
    pub trace: Option<&'a Trace>,
    /// A failure that a test asks for.
    pub fault: Option<Fault>,
    /// The socket of a service manager that wants to hear from the program: NOTIFY_SOCKET.
    pub notify: Option<OsString>,
    /// Where warnings go.
    pub warn: Warn<'a>,
}

/// A container that was made.
pub struct Created {
    /// Its init.
    pub process: Process,
    /// Its state.
    pub state: State,
    /// In the foreground: the other side of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Unless `start` does that: where the program tells that it is ready.
    pub notify: Option<Notify>,
}

/// Plans a bundle for this host.
///
/// # Errors
/// Properties that cannot be honoured; a root file system that is not there.
pub fn plan(bundle: &Bundle, options: &plan::Options) -> Result<Plan> {
    check_rootfs(bundle)?;
    let mut plan = plan::compile(bundle, &Host::probe()?.with_facts_for(&bundle.spec)?, options)?;
    plan.warnings = bundle.locate_all(plan.warnings);
    Ok(plan)
}

/// Everything that keeps a bundle from running on this host, as far as it can be known without running it.
///
/// # Errors
/// A host that cannot be looked at.
pub fn problems(bundle: &Bundle, options: &plan::Options) -> Result<Problems> {
    let mut found = Problems::default();
    found.errors.extend(check_rootfs(bundle).err());
    let host = Host::probe()?.with_facts_for(&bundle.spec)?;
    let (plan, errors) = plan::compile_all(bundle, &host, options);
    found.errors.extend(errors);
    probe(&plan, &mut found);
    found.warnings.extend(plan.warnings);
    Ok(found)
}

/// The root file system's path on the host.
pub fn rootfs(bundle: &Bundle) -> PathBuf {
    bundle.spec.root.as_ref().map_or_else(|| bundle.dir.clone(), |root| root.on_host(&bundle.dir))
}

/// A link in the place of the root file system could be turned elsewhere between look and use.
fn check_rootfs(bundle: &Bundle) -> Result<()> {
    let path = rootfs(bundle);
    let kind = std::fs::symlink_metadata(&path).what(|| format!("rootfs {path:?}"));
    let wrong = match kind {
        Ok(kind) if kind.is_dir() => return Ok(()),
        Ok(kind) if kind.is_symlink() => Error::new(format!("rootfs {path:?} is a symlink")),
        Ok(_) => Error::new(format!("rootfs {path:?} is not a directory")),
        Err(error) => error,
    };
    Err(wrong.from_property("/root/path"))
}

/// Makes a container. Whatever fails, nothing of it is left.
///
/// # Errors
/// The step that failed.
pub fn create(request: &Request, interrupt: Option<&Interrupt>) -> Result<Created> {
    let mut state = State {
        format: FORMAT,
        boot: BootId::current()?,
        oci_version: request.bundle.spec.oci_version.clone(),
        id: request.id.to_string(),
        bundle: request.bundle.dir.clone(),
        rootfs: rootfs(request.bundle),
        created: humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string(),
        annotations: request.bundle.spec.annotations.clone(),
        cgroup: request.plan.cgroup.clone(),
        unit: request.plan.unit.clone(),
        resctrl: request.plan.resctrl.clone(),
        shared_pid_namespace: !has_new_pid_namespace(request.bundle),
        hooks: later_hooks(request.plan),
        denies_execve: request.plan.denies_execve,
        no_process: request.bundle.spec.process.is_none(),
        init: None,
        complete: false,
        file: None,
        directory: None,
    };
    let mut console = Ends::new(&request.bundle.spec, request.console_socket.as_deref(), request.mode.is_detached())?;
    let record = Record::begin(request.root, &request.id)?;
    (state.file, state.directory) = (Some(record.file.clone()), Some(record.directory.clone()));
    // Only now: another container of this id, whose cgroups these were, is gone.
    let class = state.resctrl.iter_mut().try_for_each(OwnDirectory::probe);
    let class = class.map_err(|error| error.from_property("/linux/intelRdt"));
    let probed = state.cgroup.iter_mut().try_for_each(Directory::probe);
    if state.unit.is_some() {
        // Empty cgroups of the unit's name are what an earlier one has left.
        state.cgroup.iter_mut().for_each(|directory| directory.existed = false);
    }
    let probed = probed.map_err(|error| error.from_property("/linux/cgroupsPath"));
    if let Err(error) = class.and(probed).and_then(|()| record.state(&state)) {
        record.withdraw();
        return Err(error);
    }
    let identity = std::cell::OnceCell::new();
    let launched = listen(request, &record).and_then(|notify| {
        let (process, terminal) = launch(request, &record, &state, &identity, &mut console, interrupt)?;
        Ok((process, terminal, notify))
    });
    match launched {
        Ok((process, terminal, notify)) => {
            state.init = identity.into_inner();
            state.complete = true;
            Ok(Created { process, state, terminal, notify })
        }
        Err(error) => Err(undo(&request.id, &state, request.warn, error)),
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
    let hook = |step: &Step| match &step.action {
        Action::Hook(hook) => Some((**hook).clone()),
        _ => None,
    };
    watched.chain(plan.later.iter().filter_map(hook)).collect()
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
    request: &Request,
    record: &Record,
    state: &State,
    identity: &std::cell::OnceCell<Init>,
    console: &mut Ends,
    interrupt: Option<&Interrupt>,
) -> Result<(Process, Option<OwnedFd>)> {
    let (page, outlet, goes_on) = start_means(request, record)?;
    let mut launch = Launch {
        plan: request.plan,
        page,
        outlet: outlet.into(),
        goes_on,
        trace: request.trace,
        fault: request.fault,
        interrupt,
        opened: std::cell::RefCell::default(),
        record: &|pid, process| {
            let init = Init::of(pid, process)?;
            let _ = identity.set(init);
            record.init(&init)
        },
        state_for: &|kind, pid| state_for(state, kind, Some(pid)),
        console: console.init.take().into(),
        bundle: &state.bundle,
        hand_over: &|pid, descriptor, to| listener::hand_over(state, pid, &descriptor, to),
        guard: std::cell::OnceCell::new(),
    };
    let process = launch.run()?;
    let finish = || {
        let terminal = console.receive()?;
        record.complete()?;
        // The last that can fail: a file that is left would name a process that is gone.
        if let Some(path) = &request.pid_file {
            pid_file::write(path, process.pid.as_raw())?;
        }
        Ok(terminal)
    };
    match finish() {
        Ok(terminal) => {
            launch.keep();
            Ok((process, terminal))
        }
        Err(error) => Err(launch.undo(Some(&process), error)),
    }
}

/// How the init is started: its page, its one descriptor where code of the image can look, and what is read of that.
fn start_means(request: &Request, record: &Record) -> Result<(StartPage, Option<OwnedFd>, Option<GoesOn>)> {
    let owner = request.plan.user_on_host.filter(|_| !request.plan.start_hooks.is_empty());
    if request.mode == Mode::Create {
        let fifo = exec_fifo::make(&*record.directory, owner)?;
        return Ok((StartPage::create(&*record.directory)?, Some(fifo), None));
    }
    let is_watched = !request.plan.start_hooks.is_empty() || request.plan.listener.is_some();
    let page = StartPage::unnamed(is_watched || request.plan.joins_pid_namespace)?;
    if !is_watched {
        return Ok((page, None, Some(GoesOn::default())));
    }
    let (outlet, read) = exec_fifo::unnamed(owner)?;
    Ok((page, Some(outlet), Some(GoesOn { outlet: Some(read).into() })))
}
