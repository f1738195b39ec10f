//! What becomes read-only last: a mount in which mount points, devices and the working directory are created before.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;

use super::Compiler;
use super::mounts::is_root;
use crate::bundle::mount::Mount as Entry;
use crate::pointer::Pointer;
use crate::rootfs::file_system::WITHOUT_DEVICE;
use crate::rootfs::mount::SealReadOnly;
use crate::sys::mount::attr;

/// Which entries of `mounts` leave what they ask for to the end.
#[derive(Default)]
pub(super) struct Sealing {
    /// Those that do not make their mount read-only: the last of its destination decides, at the end.
    pub later: BTreeSet<usize>,
    /// Those whose mount a later step needs at hand.
    pub kept: BTreeSet<usize>,
    /// The last that makes a mount read-only, and how, in the order of the config.
    at_the_end: BTreeMap<usize, SealReadOnly>,
}

impl Sealing {
    /// Whether anything becomes read-only at the end.
    pub fn is_empty(&self) -> bool {
        self.at_the_end.is_empty()
    }
}

/// What is mounted on a destination.
struct Mounted {
    /// The entry that mounts it.
    index: usize,
    /// This and the entries with `remount` that make it read-only, if that can be done at the end.
    read_only: Vec<usize>,
    /// Whether the last of them makes it read-only.
    in_the_end: bool,
}

impl Compiler<'_> {
    /// The mounts that become read-only only at the end: each tmpfs or the like, and what is mounted on the root. A file
    /// system of the host's is read-only at once: nothing is to be created there.
    pub(super) fn sealing(&self) -> Sealing {
        let mut sealing = Sealing::default();
        for (destination, mounted) in self.mounted(&mut sealing.kept) {
            sealing.later.extend(&mounted.read_only);
            let Some(last) = mounted.read_only.last().filter(|_| mounted.in_the_end) else { continue };
            let mount = &self.spec.mounts[mounted.index];
            if !is_root(destination) {
                sealing.kept.insert(mounted.index);
            }
            let remounts = |index: &usize| {
                let options = &self.spec.mounts[*index].options;
                options.remount && options.bind.is_none()
            };
            let seal = SealReadOnly {
                destination: destination.to_owned(),
                own: mount.is_in_memory() || self.is_tree_of_v1(mount),
                file_system: mount.is_in_memory() && mounted.read_only.iter().any(remounts),
            };
            sealing.at_the_end.insert(*last, seal);
        }
        sealing
    }

    /// What is mounted on each destination in the end, and which mounts are changed by a `remount`.
    fn mounted(&self, changed: &mut BTreeSet<usize>) -> BTreeMap<&CStr, Mounted> {
        let mut all: BTreeMap<&CStr, Mounted> = BTreeMap::new();
        for (index, entry) in self.spec.mounts.iter().enumerate() {
            let destination = &*entry.destination;
            if !entry.options.remount {
                if is_root(destination) {
                    // What was mounted before is out of sight, and goes with the host's tree.
                    all.clear();
                }
                all.insert(destination, Mounted { index, read_only: Vec::new(), in_the_end: false });
            }
            let Some(mounted) = all.get_mut(destination) else { continue };
            let mount = &self.spec.mounts[mounted.index];
            if entry.options.remount && !mount.is_cgroup() {
                changed.insert(mounted.index);
            }
            if !self.may_be_sealed(mount) {
                continue;
            }
            if entry.options.read_only() {
                mounted.read_only.push(index);
                mounted.in_the_end = true;
            } else if (entry.options.here.clear | entry.options.all.clear) & attr::RDONLY != 0 {
                mounted.in_the_end = false;
            }
        }
        all
    }

    /// Whether a mount, should it be read-only, can be so later: its file system is the container's own, or it is /dev
    /// or the root; but for one on a device, which must not be written to at all.
    fn may_be_sealed(&self, entry: &Entry) -> bool {
        let kind = entry.kind().unwrap_or_default();
        let without_device = WITHOUT_DEVICE.contains(&kind) || [c"devtmpfs", c"overlay"].contains(&kind);
        if is_root(&entry.destination) {
            // `rro` is for the mounts below as well, which are as they come.
            return entry.options.all.set & attr::RDONLY == 0 && (entry.is_bind() || without_device);
        }
        let in_dev = &*entry.destination == c"/dev" && without_device;
        (entry.is_in_memory() || self.is_tree_of_v1(entry) || in_dev) && !entry.is_bind()
    }

    /// Whether an entry shows a tmpfs with the hierarchies of cgroup v1. There is one cgroup2 for the whole host.
    fn is_tree_of_v1(&self, entry: &Entry) -> bool {
        entry.kind() == Some(c"cgroup") && !self.host.cgroups.is_v2()
    }

    /// Makes read-only what was left for the end.
    pub(super) fn seal(&mut self) {
        for (index, seal) in std::mem::take(&mut self.sealing.at_the_end) {
            self.init(Some(Pointer::at("/mounts/#/options", index)), seal);
        }
    }
}
