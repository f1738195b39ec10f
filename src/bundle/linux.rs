//! The `linux` object.

use serde::Deserialize;

use super::text::{NoEntryYet, NotYet, Refused, Text, object_or_default, objects, or_default};
use crate::cgroup::device_rules::Rule;
use crate::seccomp::Profile;

/// What only Linux has.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code)] // the `NotYet` fields are read only to be refused
pub struct Linux {
    /// The namespaces that are not the caller's.
    #[serde(deserialize_with = "objects")]
    pub namespaces: Vec<Namespace>,
    /// Where the container's cgroup is; absent: named after the container.
    pub cgroups_path: Option<Text>,
    /// Limits.
    #[serde(deserialize_with = "object_or_default")]
    pub resources: Resources,
    /// Paths that are hidden from the container.
    #[serde(deserialize_with = "or_default")]
    pub masked_paths: Vec<Text>,
    /// Paths that the container may not write below.
    #[serde(deserialize_with = "or_default")]
    pub readonly_paths: Vec<Text>,
    uid_mappings: NotYet,
    gid_mappings: NotYet,
    time_offsets: NotYet,
    devices: NotYet,
    net_devices: NoEntryYet,
    rootfs_propagation: NotYet,
    /// Which system calls may be made.
    #[serde(deserialize_with = "super::seccomp::profile")]
    pub seccomp: Option<Profile>,
    mount_label: NotYet,
    sysctl: NotYet,
    intel_rdt: NotYet,
    memory_policy: NotYet,
    personality: NotYet,
}

/// A namespace of the container.
#[derive(Deserialize, Debug)]
#[allow(dead_code)] // the `NotYet` fields are read only to be refused
pub struct Namespace {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    #[serde(default)]
    path: NotYet,
}

/// The kinds of namespaces(7).
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum NamespaceKind {
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    User,
    Cgroup,
    Time,
}

/// What the container may use.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code)] // the `NotYet` fields are read only to be refused
pub struct Resources {
    /// Device rules, in order; the later win.
    #[serde(deserialize_with = "super::device::rules")]
    pub devices: Vec<Rule>,
    /// CPU time.
    #[serde(deserialize_with = "object_or_default")]
    pub cpu: Cpu,
    #[serde(deserialize_with = "object_or_default")]
    memory: Memory,
    pids: NotYet,
    #[serde(rename = "blockIO")]
    block_io: NotYet,
    hugepage_limits: NotYet,
    network: NotYet,
    rdma: NoEntryYet,
    unified: NotYet,
}

/// Memory limits.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code)] // the `NotYet` fields are read only to be refused
struct Memory {
    limit: NotYet,
    reservation: NotYet,
    swap: NotYet,
    kernel: NotYet,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: NotYet,
    /// Where 0 is a value like any other.
    swappiness: Option<Refused>,
    #[serde(rename = "disableOOMKiller")]
    disable_oom_killer: NotYet,
    // useHierarchy is ignored, as by runc; checkBeforeUpdate asks for nothing by itself.
}

/// CPU limits.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code)] // the `NotYet` fields are read only to be refused
pub struct Cpu {
    /// Relative weight as cgroup v1 counts it; 0 means not set.
    pub shares: Option<u64>,
    quota: NotYet,
    burst: NotYet,
    period: NotYet,
    realtime_runtime: NotYet,
    realtime_period: NotYet,
    cpus: NotYet,
    mems: NotYet,
    idle: NotYet,
}
