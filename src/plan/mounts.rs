//! `root`, `mounts`, and the paths that are hidden or read-only.

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::rc::Rc;

use super::{Compiler, c_path};
use crate::bundle::mount::{IdMapping, Mount as Entry};
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::rootfs::cgroup::{CgroupMount, Hierarchy, View};
use crate::rootfs::idmap::{IdMap, MakeUserNamespace, Maps, UserNamespace};
use crate::rootfs::mask::{Mask, ReadOnlyPath};
use crate::rootfs::mount::{Mount, SealReadOnly, Source};
use crate::rootfs::propagation::{PropagateRoot, Propagation};
use crate::rootfs::remount::Remount;
use crate::rootfs::root::{BindRoot, MoveRoot, Pivot, ReadOnlyRoot};

impl Compiler<'_> {
    /// The root file system as a mount.
    pub(super) fn root(&mut self) {
        if let Some(root) = &self.spec.root {
            // Without a slash at the end, which would make the kernel follow a link.
            let path: std::path::PathBuf = self.on_host(&root.path).components().collect();
            let path = c_path(&path);
            let propagation = self.spec.linux.rootfs_propagation;
            self.init(Some(Pointer::new("/root/path")), BindRoot { path, propagation });
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
        if entry.options.remount {
            return self.init(from, Remount { destination, options: entry.options.clone() });
        }
        if is_cgroup(entry) {
            let (view, cut_off) = (self.cgroup_view(), self.shares_with_host());
            return self.init(from, CgroupMount { view, destination, options: entry.options.clone(), cut_off });
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
        let joins = entry.options.propagation.iter().any(|(kind, _)| *kind == libc::MS_SHARED);
        let cut_off = entry.is_bind() && self.shares_with_host() && !joins;
        let idmap = self.idmap(entry);
        let keep = !entry.is_bind() && self.is_changed_later(index);
        self.init(from, Mount { source, destination, options, seal_later, cut_off, idmap, keep });
    }

    /// Whether a later entry has `remount`.
    fn is_changed_later(&self, index: usize) -> bool {
        let mut later = self.spec.mounts[index..].iter().filter(|later| later.options.remount).peekable();
        later.peek().is_some() && {
            let destination = self.spec.mounts[index].clean_destination();
            later.any(|later| later.clean_destination() == destination)
        }
    }

    /// Whether the host's tree stays shared until it is left.
    fn shares_with_host(&self) -> bool {
        self.spec.linux.rootfs_propagation.is_some_and(Propagation::is_shared)
    }

    /// The maps that mounts need, each once.
    pub(super) fn mapped_mounts(&mut self) {
        for (index, entry) in self.spec.mounts.iter().enumerate().filter(|(_, entry)| entry.is_mapped()) {
            let maps = maps(entry);
            if self.maps.iter().all(|made| made.maps != maps) {
                let namespace = Rc::new(UserNamespace::new(maps));
                self.maps.push(namespace.clone());
                self.parent(Some(Pointer::at("/mounts/#/uidMappings", index)), MakeUserNamespace(namespace));
            }
        }
    }

    fn idmap(&self, entry: &Entry) -> Option<IdMap> {
        let maps = entry.is_mapped().then(|| maps(entry))?;
        let namespace = self.maps.iter().find(|made| made.maps == maps)?.clone();
        Some(IdMap { namespace, recursive: entry.options.idmap == Some(true) })
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

    /// Leaving the host's tree.
    ///
    /// # Errors
    /// As runc: a private root that is only moved would keep the host's mounts alive below it, unseen.
    pub(super) fn enter_root(&mut self) -> Result<()> {
        let from = Some(Pointer::new("/root/path"));
        let cut_off = self.shares_with_host();
        if !self.options.no_pivot {
            self.init(from, Pivot { cut_off });
            return Ok(());
        }
        if self.spec.linux.rootfs_propagation.is_some_and(Propagation::is_private) {
            let error = Error::new("rootfsPropagation of [r]private is not safe without pivot_root");
            return Err(error.from_property("/linux/rootfsPropagation").hint("leave --no-pivot out"));
        }
        self.init(from, MoveRoot { cut_off });
        Ok(())
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
        if let Some(propagation) = self.spec.linux.rootfs_propagation.filter(|value| value.is_set_last()) {
            self.init(Some(Pointer::new("/linux/rootfsPropagation")), PropagateRoot(propagation));
        }
    }
}

/// The maps of a mount as the kernel reads them.
fn maps(entry: &Entry) -> Maps {
    let text = |ranges: &[IdMapping]| {
        ranges.iter().fold(String::new(), |mut text, IdMapping { container_id, host_id, size }| {
            let _ = writeln!(text, "{container_id} {host_id} {size}");
            text
        })
    };
    Maps { uid: text(&entry.uid_mappings), gid: text(&entry.gid_mappings) }
}

fn is_cgroup(entry: &Entry) -> bool {
    !entry.is_bind()
        && !entry.options.remount
        && matches!(entry.kind().map(CStr::to_bytes), Some(b"cgroup" | b"cgroup2"))
}

/// A read-only tmpfs gets its mount points, and /dev its devices, before it is made read-only.
fn seals_later(entry: &Entry, destination: &CStr) -> bool {
    let late = entry.kind() == Some(c"tmpfs") || destination == c"/dev";
    late && !entry.is_bind() && !entry.options.remount && entry.options.read_only()
}
