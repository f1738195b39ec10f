//! `root`, `mounts`, and the paths that are hidden or read-only.

use std::ffi::{CStr, CString};

use super::{Compiler, c_path};
use crate::bundle::mount::Mount as Entry;
use crate::pointer::Pointer;
use crate::rootfs::cgroup::{CgroupMount, Hierarchy, View};
use crate::rootfs::devices::DefaultDevices;
use crate::rootfs::mask::{Mask, ReadOnlyPath};
use crate::rootfs::mount::{Mount, SealReadOnly, Source};
use crate::rootfs::root::{BindRoot, MoveRoot, Pivot, ReadOnlyRoot};

impl Compiler<'_> {
    /// The root file system as a mount.
    pub(super) fn root(&mut self) {
        if let Some(root) = &self.spec.root {
            // Without a slash at the end, which would make the kernel follow a link.
            let path: std::path::PathBuf = self.on_host(&root.path).components().collect();
            let path = c_path(&path);
            self.init(Some(Pointer::new("/root/path")), BindRoot { path });
        }
    }

    /// The mounts in their order: those before the first that needs the cgroups, or that one and the rest.
    pub(super) fn mounts(&mut self, after_cgroup: bool) {
        let mounts = &self.spec.mounts;
        let first = mounts.iter().position(is_cgroup).unwrap_or(mounts.len());
        let range = if after_cgroup { first..mounts.len() } else { 0..first };
        for index in range {
            self.mount(index);
        }
    }

    fn mount(&mut self, index: usize) {
        let entry = &self.spec.mounts[index];
        let from = Some(Pointer::at("/mounts/#", index));
        let destination = entry.clean_destination();
        if is_cgroup(entry) {
            let view = self.cgroup_view();
            return self.init(from, CgroupMount { view, destination, options: entry.options.clone() });
        }
        let mut options = entry.options.clone();
        let source = match (&entry.source, entry.is_bind()) {
            (Some(source), true) => {
                options.bind.get_or_insert(false);
                Source::Bind(c_path(&self.on_host(source)))
            }
            (source, _) => {
                let kind = entry.kind().unwrap_or(c"none").to_owned();
                let source = source.as_deref().filter(|source| !source.is_empty()).unwrap_or(&kind).to_owned();
                Source::FileSystem { kind, source }
            }
        };
        if let Some(context) = self.mount_context(entry) {
            options.data.push(context);
        }
        let seal_later = seals_later(entry, &destination);
        self.init(from, Mount { source, destination, options, seal_later });
    }

    /// What a mount of type cgroup shows on this host.
    fn cgroup_view(&self) -> View {
        let layout = &self.host.cgroups;
        let own_namespace = self.has_cgroup_namespace();
        let text = |text: &str| CString::new(text).expect("the kernel's names have no NUL");
        if layout.is_v2() {
            return match own_namespace {
                true => View::V2,
                false => View::HostV2(text(crate::cgroup::layout::MOUNT_POINT)),
            };
        }
        let hierarchies = layout.v1.iter().map(|hierarchy| {
            let directory = self.directory(hierarchy);
            let data = match hierarchy.controllers.starts_with("name=") {
                true => format!("none,{}", hierarchy.controllers),
                false => hierarchy.controllers.clone(),
            };
            let bind = (!own_namespace).then(|| text(&directory.path));
            Hierarchy { name: text(hierarchy.name()), bind, data: text(&data) }
        });
        View::V1(hierarchies.collect())
    }

    /// The default devices, unless the bundle binds a /dev of its own.
    pub(super) fn devices(&mut self) {
        let bound =
            self.spec.mounts.iter().any(|entry| entry.is_bind() && entry.clean_destination().as_c_str() == c"/dev");
        if !bound {
            let bind = self.has_user_namespace();
            self.init(Some(Pointer::new("/linux/devices")), DefaultDevices { bind });
        }
    }

    /// Leaving the host's tree.
    pub(super) fn enter_root(&mut self) {
        let from = Some(Pointer::new("/root/path"));
        match self.options.no_pivot {
            true => self.init(from, MoveRoot),
            false => self.init(from, Pivot),
        }
    }

    /// What is hidden, and what becomes read-only once everything is in its place.
    pub(super) fn paths(&mut self) {
        for (index, path) in self.spec.linux.readonly_paths.iter().enumerate() {
            self.init(Some(Pointer::at("/linux/readonlyPaths/#", index)), ReadOnlyPath(path.0.clone()));
        }
        for (index, path) in self.spec.linux.masked_paths.iter().enumerate() {
            self.init(Some(Pointer::at("/linux/maskedPaths/#", index)), Mask(path.0.clone()));
        }
        for (index, entry) in self.spec.mounts.iter().enumerate() {
            let destination = entry.clean_destination();
            if seals_later(entry, &destination) {
                self.init(Some(Pointer::at("/mounts/#/options", index)), SealReadOnly(destination));
            }
        }
        self.working_directory();
        if self.spec.root.as_ref().is_some_and(|root| root.readonly) {
            self.init(Some(Pointer::new("/root/readonly")), ReadOnlyRoot);
        }
    }
}

fn is_cgroup(entry: &Entry) -> bool {
    !entry.is_bind() && matches!(entry.kind().map(CStr::to_bytes), Some(b"cgroup" | b"cgroup2"))
}

/// A read-only tmpfs gets its mount points, and /dev its devices, before it is made read-only.
fn seals_later(entry: &Entry, destination: &CStr) -> bool {
    let late = entry.kind() == Some(c"tmpfs") || destination == c"/dev";
    late && !entry.is_bind() && entry.options.read_only()
}
