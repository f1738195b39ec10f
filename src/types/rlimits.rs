//! Resource limits of setrlimit(2), by the names of config.json.

use nix::sys::resource::Resource;
use serde::Deserialize;

/// Kinds of limits.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // getrlimit(2)'s own names
pub enum RlimitKind {
    #[serde(rename = "RLIMIT_AS")]
    As,
    #[serde(rename = "RLIMIT_CORE")]
    Core,
    #[serde(rename = "RLIMIT_CPU")]
    Cpu,
    #[serde(rename = "RLIMIT_DATA")]
    Data,
    #[serde(rename = "RLIMIT_FSIZE")]
    Fsize,
    #[serde(rename = "RLIMIT_LOCKS")]
    Locks,
    #[serde(rename = "RLIMIT_MEMLOCK")]
    Memlock,
    #[serde(rename = "RLIMIT_MSGQUEUE")]
    Msgqueue,
    #[serde(rename = "RLIMIT_NICE")]
    Nice,
    #[serde(rename = "RLIMIT_NOFILE")]
    Nofile,
    #[serde(rename = "RLIMIT_NPROC")]
    Nproc,
    #[serde(rename = "RLIMIT_RSS")]
    Rss,
    #[serde(rename = "RLIMIT_RTPRIO")]
    Rtprio,
    #[serde(rename = "RLIMIT_RTTIME")]
    Rttime,
    #[serde(rename = "RLIMIT_SIGPENDING")]
    Sigpending,
    #[serde(rename = "RLIMIT_STACK")]
    Stack,
}

impl RlimitKind {
    /// The kind as setrlimit(2) takes it.
    pub fn resource(self) -> Resource {
        match self {
            RlimitKind::As => Resource::RLIMIT_AS,
            RlimitKind::Core => Resource::RLIMIT_CORE,
            RlimitKind::Cpu => Resource::RLIMIT_CPU,
            RlimitKind::Data => Resource::RLIMIT_DATA,
            RlimitKind::Fsize => Resource::RLIMIT_FSIZE,
            RlimitKind::Locks => Resource::RLIMIT_LOCKS,
            RlimitKind::Memlock => Resource::RLIMIT_MEMLOCK,
            RlimitKind::Msgqueue => Resource::RLIMIT_MSGQUEUE,
            RlimitKind::Nice => Resource::RLIMIT_NICE,
            RlimitKind::Nofile => Resource::RLIMIT_NOFILE,
            RlimitKind::Nproc => Resource::RLIMIT_NPROC,
            RlimitKind::Rss => Resource::RLIMIT_RSS,
            RlimitKind::Rtprio => Resource::RLIMIT_RTPRIO,
            RlimitKind::Rttime => Resource::RLIMIT_RTTIME,
            RlimitKind::Sigpending => Resource::RLIMIT_SIGPENDING,
            RlimitKind::Stack => Resource::RLIMIT_STACK,
        }
    }
}
