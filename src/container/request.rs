//! A new container as the caller asks for it, and its plan: what `create` and `run` share before anything of it exists.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::hooks::Warn;
use super::id::Id;
use super::program;
use super::state::Root;
use crate::bundle::{self, Bundle, Problems};
use crate::error::{Context, Error, Result};
use crate::launch::fault::Fault;
use crate::launch::host_checks;
use crate::launch::notify;
use crate::launch::trace::{Moment, Trace};
use crate::plan::step::PARENT;
use crate::plan::{self, Host, Options, Plan};

/// How the command goes on once the container is created.
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

/// What the caller asks for.
pub struct Request<'a> {
    /// Where states are kept.
    pub root: &'a Root,
    /// The container's id.
    pub id: Id,
    /// The directory with config.json.
    pub bundle: &'a Path,
    /// How the command goes on.
    pub mode: Mode,
    /// How the plan is made; its id and notify directory are those of this request.
    pub options: Options,
    /// Where to write the init's pid.
    pub pid_file: Option<PathBuf>,
    /// The socket that gets its terminal.
    pub console_socket: Option<PathBuf>,
    /// The socket that gets the init's descriptor.
    pub pidfd_socket: Option<PathBuf>,
    /// Where each step's time is written.
    pub trace: Option<PathBuf>,
    /// A failure that a test asks for.
    pub fault: Option<Fault>,
    /// The socket of a service manager that wants to hear from the program: NOTIFY_SOCKET.
    pub notify: Option<OsString>,
    /// Where warnings go.
    pub warn: Warn<'a>,
    /// Whether they arrive there: some take time to find.
    pub hears_warnings: bool,
}

/// A request with its bundle and plan.
pub struct Planned<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) bundle: Bundle,
    pub(super) plan: Plan,
    pub(super) trace: Option<Trace>,
    begin: Moment,
}

impl<'a> Request<'a> {
    /// A container as its config has it, with nothing else asked for.
    pub fn new(root: &'a Root, id: Id, bundle: &'a Path, mode: Mode, warn: Warn<'a>) -> Request<'a> {
        let (options, pid_file, console_socket, pidfd_socket) = Default::default();
        let (trace, fault, notify) = Default::default();
        let hears_warnings = true;
        Request {
            root,
            id,
            bundle,
            mode,
            options,
            pid_file,
            console_socket,
            pidfd_socket,
            trace,
            fault,
            notify,
            warn,
            hears_warnings,
        }
    }
}

impl Request<'_> {
    /// Reads the bundle and plans it for this host.
    ///
    /// # Errors
    /// Those of the bundle, with the lines of their properties; a trace that cannot be written.
    pub fn plan(&self) -> Result<Planned<'_>> {
        let trace = self.trace.as_deref().map(Trace::begin).transpose()?;
        let begin = trace.as_ref().map_or_else(Moment::default, Trace::now);
        match self.compile() {
            Ok((bundle, plan)) => {
                trace.iter().for_each(|trace| trace.phase(PARENT, "plan", begin));
                Ok(Planned { request: self, bundle, plan, trace, begin })
            }
            Err(error) => {
                self.end(trace.as_ref(), begin);
                Err(error)
            }
        }
    }

    /// Ends the trace. One that could not be written changes nothing about what was done.
    fn end(&self, trace: Option<&Trace>, begin: Moment) {
        let Some(trace) = trace else { return };
        trace.phase(PARENT, "all", begin);
        if let Err(error) = trace.end() {
            (self.warn)(&error);
        }
    }

    fn compile(&self) -> Result<(Bundle, Plan)> {
        let bundle = bundle::load(self.bundle)?;
        bundle.warnings.iter().for_each(self.warn);
        if self.hears_warnings {
            bundle.unknown().iter().for_each(self.warn);
        }
        let plan = plan(&bundle, &self.options(false)).map_err(|error| bundle.locate(error))?;
        plan.warnings.iter().for_each(self.warn);
        Ok((bundle, plan))
    }

    fn options(&self, moves: bool) -> Options {
        let notify = self.notify.as_ref().map(|_| self.root.of(&self.id).join(notify::DIRECTORY));
        Options { id: self.id.to_string(), notify, moves, ..self.options.clone() }
    }
}

impl Planned<'_> {
    /// Does what is planned, and ends the trace.
    pub(super) fn carry_out<T>(&self, act: impl FnOnce(&Planned) -> Result<T>) -> Result<T> {
        let done = act(self).map_err(|error| self.bundle.locate(error));
        self.request.end(self.trace.as_ref(), self.begin);
        done
    }

    /// The same plan, but that the init moves to its cgroup of v2.
    pub(super) fn plan_that_moves(&self) -> Result<Plan> {
        plan(&self.bundle, &self.request.options(true))
    }

    /// Reports a warning with the line of its property.
    pub fn warn(&self, warning: &Error) {
        (self.request.warn)(&self.bundle.locate(warning.clone()));
    }
}

/// Plans a bundle for this host.
///
/// # Errors
/// Properties that cannot be honoured; a missing root file system.
fn plan(bundle: &Bundle, options: &Options) -> Result<Plan> {
    check_rootfs(bundle)?;
    let mut plan = plan::compile(bundle, &Host::for_spec(&bundle.spec)?, options)?;
    plan.warnings = bundle.locate_all(plan.warnings);
    Ok(plan)
}

/// Everything that keeps a bundle from running on this host, as far as it can be known without running it.
///
/// # Errors
/// A host that cannot be looked at.
pub fn problems(bundle: &Bundle, options: &Options) -> Result<Problems> {
    let mut found = Problems::default();
    found.errors.extend(check_rootfs(bundle).err());
    let host = Host::for_spec(&bundle.spec)?;
    let (plan, errors) = plan::compile_all(bundle, &host, options);
    found.errors.extend(errors);
    host_checks::check(&plan, &mut found);
    found.warnings.extend(plan.warnings.into_iter().chain(plan.remarks));
    found.warnings.extend(program::missing(bundle));
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
