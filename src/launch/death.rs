//! Why an init died that had not said a word: its channel closed, and something killed it.

use super::Process;
use crate::cgroup::memory::was_out_of_memory;
use crate::error::Error;
use crate::plan::{Action, Plan};
use crate::pointer::Pointer;

const MEMORY: Pointer = Pointer::new("/linux/resources/memory/limit");

/// The error for an init that is gone before it was ready; takes its status.
pub fn during_set_up(process: &Process, plan: &Plan) -> Error {
    let status = process.wait().unwrap_or(0);
    if !plan.cgroup.iter().any(|directory| was_out_of_memory(&directory.path)) {
        return Error::new(format!("the container's first process died while it was set up (status {status})"));
    }
    let limit = plan.parent.iter().find_map(|step| match &step.action {
        Action::Limit(limit) if limit.write.from == MEMORY => limit.write.value.parse::<u64>().ok(),
        _ => None,
    });
    match limit {
        Some(limit) => Error::new(format!("the memory limit ({} KiB) was reached while starting", limit >> 10))
            .from_property(MEMORY),
        None => Error::new("a memory limit of the cgroups above was reached while starting"),
    }
}
