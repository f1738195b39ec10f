//! `delete --force` of a container whose state has a newer format than this ferrun reads: by its cgroups alone.
//!
//! Nothing confirms these as the container's, so they are checked before anything is killed or removed.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

use super::boot::Boot;
use super::directory::{Purpose, StateDirectory};
use super::hooks::Warn;
use super::id::Id;
use super::state::{CREATED, CREATING, Root};
use super::state_format::Newer;
use crate::cgroup::directory::Directory;
use crate::cgroup::kill::{kill_and_wait, remove};
use crate::cgroup::layout::{Layout, is_at_or_below};
use crate::cgroup::members::{HIDDEN, members};
use crate::error::{Context, Error, Result};
use crate::launch::notify;
use crate::sys::regular::Regular;
use crate::systemd::Unit;

/// Kills the processes in the container's cgroups, then removes the cgroups and the state directory. `None`: the
/// container has no state of a newer format.
///
/// # Errors
/// Cgroups that can belong to others; processes that do not die; whatever cannot be removed.
pub fn delete(root: &Root, id: &Id, warn: Warn) -> Result<Option<()>> {
    let Some(directory) = root.directory(id, Purpose::Act)? else { return Ok(None) };
    let Some((file, newer)) = find(&directory)? else { return Ok(None) };
    if Boot::of(newer.boot.as_ref())? != Boot::Other {
        let cgroup = checked(root, id, &newer)?;
        kill_and_wait(cgroup)?;
        // Systemd removes the cgroups of its units itself.
        let stopped = own_unit(&newer, cgroup).map_or(Ok(()), |unit| unit.stop(cgroup, true));
        remove(cgroup, true).and(stopped)?;
    }
    // Another may have deleted the container meanwhile, and its id may be taken anew.
    if fstat(&file).what(|| "look at the state")?.st_nlink > 0 {
        remove_directory(&directory)?;
        let left = format!("container {id} was created by a newer ferrun (format {} of the state)", newer.format);
        warn(&Error::new(left).detail("its poststop hooks are not run, and only its cgroups are removed"));
    }
    Ok(Some(()))
}

fn find(directory: &StateDirectory) -> Result<Option<(OwnedFd, Newer)>> {
    for name in [CREATED, CREATING] {
        if let Some(Regular { file, text, .. }) = directory.read(name)? {
            return Ok(Newer::parse(&text).map(|newer| (file, newer)));
        }
    }
    Ok(None)
}

/// The cgroups of the container, if they can be nobody else's.
fn checked<'a>(root: &Root, id: &Id, newer: &'a Newer) -> Result<&'a [Directory]> {
    let refused = |reason: String| {
        Error::new(format!("delete container {id} by its cgroups: {reason}")).hint("use the ferrun that created it")
    };
    let cgroup = newer.cgroup.as_deref().filter(|list| !list.is_empty());
    let cgroup = cgroup.ok_or_else(|| refused("its state names none that this ferrun understands".into()))?;
    let layout = Layout::probe()?;
    for Directory { path, .. } in cgroup {
        check_path(path, &layout).map_err(|reason| refused(format!("{path:?} {reason}")))?;
        if let Some(other) = owner(root, id, path)? {
            return Err(refused(format!("{path:?} is at, above or below the cgroup of container {other}")));
        }
    }
    let found = members(cgroup)?;
    if let Some(path) = found.hidden_in {
        return Err(refused(format!("of the processes in {path:?} {HIDDEN}")));
    }
    match found.pids.into_iter().find(|pid| !is_contained(*pid)) {
        Some(pid) => Err(refused(format!("process {pid} in them runs in the root file system of the host"))),
        None => Ok(cgroup),
    }
}

