//! Whether the container's mount namespace begins with its root alone, or as a copy of the host's.

use std::path::Path;

use nix::sched::CloneFlags;

use super::host::PIDNS;
use super::mounts::is_root;
use super::{Compiler, is_in, path_of};
use crate::bundle::mount::Mount;
use crate::pointer::Pointer;
use crate::rootfs::enter_tree::Source;
use crate::rootfs::file_system::WITHOUT_DEVICE;
use crate::types::hooks::Kind;

/// How the mount namespace begins.
#[derive(Clone, Copy, PartialEq, Default)]
pub(super) enum Beginning {
    /// With its root alone.
    Root,
    /// As a copy of the host's, because of this property.
    CopyFor(Pointer),
    /// As a copy of the host's, since this kernel has no other way; or there is no new namespace.
    #[default]
    Copy,
}

impl Compiler<'_> {
    /// Decides how it begins, as far as host and config say. What needs the host's tree before the new root is
    /// left to a copy of it: the hooks that are promised to run before pivot_root(2), paths that a file system resolves
    /// itself, a root that is shared with the host or moved. So is a user namespace: it may mount no proc and no sysfs where
    /// no other shows all of it (mount_too_revealing() of the kernel), and the namespace begins with none.
    pub(super) fn choose_beginning(&self) -> Beginning {
        if !self.host.tree_namespace
            || self.options.no_pivot
            || !self.new_namespaces().contains(CloneFlags::CLONE_NEWNS)
        {
            return Beginning::Copy;
        }
        self.needs_host().map_or(Beginning::Root, Beginning::CopyFor)
    }

    /// The first property that needs the host's tree.
    fn needs_host(&self) -> Option<Pointer> {
        let hooks = &self.spec.hooks;
        let hooks = [
            (Kind::Prestart, &hooks.prestart),
            (Kind::CreateRuntime, &hooks.create_runtime),
            (Kind::CreateContainer, &hooks.create_container),
        ];
        if self.has_user_namespace() || self.crosses {
            Some(Pointer::new("/linux/namespaces"))
        } else if self.shares_with_host() || self.makes_all_bindable() {
            Some(Pointer::new("/linux/rootfsPropagation"))
        } else if let Some((kind, _)) = hooks.into_iter().find(|(_, hooks)| !hooks.is_empty()) {
            Some(kind.pointer(0))
        } else {
            let needs = |(_, entry): &(usize, &Mount)| !self.needs_no_host(entry);
            let index = self.spec.mounts.iter().enumerate().find(needs).map(|(index, _)| index);
            index.or_else(|| self.shows_root()).map(|index| Pointer::at("/mounts/#", index))
        }
    }

    /// Whether all mounts of the host's become private in a copy of them: then what is unbindable there can be bound, and
    /// comes along with what is above it. A tree that is copied from the host's leaves it out, and shows what it covers.
    fn makes_all_bindable(&self) -> bool {
        self.spec.linux.rootfs_propagation.is_some_and(|propagation| propagation.of_host() == libc::MS_PRIVATE)
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
        let shows = |path: &Path, recursive| is_in(path, &root) || recursive && is_in(&root, path);
        self.binds().into_iter().find(|(_, path, recursive)| shows(path_of(path), *recursive)).map(|(index, ..)| index)
    }

    /// The sources of all binds, in the order in which they are mounted.
    pub(super) fn sources_in_order(&self) -> Vec<Source> {
        let binds = self.binds().into_iter().map(|(_, path, recursive)| (path, recursive));
        binds.chain(self.notify_source().map(|source| (source.path, source.recursive))).collect()
    }
}
