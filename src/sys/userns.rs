//! A user namespace without a process in it.

use std::io::Read;
use std::os::fd::OwnedFd;

use nix::sched::CloneFlags;

use super::child::{Child, Options};

/// Lets `look` write the maps of a new user namespace and open it, through the /proc directory of the one
/// process in it, which ends then: a descriptor keeps the namespace.
///
/// # Errors
/// Those of pipe2(2) and clone3(2).
pub fn with_maps<T>(look: impl FnOnce(&str) -> T) -> nix::Result<T> {
    let (end, held) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let options = Options { flags: CloneFlags::CLONE_NEWUSER, ..Options::default() };
    let (mut child, held) = Child::create_with(&options, held, move |_| {
        wait_for_close(end);
        0
    })?;
    let looked = look(&format!("/proc/{}", child.pid()));
    drop(held);
    let _ = child.wait();
    Ok(looked)
}

/// Also when ferrun dies.
fn wait_for_close(end: OwnedFd) {
    let _ = std::fs::File::from(end).read(&mut [0]);
}
