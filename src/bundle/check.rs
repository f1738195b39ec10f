//! What types cannot say: ranges, duplicates, and properties that need or exclude each other.

use super::Spec;
use super::hooks;
use super::linux::Linux;
use super::process::{CapabilitySet, Process};
use crate::cgroup::directory::names_a_cgroup;
use crate::error::{Error, Result};
use crate::pointer::Pointer;

/// Checks a spec; warnings are added to the list.
///
/// # Errors
/// The first value that cannot be honoured, with its pointer.
pub fn check(spec: &Spec, warnings: &mut Vec<Error>) -> Result<()> {
    let process = spec.process.as_ref().ok_or_else(|| wrong("/process", "process must not be empty"))?;
    check_process(process, warnings)?;
    let root = spec.root.as_ref().ok_or_else(|| wrong("/root", "root must not be empty"))?;
    if root.path.is_empty() {
        return Err(wrong("/root/path", "root.path must not be empty"));
    }
    super::namespaces::check(spec, warnings)?;
    check_kernel(&spec.linux, warnings)?;
    super::sysctl::check(spec)?;
    check_cgroups_path(spec)?;
    hooks::check(&spec.hooks)?;
    super::check_mounts::check(spec, warnings)?;
    for (pattern, paths) in
        [("/linux/maskedPaths/#", &spec.linux.masked_paths), ("/linux/readonlyPaths/#", &spec.linux.readonly_paths)]
    {
        if let Some(index) = paths.iter().position(|path| path.bytes().first() != Some(&b'/')) {
            let message = format!("{:?} is not an absolute path", paths[index]);
            return Err(wrong(Pointer::at(pattern, index), message));
        }
    }
    Ok(())
}

pub(super) fn wrong(pointer: impl std::fmt::Display, message: impl Into<String>) -> Error {
    Error::new(message).from_property(pointer)
}

fn check_process(process: &Process, warnings: &mut Vec<Error>) -> Result<()> {
    if process.terminal {
        return Err(wrong("/process/terminal", "a terminal is not supported by this version of ferrun")
            .hint("set process.terminal to false: the program then gets ferrun's own standard streams"));
    }
    match process.args.first() {
        None => return Err(wrong("/process/args", "args must not be empty")),
        Some(program) if program.is_empty() => {
            return Err(wrong(Pointer::at("/process/args/#", 0), "the program's name must not be empty"));
        }
        Some(_) => {}
    }
    for (index, entry) in process.env.iter().enumerate() {
        if !entry.bytes().contains(&b'=') || entry.bytes()[0] == b'=' {
            let message = format!("environment entry {entry:?} is not NAME=value");
            return Err(wrong(Pointer::at("/process/env/#", index), message));
        }
    }
    if process.cwd.bytes().first() != Some(&b'/') {
        return Err(wrong("/process/cwd", format!("cwd {:?} is not an absolute path", process.cwd)));
    }
    check_user(process)?;
    check_rlimits(process)?;
    if let Some(capabilities) = &process.capabilities {
        let sets = [
            ("/process/capabilities/bounding/#", &capabilities.bounding),
            ("/process/capabilities/effective/#", &capabilities.effective),
            ("/process/capabilities/inheritable/#", &capabilities.inheritable),
            ("/process/capabilities/permitted/#", &capabilities.permitted),
            ("/process/capabilities/ambient/#", &capabilities.ambient),
        ];
        for (pattern, set) in sets {
            warn_unknown(pattern, set, warnings);
        }
    }
    if process.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
        return Err(wrong("/process/oomScoreAdj", "oomScoreAdj is not between -1000 and 1000"));
    }
    super::scheduling::check_process(process)
}

fn warn_unknown(pattern: &'static str, set: &CapabilitySet, warnings: &mut Vec<Error>) {
    for (index, name) in &set.unknown {
        let message = format!("{name} is no capability known here; it is left out");
        warnings.push(wrong(Pointer::at(pattern, *index), message));
    }
}

/// -1 as an id means "leave it as it is" to the kernel: the container would start as root.
fn check_user(process: &Process) -> Result<()> {
    let user = &process.user;
    let ids = [(Pointer::new("/process/user/uid"), user.uid), (Pointer::new("/process/user/gid"), user.gid)];
    let groups = user.additional_gids.iter().enumerate();
    let groups = groups.map(|(index, gid)| (Pointer::at("/process/user/additionalGids/#", index), *gid));
    for (pointer, id) in ids.into_iter().chain(groups) {
        if id == u32::MAX {
            return Err(wrong(pointer, format!("{id} is no id: the kernel reads it as -1, \"leave as it is\"")));
        }
    }
    match user.umask {
        Some(mask) if mask > 0o7777 => Err(wrong("/process/user/umask", format!("umask {mask:#o} is above 07777"))),
        _ => Ok(()),
    }
}

fn check_rlimits(process: &Process) -> Result<()> {
    for (index, limit) in process.rlimits.iter().enumerate() {
        let pointer = Pointer::at("/process/rlimits/#", index);
        if process.rlimits[..index].iter().any(|earlier| earlier.kind == limit.kind) {
            return Err(wrong(pointer, format!("{:?} is listed twice in rlimits", limit.kind)));
        }
        if limit.soft > limit.hard {
            let message = format!("soft limit {} is above the hard limit {}", limit.soft, limit.hard);
            return Err(wrong(pointer, message));
        }
    }
    Ok(())
}

fn check_kernel(linux: &Linux, warnings: &mut Vec<Error>) -> Result<()> {
    linux.memory_policy.as_ref().map_or(Ok(()), super::scheduling::check_memory_policy)?;
    linux.personality.as_ref().map_or(Ok(()), super::scheduling::check_personality)?;
    linux.intel_rdt.as_ref().map_or(Ok(()), |rdt| super::intel_rdt::check(rdt, warnings))
}

/// The root cgroup, or ferrun's own, would get the container's limits, and be removed with it.
fn check_cgroups_path(spec: &Spec) -> Result<()> {
    let Some(path) = spec.linux.cgroups_path.as_ref().filter(|path| !path.is_empty()) else { return Ok(()) };
    match path.to_str() {
        Ok(text) if names_a_cgroup(text) => Ok(()),
        Ok(_) => {
            Err(wrong("/linux/cgroupsPath", format!("cgroupsPath {path:?} names no cgroup of the container's own")))
        }
        Err(_) => Err(wrong("/linux/cgroupsPath", format!("cgroupsPath {path:?} is not text"))),
    }
}
