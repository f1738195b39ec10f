//! What ferrun itself does to start a container: the parent's lane.

use super::step::{AwaitCrossing, AwaitMounts, AwaitReady, Clone, Proceed, Record, Release, actions};
use crate::cgroup::devices::{DevicesV1, DevicesV2};
use crate::cgroup::directory::{MakeV1, MakeV2};
use crate::cgroup::join::{Join, Move};
use crate::cgroup::limit::Limit;
use crate::cgroup::owner::GiveCgroup;
use crate::process::hook::Hook;
use crate::process::join::Open;
use crate::process::limits::OomScoreAdj;
use crate::process::net_device::MoveLink;
use crate::process::scheduling::Scheduler;
use crate::process::time_namespace::NewTime;
use crate::process::user_namespace::{GiveStreams, WriteMap};
use crate::resctrl::class::Class;
use crate::rootfs::idmap::MakeUserNamespace;
use crate::rootfs::node_store::CreateNodes;
use crate::rootfs::source::OpenSources;
use crate::systemd::StartUnit;

/// Expands a macro with the table of this lane.
macro_rules! parent_lane {
    ($with:ident) => {
        $with! { ParentAction:
            /// Makes the v2 cgroup.
            MakeCgroupV2(MakeV2) = "cgroup", |step, parent| step.run();
            /// Makes the v1 cgroups.
            MakeCgroupV1(MakeV1) = "cgroup", |step, parent| step.run();
            /// Has systemd make the cgroups.
            StartUnit(Box<StartUnit>) = "unit", |step, parent| step.run(parent.init()?.pid);
            /// Gives the v2 cgroup to the container's user.
            GiveCgroup(GiveCgroup) = "cgroup", |step, parent| step.run();
            /// Sets a limit.
            Limit(Box<Limit>) = "cgroup", |step, parent| step.run();
            /// Sets the device rules of v1.
            DevicesV1(Box<DevicesV1>) = "cgroup", |step, parent| step.run();
            /// Sets the device rules of v2.
            DevicesV2(DevicesV2) = "cgroup", |step, parent| step.run().map(drop);
            /// A namespace to join.
            Open(Open) = "open", |step, parent| parent.open(step);
            /// A new time namespace.
            NewTime(NewTime) = "time", |step, parent| step.run();
            /// Maps for mounts.
            MakeUserNamespace(MakeUserNamespace) = "idmap", |step, parent| step.run();
            /// Devices for a container in a user namespace.
            CreateNodes(CreateNodes) = "dev", |step, parent| step.run();
            /// Makes the init.
            Clone(Clone) = "clone", |step, parent| parent.create_init(step);
            /// The ids of a new user namespace.
            WriteMap(WriteMap) = "map", |step, parent| step.run(parent.init()?.pid);
            /// A network link that becomes the container's.
            MoveLink(MoveLink) = "network", |step, parent| step.run(parent.init()?.pid, &parent.opened.borrow());
            /// The streams, for a container in a user namespace.
            GiveStreams(GiveStreams) = "stdio", |step, parent| Ok(step.run());
            /// The sources of binds, for a container in a user namespace.
            OpenSources(OpenSources) = "open", |step, parent| parent.open_sources(step);
            /// Writes down who the init is.
            Record(Record) = "state", |step, parent| parent.record();
            /// A class of service of caches and memory bandwidth.
            Resctrl(Box<Class>) = "resctrl", |step, parent| step.run(parent.init()?.pid);
            /// Lets the init pass its [`Wait`].
            Release(Release) = "release", |step, parent| parent.channel()?.release();
            /// Waits until the mounts are made, for hooks.
            AwaitMounts(AwaitMounts) = "wait", |step, parent| parent.await_mounts();
            /// Waits until the init goes on in the pid namespace of others.
            AwaitCrossing(AwaitCrossing) = "wait", |step, parent| parent.await_crossing();
            /// Chooses how the process shares the CPUs.
            Scheduler(Scheduler) = "sched", |step, parent| step.run_for(parent.init()?.pid);
            /// Lets it pass its [`AwaitParent`](super::step::AwaitParent).
            Proceed(Proceed) = "release", |step, parent| parent.proceed();
            /// Waits until the init is ready.
            AwaitReady(AwaitReady) = "wait", |step, parent| parent.await_ready();
            /// Runs a hook.
            Hook(Box<Hook>) = "hooks", |step, parent| parent.hook(step);
            /// The score for when memory runs out.
            OomScoreAdj(OomScoreAdj) = "limit", |step, parent| step.run_for(parent.init()?.pid);
            /// Enters the v1 cgroups.
            Join(Join) = "cgroup", |step, parent| step.run_for(parent.init()?.pid);
            /// Moves to the v2 cgroup.
            Move(Move) = "cgroup", |step, parent| step.run_for(parent.init()?.pid);
        }
    };
}
pub(crate) use parent_lane;

parent_lane!(actions);
