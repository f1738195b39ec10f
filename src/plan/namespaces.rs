//! `linux.namespaces`: what is joined, what the init is born into, what it leaves itself, and the names
//! in it.

use std::ffi::CStr;

use nix::sched::CloneFlags;

use super::Compiler;
use super::step::Clone;
use crate::bundle::linux::Offset;
use crate::bundle::mount::Mount;
use crate::bundle::sysctl;
use crate::cgroup::Manager;
use crate::pointer::Pointer;
use crate::process::join::{Enter, Open};
use crate::process::limits::OomScoreAdj;
use crate::process::namespaces::{DomainName, Hostname, Loopback, Unshare};
use crate::process::net_device::MoveLink;
use crate::process::time_namespace::NewTime;
use crate::sys::namespace::NEWTIME;

pub(super) const FROM: Pointer = Pointer::new("/linux/namespaces");

/// The kinds that only the children of a process enter.
const OF_CHILDREN: CloneFlags = CloneFlags::CLONE_NEWPID.union(NEWTIME);

impl Compiler<'_> {
    fn namespaces(&self, joined: bool) -> CloneFlags {
        let list = self.spec.linux.namespaces.iter().filter(|namespace| namespace.path().is_some() == joined);
        list.map(|namespace| namespace.kind.flag()).collect()
    }

    /// The kinds of namespaces that are new.
    pub(super) fn new_namespaces(&self) -> CloneFlags {
        self.namespaces(false)
    }

    /// The kinds of namespaces that are there already.
    pub(super) fn joined_namespaces(&self) -> CloneFlags {
        self.namespaces(true)
    }

    /// Whether the container is in a user namespace of its own.
    pub(super) fn has_user_namespace(&self) -> bool {
        (self.new_namespaces() | self.joined_namespaces()).contains(CloneFlags::CLONE_NEWUSER)
    }

    /// Whether the container has a cgroup namespace of its own.
    pub(super) fn has_new_cgroup_namespace(&self) -> bool {
        self.new_namespaces().contains(CloneFlags::CLONE_NEWCGROUP)
    }

    /// Whether the container has a cgroup namespace that is not ferrun's.
    pub(super) fn has_cgroup_namespace(&self) -> bool {
        (self.new_namespaces() | self.joined_namespaces()).contains(CloneFlags::CLONE_NEWCGROUP)
    }

    /// Whether the cgroup namespace can be had at birth: where the init is born in its cgroup, and not
    /// where it joins others later, since the namespace is rooted at the cgroups of that moment.
    fn cgroup_namespace_at_clone(&self) -> bool {
        self.host.cgroups.v1.is_empty() && self.options.manager == Manager::Cgroupfs && !self.options.moves
    }

    /// The namespaces to join, before anything is made.
    pub(super) fn open_namespaces(&mut self) {
        for (index, namespace) in self.spec.linux.namespaces.iter().enumerate() {
            if let Some(path) = namespace.path() {
                let setting = self
                    .spec
                    .linux
                    .sysctl
                    .keys()
                    .find(|name| sysctl::namespace(&sysctl::file(name)) == Some(namespace.kind));
                let setting = setting.map(|name| sysctl::pointer(name));
                let step = Open { kind: namespace.kind, path: path.to_owned(), index, setting };
                self.parent(Some(Pointer::at("/linux/namespaces/#/path", index)), step);
            }
        }
    }

    /// A new time namespace: the init must be born in it.
    pub(super) fn new_time(&mut self) {
        if self.new_namespaces().contains(NEWTIME) {
            let offsets = &self.spec.linux.time_offsets;
            let given = |offset: Option<Offset>| offset.map(|offset| (offset.secs, offset.nanosecs));
            let step = NewTime { monotonic: given(offsets.monotonic), boottime: given(offsets.boottime) };
            self.parent(Some(FROM), step);
        }
    }

    /// Those new namespaces that the init is born into. The user namespace comes first of all, since it
    /// shall own the others; links of the host are moved into the network namespace meanwhile.
    fn at_clone(&self) -> CloneFlags {
        let mut at_clone = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUSER;
        at_clone.set(CloneFlags::CLONE_NEWCGROUP, self.cgroup_namespace_at_clone());
        at_clone.set(CloneFlags::CLONE_NEWNET, !self.spec.linux.net_devices.is_empty());
        self.new_namespaces() & at_clone
    }

    /// The clone: only what must be there at birth. The rest is left to the init, so that the parent works
    /// on while the kernel makes it (a network namespace takes it 0.5 ms).
    pub(super) fn clone(&mut self) {
        let joined = self.joined_namespaces();
        // Who is in a pid namespace sees the init from its birth on, and would see what ferrun itself has open.
        let is_seen = joined.contains(CloneFlags::CLONE_NEWPID);
        self.plan.joins_pid_namespace = is_seen;
        let between = !self.crosses && (is_seen || self.has_user_namespace() && !joined.is_empty());
        let mut enter = if self.has_user_namespace() { joined } else { joined & OF_CHILDREN };
        enter.set(CloneFlags::CLONE_NEWPID, is_seen && !self.crosses);
        let cgroup = self.v2_directory().filter(|_| !self.options.moves).map(|directory| directory.path.clone());
        self.plan.deadly.created_in_cgroup = cgroup.is_some();
        let new_time = self.new_namespaces().contains(NEWTIME);
        self.parent(
            Some(FROM),
            Clone { flags: self.at_clone(), cgroup, enter, between, new_time, crosses: self.crosses },
        );
    }

    /// The links of the host, moved last of all: what fails before costs none.
    pub(super) fn net_devices(&mut self) {
        for (name, device) in &self.spec.linux.net_devices {
            let inside = if device.0.name.is_empty() { name } else { &device.0.name };
            let step = MoveLink { name: name.clone(), inside: inside.clone() };
            self.parent(Some(Pointer::new("/linux/netDevices")), step);
        }
    }

    /// Whether the container stays in ferrun's own mount namespace.
    pub(super) fn inherits_mount_namespace(&self) -> bool {
        !(self.new_namespaces() | self.joined_namespaces()).contains(CloneFlags::CLONE_NEWNS)
    }

    /// Whether the mounts are made in a namespace that others are in, too.
    pub(super) fn joins_mount_namespace(&self) -> bool {
        self.joined_namespaces().contains(CloneFlags::CLONE_NEWNS)
    }

    /// Whether an init that joins a pid namespace can be set up outside of it, and go on inside when it has no rights any
    /// more: who is there and may trace processes would have the host's root else (docs/security.md).
    pub(super) fn can_cross(&self) -> bool {
        let joined = self.joined_namespaces();
        let hooks = &self.spec.hooks;
        // They are given its pid, or run in its pid namespace.
        let hooks = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container, &hooks.start_container];
        let has_room = self.spec.linux.resources.pids.limit.is_none_or(|limit| !(0..=1).contains(&limit));
        // What `self` is in the procfs of a namespace that it is not in yet, it does not find.
        let own =
            |path: &CStr| [&b"/proc/self"[..], b"/proc/thread-self"].iter().any(|own| path.to_bytes().starts_with(own));
        let linux = &self.spec.linux;
        let hidden = linux.masked_paths.iter().chain(&linux.readonly_paths).any(|path| own(path));
        let is_proc = |mount: &Mount| !mount.is_bind() && mount.kind() == Some(c"proc");
        joined.contains(CloneFlags::CLONE_NEWPID)
            && self.new_namespaces().contains(CloneFlags::CLONE_NEWNS)
            && !self.has_user_namespace()
            && self.spec.process.is_some()
            && hooks.into_iter().all(Vec::is_empty)
            && has_room
            && !hidden
            && !self.spec.mounts.iter().any(|mount| own(&mount.destination))
            && (self.host.proc_of_any_pid_namespace || !self.spec.mounts.iter().any(is_proc))
    }

    /// The namespaces that the init joins itself; with a user namespace it is born in all of them.
    pub(super) fn enter(&mut self) {
        let mut later = self.joined_namespaces() - OF_CHILDREN - CloneFlags::CLONE_NEWNS;
        // That of its children: a procfs finds it there.
        later.set(CloneFlags::CLONE_NEWPID, self.crosses);
        if !later.is_empty() {
            self.init(Some(FROM), Enter(later));
        }
    }

    /// A joined mount namespace: from here on all paths are those in it.
    pub(super) fn enter_mount(&mut self) {
        self.init(Some(FROM), Enter(CloneFlags::CLONE_NEWNS));
    }

    /// The mount namespace alone.
    pub(super) fn unshare_mount(&mut self) {
        if !self.joins_mount_namespace() {
            self.init(Some(FROM), Unshare(CloneFlags::CLONE_NEWNS));
        }
    }

    /// The namespaces that the init leaves, and the loopback link in a new network namespace.
    pub(super) fn unshare(&mut self) {
        let new = self.new_namespaces();
        let mut elsewhere = self.at_clone() | NEWTIME | CloneFlags::CLONE_NEWCGROUP;
        elsewhere.set(CloneFlags::CLONE_NEWNS, self.has_user_namespace() || self.begins_with_root());
        let flags = new - elsewhere;
        if !flags.is_empty() {
            self.init(Some(FROM), Unshare(flags));
        }
        if new.contains(CloneFlags::CLONE_NEWNET) {
            self.init(Some(FROM), Loopback);
        }
        if !self.spec.hostname.is_empty() {
            self.init(Some(Pointer::new("/hostname")), Hostname(self.spec.hostname.0.clone()));
        }
        if !self.spec.domainname.is_empty() {
            self.init(Some(Pointer::new("/domainname")), DomainName(self.spec.domainname.0.clone()));
        }
    }

    /// The cgroup namespace, once the init is in its cgroups.
    pub(super) fn unshare_cgroup(&mut self) {
        if self.has_new_cgroup_namespace() && !self.cgroup_namespace_at_clone() {
            self.init(Some(FROM), Unshare(CloneFlags::CLONE_NEWCGROUP));
        }
    }

    /// `process.oomScoreAdj`, while /proc is the host's; inside a user namespace there is no right to.
    pub(super) fn oom_score_adj(&mut self) {
        let Some(score) = self.spec.process.as_ref().and_then(|process| process.oom_score_adj) else { return };
        let from = Some(Pointer::new("/process/oomScoreAdj"));
        match self.has_user_namespace() {
            true => self.parent(from, OomScoreAdj(score)),
            false => self.init(from, OomScoreAdj(score)),
        }
    }
}
