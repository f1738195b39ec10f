//! `linux.resources`: what the container may use. What is absent or null is left as it is; so are most
//! zeros and empty strings, which engines write for "not set" (bundle/limits/table.rs says which).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::text::{Object, object_or_default, objects, or_default};
use crate::types::device_rules::Rule;

/// What the container may use.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Device rules, in order; the later win.
    #[serde(deserialize_with = "super::device::rules")]
    pub devices: Vec<Rule>,
    /// Memory.
    #[serde(deserialize_with = "object_or_default")]
    pub memory: Memory,
    /// CPU time and CPUs.
    #[serde(deserialize_with = "object_or_default")]
    pub cpu: Cpu,
    /// How many processes.
    #[serde(deserialize_with = "object_or_default")]
    pub pids: Pids,
    /// Disks.
    #[serde(rename = "blockIO", deserialize_with = "object_or_default")]
    pub block_io: BlockIo,
    /// Huge pages, by size.
    #[serde(deserialize_with = "objects")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Marks on network traffic.
    #[serde(deserialize_with = "object_or_default")]
    pub network: Network,
    /// RDMA devices, by name.
    #[serde(deserialize_with = "or_default")]
    pub rdma: BTreeMap<String, Object<Rdma>>,
    /// Files of cgroup v2, and what is written to them.
    #[serde(deserialize_with = "or_default")]
    pub unified: BTreeMap<String, String>,
}

/// Memory limits, in bytes; -1 means without limit. `useHierarchy` is ignored, as by runc: no kernel has
/// a choice any more.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// What is never exceeded.
    pub limit: Option<i64>,
    /// What is left to the container when memory is short.
    pub reservation: Option<i64>,
    /// Memory and swap together.
    pub swap: Option<i64>,
    /// The kernel's memory: cgroup v1 of old kernels.
    pub kernel: Option<i64>,
    /// The kernel's memory for TCP: cgroup v1.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    /// How readily the kernel swaps, from 0 to 100; 0 is a value like any other: cgroup v1.
    pub swappiness: Option<u64>,
    /// At the limit processes wait, and none is killed: cgroup v1.
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    /// Refuse a limit below what is in use.
    pub check_before_update: Option<bool>,
}

/// CPU limits. Times are in microseconds.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    /// Relative weight as cgroup v1 counts it, from 2 to 262144.
    pub shares: Option<u64>,
    /// CPU time in a period; -1 means without limit.
    pub quota: Option<i64>,
    /// What may be saved up of it.
    pub burst: Option<u64>,
    /// The period.
    pub period: Option<u64>,
    /// Real-time scheduled time in a period of its own: cgroup v1.
    pub realtime_runtime: Option<i64>,
    /// That period: cgroup v1.
    pub realtime_period: Option<u64>,
    /// CPUs: `0-3,7`.
    #[serde(deserialize_with = "or_default")]
    pub cpus: String,
    /// Memory nodes.
    #[serde(deserialize_with = "or_default")]
    pub mems: String,
    /// 1: it runs only when nothing else wants to; then shares mean nothing.
    pub idle: Option<i64>,
}

/// How many processes and threads.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct Pids {
    /// -1 means without limit.
    pub limit: Option<i64>,
}

/// How disks are shared.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    /// Relative weight as cgroup v1 counts it, from 10 to 1000.
    pub weight: Option<u16>,
    /// The same against the container's own child cgroups: cgroup v1 of old kernels.
    pub leaf_weight: Option<u16>,
    /// Weights on single devices.
    #[serde(deserialize_with = "objects")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes read in a second.
    #[serde(deserialize_with = "objects")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes written in a second.
    #[serde(deserialize_with = "objects")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Reads in a second.
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "objects")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Writes in a second.
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "objects")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// The weight on one device.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct WeightDevice {
    /// Its number.
    pub major: u32,
    /// The other half.
    pub minor: u32,
    /// As [`BlockIo::weight`].
    pub weight: Option<u16>,
    /// As [`BlockIo::leaf_weight`].
    pub leaf_weight: Option<u16>,
}

/// The rate on one device.
#[derive(Deserialize, Debug)]
pub struct ThrottleDevice {
    /// Its number.
    pub major: u32,
    /// The other half.
    pub minor: u32,
    /// Bytes or operations in a second; 0, or absent as the specification's schema allows: without limit.
    #[serde(default, deserialize_with = "or_default")]
    pub rate: u64,
}

/// Huge pages of one size.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct HugepageLimit {
    /// Such as `2MB`, as the kernel's files have it.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// Marks on network traffic: cgroup v1.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct Network {
    /// The class that packets are tagged with; 0 is none.
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    /// The priority of traffic, by link.
    #[serde(deserialize_with = "objects")]
    pub priorities: Vec<LinkPriority>,
}

/// The priority on one link.
#[derive(Deserialize, Debug)]
pub struct LinkPriority {
    /// The link's name in ferrun's network namespace.
    pub name: String,
    /// The priority.
    pub priority: u32,
}

/// What may be used of an RDMA device.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Rdma {
    /// Handles.
    pub hca_handles: Option<u32>,
    /// Objects.
    pub hca_objects: Option<u32>,
}
