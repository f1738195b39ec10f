//! What the container's first process does from its creation to the program: the init's lane.

use std::rc::Rc;

use super::notify::NotifyMount;
use super::step::{AwaitParent, AwaitStart, Cross, Mounted, Ready, Wait, actions};
use crate::cgroup::join::{Join, Move};
use crate::process::affinity::{AllCpus, Cpus};
use crate::process::exec::{MakeWorkingDirectory, Program, Umask, WorkingDirectory};
use crate::process::home::Home;
use crate::process::hook::Hook;
use crate::process::identity::{BoundingSet, Capabilities, NoNewPrivileges, User};
use crate::process::join::{Enter, EnterContainer};
use crate::process::label::{ExecLabel, KeyLabel};
use crate::process::limits::{OomScoreAdj, Rlimit};
use crate::process::namespaces::{DomainName, Hostname, Loopback, Unshare};
use crate::process::scheduling::{IoPriority, MemoryPolicy, Personality, Scheduler};
use crate::process::session::{Hide, Isolate, Keyring, Session};
use crate::process::stdio::Stdio;
use crate::process::sysctl::Sysctl;
use crate::process::terminal::Terminal;
use crate::process::user_namespace::{BecomeRoot, CheckMap};
use crate::rootfs::cgroup::CgroupMount;
use crate::rootfs::devices::DefaultDevices;
use crate::rootfs::enter_tree::EnterTree;
use crate::rootfs::mask::{Mask, ReadOnlyPath};
use crate::rootfs::mount::{Mount, SealReadOnly};
use crate::rootfs::node::Node;
use crate::rootfs::propagation::PropagateRoot;
use crate::rootfs::remount::Remount;
use crate::rootfs::root::{BindRoot, EnterRoot, MoveRoot, Pivot, ReadOnlyRoot};
use crate::seccomp::step::Install;

