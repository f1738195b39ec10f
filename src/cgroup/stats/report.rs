//! The report of runc's `events`, in its names and its order (types/events.go of runc 1.5). Times are nanoseconds,
//! sizes bytes; u64::MAX stands for no limit, but for processes 0 does.

use std::collections::BTreeMap;

use serde::Serialize;

use super::go::{as_go_does, is_zero};
use super::rdt::Rdt;

/// The whole report.
#[derive(Serialize, Default, Debug)]
#[allow(missing_docs)] // the keys say it
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: CpuSet,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    pub hugetlb: BTreeMap<String, HugeTlb>,
    pub intel_rdt: Rdt,
    /// Always null: the spec has no network interfaces that a runtime creates.
    pub network_interfaces: (),
}

/// Processor time.
#[derive(Serialize, Default, Debug)]
#[allow(missing_docs)]
pub struct Cpu {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: CpuUsage,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// How much, by processor on v1.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

/// How often and how long the quota was used up.
#[derive(Serialize, Default, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Pressure stall information of v2: how long some or all processes waited.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Psi {
    #[serde(skip_serializing_if = "is_zero")]
    pub some: Pressure,
    #[serde(skip_serializing_if = "is_zero")]
    pub full: Pressure,
}

/// Percent of the last seconds, and microseconds in all.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Pressure {
    #[serde(serialize_with = "as_go_does")]
    pub avg10: f64,
    #[serde(serialize_with = "as_go_does")]
    pub avg60: f64,
    #[serde(serialize_with = "as_go_does")]
    pub avg300: f64,
    pub total: u64,
}

/// The v1 controller cpuset; zeros on v2.
#[derive(Serialize, Default, Debug)]
#[allow(missing_docs)]
pub struct CpuSet {
    #[serde(skip_serializing_if = "is_zero")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory; `raw` is the kernel's memory.stat.
#[derive(Serialize, Default, Debug)]
#[allow(missing_docs)]
pub struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: MemoryUse,
    /// Memory and swap together, on v2 too.
    #[serde(skip_serializing_if = "is_zero")]
    pub swap: MemoryUse,
    #[serde(skip_serializing_if = "is_zero")]
    pub kernel: MemoryUse,
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_zero")]
    pub kernel_tcp: MemoryUse,
    #[serde(skip_serializing_if = "is_zero")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One kind of memory.
#[derive(Serialize, Default, Debug, PartialEq, Clone, Copy)]
#[allow(missing_docs)]
pub struct MemoryUse {
    pub limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices, with all cgroups below.
#[derive(Serialize, Default, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Blkio {
    #[serde(skip_serializing_if = "is_zero")]
    pub io_service_bytes_recursive: Vec<IoEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_serviced_recursive: Vec<IoEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_queue_recursive: Vec<IoEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_service_time_recursive: Vec<IoEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_wait_time_recursive: Vec<IoEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_merged_recursive: Vec<IoEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_time_recursive: Vec<IoEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub sectors_recursive: Vec<IoEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// What was done on a device.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct IoEntry {
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub op: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of a size.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct HugeTlb {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}
