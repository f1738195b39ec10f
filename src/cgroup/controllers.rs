//! The directory of each controller of a container, such as the freezer: on v1 one a hierarchy, on v2 one for all.

use nix::sys::statfs::CGROUP2_SUPER_MAGIC;

use super::directory::Directory;
use super::layout::{self, MOUNT_POINT};
use crate::error::{Error, Result};

/// The directories of a container's controllers. A hybrid host counts as v1: its controllers are there.
#[derive(Clone, Copy, Debug)]
pub enum Controllers<'a> {
    /// A directory in each hierarchy.
    V1(&'a [Directory]),
    /// The one directory.
    V2(&'a str),
}

impl<'a> Controllers<'a> {
    /// Examines which kind of host this is.
    ///
    /// # Errors
    /// A container without cgroups.
    pub fn of(directories: &'a [Directory]) -> Result<Controllers<'a>> {
        let first = directories.first().ok_or_else(|| {
            Error::new("the container has no cgroup")
                .hint("it was created with --cgroup-manager disabled, or this host has no cgroups")
        })?;
        let v2 = layout::is(MOUNT_POINT, CGROUP2_SUPER_MAGIC)?;
        Ok(if v2 { Controllers::V2(&first.path) } else { Controllers::V1(directories) })
    }

    /// The directory with the files of a controller; `None` for a v1 controller that the host lacks.
    pub fn directory(&self, controller: &str) -> Option<&'a str> {
        match self {
            Controllers::V2(path) => Some(path),
            Controllers::V1(directories) => {
                let mut paths = directories.iter().map(|directory| &*directory.path);
                paths.find(|path| hierarchy_of(path).split(',').any(|one| one == controller))
            }
        }
    }
}

/// The v1 hierarchy that a path is in: `cpu,cpuacct` of `/sys/fs/cgroup/cpu,cpuacct/c1`.
fn hierarchy_of(path: &str) -> &str {
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
        let controllers = Controllers::V1(&directories);
        for (controller, index) in [("cpu", 0), ("cpuacct", 0), ("memory", 1)] {
            assert_eq!(controllers.directory(controller), Some(&*directories[index].path), "{controller}");
        }
        assert_eq!(controllers.directory("a"), None);
        assert_eq!(Controllers::V2("/x").directory("pids"), Some("/x"));
        assert!(Controllers::of(&[]).is_err());
    }
}
