//! Cgroups that exist before the container: whether it can have them.

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::directory::Directory;
use super::freezer;
use super::members::has_members;
use crate::error::{Context, Error, Result};

/// Records whether the directory exists already.
///
/// # Errors
/// One with processes in it, or below: they would be the container's from then on. One that is frozen: so
/// would be the container's first process, and whoever waits for it.
pub fn probe(directory: &mut Directory) -> Result<()> {
    directory.existed = match access(&*directory.path, AccessFlags::F_OK) {
        Ok(()) => true,
        Err(Errno::ENOENT | Errno::ENOTDIR) => false,
        Err(errno) => return Err(errno).what(|| format!("examine cgroup {}", directory.path)),
    };
    if directory.existed && has_members(std::slice::from_ref(directory))? {
        return Err(Error::new(format!("container's cgroup is not empty: {}", directory.path)));
    }
    if directory.existed && freezer::stops_who_enters(&directory.path)? {
        return Err(Error::new(format!("container's cgroup unexpectedly frozen: {}", directory.path)));
    }
    Ok(())
}
