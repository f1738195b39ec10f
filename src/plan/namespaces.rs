//! `linux.namespaces`: what the init is born into, what it leaves itself, and the names in it.

use nix::sched::CloneFlags;

use super::Compiler;
use super::step::Clone;
use crate::bundle::linux::NamespaceKind;
use crate::pointer::Pointer;
use crate::process::limits::OomScoreAdj;
use crate::process::namespaces::{DomainName, Hostname, Loopback, Unshare};

const FROM: Pointer = Pointer::new("/linux/namespaces");

fn flag(kind: NamespaceKind) -> CloneFlags {
    match kind {
        NamespaceKind::Pid => CloneFlags::CLONE_NEWPID,
        NamespaceKind::Network => CloneFlags::CLONE_NEWNET,
        NamespaceKind::Mount => CloneFlags::CLONE_NEWNS,
        NamespaceKind::Ipc => CloneFlags::CLONE_NEWIPC,
        NamespaceKind::Uts => CloneFlags::CLONE_NEWUTS,
        NamespaceKind::Cgroup => CloneFlags::CLONE_NEWCGROUP,
        // Refused by bundle/check.rs.
        NamespaceKind::User | NamespaceKind::Time => CloneFlags::empty(),
    }
}

impl Compiler<'_> {
    /// The kinds of namespaces that are new.
    fn new_namespaces(&self) -> CloneFlags {
        self.spec.linux.namespaces.iter().map(|namespace| flag(namespace.kind)).collect()
    }

    /// Whether the container has a cgroup namespace of its own.
    pub(super) fn has_cgroup_namespace(&self) -> bool {
        self.new_namespaces().contains(CloneFlags::CLONE_NEWCGROUP)
    }

    /// Whether the cgroup namespace can be had at birth: where the init is born in its cgroup, and not
    /// where it joins v1 hierarchies later, since the namespace is rooted at the cgroups of that moment.
    fn cgroup_namespace_at_birth(&self) -> bool {
        self.host.cgroups.v1.is_empty() && !self.options.no_cgroup
    }

    /// The clone: only the pid namespace must be there at birth. The rest is left to the init, so that
    /// the parent works on while the kernel makes it (a network namespace takes it 0.5 ms).
    pub(super) fn clone(&mut self) {
        let mut at_birth = CloneFlags::CLONE_NEWPID;
        at_birth.set(CloneFlags::CLONE_NEWCGROUP, self.cgroup_namespace_at_birth());
        let flags = self.new_namespaces() & at_birth;
        let cgroup = self.v2_directory().map(|directory| directory.path);
        self.parent(Some(FROM), Clone { flags, cgroup });
    }

    /// The namespaces that the init leaves, and the loopback link in a new network namespace.
    pub(super) fn unshare(&mut self) {
        let later = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWCGROUP;
        let flags = self.new_namespaces() - later;
        self.init(Some(FROM), Unshare(flags));
        if flags.contains(CloneFlags::CLONE_NEWNET) {
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
        if self.has_cgroup_namespace() && !self.cgroup_namespace_at_birth() {
            self.init(Some(FROM), Unshare(CloneFlags::CLONE_NEWCGROUP));
        }
    }

    /// `process.oomScoreAdj`, first of all, while /proc is the host's.
    pub(super) fn oom_score_adj(&mut self) {
        if let Some(score) = self.spec.process.as_ref().and_then(|process| process.oom_score_adj) {
            self.init(Some(Pointer::new("/process/oomScoreAdj")), OomScoreAdj(score));
        }
    }
}
