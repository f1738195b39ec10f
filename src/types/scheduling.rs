//! Scheduling values, by the names of config.json and the numbers of the kernel: policies and flags of sched(7),
//! classes of ioprio_set(2), modes and flags of set_mempolicy(2), domains of personality(2).

use serde::Deserialize;

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

/// The execution domains that the specification knows, numbered as in the kernel.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // personality(2)'s own names
pub enum Domain {
    #[serde(rename = "LINUX")]
    Linux = 0,
    #[serde(rename = "LINUX32")]
    Linux32 = 8,
}
