//! The container's directory in a hierarchy: its path, creating it, removing it.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkdir;
use serde::{Deserialize, Serialize};

use super::layout::{Hierarchy, is_outside};
use super::parents::{self, Top, parent};
use crate::error::{Context, Error, Result};
use crate::sys::file;

/// The container's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Its path on the host, which several steps share.
    pub path: Rc<str>,
    /// Whether it existed before the container: then it is not ours to remove.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub existed: bool,
}

/// Where the container's cgroup is, relative to a hierarchy's root.
///
/// An absolute path is taken as it is; a relative one, and the container's id where none is given, lie
/// below ferrun's own cgroup (on v2 beside it: a cgroup with processes can have no controllers for
/// children). `..` does not lead above the root, in whichever of the two it stands.
fn path_in<'a>(hierarchy: &Hierarchy, cgroups_path: Option<&'a str>, id: &'a str) -> Cow<'a, str> {
    let wanted = cgroups_path.filter(|path| !path.is_empty()).unwrap_or(id);
    // As engines write them; this is asked for each hierarchy and each limit.
    if wanted.strip_prefix('/').is_some_and(|path| path.split('/').all(|part| !matches!(part, "" | "." | ".."))) {
        return wanted.into();
    }
    let base = match (wanted.starts_with('/'), hierarchy.controllers.is_empty()) {
        (true, _) => "",
        // Ferrun's own is outside of its cgroup namespace, whose root is all that it sees.
        (false, _) if is_outside(&hierarchy.own) => "",
        (false, false) => &hierarchy.own,
        (false, true) => hierarchy.own.rsplit_once('/').map_or("", |(parent, _)| parent),
    };
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    let own = if wanted.starts_with('/') { 0 } else { parts.len() };
    for part in wanted.split('/') {
        match part {
            "" | "." => {}
            ".." => parts.truncate(parts.len().saturating_sub(1).max(own)),
            _ => parts.push(part),
        }
    }
    parts.iter().flat_map(|part| ["/", part]).collect::<String>().into()
}

impl Directory {
    /// The container's directory in this hierarchy.
    pub fn new(hierarchy: &Hierarchy, cgroups_path: Option<&str>, id: &str) -> Directory {
        let path = format!("{}{}", hierarchy.mount_point, path_in(hierarchy, cgroups_path, id));
        Directory { path: path.into(), existed: false }
    }

    /// The path without the mount point: `/c1`.
    pub fn in_hierarchy(&self, hierarchy: &Hierarchy) -> &str {
        &self.path[hierarchy.mount_point.len()..]
    }

    /// Lets [`Directory::remove`] recognize the directories above that a ferrun of format 1 has created.
    ///
    /// # Errors
    /// One of which it cannot be known.
    pub fn adopt_above(&self) -> Result<()> {
        parents::adopt_above(&self.path)
    }

    /// Removes it, and those above it that ferrun created and nobody uses any more, below the top.
    ///
    /// # Errors
    /// EBUSY: it still has processes or children.
    pub(super) fn remove(&self, top: Top) -> Result<()> {
        if self.existed {
            return Ok(());
        }
        match parents::remove(&self.path) {
            // ENOTDIR: its name is that of one of the kernel's files, and so it was never created.
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(errno) => return Err(errno).what(|| format!("remove cgroup {}", self.path)),
        }
        parents::remove_above(&self.path, top)
    }
}

/// Creates a cgroup directory with those above it that are missing; `cpuset` if a process may join it only
/// with CPUs and memory nodes of its own, which a new directory of v1 lacks.
fn make(path: &str, cpuset: bool) -> Result<()> {
    let fill_parent = |path: &str| if cpuset { fill_cpuset(path) } else { Ok(()) };
    // Another container's removal may take a parent away at any moment: then once more.
    for _ in 0..100 {
        let made = match mkdir(path, MODE) {
            Ok(()) if cpuset => fill_cpuset(path),
            Ok(()) => return Ok(()),
            // Not "no directory": it may be gone by now.
            Err(Errno::EEXIST) if Path::new(path).is_file() => Err(Errno::ENOTDIR)
                .what(|| format!("make cgroup {path}"))
                .map_err(|error| error.hint("the kernel has a file of that name there")),
            Err(Errno::EEXIST) if cpuset => inherit_cpuset(path),
            Err(Errno::EEXIST) => return Ok(()),
            Err(errno) => Err(errno).what(|| format!("make cgroup {path}")),
        };
        match made {
            Err(error) if matches!(error.code(), Errno::ENOENT | Errno::ENODEV) => {
                parents::create(parent(path), &fill_parent)?;
            }
            result => return result,
        }
    }
    Err(Error::os(format!("make cgroup {path}"), Errno::ENOENT))
}

const MODE: Mode = Mode::from_bits_truncate(0o755);

/// What a directory of v1 needs before a process may join it: cpusets(7).
const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Copies the CPUs and memory nodes of the parent to a directory that existed, where it has none.
fn inherit_cpuset(path: &str) -> Result<()> {
    let is_empty = |file: &str| Ok(read(&format!("{path}/{file}"))?.is_empty());
    CPUSET.into_iter().try_for_each(|file| if is_empty(file)? { fill(path, file) } else { Ok(()) })
}

