//! What the kernel keeps for the process and its namespaces: `process.scheduler`, `process.ioPriority`,
//! `linux.memoryPolicy`, `linux.personality`, `linux.sysctl`.

use std::ffi::CString;

use super::Compiler;
use crate::bundle::process::Process;
use crate::bundle::scheduling;
use crate::bundle::sysctl;
use crate::pointer::Pointer;
use crate::process::namespaces::DomainName;
use crate::process::scheduling::{IoPriority, MemoryPolicy, Personality, Scheduler};
use crate::process::sysctl::{Setting, Sysctl};

pub(super) const SCHEDULER: Pointer = Pointer::new("/process/scheduler");

/// The step for `process.scheduler`.
pub(super) fn scheduler(given: &scheduling::Scheduler) -> Scheduler {
    Scheduler {
        policy: given.policy,
        flags: given.flags.iter().fold(0, |flags, flag| flags | *flag as u64),
        nice: given.nice,
        priority: given.priority.max(0).unsigned_abs(),
        deadline: [given.runtime, given.deadline, given.period],
    }
}

impl Compiler<'_> {
    /// The parameters, once the namespaces are complete (links may have been moved into them) and before
    /// anything of /proc is covered, which a user namespace needs to make a procfs.
    pub(super) fn sysctl(&mut self) {
        self.domain_parameter();
        let setting = |(name, value): (&String, &crate::bundle::text::Text)| {
            // One with a NUL has been refused before, if this is a start.
            let file = CString::new(format!("sys/{}", sysctl::file(name))).ok()?;
            Some(Setting { pointer: sysctl::pointer(name), file, value: value.0.clone() })
        };
        let parameters = self.spec.linux.sysctl.iter().filter(|(name, _)| sysctl::file(name) != sysctl::DOMAIN_NAME);
        let settings: Vec<Setting> = parameters.filter_map(setting).collect();
        if !settings.is_empty() {
            self.init(Some(Pointer::new("/linux/sysctl")), Sysctl(settings));
        }
    }

    /// `kernel.domainname`, which Docker writes for `--domainname`. Its file belongs to the host's root whatever the user
    /// namespace; setdomainname(2) asks for a capability over the uts namespace. Later than `domainname`, as by runc.
    fn domain_parameter(&mut self) {
        let Some((name, value)) = sysctl::domain_name(self.spec) else { return };
        let from = match name.contains('/') {
            true => Pointer::new("/linux/sysctl/kernel~1domainname"),
            false => Pointer::new("/linux/sysctl/kernel.domainname"),
        };
        self.init(Some(from), DomainName(CString::new(value).expect("a part of a string without NUL")));
    }

    /// What takes privileges, and neither descriptors nor files.
    pub(super) fn scheduling(&mut self, process: &Process) {
        if let Some(policy) = &self.spec.linux.memory_policy {
            let flags = policy.flags.iter().fold(0, |flags, flag| flags | *flag as u32);
            let step = MemoryPolicy { mode: policy.mode, flags, nodes: policy.nodes.mask() };
            self.init(Some(Pointer::new("/linux/memoryPolicy")), step);
        }
        if let Some(personality) = &self.spec.linux.personality {
            self.init(Some(Pointer::new("/linux/personality")), Personality(personality.domain));
        }
        if let Some(priority) = &process.io_priority {
            let step = IoPriority { class: priority.class, level: priority.priority.unsigned_abs() };
            self.init(Some(Pointer::new("/process/ioPriority")), step);
        }
        // One that does not pass to the process in which `exec` goes on is set from outside, after that is there.
        let scheduler = process.scheduler.as_ref().map(scheduler);
        if let Some(step) = scheduler.filter(|step| !(self.crosses && step.stays_behind())) {
            self.init(Some(SCHEDULER), step);
        }
    }
}
