//! Whether the container's mount namespace begins with its root alone, and not as a copy of the host's.

use nix::sched::CloneFlags;

use super::Compiler;
use super::host::PIDNS;
use super::mounts::is_root;
use crate::bundle::mount::Mount;
use crate::rootfs::enter_tree::Source;
use crate::rootfs::file_system::WITHOUT_DEVICE;

impl Compiler<'_> {
    /// Whether it does, as far as host and config say. What needs the host's tree between the first mount and the new root
    /// is left to a copy of it: the hooks that are promised to run before pivot_root(2), paths that a file system resolves
    /// itself, a root that is shared with the host or moved. So is a user namespace: it may mount no proc and no sysfs where
    /// no other shows all of it (mount_too_revealing() of the kernel), and the namespace begins with none.
    pub(super) fn begins_with_root(&self) -> bool {
        let hooks = &self.spec.hooks;
        self.host.tree_namespace
            && self.new_namespaces().contains(CloneFlags::CLONE_NEWNS)
            && !self.has_user_namespace()
            && !self.crosses
            && !self.options.no_pivot
            && !self.shares_with_host()
            && [&hooks.prestart, &hooks.create_runtime, &hooks.create_container].into_iter().all(Vec::is_empty)
            && self.spec.mounts.iter().all(|entry| self.needs_no_host(entry))
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

    /// The sources of all binds, in the order in which they are mounted.
    pub(super) fn sources_in_order(&self) -> Vec<Source> {
        let binds = self.binds().into_iter().map(|(_, path, recursive)| (path, recursive));
        binds.chain(self.notify_source().map(|source| (source.path, source.recursive))).collect()
    }
}