/// A cgroup below the root of a mounted hierarchy, without ferrun in it.
fn check_path(path: &str, layout: &Layout) -> std::result::Result<(), &'static str> {
    let (hierarchy, inside) = layout.find(path)?;
    if is_at_or_below(&hierarchy.own, inside) {
        return Err("is the cgroup of this ferrun, or above it");
    }
    match statfs(path).map(|fs| fs.filesystem_type()) {
        Ok(CGROUP_SUPER_MAGIC | CGROUP2_SUPER_MAGIC) | Err(Errno::ENOENT) => Ok(()),
        Ok(_) => Err("is not a cgroup"),
        Err(_) => Err("cannot be examined"),
    }
}

/// The other container whose state names this cgroup, one above or one below.
///
/// # Errors
/// A root that cannot be read. (A state that cannot be understood names no cgroup.)
fn owner(root: &Root, id: &Id, path: &str) -> Result<Option<Id>> {
    let overlaps = |other: &Directory| is_at_or_below(&other.path, path) || is_at_or_below(path, &other.path);
    let newer =
        |other: &Id| find(&root.directory(other, Purpose::Look).ok()??).ok()?.and_then(|(_, newer)| newer.cgroup);
    Ok(root.ids()?.into_iter().filter(|other| other != id).find(|other| {
        let cgroup = match root.find(other, Purpose::Look) {
            Ok(state) => state.map(|state| state.cgroup),
            Err(_) => newer(other),
        };
        cgroup.iter().flatten().any(overlaps)
    }))
}

/// Whether a process has another mount namespace or another root than ferrun, or is gone.
fn is_contained(pid: i32) -> bool {
    let same = |name: &str| {
        let identity = |path: String| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
        match (identity(format!("/proc/{pid}/{name}")), identity(format!("/proc/self/{name}"))) {
            (Ok(one), Ok(other)) => one == other,
            (Err(error), Ok(_)) => !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)),
            _ => true,
        }
    };
    !(same("ns/mnt") && same("root"))
}

/// The unit of systemd that one of these cgroups belongs to.
fn own_unit<'a>(newer: &'a Newer, cgroup: &[Directory]) -> Option<&'a Unit> {
    newer.unit.as_ref().filter(|unit| {
        unit.directory.rsplit('/').next() == Some(&unit.name)
            && cgroup.iter().any(|directory| directory.path == unit.directory)
    })
}

/// Removes the directory with its files, whose names only the newer ferrun knows. The state is the last of them, so
/// that this can be tried again.
fn remove_directory(directory: &StateDirectory) -> Result<()> {
    let _ = directory.remove(notify::SOCKET);
    let what = || format!("remove the state directory {:?}", directory.path());
    for (name, is_directory) in directory.entries().what(what)? {
        match is_directory {
            true => directory.remove_directory(&name),
            false if [CREATED, CREATING].contains(&&*name) => Ok(()),
            false => directory.remove(&name),
        }
        .what(|| format!("remove {:?}", directory.path().join(&name)))?;
    }
    for name in [CREATED, CREATING] {
        let _ = directory.remove(name);
    }
    directory.remove_itself().what(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cgroups_of_a_container_pass() {
        let layout = Layout::probe().unwrap();
        let Some(hierarchy) = layout.hierarchies().next() else { return };
        let at = |path: &str| check_path(&format!("{}{path}", hierarchy.mount_point), &layout);
        assert_eq!(at("/ferrun-nowhere/c1"), Ok(()));
        for path in ["", "/", "/.", "/a/..", "/a/../b", "/a//b", "/a/", "x/a"] {
            assert!(at(path).is_err(), "{path}");
        }
        for path in ["/etc", "a", "", "/", "/sys/fs/cgroup", "/sys/fs/cgroup/nothing/a/../../memory/a"] {
            assert!(check_path(path, &layout).is_err(), "{path}");
        }
    }

    #[test]
    fn a_process_of_the_host_is_not_contained() {
        assert!(!is_contained(std::process::id() as i32));
        assert!(is_contained(i32::MAX), "it is gone");
    }
}
