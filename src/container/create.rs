//! `create`, and the first half of `run`.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

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
use crate::launch::{Container, GoesOn, Launch, Means, Process};
use crate::plan::{self, Host, Plan};
use crate::process::hook::{Hook, Kind};
use crate::seccomp::profile::Listener;

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
    let lanes = Lanes { record: &record, state: &state, init: OnceCell::new() };
    let launched = listen(request, &record).and_then(|notify| {
        let (process, terminal) = launch(request, &lanes, &mut console, interrupt)?;
        Ok((process, terminal, notify))
    });
    let init = lanes.init.into_inner();
    match launched {
        Ok((process, terminal, notify)) => {
            state.init = init;
            state.complete = true;
            Ok(Created { process, state, terminal, notify })
        }
        Err(error) => Err(undo(&request.id, &state, request.warn, error)),
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
        listener::hand_over(self.state, init, &descriptor, to)
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
    request: &Request,
    lanes: &Lanes,
    console: &mut Ends,
    interrupt: Option<&Interrupt>,
) -> Result<(Process, Option<OwnedFd>)> {
    let launch = Launch {
        plan: request.plan,
        container: lanes,
        means: means(request, lanes.record)?,
        console: console.init.take().into(),
        trace: request.trace,
        fault: request.fault,
        interrupt,
    };
    let launched = launch.run()?;
    let finish = || {
        let terminal = console.receive()?;
        lanes.record.complete()?;
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
fn means(request: &Request, record: &Record) -> Result<Means> {
    let owner = request.plan.user_on_host.filter(|_| !request.plan.start_hooks.is_empty());
    if request.mode == Mode::Create {
        let outlet = exec_fifo::make(&*record.directory, owner)?;
        return Ok(Means { page: StartPage::create(&*record.directory)?, outlet: Some(outlet).into(), goes_on: None });
    }
    let is_watched = !request.plan.start_hooks.is_empty() || request.plan.listener.is_some();
    let page = StartPage::unnamed(is_watched || request.plan.joins_pid_namespace)?;
    if !is_watched {
        return Ok(Means { page, outlet: None.into(), goes_on: Some(GoesOn::default()) });
    }
    let (outlet, read) = exec_fifo::unnamed(owner)?;
    Ok(Means { page, outlet: Some(outlet).into(), goes_on: Some(GoesOn { outlet: Some(read).into() }) })
}
