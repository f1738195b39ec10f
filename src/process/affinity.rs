//! The CPUs that the process may use.

use std::fmt;

use crate::error::{Context, Result};
use crate::sys::sched;
use crate::types::cpu_list::CpuList;

/// Lets the process use all CPUs that its cgroup has, whatever the caller of ferrun was bound to: sched_setaffinity(2).
#[derive(PartialEq)]
pub struct AllCpus;

impl AllCpus {
    /// Runs the step. The kernel leaves out the CPUs that there are not, and those that the cpuset does not have.
    pub fn run(&self) -> Result<()> {
        sched::use_all_cpus().what(|| "use all CPUs")
    }
}

impl fmt::Display for AllCpus {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("all CPUs of the cgroup")
    }
}

/// Lets the process use some CPUs: `process.execCPUAffinity`.
#[derive(PartialEq)]
pub struct Cpus(pub CpuList);

impl Cpus {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        sched::use_cpus(&self.0.mask()).what(|| format!("use CPUs {}", self.0))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "CPUs {}", self.0)
    }
}
