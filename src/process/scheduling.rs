//! How the kernel shares out CPU, disk and memory nodes to the process, and as which machine it shows
//! itself: sched(7), ioprio_set(2), set_mempolicy(2), personality(2).

use std::fmt;

use nix::errno::Errno;
use serde::Deserialize;

use crate::error::{Context, Result};
use crate::sys::sched;

/// The policies of sched(7), numbered as in the kernel.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // sched(7)'s own names
pub enum Policy {
    #[serde(rename = "SCHED_OTHER")]
    Other = 0,
    #[serde(rename = "SCHED_FIFO")]
    Fifo = 1,
    #[serde(rename = "SCHED_RR")]
    Rr = 2,
    #[serde(rename = "SCHED_BATCH")]
    Batch = 3,
    /// A number that Linux itself has reserved and not implemented.
    #[serde(rename = "SCHED_ISO")]
    Iso = 4,
    #[serde(rename = "SCHED_IDLE")]
    Idle = 5,
    #[serde(rename = "SCHED_DEADLINE")]
    Deadline = 6,
}

/// The flags of sched_setattr(2), each with its bit.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // sched_setattr(2)'s own names
pub enum Flag {
    #[serde(rename = "SCHED_FLAG_RESET_ON_FORK")]
    ResetOnFork = 0x01,
    #[serde(rename = "SCHED_FLAG_RECLAIM")]
    Reclaim = 0x02,
    #[serde(rename = "SCHED_FLAG_DL_OVERRUN")]
    DlOverrun = 0x04,
    #[serde(rename = "SCHED_FLAG_KEEP_POLICY")]
    KeepPolicy = 0x08,
    #[serde(rename = "SCHED_FLAG_KEEP_PARAMS")]
    KeepParams = 0x10,
    #[serde(rename = "SCHED_FLAG_UTIL_CLAMP_MIN")]
    UtilClampMin = 0x20,
    #[serde(rename = "SCHED_FLAG_UTIL_CLAMP_MAX")]
    UtilClampMax = 0x40,
}

/// Chooses how the process shares the CPUs: sched_setattr(2). The specification has no property for the
/// values of the utilisation clamps, so that they are 0, as runc's are.
#[derive(PartialEq)]
pub struct Scheduler {
    /// The policy.
    pub policy: Policy,
    /// Bits of [`Flag`].
    pub flags: u64,
    /// For the policies without priorities: -20 to 19.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`: 1 to 99.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds: runtime, deadline, period.
    pub deadline: [u64; 3],
}

impl Scheduler {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        let [runtime, deadline, period] = self.deadline;
        let attr = sched::SchedAttr {
            policy: self.policy as u32,
            flags: self.flags,
            nice: self.nice,
            priority: self.priority,
            runtime,
            deadline,
            period,
            ..sched::SchedAttr::default()
        };
        sched::set_scheduler(attr).what(|| format!("set scheduler {self}")).map_err(|error| match error.code() {
            Errno::EINVAL if self.policy == Policy::Iso => error.hint("Linux reserves SCHED_ISO and does not have it"),
            Errno::EPERM => error.hint(
                "a better priority needs CAP_SYS_NICE, a deadline all CPUs (no cpuset), and on cgroup v1 a \
                 real-time policy a cgroup with cpu.rt_runtime_us",
            ),
            Errno::EBUSY => error.hint("the CPUs have not that much time left for deadlines"),
            _ => error,
        })
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&format!("{:?}", self.policy).to_lowercase())?;
        match self.policy {
            Policy::Fifo | Policy::Rr => write!(f, " priority {}", self.priority)?,
            Policy::Deadline => {
                let [runtime, deadline, period] = self.deadline;
                write!(f, " runtime {runtime} ns deadline {deadline} ns period {period} ns")?;
            }
            _ => write!(f, " nice {}", self.nice)?,
        }
        if self.flags != 0 { write!(f, " flags {:#x}", self.flags) } else { Ok(()) }
    }
}

/// The classes of ioprio_set(2), numbered as in the kernel.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // ioprio_set(2)'s own names
pub enum IoClass {
    #[serde(rename = "IOPRIO_CLASS_RT")]
    Rt = 1,
    #[serde(rename = "IOPRIO_CLASS_BE")]
    Be = 2,
    #[serde(rename = "IOPRIO_CLASS_IDLE")]
    Idle = 3,
}

