//! The vocabulary: everything that ferrun can do to start a container.

use std::fmt;

use crate::cgroup::directory::{MakeV1, MakeV2};
use crate::cgroup::join::Join;
use crate::cgroup::limits::{DevicesV1, DevicesV2, Limit};
use crate::pointer::Pointer;
use crate::process::exec::{Program, Umask, WorkingDirectory};
use crate::process::identity::{BoundingSet, Capabilities, NoNewPrivileges, User};
use crate::process::limits::{OomScoreAdj, Rlimit};
use crate::process::namespaces::{Hostname, Loopback, Unshare};
use crate::process::session::{Isolate, Keyring};
use crate::process::stdio::Stdio;
use crate::rootfs::cgroup::CgroupMount;
use crate::rootfs::devices::DefaultDevices;
use crate::rootfs::mask::{Mask, ReadOnlyPath};
use crate::rootfs::mount::{Mount, SealReadOnly};
use crate::rootfs::root::{BindRoot, MoveRoot, Pivot, ReadOnlyRoot};
use crate::seccomp::step::Install;

/// One thing to do, and the property that asked for it.
pub struct Step {
    /// Where it comes from; what every container needs comes from nowhere.
    pub from: Option<Pointer>,
    /// What is done.
    pub action: Action,
}

/// Makes [`Action`]: each variant with the word that `explain` and `--trace` file it under.
macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident($inner:ty) = $verb:literal,)*) => {
        /// What a step does. Each variant is a plain struct of the room that runs it.
        pub enum Action { $($(#[$doc])* $name($inner),)* }

        impl Action {
            /// The word it is filed under.
            pub fn verb(&self) -> &'static str {
                match self { $(Action::$name(_) => $verb,)* }
            }
        }

        impl fmt::Display for Action {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                match self { $(Action::$name(inner) => write!(f, "{inner}"),)* }
            }
        }

        $(impl From<$inner> for Action {
            fn from(inner: $inner) -> Action { Action::$name(inner) }
        })*
    };
}

actions! {
    // The parent's lane.
    /// Makes the v2 cgroup.
    MakeCgroupV2(MakeV2) = "cgroup",
    /// Makes the v1 cgroups.
    MakeCgroupV1(MakeV1) = "cgroup",
    /// Sets a limit.
    Limit(Limit) = "cgroup",
    /// Sets the device rules of v1.
    DevicesV1(DevicesV1) = "cgroup",
    /// Sets the device rules of v2.
    DevicesV2(DevicesV2) = "cgroup",
    /// Makes the init.
    Clone(Clone) = "clone",
    /// Writes down who the init is.
    Record(Record) = "state",
    /// Lets the init pass its [`Wait`].
    Release(Release) = "release",
    /// Waits until the init is ready.
    AwaitReady(AwaitReady) = "wait",

    // The init's lane.
    /// A session of its own, hidden from others.
    Isolate(Isolate) = "session",
    /// A session keyring of its own.
    Keyring(Keyring) = "keyring",
    /// The score for when memory runs out.
    OomScoreAdj(OomScoreAdj) = "limit",
    /// New namespaces.
    Unshare(Unshare) = "unshare",
    /// The loopback link.
    Loopback(Loopback) = "network",
    /// The host's name.
    Hostname(Hostname) = "hostname",
    /// The root file system as a mount.
    BindRoot(BindRoot) = "bind",
    /// A mount.
    Mount(Mount) = "mount",
    /// The container's view of its cgroups.
    CgroupMount(CgroupMount) = "mount",
    /// The devices that every container has.
    Devices(DefaultDevices) = "dev",
    /// Waits for the parent's [`Release`].
    Wait(Wait) = "wait",
    /// Enters the v1 cgroups.
    Join(Join) = "cgroup",
    /// Leaves the host's tree.
    Pivot(Pivot) = "root",
    /// Covers the host's tree.
    MoveRoot(MoveRoot) = "root",
    /// A path that is hidden.
    Mask(Mask) = "mask",
    /// A path that is read-only.
    ReadOnlyPath(ReadOnlyPath) = "ro",
    /// A mount that is made read-only at the end.
    SealReadOnly(SealReadOnly) = "ro",
    /// The root made read-only.
    ReadOnlyRoot(ReadOnlyRoot) = "ro",
    /// A limit of setrlimit(2).
    Rlimit(Rlimit) = "limit",
    /// The working directory.
    WorkingDirectory(WorkingDirectory) = "cwd",
    /// The standard streams.
    Stdio(Stdio) = "stdio",
    /// The bounding set.
    BoundingSet(BoundingSet) = "caps",
    /// User and groups.
    User(User) = "user",
    /// The other capability sets.
    Capabilities(Capabilities) = "caps",
    /// No new privileges.
    NoNewPrivileges(NoNewPrivileges) = "privs",
    /// The file mode mask.
    Umask(Umask) = "umask",
    /// The filter of system calls.
    Seccomp(Install) = "seccomp",
    /// Tells the parent that all is set up; after `create`, waits for `start`.
    Ready(Ready) = "ready",
    /// The program.
    Execute(Program) = "exec",
}

/// Makes the init: clone3(2), with those namespaces that a process can only be born into.
pub struct Clone {
    /// The namespaces.
    pub flags: nix::sched::CloneFlags,
    /// The v2 cgroup that it is born in.
    pub cgroup: Option<String>,
}

impl fmt::Display for Clone {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names = crate::process::namespaces::names(self.flags);
        f.write_str(if names.is_empty() { "a process" } else { &names })?;
        if self.cgroup.is_some() { f.write_str(" into the v2 cgroup") } else { Ok(()) }
    }
}

/// Makes types that say only one sentence.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {$(
        $(#[$doc])*
        pub struct $name;
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result { f.write_str($text) }
        }
    )*};
}

words! {
    /// Writes the init's identity to the state directory, so that it can be found and killed.
    Record = "record the init",
    /// The parent's word that the init is on record and its cgroups are there.
    Release = "the init",
    /// Until the init is ready or says what failed.
    AwaitReady = "until the init is ready",
    /// Until the parent releases the init.
    Wait = "for release",
    /// Everything up to the program is done.
    Ready = "tell the parent",
}
