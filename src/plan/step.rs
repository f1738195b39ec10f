//! The vocabulary: everything that ferrun can do to start a container.

use std::fmt;

use nix::sched::CloneFlags;

use crate::cgroup::devices::{DevicesV1, DevicesV2};
use crate::cgroup::directory::{MakeV1, MakeV2};
use crate::cgroup::join::Join;
use crate::cgroup::limit::Limit;
use crate::cgroup::owner::GiveCgroup;
use crate::cgroup::resctrl::Class;
use crate::cgroup::systemd::StartUnit;
use crate::pointer::Pointer;
use crate::process::affinity::AllCpus;
use crate::process::exec::{MakeWorkingDirectory, Program, Umask, WorkingDirectory};
use crate::process::home::Home;
use crate::process::hook::Hook;
use crate::process::identity::{BoundingSet, Capabilities, NoNewPrivileges, User};
use crate::process::join::{Enter, Open};
use crate::process::label::{ExecLabel, KeyLabel};
use crate::process::limits::{OomScoreAdj, Rlimit};
use crate::process::namespaces::{DomainName, Hostname, Loopback, Unshare};
use crate::process::net_device::MoveLink;
use crate::process::scheduling::{IoPriority, MemoryPolicy, Personality, Scheduler};
use crate::process::session::{Isolate, Keyring};
use crate::process::stdio::Stdio;
use crate::process::sysctl::Sysctl;
use crate::process::terminal::Terminal;
use crate::process::time_namespace::NewTime;
use crate::process::user_namespace::{BecomeRoot, CheckMap, GiveStreams, WriteMap};
use crate::rootfs::cgroup::CgroupMount;
use crate::rootfs::devices::DefaultDevices;
use crate::rootfs::idmap::MakeUserNamespace;
use crate::rootfs::mask::{Mask, ReadOnlyPath};
use crate::rootfs::mount::{Mount, SealReadOnly};
use crate::rootfs::node::Node;
use crate::rootfs::node_store::CreateNodes;
use crate::rootfs::propagation::PropagateRoot;
use crate::rootfs::remount::Remount;
use crate::rootfs::root::{BindRoot, EnterRoot, MoveRoot, Pivot, ReadOnlyRoot};
use crate::rootfs::source::OpenSources;
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
        #[derive(PartialEq)]
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
    /// Has systemd make the cgroups.
    StartUnit(Box<StartUnit>) = "unit",
    /// Gives the v2 cgroup to the container's user.
    GiveCgroup(GiveCgroup) = "cgroup",
    /// Sets a limit.
    Limit(Box<Limit>) = "cgroup",
    /// Sets the device rules of v1.
    DevicesV1(Box<DevicesV1>) = "cgroup",
    /// Sets the device rules of v2.
    DevicesV2(DevicesV2) = "cgroup",
    /// A namespace to join.
    Open(Open) = "open",
    /// A new time namespace.
    NewTime(NewTime) = "time",
    /// Maps for mounts.
    MakeUserNamespace(MakeUserNamespace) = "idmap",
    /// Devices for a container in a user namespace.
    CreateNodes(CreateNodes) = "dev",
    /// Makes the init.
    Clone(Clone) = "clone",
    /// The ids of a new user namespace.
    WriteMap(WriteMap) = "map",
    /// A network link that becomes the container's.
    MoveLink(MoveLink) = "network",
    /// The streams, for a container in a user namespace.
    GiveStreams(GiveStreams) = "stdio",
    /// The sources of binds, for a container in a user namespace.
    OpenSources(OpenSources) = "open",
    /// Writes down who the init is.
    Record(Record) = "state",
    /// A class of service of caches and memory bandwidth.
    Resctrl(Box<Class>) = "resctrl",
    /// Lets the init pass its [`Wait`].
    Release(Release) = "release",
    /// Waits until the mounts are made, for hooks.
    AwaitMounts(AwaitMounts) = "wait",
    /// Waits until the init is ready.
    AwaitReady(AwaitReady) = "wait",

    // In both lanes, and after them.
    /// Runs a hook.
    Hook(Box<Hook>) = "hooks",

    // The init's lane.
    /// A session of its own, hidden from others.
    Isolate(Isolate) = "session",
    /// The label of the session keyring.
    KeyLabel(KeyLabel) = "label",
    /// A session keyring of its own.
    Keyring(Keyring) = "keyring",
    /// The score for when memory runs out.
    OomScoreAdj(OomScoreAdj) = "limit",
    /// Namespaces that are joined.
    Enter(Enter) = "join",
    /// The ids of a joined user namespace.
    CheckMap(CheckMap) = "map",
    /// Root in the user namespace.
    BecomeRoot(BecomeRoot) = "user",
    /// New namespaces.
    Unshare(Unshare) = "unshare",
    /// The loopback link.
    Loopback(Loopback) = "network",
    /// The host's name.
    Hostname(Hostname) = "hostname",
    /// The domain's name.
    DomainName(DomainName) = "hostname",
    /// The root file system as a mount.
    BindRoot(BindRoot) = "bind",
    /// A mount.
    Mount(Box<Mount>) = "mount",
    /// Other options for an earlier mount.
    Remount(Box<Remount>) = "mount",
    /// The container's view of its cgroups.
    CgroupMount(Box<CgroupMount>) = "mount",
    /// The devices that every container has.
    Devices(DefaultDevices) = "dev",
    /// A device of `linux.devices`.
    Node(Box<Node>) = "dev",
    /// Waits for the parent's [`Release`].
    Wait(Wait) = "wait",
    /// Tells the parent that it is time for its hooks.
    Mounted(Mounted) = "hooks",
    /// Enters the v1 cgroups.
    Join(Join) = "cgroup",
    /// The CPUs.
    Affinity(AllCpus) = "cpus",
    /// Leaves the host's tree.
    Pivot(Pivot) = "root",
    /// Covers the host's tree.
    MoveRoot(MoveRoot) = "root",
    /// Goes to a tree that is mounted nowhere.
    EnterRoot(EnterRoot) = "root",
    /// A terminal of the container's own.
    Terminal(Terminal) = "terminal",
    /// Kernel parameters of the container's namespaces.
    Sysctl(Sysctl) = "sysctl",
    /// A path that is hidden.
    Mask(Mask) = "mask",
    /// A path that is read-only.
    ReadOnlyPath(ReadOnlyPath) = "ro",
    /// A mount that is made read-only at the end.
    SealReadOnly(SealReadOnly) = "ro",
    /// The root made read-only.
    ReadOnlyRoot(ReadOnlyRoot) = "ro",
    /// The propagation of the root.
    PropagateRoot(PropagateRoot) = "root",
    /// A limit of setrlimit(2).
    Rlimit(Rlimit) = "limit",
    /// The working directory, where it is missing.
    MakeWorkingDirectory(MakeWorkingDirectory) = "mkdir",
    /// The working directory.
    WorkingDirectory(WorkingDirectory) = "cwd",
    /// The standard streams.
    Stdio(Stdio) = "stdio",
    /// The user's home directory.
    Home(Home) = "env",
    /// The profile or label that the program runs under.
    ExecLabel(ExecLabel) = "label",
    /// How the CPUs are shared.
    Scheduler(Scheduler) = "sched",
    /// How the disks are shared.
    IoPriority(IoPriority) = "ioprio",
    /// The memory nodes.
    MemoryPolicy(MemoryPolicy) = "memory",
    /// The execution domain.
    Personality(Personality) = "domain",
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
    Seccomp(Box<Install>) = "seccomp",
    /// Tells the parent that all is set up; after `create`, waits for `start`.
    Ready(Ready) = "ready",
    /// The program.
    Execute(Program) = "exec",
}