/// Chooses how the process shares the disks: ioprio_set(2). The init is alone in its process group, and
/// what it starts inherits the priority.
#[derive(PartialEq)]
pub struct IoPriority {
    /// The class.
    pub class: IoClass,
    /// From 0, the highest, to 7.
    pub level: u32,
}

impl IoPriority {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        sched::set_io_priority(self.class as u32, self.level).what(|| format!("set I/O priority {self}")).map_err(
            |error| match error.code() {
                Errno::EPERM => error.hint("IOPRIO_CLASS_RT needs CAP_SYS_NICE or CAP_SYS_ADMIN"),
                _ => error,
            },
        )
    }
}

impl fmt::Display for IoPriority {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", format!("{:?}", self.class).to_lowercase(), self.level)
    }
}

/// The modes of set_mempolicy(2), numbered as in the kernel.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // set_mempolicy(2)'s own names
pub enum MemoryMode {
    #[serde(rename = "MPOL_DEFAULT")]
    Default = 0,
    #[serde(rename = "MPOL_PREFERRED")]
    Preferred = 1,
    #[serde(rename = "MPOL_BIND")]
    Bind = 2,
    #[serde(rename = "MPOL_INTERLEAVE")]
    Interleave = 3,
    #[serde(rename = "MPOL_LOCAL")]
    Local = 4,
    #[serde(rename = "MPOL_PREFERRED_MANY")]
    PreferredMany = 5,
    #[serde(rename = "MPOL_WEIGHTED_INTERLEAVE")]
    WeightedInterleave = 6,
}

/// The flags of set_mempolicy(2), each with its bit.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // set_mempolicy(2)'s own names
pub enum MemoryFlag {
    #[serde(rename = "MPOL_F_NUMA_BALANCING")]
    NumaBalancing = 1 << 13,
    #[serde(rename = "MPOL_F_RELATIVE_NODES")]
    RelativeNodes = 1 << 14,
    #[serde(rename = "MPOL_F_STATIC_NODES")]
    StaticNodes = 1 << 15,
}

/// Chooses the memory nodes: set_mempolicy(2). The policy is kept over execve(2).
#[derive(PartialEq)]
pub struct MemoryPolicy {
    /// The mode.
    pub mode: MemoryMode,
    /// Bits of [`MemoryFlag`].
    pub flags: u32,
    /// The nodes as a mask.
    pub nodes: Vec<libc::c_ulong>,
}

impl MemoryPolicy {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        let set = sched::set_memory_policy(self.mode as u32 | self.flags, &self.nodes);
        set.what(|| format!("set memory policy {self}")).map_err(|error| match error.code() {
            Errno::EINVAL => {
                error.hint("the kernel does not know this mode or flag, or none of the nodes is there and allowed")
            }
            Errno::ENOSYS => error.hint("this kernel has no NUMA support"),
            _ => error,
        })
    }
}

impl fmt::Display for MemoryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&format!("{:?}", self.mode).to_lowercase())?;
        let bits = libc::c_ulong::BITS as usize;
        let nodes = (0..self.nodes.len() * bits).filter(|node| self.nodes[node / bits] & (1 << (node % bits)) != 0);
        let nodes: Vec<String> = nodes.map(|node| node.to_string()).collect();
        if !nodes.is_empty() {
            write!(f, " nodes {}", nodes.join(" "))?;
        }
        if self.flags != 0 { write!(f, " flags {:#x}", self.flags) } else { Ok(()) }
    }
}

/// The execution domains that the specification knows, numbered as in the kernel.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // personality(2)'s own names
pub enum Domain {
    #[serde(rename = "LINUX")]
    Linux = 0,
    #[serde(rename = "LINUX32")]
    Linux32 = 8,
}

/// Sets the execution domain: personality(2). It is kept over execve(2).
#[derive(PartialEq)]
pub struct Personality(pub Domain);

impl Personality {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        sched::set_personality(self.0 as u32).what(|| format!("set personality {self}"))
    }
}

impl fmt::Display for Personality {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "personality {}", format!("{:?}", self.0).to_lowercase())
    }
}
