//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`, `linux.memoryPolicy` and
//! `linux.personality`.

use serde::Deserialize;
use serde::de::Deserializer;

use super::problems::Problems;
use super::problems::wrong;
use super::text::{name, names, or_default, parsed};
use crate::pointer::Pointer;
use crate::types::cpu_list::CpuList;
use crate::types::scheduling::{Domain, Flag, IoClass, MemoryFlag, MemoryMode, Policy};

/// How the process shares the CPUs.
#[derive(Deserialize, Debug)]
pub struct Scheduler {
    /// The policy.
    #[serde(deserialize_with = "name")]
    pub policy: Policy,
    /// For the policies without priorities.
    #[serde(default, deserialize_with = "or_default")]
    pub nice: i32,
    /// For the real-time policies.
    #[serde(default, deserialize_with = "or_default")]
    pub priority: i32,
    /// In any order.
    #[serde(default, deserialize_with = "names")]
    pub flags: Vec<Flag>,
    /// For `SCHED_DEADLINE`, in nanoseconds.
    #[serde(default, deserialize_with = "or_default")]
    pub runtime: u64,
    /// The same.
    #[serde(default, deserialize_with = "or_default")]
    pub deadline: u64,
    /// The same; 0: the deadline.
    #[serde(default, deserialize_with = "or_default")]
    pub period: u64,
}

/// How the process shares the disks.
#[derive(Deserialize, Debug)]
pub struct IoPriority {
    /// The class.
    #[serde(deserialize_with = "name")]
    pub class: IoClass,
    /// From 0 to 7; absent: 0, as runc and crun.
    #[serde(default, deserialize_with = "or_default")]
    pub priority: i32,
}

/// The CPUs of a process that is executed in the container later; the init's are left as they are.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct ExecCpuAffinity {
    /// Before it enters the container's cgroup.
    pub initial: CpuList,
    /// From then on.
    #[serde(rename = "final")]
    pub last: CpuList,
}

/// The memory nodes of the process.
#[derive(Deserialize, Debug)]
pub struct MemoryPolicy {
    /// The mode.
    #[serde(deserialize_with = "name")]
    pub mode: MemoryMode,
    /// The nodes, which some modes need and others exclude.
    #[serde(default)]
    pub nodes: CpuList,
    /// In any order.
    #[serde(default, deserialize_with = "names")]
    pub flags: Vec<MemoryFlag>,
}

/// As which machine the kernel shows itself.
#[derive(Deserialize, Debug)]
pub struct Personality {
    /// The domain.
    #[serde(deserialize_with = "name")]
    pub domain: Domain,
    /// The specification has none so far.
    #[serde(default, deserialize_with = "or_default")]
    pub flags: Vec<String>,
}

impl<'de> Deserialize<'de> for CpuList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<CpuList, D::Error> {
        parsed(from, CpuList::parse)
    }
}

/// Checks `process.ioPriority`: ioprio_set(2).
pub(super) fn check_io_priority(io: &IoPriority, found: &mut Problems) {
    if !(0..=7).contains(&io.priority) {
        let message = format!("priority {} is not between 0 and 7", io.priority);
        found.error(wrong("/process/ioPriority/priority", message));
    }
}

/// Checks `process.scheduler` for what the kernel would refuse or, worse, pass over: sched_setattr(2).
pub(super) fn check_scheduler(scheduler: &Scheduler, found: &mut Problems) {
    let Scheduler { policy, nice, priority, runtime, deadline, period, .. } = *scheduler;
    // Then the kernel takes these from what the process has.
    if scheduler.flags.iter().any(|flag| matches!(flag, Flag::KeepPolicy | Flag::KeepParams)) {
        return;
    }
    if !(-20..=19).contains(&nice) {
        found.error(wrong("/process/scheduler/nice", format!("nice {nice} is not between -20 and 19")));
    }
    match policy {
        Policy::Fifo | Policy::Rr if !(1..=99).contains(&priority) => {
            let message = format!("priority {priority} is not between 1 and 99, as a real-time policy needs it");
            found.error(wrong("/process/scheduler/priority", message));
        }
        Policy::Fifo | Policy::Rr => {}
        _ if priority != 0 => {
            let message = "only SCHED_FIFO and SCHED_RR have a priority";
            found.error(wrong("/process/scheduler/priority", message));
        }
        _ => {}
    }
    if policy != Policy::Deadline {
        let times = [("runtime", runtime), ("deadline", deadline), ("period", period)];
        for (name, _) in times.iter().filter(|(_, value)| *value != 0) {
            found.error(wrong(format!("/process/scheduler/{name}"), format!("only SCHED_DEADLINE has a {name}")));
        }
        return;
    }
    // The kernel's own resolution.
    if runtime < 1024 || runtime > deadline || (period != 0 && deadline > period) {
        let message = "SCHED_DEADLINE needs 1024 <= runtime <= deadline <= period (in nanoseconds)";
        found.error(wrong("/process/scheduler", message));
    }
}

/// Checks `linux.memoryPolicy`: set_mempolicy(2).
pub(super) fn check_memory_policy(policy: &MemoryPolicy, found: &mut Problems) {
    let nodes = "/linux/memoryPolicy/nodes";
    match policy.mode {
        MemoryMode::Default | MemoryMode::Local if !policy.nodes.is_empty() => {
            found.error(wrong(nodes, "this mode takes no nodes"));
        }
        MemoryMode::Default | MemoryMode::Local | MemoryMode::Preferred => {}
        _ if policy.nodes.is_empty() => found.error(wrong(nodes, "this mode needs at least one node")),
        _ => {}
    }
    let has = |flag| policy.flags.contains(&flag);
    if has(MemoryFlag::StaticNodes) && has(MemoryFlag::RelativeNodes) {
        let message = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        found.error(wrong("/linux/memoryPolicy/flags", message));
    }
}

/// Checks `linux.personality`: its flags "MUST NOT be set" so far.
pub(super) fn check_personality(personality: &Personality, found: &mut Problems) {
    for (index, flag) in personality.flags.iter().enumerate() {
        let pointer = Pointer::at("/linux/personality/flags/#", index);
        found.error(wrong(pointer, format!("{flag:?} is no flag of a personality: the specification has none")));
    }
}