/// The same for a directory that was created just now and need not be read.
fn fill_cpuset(path: &str) -> Result<()> {
    CPUSET.into_iter().try_for_each(|file| fill(path, file))
}

fn fill(path: &str, file: &str) -> Result<()> {
    let above = format!("{}/{file}", parent(path));
    let mut value = read(&above)?;
    if value.is_empty() {
        // Another ferrun has just created the parent and not filled it yet.
        inherit_cpuset(parent(path))?;
        value = read(&above)?;
    }
    let own = format!("{path}/{file}");
    file::write(own.as_str(), &value).what(|| format!("write {own}"))
}

fn read(path: &str) -> Result<Vec<u8>> {
    file::read(path).map(|text| text.trim_ascii().to_vec()).what(|| format!("read {path}"))
}

/// Creates the container's directories in the v1 hierarchies.
#[derive(PartialEq)]
pub struct MakeV1 {
    /// The directories, and whether each is in the hierarchy of cpuset.
    pub directories: Vec<(Rc<str>, bool)>,
    /// For the reader: the path inside the hierarchies.
    pub name: String,
}

impl MakeV1 {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        self.directories.iter().try_for_each(|(path, cpuset)| make(path, *cpuset))
    }
}

impl fmt::Display for MakeV1 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "make {} in {} v1 hierarchies", self.name, self.directories.len())
    }
}

/// Creates the container's directory in the v2 hierarchy.
#[derive(PartialEq)]
pub struct MakeV2 {
    /// The directory.
    pub path: Rc<str>,
    /// Where the hierarchy is mounted.
    pub mount_point: String,
    /// Whether the hierarchy has controllers to enable (on a hybrid it is there for processes only).
    pub controllers: bool,
}

impl MakeV2 {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        make(&self.path, false)?;
        if self.controllers { self.enable_controllers() } else { Ok(()) }
    }

    /// Enables in every parent all controllers that it has for its children, so that the container's directory has
    /// them: engines read its statistics even where nothing is limited. A controller that a parent cannot enable is
    /// missed only by a limit that needs it.
    fn enable_controllers(&self) -> Result<()> {
        let path = &self.path;
        let available = format!("{}/cgroup.controllers", self.mount_point);
        let names = std::fs::read_to_string(&available).what(|| format!("read {available}"))?;
        // What the last parent enables, all above it do. A write takes the lock of all cgroups, even if it
        // changes nothing.
        if enables(parent(path), &names) {
            return Ok(());
        }
        let slashes = path[self.mount_point.len()..].match_indices('/').map(|(at, _)| self.mount_point.len() + at);
        for end in slashes {
            let above = &path[..end];
            let control = format!("{above}/cgroup.subtree_control");
            let all: Vec<String> = names.split_ascii_whitespace().map(|name| format!("+{name}")).collect();
            if std::fs::write(&control, all.join(" ")).is_err() && !has_processes(above) {
                for one in all {
                    let _ = std::fs::write(&control, one);
                }
            }
        }
        Ok(())
    }
}

/// Whether a cgroup enables all controllers of a list for its children.
fn enables(path: &str, controllers: &str) -> bool {
    let enabled = file::read(format!("{path}/cgroup.subtree_control").as_str()).unwrap_or_default();
    let enabled = String::from_utf8_lossy(&enabled);
    controllers.split_ascii_whitespace().all(|name| enabled.split_ascii_whitespace().any(|other| other == name))
}

/// Whether a cgroup other than the host's root has processes: cpu, cpuset and pids alone would be enabled
/// beside them, and nothing could enter the cgroups below any more (`cgroup.type`: domain threaded).
fn has_processes(path: &str) -> bool {
    let is_root = file::read(format!("{path}/cgroup.type").as_str()) == Err(Errno::ENOENT);
    !is_root && file::read(format!("{path}/cgroup.procs").as_str()) != Ok(Vec::new())
}

impl fmt::Display for MakeV2 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "make {} in the v2 hierarchy", &self.path[self.mount_point.len()..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(controllers: &str, own: &str) -> Hierarchy {
        let mount_point = format!("/cg/{controllers}");
        Hierarchy { controllers: controllers.into(), mount_point, own: own.into() }
    }

    #[test]
    fn paths() {
        let v1 = hierarchy("memory", "/user/me");
        let v2 = hierarchy("", "/user/me");
        for (wanted, on_v1, on_v2) in [
            (Some("/a/b"), "/a/b", "/a/b"),
            (Some("a"), "/user/me/a", "/user/a"),
            (None, "/user/me/id", "/user/id"),
            (Some(""), "/user/me/id", "/user/id"),
            (Some("/../../a/./b//c"), "/a/b/c", "/a/b/c"),
            (Some("../../../a"), "/user/me/a", "/user/a"),
            (Some("/a/../.."), "", ""),
        ] {
            assert_eq!(path_in(&v1, wanted, "id"), on_v1, "{wanted:?}");
            assert_eq!(path_in(&v2, wanted, "id"), on_v2, "{wanted:?}");
        }
        assert_eq!(path_in(&hierarchy("", "/"), None, "id"), "/id");
        for own in ["/..", "/../other", "/../../other"] {
            assert_eq!(path_in(&hierarchy("", own), None, "id"), "/id", "{own}");
            assert_eq!(path_in(&hierarchy("memory", own), Some("a"), "id"), "/a", "{own}");
        }
    }
}
