//! The cgroup hierarchies of this host and their mount points.

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::sys::file;

/// Where every distribution mounts cgroups.
pub const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// The v1 hierarchy without a controller that is systemd's own.
pub const SYSTEMD: &str = "name=systemd";

/// Whether a cgroup, as /proc/PID/cgroup spells it, is outside of the reader's cgroup namespace.
pub fn is_outside(cgroup: &str) -> bool {
    cgroup == "/.." || cgroup.starts_with("/../")
}

/// Checks that a path is a normal one below the place where cgroups are mounted, in which only root can create files.
///
/// # Errors
/// The reason, as the end of a sentence about the path.
pub fn check_below_mount_point(path: &str) -> std::result::Result<(), &'static str> {
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err("is not a normal path");
    }
    match path.strip_prefix(MOUNT_POINT) {
        Some(rest) if rest.len() > 1 && rest.starts_with('/') => Ok(()),
        _ => Err(OUTSIDE),
    }
}

const OUTSIDE: &str = "is not below a mounted cgroup hierarchy";

/// Whether one cgroup, as /proc/PID/cgroup spells it, is another one or below it.
pub fn is_at_or_below(cgroup: &str, other: &str) -> bool {
    cgroup.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// What identifies it: `memory`, `cpu,cpuacct`, `name=systemd`; empty for v2.
    pub controllers: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// In which of its cgroups ferrun itself runs.
    pub own: String,
}

impl Hierarchy {
    /// Whether it has this v1 controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|one| one == controller)
    }

    /// Whether it is systemd's own of v1.
    pub fn is_systemds(&self) -> bool {
        self.controllers == SYSTEMD
    }

    /// The path of a cgroup directory from its root, `/c1`; `None` for the root and outside of this hierarchy.
    pub fn relative<'a>(&self, directory: &'a str) -> Option<&'a str> {
        directory.strip_prefix(&*self.mount_point).filter(|path| path.len() > 1 && path.starts_with('/'))
    }

    /// The last part of its mount point.
    pub fn name(&self) -> &str {
        self.mount_point.rsplit('/').next().unwrap_or_default()
    }
}

/// The hierarchies of a host: only `unified` on v2, only `v1` on v1, both on a hybrid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The v1 hierarchies.
    pub v1: Vec<Hierarchy>,
    /// The v2 hierarchy.
    pub unified: Option<Hierarchy>,
}

impl Layout {
    /// Asks the kernel: the file system at the mount point, and /proc/self/cgroup, which is one line a
    /// hierarchy however many mounts the host has. A hierarchy that is not mounted is left out.
    pub fn probe() -> Result<Layout> {
        let lines = file::read("/proc/self/cgroup").what(|| "read /proc/self/cgroup")?;
        let lines = String::from_utf8_lossy(&lines);
        let v2 = is(MOUNT_POINT, CGROUP2_SUPER_MAGIC)?;
        let mut layout = Layout::default();
        for line in lines.lines() {
            let Some((controllers, own)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')) else {
                continue;
            };
            let mount_point = match controllers {
                "" if v2 => MOUNT_POINT.to_owned(),
                "" => format!("{MOUNT_POINT}/unified"),
                _ if v2 => continue,
                _ => format!("{MOUNT_POINT}/{}", controllers.strip_prefix("name=").unwrap_or(controllers)),
            };
            let hierarchy = Hierarchy { controllers: controllers.to_owned(), mount_point, own: own.to_owned() };
            match controllers {
                "" if v2 || is(&hierarchy.mount_point, CGROUP2_SUPER_MAGIC)? => layout.unified = Some(hierarchy),
                "" => {}
                _ if is(&hierarchy.mount_point, CGROUP_SUPER_MAGIC)? => layout.v1.push(hierarchy),
                _ => {}
            }
        }
        Ok(layout)
    }

    /// All of them.
    pub fn hierarchies(&self) -> impl Iterator<Item = &Hierarchy> {
        self.v1.iter().chain(&self.unified)
    }

    /// The hierarchy that a directory lies in, and the path from its root.
    ///
    /// # Errors
    /// The reason why it is no cgroup, as the end of a sentence about the path.
    pub fn find<'a>(&self, path: &'a str) -> std::result::Result<(&Hierarchy, &'a str), &'static str> {
        // Of a path that is none of these it matters first that it is not normal.
        check_below_mount_point(path)?;
        let inside = |hierarchy| Hierarchy::relative(hierarchy, path).map(|inside| (hierarchy, inside));
        self.hierarchies().find_map(inside).ok_or(OUTSIDE)
    }

    /// Whether only v2 is there.
    pub fn is_v2(&self) -> bool {
        self.v1.is_empty() && self.unified.is_some()
    }

    /// The v1 hierarchy with this controller.
    pub fn v1_with(&self, controller: &str) -> Option<&Hierarchy> {
        self.v1.iter().find(|hierarchy| hierarchy.has(controller))
    }

    /// In words: `cgroup v1`, `cgroup v1 (hybrid)`, `cgroup v2`, `no cgroups`.
    pub fn describe(&self) -> &'static str {
        match (self.v1.is_empty(), &self.unified) {
            (false, None) => "cgroup v1",
            (false, Some(_)) => "cgroup v1 (hybrid)",
            (true, Some(_)) => "cgroup v2",
            (true, None) => "no cgroups",
        }
    }
}

/// Whether a directory is of this file system; one that is missing is not.
pub(super) fn is(path: &str, magic: FsType) -> Result<bool> {
    match statfs(path) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
        found => Ok(found.what(|| format!("examine {path}"))?.filesystem_type() == magic),
    }
}
