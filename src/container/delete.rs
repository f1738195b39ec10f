//! `delete`, and undoing whatever there is of a container.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::boot::Boot;
use super::directory::{Purpose, StateDirectory};
use super::hooks::{self, Warn};
use super::id::Id;
use super::kept_config;
use super::newer_format;
use super::state::{self, Root, State};
use super::status::{Status, status};
use crate::cgroup;
use crate::cgroup::directory::Directory;
use crate::error::{Context, Error, Result};
use crate::launch::notify;
use crate::resctrl::own_directory::OwnDirectory;
use crate::sys::pidfd;
use crate::sys::socket::through;

/// Deletes a stopped container; with `force` one in any state, and one that a killed ferrun left half
/// made.
///
/// # Errors
/// A container that is not stopped, or (without `force`) that is not there. Without `force` also a unit that
/// systemd does not end: then the container is still there.
pub fn delete(root: &Root, id: &Id, force: bool, warn: Warn) -> Result<()> {
    let state = match root.find(id, Purpose::Act) {
        Ok(Some(state)) => state,
        // A directory without a state: ferrun was killed in the very first moment of a create.
        Ok(None) if force => {
            return root.directory(id, Purpose::Act)?.map_or(Ok(()), |there| remove_directory(&there, id).map(drop));
        }
        Ok(None) => return Err(root.missing(id)),
        Err(error) if force => return newer_format::delete(root, id, warn)?.ok_or(error),
        Err(error) => return Err(error),
    };
    if !force {
        let status = status_once_dead(&state)?;
        if status != Status::Stopped {
            return Err(Error::state(format!("cannot delete container {id} that is not stopped: {status}")));
        }
        // While the state is there, delete can be tried again when systemd is back.
        if state.which_boot()? != Boot::Other {
            stop_unit(&state, state.owns_processes()?)?;
        }
    }
    destroy(id, &state, warn)
}

/// How long a process that was killed just now may take to die before `delete` calls it alive.
const DYING: u16 = 200;

/// The status of a container, after a moment if it does not seem stopped: `kill` returns before the init is dead.
fn status_once_dead(state: &State) -> Result<Status> {
    let (before, init) = status(state)?;
    let Some(init) = init else { return Ok(before) };
    match poll(&mut [PollFd::new(init.as_fd(), PollFlags::POLLIN)], PollTimeout::from(DYING)) {
        Ok(1..) => Ok(status(state)?.0),
        _ => Ok(before),
    }
}

/// Kills and removes all that there is of a container, from its state and its cgroup: each of them is
/// enough to find the processes. Then runs the hooks that wait for this. Does nothing for a container that
/// another has deleted meanwhile: its id may be taken anew.
///
/// # Errors
/// An init of which it cannot be known whether it lives: then the state is left, too. Otherwise the error is
/// about what is left beside the state.
pub fn destroy(id: &Id, state: &State, warn: Warn) -> Result<()> {
    if let Some(init) = state.open_init()? {
        let _ = pidfd::send_signal(&init, libc::SIGKILL);
        cgroup::kill::thaw(&state.cgroup);
        cgroup::kill::wait_for_exit(&init)?;
    }
    if state.is_deleted() {
        return Ok(());
    }
    // Nothing but the state outlasts a boot: whatever has these names now is somebody else's.
    let removed = match state.which_boot()? {
        Boot::Other => Ok(()),
        boot => {
            kill_the_rest(state)?;
            dismantle(state, boot, state.owns_processes()?)
        }
    };
    // Of two at once one runs the hooks. The directory is open already: a descriptor more could be one too many.
    let remove = |directory| remove_directory(directory, id);
    if !state.is_deleted() && state.directory.as_deref().map_or(Ok(false), remove)? {
        hooks::poststop(state, warn);
    }
    removed
}

/// After a `create` that failed, whose init is gone. Another may have deleted the container before all of it was
/// there: then what was made since is left to remove.
///
/// Returns the error that began it, with what is left.
pub fn undo(id: &Id, state: &State, warn: Warn, error: Error) -> Error {
    let undone = match state.is_deleted() {
        false => destroy(id, state, warn),
        true => kill_the_rest(state).and_then(|()| dismantle(state, Boot::This, state.shared_pid_namespace)),
    };
    match undone {
        Ok(()) => error,
        Err(other) => error.note(other.to_string()),
    }
}

/// The kernel ends a pid namespace with its init; without one the others live on.
fn kill_the_rest(state: &State) -> Result<()> {
    if state.shared_pid_namespace { cgroup::kill::kill_and_wait(&state.cgroup) } else { Ok(()) }
}

/// Removes what was made beside the state.
///
/// # Errors
/// What is left.
fn dismantle(state: &State, boot: Boot, kills: bool) -> Result<()> {
    let adopted = match state.format {
        1 => state.cgroup.iter().try_for_each(Directory::adopt_above),
        _ => Ok(()),
    };
    let stopped = stop_unit(state, kills);
    let removed = cgroup::kill::remove(&state.cgroup, kills).and(stopped).and(adopted);
    removed.and(state.resctrl.as_ref().map_or(Ok(()), |class| remove_class(class, boot)))
}

/// The kernel removes a class with its tasks in it. Where those can be another boot's, it must be empty.
fn remove_class(class: &OwnDirectory, boot: Boot) -> Result<()> {
    let is_own = class.is_in_resctrl()? && (boot == Boot::This || !class.has_tasks());
    if is_own { class.remove() } else { Ok(()) }
}

/// Ends its unit, if it has one that has not ended by itself.
fn stop_unit(state: &State, kills: bool) -> Result<()> {
    state.unit.as_ref().map_or(Ok(()), |unit| unit.stop(&state.cgroup, kills))
}

/// Removes what ferrun wrote, and nothing else: `--root` and the id may name any directory. True: the state was there.
/// Of several at once one removes it, whoever removes the rest.
fn remove_directory(directory: &StateDirectory, id: &Id) -> Result<bool> {
    let remove = |name: &str| match directory.remove(name) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
        Err(errno) => Err(errno).what(|| format!("remove {name} of container {id}")),
    };
    let was_there = remove(state::CREATED)? || remove(state::CREATING)?;
    remove(kept_config::FILE)?;
    // Nearly always that was all.
    let mut removed = directory.remove_itself();
    if removed.is_err_and(|errno| errno != Errno::ENOENT) {
        // The name may be another container's by now.
        if directory.is_deleted() {
            return Ok(was_there);
        }
        let mut others = state::FILES.iter().filter(|name| **name != state::CREATED);
        others.try_for_each(|name| remove(name).map(drop))?;
        // In a user namespace the container may have mounted it writable.
        let _ = std::fs::remove_dir_all(through(directory).join(notify::DIRECTORY));
        removed = directory.remove_itself();
    }
    match removed {
        Err(Errno::ENOENT) => Ok(was_there),
        result => result.map(|()| was_there).what(|| format!("remove the state directory {:?}", directory.path())),
    }
}
