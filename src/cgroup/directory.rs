//! The container's directory in a hierarchy: its path, making it, removing it.

use std::fmt;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access, mkdir};
use serde::{Deserialize, Serialize};

use super::layout::{Hierarchy, MOUNT_POINT};
use crate::error::{Context, Error, Result};

/// The container's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Its path on the host.
    pub path: String,
    /// The part of the path that was there before: that is not ours to remove.
    pub existing: String,
}

/// Where the container's cgroup is, relative to a hierarchy's root.
///
/// An absolute path is taken as it is; a relative one, and the container's id where none is given, lie
/// below ferrun's own cgroup (on v2 beside it: a cgroup with processes can have no controllers for
/// children). `..` does not lead above the root.
fn path_in(hierarchy: &Hierarchy, cgroups_path: Option<&str>, id: &str) -> String {
    let wanted = cgroups_path.filter(|path| !path.is_empty()).unwrap_or(id);
    let base = match (wanted.starts_with('/'), hierarchy.controllers.is_empty()) {
        (true, _) => "",
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
    parts.iter().flat_map(|part| ["/", part]).collect()
}

impl Directory {
    /// The container's directory in this hierarchy.
    pub fn new(hierarchy: &Hierarchy, cgroups_path: Option<&str>, id: &str) -> Directory {
        let path = format!("{}{}", hierarchy.mount_point, path_in(hierarchy, cgroups_path, id));
        Directory { path, existing: hierarchy.mount_point.clone() }
    }

    /// Looks how much of the path is there already.
    pub fn probe(&mut self) {
        let floor = self.existing.len();
        let ends = self.path.char_indices().skip(floor + 1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
        let prefixes: Vec<usize> = ends.chain([self.path.len()]).collect();
        for end in prefixes {
            if access(&self.path[..end], AccessFlags::F_OK).is_err() {
                break;
            }
            self.existing = self.path[..end].to_owned();
        }
    }

    /// The path without the mount point: `/c1`.
    pub fn in_hierarchy(&self, hierarchy: &Hierarchy) -> &str {
        &self.path[hierarchy.mount_point.len()..]
    }

    /// Removes what was made of it, from the bottom up. A directory that others still use stays.
    ///
    /// # Errors
    /// EBUSY: the container's own directory still has processes or children.
    pub fn remove(&self) -> Result<()> {
        let mut path = self.path.as_str();
        while path.len() > self.existing.len() {
            match nix::unistd::unlinkat(crate::sys::fd::CWD, path, nix::unistd::UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                // Not empty, but not the container's own: another container's parent, too.
                Err(_) if path.len() < self.path.len() => return Ok(()),
                Err(errno) => return Err(errno).what(|| format!("remove cgroup {path}")),
            }
            path = parent(path);
        }
        Ok(())
    }
}

/// Makes a cgroup directory with those above it that are missing; `cpuset` if a process may join it only
/// with CPUs and memory nodes of its own, which a new directory of v1 has not.
fn make(path: &str, cpuset: bool) -> Result<()> {
    // Another container's removal may take a parent away at any moment: then once more.
    for _ in 0..100 {
        match mkdir(path, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => return if cpuset { inherit_cpuset(path) } else { Ok(()) },
            Err(Errno::ENOENT) if path.len() > MOUNT_POINT.len() => make(parent(path), cpuset)?,
            Err(errno) => return Err(errno).what(|| format!("make cgroup {path}")),
        }
    }
    Err(Error::os(format!("make cgroup {path}"), Errno::ENOENT))
}

fn parent(path: &str) -> &str {
    &path[..path.rfind('/').unwrap_or(0)]
}

/// Copies the CPUs and memory nodes of the parent, where the new directory has none: cpusets(7).
fn inherit_cpuset(path: &str) -> Result<()> {
    let parent = parent(path);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = format!("{path}/{file}");
        let there = std::fs::read(&own).what(|| format!("read {own}"))?;
        if there.trim_ascii().is_empty() {
            let value = std::fs::read(format!("{parent}/{file}")).what(|| format!("read {parent}/{file}"))?;
            std::fs::write(&own, value.trim_ascii()).what(|| format!("write {own}"))?;
        }
    }
    Ok(())
}

/// Makes the container's directories in the v1 hierarchies.
pub struct MakeV1 {
    /// The directories, and whether each is in the hierarchy of cpuset.
    pub directories: Vec<(String, bool)>,
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

/// Makes the container's directory in the v2 hierarchy.
pub struct MakeV2 {
    /// The directory.
    pub path: String,
    /// Where the hierarchy is mounted.
    pub mount_point: String,
    /// Whether the hierarchy has controllers to hand down (on a hybrid it is there for processes only).
    pub controllers: bool,
}

impl MakeV2 {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        make(&self.path, false)?;
        if self.controllers { self.hand_down_controllers() } else { Ok(()) }
    }

    /// Enables in every parent all controllers that it has, so that the container's directory has them:
    /// engines read its statistics even where nothing is limited. What a parent cannot hand down is
    /// missed only by a limit that needs it.
    fn hand_down_controllers(&self) -> Result<()> {
        let path = &self.path;
        let available = format!("{}/cgroup.controllers", self.mount_point);
        let names = std::fs::read_to_string(&available).what(|| format!("read {available}"))?;
        let slashes = path[self.mount_point.len()..].match_indices('/').map(|(at, _)| self.mount_point.len() + at);
        for end in slashes {
            let control = format!("{}/cgroup.subtree_control", &path[..end]);
            let all: Vec<String> = names.split_ascii_whitespace().map(|name| format!("+{name}")).collect();
            if std::fs::write(&control, all.join(" ")).is_err() {
                for one in all {
                    let _ = std::fs::write(&control, one);
                }
            }
        }
        Ok(())
    }
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
    }

    fn is_dir(path: &str) -> bool {
        std::path::Path::new(path).is_dir()
    }

    #[test]
    fn only_what_was_made_is_removed() {
        let top = std::env::temp_dir().join(format!("ferrun-cgroup-{}", std::process::id()));
        let mount_point = top.join("memory").to_str().unwrap().to_owned();
        std::fs::create_dir_all(format!("{mount_point}/there")).unwrap();
        let memory = Hierarchy { controllers: "memory".into(), mount_point: mount_point.clone(), own: "/".into() };
        let make = |path: &str| {
            let mut directory = Directory::new(&memory, Some(path), "id");
            directory.probe();
            make(&directory.path, false).unwrap();
            directory
        };
        let first = make("/there/new/c1");
        assert_eq!(first.existing, format!("{mount_point}/there"));
        let second = make("/there/new/c2");
        first.remove().unwrap();
        assert!(is_dir(&second.path), "another container's directory stays");
        second.remove().unwrap();
        first.remove().unwrap();
        assert!(!is_dir(&format!("{mount_point}/there/new")) && is_dir(&format!("{mount_point}/there")));
        let existing = make("/there");
        existing.remove().unwrap();
        assert!(is_dir(&existing.path), "what was there before stays");
        std::fs::remove_dir_all(top).unwrap();
    }
}
