//! `create`, and the first half of `run`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::SigSet;

use super::delete::destroy;
use super::hooks::{Warn, state_for};
use super::id::Id;
use super::listener;
use super::state::{Init, Record, Root, State};
use crate::bundle::Bundle;
use crate::bundle::linux::NamespaceKind;
use crate::cgroup::directory::Directory;
use crate::cgroup::resctrl::OwnDirectory;
use crate::error::{Context, Error, Result};
use crate::launch::fault::Fault;
use crate::launch::gate::Gate;
use crate::launch::trace::Trace;
use crate::launch::{Launch, Process};
use crate::plan::{self, Action, Host, Plan, Step};
use crate::process::hook::Hook;

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
    /// Whether the program waits for `start`.
    pub wait_for_start: bool,
    /// The signal mask of the program.
    pub signal_mask: SigSet,
    /// Where each step's time is written.
    pub trace: Option<&'a Trace>,
    /// A failure that a test asks for.
    pub fault: Option<Fault>,
    /// Where warnings go.
    pub warn: Warn<'a>,
}

/// A container that was made.
pub struct Created {
    /// Its init.
    pub process: Process,
    /// Its state.
    pub state: State,
}

/// Plans a bundle for this host.
///
/// # Errors
/// Properties that cannot be honoured; a root file system that is not there.
pub fn plan(bundle: &Bundle, options: &plan::Options) -> Result<Plan> {
    check_rootfs(bundle)?;
    let mut plan = plan::compile(bundle, &Host::probe()?.with_facts_for(&bundle.spec), options)?;
    plan.warnings = plan.warnings.into_iter().map(|warning| bundle.locate(warning)).collect();
    Ok(plan)
}

/// The root file system's path on the host.
pub fn rootfs(bundle: &Bundle) -> PathBuf {
    let path = bundle.spec.root.as_ref().map(|root| root.path.to_string_lossy().into_owned());
    bundle.dir.join(path.unwrap_or_default())
}

/// A link in the place of the root file system could be turned elsewhere between look and use.
fn check_rootfs(bundle: &Bundle) -> Result<()> {
    // Without a slash at the end, which would make the kernel follow the link.
    let path: PathBuf = rootfs(bundle).components().collect();
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
pub fn create(request: &Request) -> Result<Created> {
    let mut state = State {
        oci_version: request.bundle.spec.oci_version.clone(),
        id: request.id.to_string(),
        bundle: request.bundle.dir.clone(),
        rootfs: rootfs(request.bundle),
        created: humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string(),
        annotations: request.bundle.spec.annotations.clone(),
        cgroup: request.plan.cgroup.clone(),
        resctrl: request.plan.resctrl.clone(),
        shared_pid_namespace: !has_new_pid_namespace(request.bundle),
        hooks: later_hooks(request.plan),
        init: None,
        complete: false,
    };
    let record = Record::begin(request.root, &request.id)?;
    // Only now: another container of this id, whose cgroups these were, is gone.
    state.resctrl.iter_mut().for_each(OwnDirectory::probe);
    let probed = state.cgroup.iter_mut().try_for_each(Directory::probe);
    let probed = probed.map_err(|error| error.from_property("/linux/cgroupsPath"));
    if let Err(error) = probed.and_then(|()| record.state(&state)) {
        let _ = std::fs::remove_dir_all(&record.directory);
        return Err(error);
    }
    match launch(request, &record, &state) {
        Ok(process) => {
            state.init = Init::of(process.pid, &process.fd).ok();
            state.complete = true;
            Ok(Created { process, state })
        }
        Err(error) => {
            // The error that is told is the one that began it.
            let _ = destroy(request.root, &request.id, &state, request.warn);
            Err(error)
        }
    }
}

/// Those that this command, or one after it, runs outside of the lanes.
fn later_hooks(plan: &Plan) -> Vec<Hook> {
    let hook = |step: &Step| match &step.action {
        Action::Hook(hook) => Some(hook.clone()),
        _ => None,
    };
    plan.later.iter().filter_map(hook).collect()
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

fn launch(request: &Request, record: &Record, state: &State) -> Result<Process> {
    let gate = if request.wait_for_start { Some(Gate::make(&record.directory)?) } else { None };
    let launch = Launch {
        plan: request.plan,
        gate,
        signal_mask: request.signal_mask,
        trace: request.trace,
        fault: request.fault,
        opened: std::cell::RefCell::default(),
        record: &|pid, process| record.init(&Init::of(pid, process)?),
        state_for: &|kind, pid| state_for(state, kind, Some(pid)),
        bundle: &state.bundle,
        hand_over: &|pid, descriptor, to| listener::hand_over(state, pid, &descriptor, to),
        listener: None,
    };
    let process = launch.run()?;
    let finish = || {
        if let Some(path) = &request.pid_file {
            write_pid_file(path, process.pid.as_raw())?;
        }
        record.complete()
    };
    finish().inspect_err(|_| process.kill_and_reap())?;
    Ok(process)
}

/// The descriptors that the caller wants passed on must be there. To be called before ferrun opens any
/// of its own, which would take their numbers.
pub fn check_descriptors(count: u32) -> Result<()> {
    match (3..3 + count).find(|number| !crate::sys::fd::is_open(*number as i32)) {
        Some(number) => Err(Error::new(format!("--preserve-fds: descriptor {number} is not open"))),
        None => Ok(()),
    }
}

/// Writes a pid without a newline, as engines parse the whole file as a number, under another name
/// first: nobody reads half of it.
fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let what = || format!("write pid file {path:?}");
    let name = path.file_name().ok_or_else(|| Error::new(format!("{path:?} is no name for a pid file")))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    // One that a killed ferrun left.
    let _ = std::fs::remove_file(&temporary);
    let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o666).open(&temporary);
    let written = options.what(what)?.write_all(pid.to_string().as_bytes());
    written.and_then(|()| std::fs::rename(&temporary, path)).what(what).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}
