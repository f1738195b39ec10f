//! A user namespace without a process in it.

use std::io::Read;
use std::os::fd::OwnedFd;

use nix::sched::CloneFlags;

use super::clone::{Side, clone3};
use super::{pidfd, program};

/// Lets `look` write the maps of a new user namespace and open it, through the /proc directory of the one
/// process in it, which ends then: a descriptor keeps the namespace.
///
/// # Errors
/// Those of clone3(2).
pub fn with_maps<T>(look: impl FnOnce(&str) -> T) -> nix::Result<T> {
    let (end, held) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    match clone3(CloneFlags::CLONE_NEWUSER, None)? {
        Side::Child => {
            drop(held);
            wait_for_close(end);
            program::exit(0)
        }
        Side::Parent(pid, process) => {
            let looked = look(&format!("/proc/{pid}"));
            drop(held);
            let _ = pidfd::wait(process);
            Ok(looked)
        }
    }
}

/// Also when ferrun dies.
fn wait_for_close(end: OwnedFd) {
    let _ = std::fs::File::from(end).read(&mut [0]);
}
