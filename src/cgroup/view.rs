//! What a container's directories are there for, once it runs: who asks for its freezer or its statistics
//! finds the right one here.

use nix::sys::statfs::CGROUP2_SUPER_MAGIC;

use super::directory::Directory;
use super::layout::{self, MOUNT_POINT};
use crate::error::{Error, Result};

/// A container's cgroup as this host shows it. A hybrid host is one of v1: its controllers are there.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// A directory in each hierarchy.
    V1(&'a [Directory]),
    /// The one directory.
    V2(&'a str),
}

impl<'a> View<'a> {
    /// Looks at what kind of host this is.
    ///
    /// # Errors
    /// A container without cgroups.
    pub fn of(directories: &'a [Directory]) -> Result<View<'a>> {
        let first = directories.first().ok_or_else(|| {
            Error::new("the container has no cgroup")
                .hint("it was created with --cgroup-manager disabled, or this host has no cgroups")
        })?;
        let v2 = layout::is(MOUNT_POINT, CGROUP2_SUPER_MAGIC)?;
        Ok(if v2 { View::V2(&first.path) } else { View::V1(directories) })
    }

    /// The directory with the files of a controller; of v1 controllers that the host has not, none.
    pub fn with(&self, controller: &str) -> Option<&'a str> {
        match self {
            View::V2(path) => Some(path),
            View::V1(directories) => {
                let mut paths = directories.iter().map(|directory| &*directory.path);
                paths.find(|path| controllers(path).split(',').any(|one| one == controller))
            }
        }
    }
}

/// The v1 hierarchy that a path is in: `cpu,cpuacct` of `/sys/fs/cgroup/cpu,cpuacct/c1`.
fn controllers(path: &str) -> &str {
    let inside = path.strip_prefix(MOUNT_POINT).unwrap_or_default();
    inside.split('/').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_found_in_its_hierarchy() {
        let directories = ["cpu,cpuacct/memory", "memory/a/b", "systemd/a/b", "unified/a/b"]
            .map(|path| Directory { path: format!("{MOUNT_POINT}/{path}").into(), existed: false });
        let view = View::V1(&directories);
        for (controller, index) in [("cpu", 0), ("cpuacct", 0), ("memory", 1)] {
            assert_eq!(view.with(controller), Some(&*directories[index].path), "{controller}");
        }
        assert_eq!(view.with("a"), None);
        assert_eq!(View::V2("/x").with("pids"), Some("/x"));
        assert!(View::of(&[]).is_err());
    }
}
