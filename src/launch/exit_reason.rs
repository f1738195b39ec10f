//! Why an init died that has left no report, or a program with a signal: something killed it.

use nix::sys::resource::Resource;

use super::Process;
use crate::cgroup::directory::Directory;
use crate::cgroup::memory::{START, was_out_of_memory};
use crate::error::{Error, ErrorKind};
use crate::plan::Plan;

/// Statuses as a shell reports signals: SIGSYS, by which a filter kills; SIGKILL; those of two resource limits.
const DENIED: i32 = 128 + libc::SIGSYS;
const KILLED: i32 = 128 + libc::SIGKILL;
const OUT_OF_TIME: i32 = 128 + libc::SIGXCPU;
const FILE_TOO_LARGE: i32 = 128 + libc::SIGXFSZ;

/// The kernel compares how often cgroup.kill was used in the cgroup that the caller is in and in the one that the
/// process is born into: cgroup_css_set_fork of Linux 6.18.
const HINT: &str = "where cgroup.kill was once used in the container's cgroup, or in ferrun's own, some kernels kill \
    what is born from the one into the other; a cgroup that is made anew helps";

/// The error for an init that is gone before its program was executed; takes its status. `begun`: it has run.
pub fn before_the_program(process: &Process, plan: &Plan, begun: bool) -> Error {
    let status = process.wait().unwrap_or(0);
    if plan.denies_execve && status == DENIED {
        return no_execve();
    }
    if !plan.cgroup.iter().any(|directory| was_out_of_memory(&directory.path)) {
        let message = format!("the container's first process died while it was set up (status {status})");
        let error = Error::new(message).of_kind(ErrorKind::Died);
        return match !begun && status == KILLED && plan.deadly.created_in_cgroup {
            true => error.of_kind(ErrorKind::Killed).hint(HINT),
            false => error,
        };
    }
    match &plan.deadly.memory {
        Some((bytes, pointer)) => Error::new(format!(
            "the memory limit ({} KiB) was reached while starting; the start needs about {} KiB besides the program",
            bytes >> 10,
            START >> 10
        ))
        .from_property(pointer),
        None => Error::new("a memory limit of the cgroups above was reached while starting"),
    }
}

/// What the config has to do with the end of the program, where its status is that of a signal which a limit or the filter
/// sends. The cgroups must still be there.
pub fn of_the_program(status: i32, plan: &Plan, cgroup: &[Directory]) -> Option<Error> {
    match status {
        // In a cgroup that was there before, others may have been killed.
        KILLED if cgroup.iter().any(|own| !own.existed && was_out_of_memory(&own.path)) => {
            Some(match &plan.deadly.memory {
                Some((bytes, pointer)) => {
                    let message =
                        format!("out of memory: the kernel killed a process at the limit of {} KiB", bytes >> 10);
                    Error::new(message).from_property(pointer)
                }
                None => {
                    Error::new("out of memory: the kernel killed a process, because of a cgroup above or of the host")
                }
            })
        }
        OUT_OF_TIME => {
            resource_limit(plan, Resource::RLIMIT_CPU).or_else(|| resource_limit(plan, Resource::RLIMIT_RTTIME))
        }
        FILE_TOO_LARGE => resource_limit(plan, Resource::RLIMIT_FSIZE),
        DENIED if plan.has_filter => {
            let error = Error::new("SIGSYS: the seccomp profile kills the program for a system call");
            Some(error.from_property("/linux/seccomp").hint("the kernel's log names the call: search it for type=1326"))
        }
        _ => None,
    }
}

/// The error for a process that has reached this limit, if there is one.
fn resource_limit(plan: &Plan, resource: Resource) -> Option<Error> {
    let (pointer, limit) = plan.deadly.resources.iter().find(|(_, limit)| limit.resource == resource)?;
    let error = Error::new(format!("the kernel ended a process at its resource limit: {limit}"));
    Some(error.from_property(pointer))
}

/// The error for an init that a filter killed as it executed the program.
pub fn no_execve() -> Error {
    let error = Error::new("the seccomp profile does not allow execve").from_property("/linux/seccomp");
    error.hint("no program can be started without this call")
}
