//! The `linux` object.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::rc::Rc;

use serde::Deserialize;

use super::device::Device;
use super::idmap::mappings;
use super::intel_rdt::IntelRdt;
use super::resources::Resources;
use super::scheduling::{MemoryPolicy, Personality};
use super::text::{Object, Text, name, object, object_or_default, objects, or_default};
use crate::types::ids::Mappings;
use crate::types::namespaces::NamespaceKind;
use crate::types::propagation::Propagation;
use crate::types::seccomp::Profile;

/// What only Linux has.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// The namespaces that are not the caller's.
    #[serde(deserialize_with = "objects")]
    pub namespaces: Vec<Namespace>,
    /// Where the container's cgroup is; absent: named after the container.
    pub cgroups_path: Option<Text>,
    /// Limits.
    #[serde(deserialize_with = "object_or_default")]
    pub resources: Box<Resources>,
    /// Paths that are hidden from the container.
    #[serde(deserialize_with = "or_default")]
    pub masked_paths: Vec<Text>,
    /// Paths that the container may not write below.
    #[serde(deserialize_with = "or_default")]
    pub readonly_paths: Vec<Text>,
    /// The SELinux context of the container's mounts; empty: what the policy says.
    #[serde(deserialize_with = "or_default")]
    pub mount_label: Text,
    /// Kernel parameters of the container's namespaces, by name.
    #[serde(deserialize_with = "or_default")]
    pub sysctl: BTreeMap<String, Text>,
    /// Shares of caches and memory bandwidth.
    #[serde(deserialize_with = "object")]
    pub intel_rdt: Option<IntelRdt>,
    /// The memory nodes that are used; absent: as ferrun.
    #[serde(deserialize_with = "object")]
    pub memory_policy: Option<MemoryPolicy>,
    /// As which machine the kernel shows itself; absent: as to ferrun.
    #[serde(deserialize_with = "object")]
    pub personality: Option<Personality>,
    /// Users of a user namespace.
    #[serde(deserialize_with = "mappings")]
    pub uid_mappings: Mappings,
    /// Groups of a user namespace.
    #[serde(deserialize_with = "mappings")]
    pub gid_mappings: Mappings,
    /// Clocks of a new time namespace.
    #[serde(deserialize_with = "object_or_default")]
    pub time_offsets: TimeOffsets,
    /// Device nodes beside the default ones.
    #[serde(deserialize_with = "objects")]
    pub devices: Vec<Device>,
    /// The host's network links that become the container's, by name.
    #[serde(deserialize_with = "or_default")]
    pub net_devices: BTreeMap<String, Object<NetDevice>>,
    /// Whether mounts travel between the root and the host.
    #[serde(deserialize_with = "propagation")]
    pub rootfs_propagation: Option<Propagation>,
    /// Which system calls may be made.
    #[serde(deserialize_with = "super::seccomp::shared")]
    pub seccomp: Option<Rc<Profile>>,
}

fn propagation<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Propagation>, D::Error> {
    super::text::parsed(from, |text| if text.is_empty() { Ok(None) } else { Propagation::parse(text).map(Some) })
}

/// A namespace of the container.
#[derive(Deserialize, Debug)]
pub struct Namespace {
    /// Which kind.
    #[serde(rename = "type", deserialize_with = "name")]
    pub kind: NamespaceKind,
    #[serde(default, deserialize_with = "or_default")]
    path: Text,
}

impl Namespace {
    /// The file of the namespace that is joined; none: a new one is made.
    pub fn path(&self) -> Option<&CStr> {
        Some(&*self.path).filter(|path| !path.is_empty())
    }
}

/// What is added to the clocks of a time namespace: time_namespaces(7).
#[derive(Deserialize, Debug, Default)]
#[serde(default, deny_unknown_fields)]
pub struct TimeOffsets {
    /// CLOCK_MONOTONIC.
    #[serde(deserialize_with = "object")]
    pub monotonic: Option<Offset>,
    /// CLOCK_BOOTTIME.
    #[serde(deserialize_with = "object")]
    pub boottime: Option<Offset>,
}

/// An amount of time.
#[derive(Deserialize, Debug, Default, Clone, Copy)]
#[serde(default)]
pub struct Offset {
    /// Seconds.
    #[serde(deserialize_with = "or_default")]
    pub secs: i64,
    /// And nanoseconds, which always count forward.
    #[serde(deserialize_with = "or_default")]
    pub nanosecs: u32,
}

/// A network link that is moved into the container.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct NetDevice {
    /// Its name there; empty: the same. `%d` stands for the first number that is free.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}