/// The large ones stand apart: a plan has some seventy steps, nearly all of them small.
macro_rules! boxed {
    ($($name:ident($inner:ty),)*) => {$(
        impl From<$inner> for Action {
            fn from(inner: $inner) -> Action { Action::$name(Box::new(inner)) }
        }
    )*};
}

boxed! {
    StartUnit(StartUnit),
    Limit(Limit),
    DevicesV1(DevicesV1),
    Resctrl(Class),
    Hook(Hook),
    Mount(Mount),
    Remount(Remount),
    CgroupMount(CgroupMount),
    Node(Node),
    Seccomp(Install),
}

/// Makes the init: clone3(2), with those namespaces that a process can only be born into.
#[derive(PartialEq)]
pub struct Clone {
    /// The new namespaces.
    pub flags: CloneFlags,
    /// The v2 cgroup that it is born in.
    pub cgroup: Option<std::rc::Rc<str>>,
    /// The namespaces that are entered before, since they are its children's.
    pub enter: CloneFlags,
    /// Whether an intermediate process enters them, which ends then: there is no way back from a user namespace, and none
    /// into the host's namespaces out of one; and what ferrun has open is not for the neighbours of a pid namespace.
    pub between: bool,
    /// Whether ferrun's own next children would be in the new time namespace, too.
    pub new_time: bool,
}

impl fmt::Display for Clone {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names = crate::process::namespaces::names(self.flags);
        f.write_str(if names.is_empty() { "a process" } else { &names })?;
        if !self.enter.is_empty() {
            write!(f, " in joined {}", crate::process::namespaces::names(self.enter))?;
        }
        f.write_str(if self.between { " by an intermediate process" } else { "" })?;
        if self.cgroup.is_some() { f.write_str(" into the v2 cgroup") } else { Ok(()) }
    }
}

/// Makes types that say only one sentence.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {$(
        $(#[$doc])*
        #[derive(PartialEq)]
        pub struct $name;
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result { f.write_str($text) }
        }
    )*};
}

words! {
    /// Writes the init's identity to the state directory, so that it can be found and killed.
    Record = "record the init",
    /// The parent's word: that the init is on record and its cgroups are there; then that the hooks have run.
    Release = "the init",
    /// Until the init has made the mounts or says what failed.
    AwaitMounts = "until the mounts are made",
    /// The mounts are made, and the host's tree is still there.
    Mounted = "tell the parent",
    /// Until the init is ready or says what failed.
    AwaitReady = "until the init is ready",
    /// Until the parent releases the init.
    Wait = "for release",
    /// Everything up to the program is done.
    Ready = "tell the parent; after create, wait for start",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_small() {
        assert!(size_of::<Step>() <= 88, "{}", size_of::<Step>());
    }
}
