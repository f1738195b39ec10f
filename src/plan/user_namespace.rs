//! `linux.uidMappings` and `linux.gidMappings`.

use nix::errno::Errno;
use nix::sched::CloneFlags;

use super::namespaces::FROM;
use super::{Compiler, InitAction};
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::process::user_namespace::{BecomeRoot, CheckMap, GiveStreams, Ids, WriteMap};
use crate::rootfs::mount::Source;
use crate::types::ids::Mappings;
use crate::types::namespaces::NamespaceKind;

/// What stands in the way of a container in a user namespace.
pub(super) struct Mapped {
    /// Who its root is on the host, if the config says so.
    root: Option<(u32, u32)>,
    /// The kinds of namespaces that are its own.
    own: CloneFlags,
}

impl Mapped {
    /// Adds a hint to an error of the init.
    pub(super) fn explain(&self, error: Error, action: &InitAction) -> Error {
        let file_system = match action {
            InitAction::Mount(mount) => match &mount.source {
                Source::FileSystem { kind, .. } => Some(kind.to_bytes()),
                Source::Bind(_) => None,
            },
            _ => None,
        };
        let needs = match file_system {
            Some(b"sysfs") => Some(NamespaceKind::Network),
            Some(b"proc") => Some(NamespaceKind::Pid),
            Some(b"mqueue") => Some(NamespaceKind::Ipc),
            _ => None,
        };
        match (error.code(), needs) {
            (Errno::EPERM, Some(kind)) if !self.own.contains(kind.flag()) => error.hint(format!(
                "in a user namespace it can only be mounted with a new {kind} namespace, which that owns; \
                 bind the host's instead"
            )),
            (Errno::EPERM, Some(_)) => {
                error.hint("in a user namespace that needs one on the host of which nothing is hidden")
            }
            (Errno::EACCES | Errno::EOVERFLOW, _) => match self.root {
                Some((uid, gid)) => error.hint(format!(
                    "the container's root is uid {uid}, gid {gid} on the host: has it access to the rootfs and to what \
                     is mounted?"
                )),
                None => error.hint("has the root of the user namespace access to it?"),
            },
            _ => error,
        }
    }
}

impl Compiler<'_> {
    /// What errors of the init have to do with its user namespace.
    pub(super) fn mapped(&self) -> Option<Mapped> {
        let linux = &self.spec.linux;
        let root = linux.uid_mappings.on_host(0).zip(linux.gid_mappings.on_host(0));
        self.has_user_namespace().then(|| Mapped { root, own: self.new_namespaces() })
    }

    fn mappings(&self) -> [(Pointer, Ids, &Mappings); 2] {
        let linux = &self.spec.linux;
        [
            (Pointer::new("/linux/uidMappings"), Ids::Users, &linux.uid_mappings),
            (Pointer::new("/linux/gidMappings"), Ids::Groups, &linux.gid_mappings),
        ]
    }

    /// The user of the host that the program runs as, unless that is ferrun's own or is not known.
    pub(super) fn user_on_host(&self) -> Option<u32> {
        let uid = self.spec.process.as_ref()?.user.uid;
        match self.has_user_namespace() {
            true => self.spec.linux.uid_mappings.on_host(uid),
            false => Some(uid).filter(|uid| *uid != 0),
        }
    }

    /// What the parent does for an init in a user namespace, which waits for it.
    pub(super) fn user_namespace(&mut self) -> Result<()> {
        if !self.has_user_namespace() {
            return Ok(());
        }
        if self.new_namespaces().contains(CloneFlags::CLONE_NEWUSER) {
            let steps = self.mappings().map(|(from, ids, list)| (from, WriteMap::new(ids, list)));
            for (from, step) in steps {
                self.parent(Some(from), step.map_err(|error| error.from_property(from))?);
            }
        }
        self.oom_score_adj();
        self.give_streams();
        Ok(())
    }

    /// The streams of a process in a user namespace, unless it has a terminal.
    pub(super) fn give_streams(&mut self) {
        let Some(process) = self.spec.process.as_ref().filter(|process| !process.terminal) else { return };
        if let (true, Some(uid)) = (self.has_user_namespace(), self.spec.linux.uid_mappings.on_host(process.user.uid)) {
            self.parent(None, GiveStreams { uid });
        }
    }

    /// That a joined user namespace is as the config says, if it says anything.
    pub(super) fn check_maps(&mut self) {
        if self.joined_namespaces().contains(CloneFlags::CLONE_NEWUSER) {
            let steps = self.mappings().map(|(from, ids, list)| (from, CheckMap { ids, wanted: list.clone() }));
            for (from, step) in steps.into_iter().filter(|(_, step)| !step.wanted.is_empty()) {
                self.init(Some(from), step);
            }
        }
    }

    /// The init as the container's root.
    pub(super) fn become_root(&mut self) {
        self.init(Some(FROM), BecomeRoot);
    }
}
