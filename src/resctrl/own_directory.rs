//! The container's directory in resctrl, which goes with it.

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use super::{is_there, mount_point};
use crate::error::{Context, Result};
use crate::sys::fd::CWD;
use crate::sys::file;

/// What `delete` removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnDirectory {
    pub(super) path: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    existed: bool,
    /// It is a group in a class of others: named after the container, so that it is the container's
    /// whoever made it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shared_class: bool,
}

impl OwnDirectory {
    /// The directory of a class of the container's own, or of a group in a shared one.
    pub fn new(path: String, shared_class: bool) -> OwnDirectory {
        OwnDirectory { path, existed: false, shared_class }
    }

    /// Looks whether it is there before the container: then it is not ours to remove.
    ///
    /// # Errors
    /// A directory that cannot be examined.
    pub fn probe(&mut self) -> Result<()> {
        self.existed = !self.shared_class && is_there(&self.path)?;
        Ok(())
    }

    /// Whether its path leads to a directory of resctrl and nowhere else. Where resctrl is not mounted any more there is
    /// nothing to remove.
    ///
    /// # Errors
    /// Those of [`mount_point`].
    pub fn is_in_resctrl(&self) -> Result<bool> {
        let Some(root) = mount_point()? else { return Ok(false) };
        let inside = self.path.strip_prefix(&*root).and_then(|inside| inside.strip_prefix('/'));
        Ok(inside.is_some_and(|inside| !inside.split('/').any(|part| matches!(part, "" | "." | ".."))))
    }

    /// Whether threads are in it, as far as that can be read.
    pub fn has_tasks(&self) -> bool {
        match file::read(format!("{}/tasks", self.path).as_str()) {
            Ok(tasks) => !tasks.is_empty(),
            Err(errno) => errno != Errno::ENOENT,
        }
    }

    /// Removes it. The kernel puts processes that are left into the class above.
    pub fn remove(&self) -> Result<()> {
        if self.existed {
            return Ok(());
        }
        match unlinkat(CWD, self.path.as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).what(|| format!("remove {}", self.path)),
        }
    }
}
