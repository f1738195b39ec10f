//! Checks of the spec beyond its types: ranges, duplicates, and properties that need or exclude each other.

use super::Spec;
use super::hooks;
use super::linux::Linux;
use super::names::{nearest, question};
use super::path::{clean, names_a_cgroup};
use super::problems::{MOST, Problems, wrong};
use super::process::{CapabilitySet, Process};
use super::scheduling;
use crate::error::Error;
use crate::pointer::Pointer;
use crate::types::capabilities;
use crate::types::seccomp::profile::{Profile, Rule};

/// Finds every value that cannot be honoured, and what is odd.
pub fn check(spec: &Spec, found: &mut Problems) {
    match &spec.process {
        Some(process) => check_process(process, found),
        None => found.warning(wrong("/process", "process is missing: the container can be created but not started")),
    }
    match &spec.root {
        Some(root) if root.path.is_empty() => found.error(wrong("/root/path", "root.path must not be empty")),
        Some(_) => {}
        None => found.error(wrong("/root", "root must not be empty")),
    }
    super::namespaces::check(spec, found);
    check_kernel(&spec.linux, found);
    super::sysctl::check(spec, found);
    check_cgroups_path(spec, found);
    super::check_resources::find(&spec.linux.resources, found);
    hooks::check(&spec.hooks, found);
    super::check_mounts::check(spec, found);
    spec.linux.seccomp.iter().for_each(|profile| warn_nameless(profile, found));
    for (pattern, paths) in
        [("/linux/maskedPaths/#", &spec.linux.masked_paths), ("/linux/readonlyPaths/#", &spec.linux.readonly_paths)]
    {
        for (index, path) in paths.iter().enumerate().filter(|(_, path)| path.bytes().first() != Some(&b'/')) {
            found.error(wrong(Pointer::at(pattern, index), format!("{path:?} is not an absolute path")));
        }
    }
    for (index, _) in spec.linux.masked_paths.iter().enumerate().filter(|(_, path)| *clean(path) == *c"/") {
        found.error(wrong(Pointer::at("/linux/maskedPaths/#", index), "the root directory cannot be hidden"));
    }
}

fn check_process(process: &Process, found: &mut Problems) {
    match process.args.first() {
        None => found.error(wrong("/process/args", "args must not be empty")),
        Some(program) if program.is_empty() => {
            found.error(wrong(Pointer::at("/process/args/#", 0), "exec: \"\": executable file not found in $PATH"));
        }
        Some(_) => {}
    }
    for (index, entry) in process.env.iter().enumerate() {
        if !entry.bytes().contains(&b'=') || entry.bytes()[0] == b'=' {
            let message = format!("environment entry {entry:?} is not NAME=value");
            found.error(wrong(Pointer::at("/process/env/#", index), message));
        }
    }
    if process.cwd.bytes().first() != Some(&b'/') {
        found.error(wrong("/process/cwd", format!("cwd {:?} is not an absolute path", process.cwd)));
    }
    let sides = process.console_size.iter().filter(|_| process.terminal);
    let sides = sides.flat_map(|size| [("height", size.height), ("width", size.width)]);
    for (side, length) in sides.filter(|(_, length)| *length > u16::MAX.into()) {
        let message = format!("a {side} of {length} is more than a terminal can have: {}", u16::MAX);
        found.error(wrong("/process/consoleSize", message));
    }
    check_user(process, found);
    check_rlimits(process, found);
    if let Some(capabilities) = &process.capabilities {
        let sets = [
            ("/process/capabilities/bounding/#", &capabilities.bounding),
            ("/process/capabilities/effective/#", &capabilities.effective),
            ("/process/capabilities/inheritable/#", &capabilities.inheritable),
            ("/process/capabilities/permitted/#", &capabilities.permitted),
            ("/process/capabilities/ambient/#", &capabilities.ambient),
        ];
        for (pattern, set) in sets {
            warn_unknown(pattern, set, found);
        }
    }
    if process.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
        found.error(wrong("/process/oomScoreAdj", "oomScoreAdj is not between -1000 and 1000"));
    }
    process.scheduler.iter().for_each(|scheduler| scheduling::check_scheduler(scheduler, found));
    process.io_priority.iter().for_each(|io| scheduling::check_io_priority(io, found));
}