/// Expands a macro with the table of this lane.
macro_rules! init_lane {
    ($with:ident) => {
        $with! { InitAction:
            /// A session of its own, hidden from others.
            Isolate(Isolate) = "session", |step, init| step.run();
            /// Hidden from others, for a process that another one goes on in.
            Hide(Hide) = "session", |step, init| step.run();
            /// A session of its own, at the end.
            Session(Session) = "session", |step, init| step.run();
            /// A running container, but for its processes.
            EnterContainer(EnterContainer) = "join", |step, init| init.enter_container(step);
            /// The processes of a running container.
            Cross(Cross) = "cross", |step, init| init.cross();
            /// Waits for what the parent does for it.
            AwaitParent(AwaitParent) = "wait", |step, init| init.await_parent();
            /// Waits for `start`, if that is asked for.
            AwaitStart(AwaitStart) = "wait", |step, init| init.await_start();
            /// The CPUs of a further process.
            Cpus(Cpus) = "cpus", |step, init| step.run();
            /// The label of the session keyring.
            KeyLabel(KeyLabel) = "label", |step, init| step.run();
            /// A session keyring of its own.
            Keyring(Keyring) = "keyring", |step, init| step.run();
            /// The score for when memory runs out.
            OomScoreAdj(OomScoreAdj) = "limit", |step, init| step.run();
            /// Namespaces that are joined.
            Enter(Enter) = "join", |step, init| init.enter(step);
            /// The ids of a joined user namespace.
            CheckMap(CheckMap) = "map", |step, init| step.run();
            /// Root in the user namespace.
            BecomeRoot(BecomeRoot) = "user", |step, init| step.run();
            /// New namespaces.
            Unshare(Unshare) = "unshare", |step, init| step.run();
            /// The loopback link.
            Loopback(Loopback) = "network", |step, init| step.run();
            /// The host's name.
            Hostname(Hostname) = "hostname", |step, init| step.run();
            /// The domain's name.
            DomainName(DomainName) = "hostname", |step, init| step.run();
            /// The root file system as a mount.
            BindRoot(BindRoot) = "bind", |step, init| init.bind_root(step);
            /// The root file system as the root of a mount namespace.
            EnterTree(EnterTree) = "bind", |step, init| init.enter_tree(step);
            /// A mount.
            Mount(Box<Mount>) = "mount", |step, init| init.mount(step);
            /// The mount for NOTIFY_SOCKET.
            NotifyMount(NotifyMount) = "mount", |step, init| init.mount_notify(step);
            /// Other options for an earlier mount.
            Remount(Box<Remount>) = "mount", |step, init| step.run(init.rootfs()?);
            /// The container's view of its cgroups.
            CgroupMount(Box<CgroupMount>) = "mount", |step, init| step.run(init.rootfs()?);
            /// The devices that every container has.
            Devices(DefaultDevices) = "dev", |step, init| step.run(init.rootfs()?);
            /// A device of `linux.devices`.
            Node(Box<Node>) = "dev", |step, init| step.run(init.rootfs()?);
            /// Waits for the parent's [`Release`].
            Wait(Wait) = "wait", |step, init| init.wait();
            /// Tells the parent that it is time for its hooks.
            Mounted(Mounted) = "hooks", |step, init| init.mounted();
            /// Runs a hook.
            Hook(Box<Hook>) = "hooks", |step, init| init.hook(step);
            /// Enters the v1 cgroups.
            Join(Join) = "cgroup", |step, init| step.run(init.host_root());
            /// Moves to the v2 cgroup.
            Move(Move) = "cgroup", |step, init| step.run(init.host_root());
            /// The CPUs.
            Affinity(AllCpus) = "cpus", |step, init| step.run();
            /// Leaves the host's tree.
            Pivot(Pivot) = "root", |step, init| step.run(init.rootfs_mut()?);
            /// Covers the host's tree.
            MoveRoot(MoveRoot) = "root", |step, init| step.run(init.rootfs()?);
            /// Goes to a tree that is mounted nowhere.
            EnterRoot(EnterRoot) = "root", |step, init| step.run(init.rootfs()?);
            /// A terminal of the container's own.
            Terminal(Terminal) = "terminal", |step, init| init.terminal(step);
            /// Kernel parameters of the container's namespaces.
            Sysctl(Sysctl) = "sysctl", |step, init| step.run();
            /// A path that is hidden.
            Mask(Mask) = "mask", |step, init| step.run(init.rootfs()?);
            /// A path that is read-only.
            ReadOnlyPath(ReadOnlyPath) = "ro", |step, init| step.run(init.rootfs()?);
            /// A mount that is made read-only at the end.
            SealReadOnly(SealReadOnly) = "ro", |step, init| step.run(init.rootfs()?);
            /// The root made read-only.
            ReadOnlyRoot(ReadOnlyRoot) = "ro", |step, init| step.run(init.rootfs()?);
            /// The propagation of the root.
            PropagateRoot(PropagateRoot) = "root", |step, init| step.run(init.rootfs()?);
            /// A limit of setrlimit(2).
            Rlimit(Rlimit) = "limit", |step, init| init.limit(step);
            /// The working directory, where it is missing.
            MakeWorkingDirectory(MakeWorkingDirectory) = "mkdir", |step, init| step.run(init.rootfs()?);
            /// The working directory.
            WorkingDirectory(WorkingDirectory) = "cwd", |step, init| init.work_in(step);
            /// The standard streams.
            Stdio(Stdio) = "stdio", |step, init| step.run(init.rootfs()?);
            /// The user's home directory.
            Home(Home) = "env", |step, init| init.look_up_home(step);
            /// The profile or label that the program runs under.
            ExecLabel(ExecLabel) = "label", |step, init| step.run();
            /// How the CPUs are shared.
            Scheduler(Scheduler) = "sched", |step, init| step.run();
            /// How the disks are shared.
            IoPriority(IoPriority) = "ioprio", |step, init| step.run();
            /// The memory nodes.
            MemoryPolicy(MemoryPolicy) = "memory", |step, init| step.run();
            /// The execution domain.
            Personality(Personality) = "domain", |step, init| step.run();
            /// The bounding set.
            BoundingSet(BoundingSet) = "caps", |step, init| step.run();
            /// User and groups.
            User(User) = "user", |step, init| init.become_user(step);
            /// The other capability sets.
            Capabilities(Capabilities) = "caps", |step, init| init.set_capabilities(step);
            /// No new privileges.
            NoNewPrivileges(NoNewPrivileges) = "privs", |step, init| step.run();
            /// The file mode mask.
            Umask(Umask) = "umask", |step, init| step.run();
            /// The filter of system calls.
            Seccomp(Box<Install>) = "seccomp", |step, init| Ok(init.keep_filter(step));
            /// Tells the parent that all is set up; after `create`, waits for `start`.
            Ready(Ready) = "ready", |step, init| init.ready();
            /// The program.
            Execute(Rc<Program>) = "exec", |step, init| init.execute();
        }
    };
}
pub(crate) use init_lane;

init_lane!(actions);
