//! The steps that set scheduler, I/O priority, memory policy and execution domain: sched(7), ioprio_set(2),
//! set_mempolicy(2), personality(2).

use std::fmt;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::error::{Context, Result};
use crate::sys::sched;
use crate::types::scheduling::{Domain, Flag, IoClass, MemoryMode, Policy};

/// Chooses how the process shares the CPUs: sched_setattr(2). The specification has no property for the
/// values of the utilisation clamps, so that they are 0, as runc's are.
#[derive(PartialEq)]
pub struct Scheduler {
    /// The policy.
    pub policy: Policy,
    /// Bits of [`Flag`](crate::types::scheduling::Flag).
    pub flags: u64,
    /// For the policies without priorities: -20 to 19.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`: 1 to 99.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds: runtime, deadline, period.
    pub deadline: [u64; 3],
}

impl Scheduler {
    /// Whether a process has it without passing it on to those that it creates.
    pub fn stays_behind(&self) -> bool {
        self.policy == Policy::Deadline || self.flags & Flag::ResetOnFork as u64 != 0
    }

    /// Runs the step in the process itself.
    pub fn run(&self) -> Result<()> {
        self.run_for(Pid::from_raw(0))
    }

    /// Runs the step for another process.
    pub fn run_for(&self, process: Pid) -> Result<()> {
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
        let set = sched::set_scheduler(process, attr).what(|| format!("set scheduler {self}"));
        set.map_err(|error| match error.code() {
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

/// Chooses the memory nodes: set_mempolicy(2). The policy is kept over execve(2).
#[derive(PartialEq)]
pub struct MemoryPolicy {
    /// The mode.
    pub mode: MemoryMode,
    /// Bits of [`MemoryFlag`](crate::types::scheduling::MemoryFlag).
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