fn warn_unknown(pattern: &'static str, set: &CapabilitySet, found: &mut Problems) {
    // To find a near name takes time, and nobody reads so many warnings.
    for (index, name) in set.unknown.iter().take(MOST + 1) {
        let message = format!("{name} is no capability known here; it is left out");
        let warning = wrong(Pointer::at(pattern, *index), message);
        let known = capabilities::all();
        let near = nearest(name, known.iter().map(String::as_str)).map(question);
        found.warning(near.into_iter().fold(warning, Error::hint));
    }
}

/// The spec wants a name at least; runc passes over a rule without.
fn warn_nameless(profile: &Profile, found: &mut Problems) {
    let nameless = |rule: &Rule| rule.names.is_empty() && rule.unknown.is_empty();
    // Nobody reads more of these warnings.
    for (index, _) in profile.rules.iter().enumerate().filter(|(_, rule)| nameless(rule)).take(MOST + 1) {
        let pointer = Pointer::at("/linux/seccomp/syscalls/#/names", index);
        found.warning(wrong(pointer, "the rule names no system call, and does nothing"));
    }
}

/// -1 as an id means "leave it as it is" to the kernel: the container would start as root.
fn check_user(process: &Process, found: &mut Problems) {
    let user = &process.user;
    let ids = [(Pointer::new("/process/user/uid"), user.uid), (Pointer::new("/process/user/gid"), user.gid)];
    let groups = user.additional_gids.iter().enumerate();
    let groups = groups.map(|(index, gid)| (Pointer::at("/process/user/additionalGids/#", index), *gid));
    for (pointer, id) in ids.into_iter().chain(groups) {
        if id == u32::MAX {
            found.error(wrong(pointer, format!("{id} is no id: the kernel reads it as -1, \"leave as it is\"")));
        }
    }
    if let Some(mask) = user.umask.filter(|mask| *mask > 0o7777) {
        found.error(wrong("/process/user/umask", format!("umask {mask:#o} is above 07777")));
    }
}

fn check_rlimits(process: &Process, found: &mut Problems) {
    let limits = process.rlimits.as_deref().unwrap_or_default();
    for (index, limit) in limits.iter().enumerate() {
        let pointer = Pointer::at("/process/rlimits/#", index);
        if limits[..index].iter().any(|earlier| earlier.kind == limit.kind) {
            let kind = format!("{:?}", limit.kind).to_uppercase();
            found.error(wrong(pointer, format!("RLIMIT_{kind} is listed twice in rlimits")));
        }
        if limit.soft > limit.hard {
            let message = format!("soft limit {} is above the hard limit {}", limit.soft, limit.hard);
            found.error(wrong(pointer, message));
        }
    }
}

fn check_kernel(linux: &Linux, found: &mut Problems) {
    linux.memory_policy.iter().for_each(|policy| scheduling::check_memory_policy(policy, found));
    linux.personality.iter().for_each(|personality| scheduling::check_personality(personality, found));
    linux.intel_rdt.iter().for_each(|rdt| super::intel_rdt::check(rdt, found));
}

/// The root cgroup, or ferrun's own, would get the container's limits, and be removed with it.
fn check_cgroups_path(spec: &Spec, found: &mut Problems) {
    let Some(path) = spec.linux.cgroups_path.as_ref().filter(|path| !path.is_empty()) else { return };
    let message = match path.to_str() {
        Ok(text) if names_a_cgroup(text) => return,
        Ok(_) => format!("cgroupsPath {path:?} names no cgroup of the container's own"),
        Err(_) => format!("cgroupsPath {path:?} is not text"),
    };
    found.error(wrong("/linux/cgroupsPath", message));
}
