//! The `process` object.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::scheduling::{ExecCpuAffinity, IoPriority, Scheduler};
use super::text::{Text, name, object, object_or_default, or_default, some_objects};
use crate::types::capabilities::named;
use crate::types::rlimits::RlimitKind;

/// What runs in the container, and as whom.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Whether it gets a terminal of its own.
    #[serde(deserialize_with = "or_default")]
    pub terminal: bool,
    /// User, groups and file mode mask.
    #[serde(deserialize_with = "object_or_default")]
    pub user: User,
    /// The program and its arguments.
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<Text>,
    /// `NAME=value` entries.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<Text>,
    /// Working directory inside the container.
    pub cwd: Text,
    /// The five sets; absent: all that ferrun has.
    #[serde(deserialize_with = "object")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits, each kind once. Absent: for `exec`, those of the container.
    #[serde(deserialize_with = "some_objects")]
    pub rlimits: Option<Vec<Rlimit>>,
    /// Whether execve(2) may never grant privileges.
    #[serde(deserialize_with = "or_default")]
    pub no_new_privileges: bool,
    /// Absent: the score is left as it is.
    pub oom_score_adj: Option<i32>,
    /// The AppArmor profile of the program; empty: as without AppArmor.
    #[serde(deserialize_with = "or_default")]
    pub apparmor_profile: Text,
    /// The SELinux context of the program; empty: what the policy says.
    #[serde(deserialize_with = "or_default")]
    pub selinux_label: Text,
    /// How it shares the CPUs; absent: as ferrun.
    #[serde(deserialize_with = "object")]
    pub scheduler: Option<Scheduler>,
    /// How it shares the disks; absent: as ferrun.
    #[serde(deserialize_with = "object")]
    pub io_priority: Option<IoPriority>,
    /// The CPUs of what is executed in the container later: the init's are not touched.
    #[serde(rename = "execCPUAffinity", deserialize_with = "object")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
    /// Of no effect without a terminal.
    #[serde(deserialize_with = "object")]
    pub console_size: Option<ConsoleSize>,
}

/// How large a terminal is at first.
#[derive(Deserialize, Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct ConsoleSize {
    pub height: u64,
    pub width: u64,
}

/// The identity of the process.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id inside the container.
    pub uid: u32,
    /// Group id inside the container.
    pub gid: u32,
    /// File mode creation mask; absent: 0022, as runc.
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(deserialize_with = "or_default")]
    pub additional_gids: Vec<u32>,
    /// Of no effect on Linux.
    #[serde(deserialize_with = "or_default")]
    pub username: Text,
}

/// A limit of setrlimit(2).
#[derive(Deserialize, Debug, Clone, Copy)]
pub struct Rlimit {
    /// Which one.
    #[serde(rename = "type", deserialize_with = "name")]
    pub kind: RlimitKind,
    /// What the process may use now.
    pub soft: u64,
    /// How far it may raise that.
    pub hard: u64,
}

/// The five capability sets.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
#[allow(missing_docs)] // capabilities(7)'s own names
pub struct Capabilities {
    pub bounding: CapabilitySet,
    pub effective: CapabilitySet,
    pub inheritable: CapabilitySet,
    pub permitted: CapabilitySet,
    pub ambient: CapabilitySet,
}

/// A list of capability names as the kernel's mask.
#[derive(Debug, Default, Clone)]
pub struct CapabilitySet {
    /// Bit N for capability number N.
    pub mask: u64,
    /// Names that ferrun knows no number for, with their place in the list: the spec wants them warned
    /// about, not refused.
    pub unknown: Vec<(usize, String)>,
}

impl<'de> Deserialize<'de> for CapabilitySet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<CapabilitySet, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = CapabilitySet;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of capability names")
            }
            fn visit_unit<E>(self) -> Result<CapabilitySet, E> {
                Ok(CapabilitySet::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CapabilitySet, A::Error> {
                let mut set = CapabilitySet::default();
                let mut index = 0;
                while let Some(name) = list.next_element::<std::borrow::Cow<str>>()? {
                    match named(&name) {
                        Some(known) => set.mask |= known.bitmask(),
                        None => set.unknown.push((index, name.into_owned())),
                    }
                    index += 1;
                }
                Ok(set)
            }
        }
        from.deserialize_any(Names)
    }
}
