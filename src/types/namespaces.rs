//! Kinds of namespaces(7): their names in config.json and in /proc/PID/ns, their flags of clone(2).

use std::fmt;

use nix::sched::CloneFlags;
use serde::Deserialize;

use crate::sys::namespace::NEWTIME;

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

impl NamespaceKind {
    /// Every kind, in the order in which they are printed.
    pub const ALL: [NamespaceKind; 8] = [
        NamespaceKind::Pid,
        NamespaceKind::Network,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Mount,
        NamespaceKind::Cgroup,
        NamespaceKind::User,
        NamespaceKind::Time,
    ];

    /// The table: the name in config.json, the name in /proc/PID/ns, the flag.
    const fn row(self) -> (&'static str, &'static str, CloneFlags) {
        match self {
            NamespaceKind::Pid => ("pid", "pid", CloneFlags::CLONE_NEWPID),
            NamespaceKind::Network => ("network", "net", CloneFlags::CLONE_NEWNET),
            NamespaceKind::Mount => ("mount", "mnt", CloneFlags::CLONE_NEWNS),
            NamespaceKind::Ipc => ("ipc", "ipc", CloneFlags::CLONE_NEWIPC),
            NamespaceKind::Uts => ("uts", "uts", CloneFlags::CLONE_NEWUTS),
            NamespaceKind::User => ("user", "user", CloneFlags::CLONE_NEWUSER),
            NamespaceKind::Cgroup => ("cgroup", "cgroup", CloneFlags::CLONE_NEWCGROUP),
            NamespaceKind::Time => ("time", "time", NEWTIME),
        }
    }

    /// The name in config.json.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The name in /proc/PID/ns.
    pub const fn proc_name(self) -> &'static str {
        self.row().1
    }

    /// The flag of clone(2), unshare(2) and setns(2).
    pub const fn flag(self) -> CloneFlags {
        self.row().2
    }

    /// The file of the namespace that a process is in; `self` for the caller's.
    pub fn file(self, process: impl fmt::Display) -> String {
        format!("/proc/{process}/ns/{}", self.proc_name())
    }

    /// The kinds that flags stand for.
    pub fn of(flags: CloneFlags) -> impl Iterator<Item = NamespaceKind> {
        Self::ALL.into_iter().filter(move |kind| flags.contains(kind.flag()))
    }
}

/// As config.json spells it.
impl fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The names of the kinds that flags stand for.
pub fn names(flags: CloneFlags) -> String {
    NamespaceKind::of(flags).map(NamespaceKind::name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    #[test]
    fn the_reader_and_the_kernel_know_the_names_of_the_table() {
        for kind in NamespaceKind::ALL {
            let name: StrDeserializer<Error> = kind.name().into_deserializer();
            assert_eq!(NamespaceKind::deserialize(name), Ok(kind));
            // A kernel can be built without any of the others.
            let file = std::fs::File::open(kind.file("self"));
            if kind == NamespaceKind::Mount || file.is_ok() {
                assert_eq!(crate::sys::namespace::kind(file.unwrap()), Ok(kind.flag()), "{kind}");
            }
        }
        assert_eq!(names(CloneFlags::CLONE_NEWNS | NEWTIME | CloneFlags::CLONE_NEWNET), "network mount time");
    }
}
