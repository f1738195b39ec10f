//! Why an init died that has left no report: something killed it.

use super::Process;
use crate::cgroup::memory::{self, START, was_out_of_memory};
use crate::error::Error;
use crate::plan::{Action, Plan};

/// As a shell tells SIGSYS, by which a filter kills.
const DENIED: i32 = 128 + 31;

/// As a shell tells SIGKILL.
const KILLED: i32 = 128 + 9;

/// The kernel compares how often cgroup.kill was used in the cgroup that the caller is in and in the one that the
/// process is born into: cgroup_css_set_fork of Linux 6.18.
const HINT: &str = "where cgroup.kill was once used in the container's cgroup, or in ferrun's own, some kernels kill \
    what is born from the one into the other; a cgroup that is made anew helps";

/// The error for an init that is gone before its program was executed; takes its status.
pub fn before_the_program(process: &Process, plan: &Plan) -> Error {
    let status = process.wait().unwrap_or(0);
    if plan.denies_execve && status == DENIED {
        return no_execve();
    }
    if !plan.cgroup.iter().any(|directory| was_out_of_memory(&directory.path)) {
        let error = Error::new(format!("the container's first process died while it was set up (status {status})"));
        return if status == KILLED && is_born_in_cgroup(plan) { error.hint(HINT) } else { error };
    }
    // Of two the later counts.
    let limit = plan.parent.iter().rev().find_map(|step| match &step.action {
        Action::Limit(limit) => memory::limit(&limit.write).map(|bytes| (bytes, limit.write.pointer())),
        _ => None,
    });
    match limit {
        Some((bytes, pointer)) => Error::new(format!(
            "the memory limit ({} KiB) was reached while starting; the start needs about {} KiB besides the program",
            bytes >> 10,
            START >> 10
        ))
        .from_property(pointer),
        None => Error::new("a memory limit of the cgroups above was reached while starting"),
    }
}

/// The error for an init that a filter killed as it executed the program.
pub fn no_execve() -> Error {
    let error = Error::new("the seccomp profile does not allow execve").from_property("/linux/seccomp");
    error.hint("no program can be started without this call")
}

fn is_born_in_cgroup(plan: &Plan) -> bool {
    plan.parent.iter().any(|step| matches!(&step.action, Action::Clone(clone) if clone.cgroup.is_some()))
}
