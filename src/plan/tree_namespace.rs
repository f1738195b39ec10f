//! Whether the container's mount namespace begins with its root alone, or as a copy of the host's.

use std::path::Path;

use nix::sched::CloneFlags;

use super::host::PIDNS;
use super::mounts::is_root;
use super::{Compiler, path_of};
use crate::bundle::mount::Mount;
use crate::pointer::Pointer;
use crate::rootfs::enter_tree::Source;
use crate::rootfs::file_system::WITHOUT_DEVICE;
use crate::types::hooks::Kind;

/// How it begins.
#[derive(Clone, Copy, PartialEq, Default)]
pub(super) enum Beginning {
    /// With its root alone.
    Root,
    /// As a copy of the host's, because of this property.
    CopyFor(Pointer),
    /// As a copy of the host's: this kernel has no other way, or nobody asked for a namespace.
    #[default]
    Copy,
}

impl Compiler<'_> {
    /// How it begins, as far as host and config say. What needs the host's tree between the first mount and the new root is
    /// left to a copy of it: the hooks that are promised to run before pivot_root(2), paths that a file system resolves
    /// itself, a root that is shared with the host or moved. So is a user namespace: it may mount no proc and no sysfs where
    /// no other shows all of it (mount_too_revealing() of the kernel), and the namespace begins with none.
    pub(super) fn beginning(&self) -> Beginning {
        if !self.host.tree_namespace
            || self.options.no_pivot
            || !self.new_namespaces().contains(CloneFlags::CLONE_NEWNS)
        {
            return Beginning::Copy;
        }
        self.needs_host().map_or(Beginning::Root, Beginning::CopyFor)
    }

    /// The first property that does.
    fn needs_host(&self) -> Option<Pointer> {
        let hooks = &self.spec.hooks;
        let hooks = [
            (Kind::Prestart, &hooks.prestart),
            (Kind::CreateRuntime, &hooks.create_runtime),
            (Kind::CreateContainer, &hooks.create_container),
        ];
        if self.has_user_namespace() || self.crosses {
            Some(Pointer::new("/linux/namespaces"))
        } else if self.shares_with_host() {
            Some(Pointer::new("/linux/rootfsPropagation"))
        } else if let Some((kind, _)) = hooks.into_iter().find(|(_, hooks)| !hooks.is_empty()) {
            Some(kind.pointer(0))
        } else {
            let needs = |(_, entry): &(usize, &Mount)| !self.needs_no_host(entry);
            let index = self.spec.mounts.iter().enumerate().find(needs).map(|(index, _)| index);
            index.or_else(|| self.shows_root()).map(|index| Pointer::at("/mounts/#", index))
        }
    }

    /// Whether a mount can be made where no path leads to the host, apart from the source of a bind.
    fn needs_no_host(&self, entry: &Mount) -> bool {
        let made = |kind| WITHOUT_DEVICE.contains(&kind) && !entry.options.has_data(PIDNS);
        // What is mounted on the root becomes the root, which only pivot_root(2) does.
        !is_root(&entry.destination)
            && match entry.is_cgroup() {
                true => self.has_cgroup_namespace(),
                false => entry.is_bind() || entry.options.remount || entry.kind().is_some_and(made),
            }
    }

    /// The first bind that shows what earlier mounts have put into the root, by the names of the paths alone: what links lead
    /// to is seen when the source is opened.
    fn shows_root(&self) -> Option<usize> {
        let root = self.spec.root.as_ref()?.on_host(self.bundle);
        let sources = self.binds().into_iter();
        let shows = |path: &Path, recursive| path.starts_with(&root) || recursive && root.starts_with(path);
        sources.into_iter().find(|(_, path, recursive)| shows(path_of(path), *recursive)).map(|(index, ..)| index)
    }

    /// The sources of all binds, in the order in which they are mounted.
    pub(super) fn sources_in_order(&self) -> Vec<Source> {
        let binds = self.binds().into_iter().map(|(_, path, recursive)| (path, recursive));
        binds.chain(self.notify_source().map(|source| (source.path, source.recursive))).collect()
    }
}
