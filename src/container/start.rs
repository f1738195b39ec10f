//! `start`.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::rc::Rc;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;

use super::delete::destroy;
use super::directory::Purpose;
use super::hooks::{Warn, poststart};
use super::id::Id;
use super::state::{Root, State};
use super::status::{Status, status};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::launch::exec_fifo;
use crate::launch::exit_reason::no_execve;
use crate::launch::notify::{self, Notify};
use crate::launch::start_page::{self, Phase, StartPage};
use crate::launch::trace::Trace;
use crate::launch::watch::{Ended, Watch};
use crate::process::hook::Hook;
use crate::types::hooks::Kind;

/// Lets a created container execute its program. `manager` is the socket of a service manager that wants to hear from it:
/// NOTIFY_SOCKET.
///
/// # Errors
/// A container in another state; a program that cannot be executed; a hook that fails, after which the
/// container is gone, as runtime.md of the OCI runtime spec demands.
pub fn start(root: &Root, id: &Id, manager: Option<&OsStr>, trace: Option<&Trace>, warn: Warn) -> Result<()> {
    let directory = Rc::new(root.directory(id, Purpose::Act)?.ok_or_else(|| root.missing(id))?);
    // Of two starts at once the second finds the container running.
    let lockable = directory.lockable().what(|| format!("open the state directory of {id}"))?;
    let lock = Flock::lock(lockable, FlockArg::LockExclusive)
        .map_err(|(_, errno)| Error::os("lock the state directory", errno))?;
    let state = State::read(directory.clone(), id, Purpose::Act)?.ok_or_else(|| root.missing(id))?;
    let (status, process) = status(&state)?;
    match status {
        Status::Created => {}
        Status::Creating => return Err(Error::state(format!("cannot start container {id}: it is not created yet"))),
        Status::Running => return Err(Error::state(format!("cannot start an already running container: {id}"))),
        Status::Paused => return Err(Error::state(format!("cannot start a container in the paused state: {id}"))),
        Status::Stopped => return Err(Error::state(format!("cannot start a container that has stopped: {id}"))),
    }
    if state.no_process {
        let error = Error::state(format!("cannot start container {id}: process must be set"));
        return Err(error.hint("delete the container and create it from a config with process"));
    }
    let (Some(init), Some(process)) = (state.init, process) else {
        return Err(Error::state(format!("cannot start a container that has stopped: {id}")));
    };
    let Some(page) = StartPage::open(&*directory)? else {
        let error = Error::new(format!("cannot start container {id}: an older ferrun has created it"));
        return Err(error.hint("start it with the ferrun that created it, or delete it and create it anew"));
    };
    if page.phase() == Phase::SettingUp {
        let error = Error::new(format!("start container {id}: its start page is damaged"));
        return Err(error.hint("delete the container with --force"));
    }
    // Only a container that was made for it has a place for the socket.
    let notify = match manager {
        Some(manager) if notify::has_directory(&*directory)? => {
            Some(Notify::listen(&*directory, directory.path(), manager)?)
        }
        _ => None,
    };
    let hooks: Vec<Hook> = state.hooks.iter().filter(|hook| hook.kind == Kind::StartContainer).cloned().collect();
    let mut watch = Watch {
        pid: Pid::from_raw(init.pid),
        process: process.as_fd(),
        page: &page,
        outlet: Some(exec_fifo::open_to_read(&*directory)?),
        hooks: &hooks,
        denies_execve: state.denies_execve,
        interrupt: None,
        cgroup: &state.cgroup,
    };
    // One that was started by a command that was killed is waited for as well.
    page.start();
    let started = watch.until_executed(&mut || Ok(())).map_err(|ended| reason(ended, &state, page.phase()));
    trace.iter().for_each(|trace| trace.allocated(page.allocated()));
    started.and_then(|()| poststart(&state, None)).map_err(|error| {
        if error.kind != ErrorKind::Hook {
            return error;
        }
        match destroy(id, &state, warn) {
            Ok(()) => error,
            Err(other) => error.note(other.to_string()),
        }
    })?;
    let _ = directory.remove(exec_fifo::FIFO);
    let _ = directory.remove(start_page::FILE);
    // Others need not wait for the program.
    drop(lock);
    if let Some(notify) = notify {
        notify.wait(Pid::from_raw(init.pid), process.as_fd());
    }
    Ok(())
}

fn reason(ended: Ended, state: &State, phase: Phase) -> Error {
    match ended {
        Ended::Failed(error) => error,
        Ended::Died if state.denies_execve && phase == Phase::Executing => no_execve(),
        Ended::Died => Error::new(format!("container {} was killed before its program ran", state.id)),
    }
}
