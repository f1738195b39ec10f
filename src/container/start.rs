//! `start`.

use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;

use super::delete::destroy;
use super::hooks::{Warn, poststart};
use super::id::Id;
use super::state::{Root, State};
use super::status::{Status, status};
use crate::error::{Context, Error, Result};
use crate::launch::gate;
use crate::launch::notify::{self, Notify};

/// Lets a created container execute its program.
///
/// # Errors
/// A container in another state; a program that cannot be executed; a hook that fails, after which the
/// container is gone, as runtime.md of the OCI runtime spec demands.
pub fn start(root: &Root, id: &Id, warn: Warn) -> Result<()> {
    root.load(id)?;
    // Of two starts at once the second finds the container running.
    let directory = File::open(root.of(id)).what(|| format!("open the state directory of {id}"))?;
    let lock = Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, errno)| Error::os("lock the state directory", errno))?;
    let state: State = root.load(id)?;
    let (status, process) = status(root, id, &state)?;
    match status {
        Status::Created => {}
        Status::Creating => return Err(Error::new(format!("cannot start container {id}: it is not created yet"))),
        Status::Running => return Err(Error::new(format!("cannot start an already running container: {id}"))),
        Status::Paused => return Err(Error::new(format!("cannot start a container in the paused state: {id}"))),
        Status::Stopped => return Err(Error::new(format!("cannot start a container that has stopped: {id}"))),
    }
    // Only a container that was made for it has a place for the socket.
    let notify = notify::wanted().filter(|_| root.of(id).join(notify::DIRECTORY).exists());
    let notify = notify.map(|host| Notify::listen(&root.of(id), &host)).transpose()?;
    let started = gate::open(&root.of(id)).and_then(|()| poststart(&state, None));
    started.map_err(|error| match error.code() {
        _ if error.pointer.as_deref().is_some_and(|pointer| pointer.starts_with("/hooks/")) => {
            // The error that is told is the hook's.
            let _ = destroy(root, id, &state, warn);
            error
        }
        // A start that was killed half-way had opened the gate.
        Errno::ENXIO => {
            let _ = std::fs::remove_file(root.of(id).join(gate::FIFO));
            Error::new(format!("cannot start an already running container: {id}"))
        }
        _ => error,
    })?;
    // Others need not wait for the program.
    drop(lock);
    if let (Some(notify), Some(init), Some(process)) = (notify, state.init, process) {
        notify.wait(Pid::from_raw(init.pid), process.as_fd());
    }
    Ok(())
}
