//! `root`, `mounts`, and the paths that are hidden or read-only.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::rc::Rc;

use super::host::{OWN_CHILDREN, PIDNS};
use super::tree_namespace::Beginning;
use super::{Compiler, c_path};
use crate::bundle::mount::Mount as Entry;
use crate::cgroup::layout::MOUNT_POINT;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::rootfs::cgroup::{CgroupMount, Hierarchy, View};
use crate::rootfs::enter_tree::EnterTree;
use crate::rootfs::idmap::{IdMap, MakeUserNamespace, Maps, UserNamespace};
use crate::rootfs::mask::{Mask, ReadOnlyPath};
use crate::rootfs::mount::{Mount, Source};
use crate::rootfs::propagation::PropagateRoot;
use crate::rootfs::remount::Remount;
use crate::rootfs::root::{BindRoot, EnterRoot, MoveRoot, Pivot, ReadOnlyRoot, Tree};
use crate::rootfs::source::{BindSource, OpenSources};
use crate::types::mount_options::Data;
use crate::types::propagation::Propagation;

impl<'a> Compiler<'a> {
    /// The root file system as a mount.
    pub(super) fn root(&mut self) {
        if let Some(root) = &self.spec.root {
            let path = c_path(&root.on_host(self.bundle));
            let propagation = self.spec.linux.rootfs_propagation.unwrap_or(Propagation::DEFAULT);
            let tree = match (self.joins_mount_namespace(), self.inherits_mount_namespace()) {
                (true, _) => Tree::Joined,
                (_, true) => Tree::None,
                _ => Tree::Own,
            };
            let from = Some(Pointer::new("/root/path"));
            let copied_for = match self.beginning {
                Beginning::CopyFor(property) => Some(property),
                _ => None,
            };
            let root = BindRoot { path, propagation, tree, copied_for };
            match self.begins_with_root() {
                true => {
                    let (sources, kept) = (self.sources_in_order(), self.sealing.kept.len());
                    self.init(from, EnterTree { otherwise: root, sources, kept });
                }
                false => self.init(from, root),
            }
        }
    }

    /// Some of the mounts.
    pub(super) fn mounts(&mut self, indices: Vec<usize>) {
        indices.into_iter().for_each(|index| self.mount(index));
    }

    /// The mounts in their order; apart from them those that show cgroups, and what is mounted there: these
    /// have to wait until the container is in its cgroups. Nothing else has, and the device of a file system
    /// may be one that the container itself must not open.
    pub(super) fn mounts_by_time(&self) -> [Vec<usize>; 2] {
        let [mut early, mut late] = [Vec::new(), Vec::new()];
        let mut places = Places::default();
        for (index, entry) in self.spec.mounts.iter().enumerate() {
            if entry.is_cgroup() || entry.options.copy_up || places.meet(&entry.destination) {
                places.0.insert(entry.destination.to_bytes());
                late.push(index);
            } else {
                early.push(index);
            }
        }
        [early, late]
    }

    fn mount(&mut self, index: usize) {
        let entry = &self.spec.mounts[index];
        let from = Some(Pointer::at("/mounts/#", index));
        let destination = Rc::<CStr>::from(&*entry.destination);
        let (seal_later, keep) = (self.sealing.later.contains(&index), self.sealing.kept.contains(&index));
        let mut options = entry.options.clone();
        let read_only = options.read_only();
        if seal_later {
            options = options.writable();
        }
        if entry.is_cgroup() {
            let view = self.cgroup_view(entry.kind() == Some(c"cgroup2"));
            let Some(view) = self.note(view.map_err(|error| error.from_property(Pointer::at("/mounts/#/type", index))))
            else {
                return;
            };
            let (cut_off, label) = (self.shares_with_host(), self.mount_label());
            let mount = CgroupMount { view, destination, options, read_only, keep, cut_off, label };
            return self.init(from, Box::new(mount));
        }
        if entry.options.remount {
            return self.init(from, Box::new(Remount { destination, options }));
        }
        if self.crosses && entry.kind() == Some(c"proc") && !options.has_data(PIDNS) {
            options.data.push(Data { key: PIDNS.into(), value: Some(OWN_CHILDREN.into()), at: None });
        }
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
        if late_propagation(entry).is_some() {
            options.propagation.push((libc::MS_SLAVE, false));
        }
        if let Some(context) = self.mount_context(entry) {
            options.data.push(context);
        }
        // Where the root is shared, as in a mount namespace of the container's own.
        let shared = entry.options.propagation.iter().any(|(kind, _)| *kind == libc::MS_SHARED);
        // What is mounted on the root later must not reach the host, whatever is asked for.
        let joins = shared && self.shares_root() && !is_root(&destination);
        let cut_off = entry.is_bind() && self.shares_with_host() && !joins;
        let handed = entry.is_bind() && self.has_user_namespace();
        let idmap = if handed { None } else { self.idmap(entry, index) };
        let label = self.queue_label(entry);
        let mount = Mount { source, destination, options, cut_off, idmap, handed, label, keep };
        self.init(from, Box::new(mount));
    }

    /// The sources that the init of a user namespace is given, in the order in which they are mounted.
    fn bind_sources(&self) -> Vec<BindSource> {
        if !self.has_user_namespace() {
            return Vec::new();
        }
        let binds = self.binds().into_iter().map(|(index, path, recursive)| {
            let (from, idmap) = (Some(Pointer::at("/mounts/#", index)), self.idmap(&self.spec.mounts[index], index));
            BindSource { from, path, recursive, idmap }
        });
        binds.chain(self.notify_source()).collect()
    }

    /// The binds in the order in which they are mounted: index and source of each, and whether it is recursive.
    pub(super) fn binds(&self) -> Vec<(usize, CString, bool)> {
        let bind = |index: usize| {
            let entry = &self.spec.mounts[index];
            let source = entry.source.as_ref().filter(|_| entry.is_bind() && !entry.options.remount)?;
            Some((index, c_path(&self.on_host(source)), entry.options.bind == Some(true)))
        };
        self.mounts_by_time().into_iter().flatten().filter_map(bind).collect()
    }

    /// What the parent does for that, while the init makes the mounts.
    pub(super) fn open_sources(&mut self) {
        let sources = self.bind_sources();
        if !sources.is_empty() {
            self.parent(None, OpenSources(sources));
        }
    }

    /// Whether the root is entered alone.
    pub(super) fn begins_with_root(&self) -> bool {
        self.beginning == Beginning::Root
    }

    /// Whether the tree that the root is in stays as it is, shared perhaps, until it is left.
    pub(super) fn shares_with_host(&self) -> bool {
        self.joins_mount_namespace() || self.inherits_mount_namespace() || self.shares_root()
    }

    fn shares_root(&self) -> bool {
        self.spec.linux.rootfs_propagation.is_some_and(Propagation::is_shared)
    }

    /// The maps that mounts need, each once.
    pub(super) fn mapped_mounts(&mut self) {
        let mapped = |(_, entry): &(usize, &Entry)| !entry.uid_mappings.is_empty() || !entry.gid_mappings.is_empty();
        for (index, entry) in self.spec.mounts.iter().enumerate().filter(mapped) {
            let Some(maps) = self.note(maps(entry, index)) else { continue };
            if !self.maps.contains_key(&maps) {
                let namespace = Rc::new(UserNamespace::new(maps.clone()));
                self.plan.maps.push(namespace.clone());
                self.maps.insert(maps, namespace.clone());
                self.parent(Some(Pointer::at("/mounts/#/uidMappings", index)), MakeUserNamespace(namespace));
            }
        }
    }

    fn idmap(&self, entry: &Entry, index: usize) -> Option<IdMap> {
        let maps = maps(entry, index).ok().filter(|_| entry.is_mapped())?;
        // Without any of its own it has those of the container.
        let namespace = self.maps.get(&maps).cloned();
        Some(IdMap { namespace, recursive: entry.options.idmap == Some(true) })
    }

    /// What a mount of type `cgroup` or `cgroup2` shows on this host. The former is whatever the host has; where
    /// that is v1, the latter shows the v2 tree beside it, also without a cgroup namespace no more than the container's.
    ///
    /// # Errors
    /// `cgroup2` without a v2 tree.
    fn cgroup_view(&self, cgroup2: bool) -> Result<View> {
        let layout = &self.host.cgroups;
        let own_namespace = self.has_cgroup_namespace();
        let text = |text: &str| CString::new(text).expect("the kernel's names have no NUL");
        if layout.is_v2() || cgroup2 {
            return match (&layout.unified, self.unified()) {
                (Some(_), _) if own_namespace => Ok(View::V2),
                (Some(hierarchy), _) if layout.is_v2() => Ok(View::HostV2(text(&hierarchy.mount_point))),
                (Some(hierarchy), Some(directory)) => Ok(View::OwnV2(text(&self.joined(hierarchy, directory)))),
                _ => Err(Error::new(format!("cgroup2 is not mounted on this host, which has {}", layout.describe()))
                    .hint(format!("it would be at {MOUNT_POINT} or {MOUNT_POINT}/unified"))),
            };
        }
        let hierarchies = self.v1().map(|(hierarchy, directory)| {
            let data = match hierarchy.controllers.starts_with("name=") {
                true => format!("none,{}", hierarchy.controllers),
                false => hierarchy.controllers.clone(),
            };
            // mount(2), which makes a view of v1, works in no tree that is mounted nowhere.
            let bind = !own_namespace || self.inherits_mount_namespace();
            let bind = bind.then(|| text(&self.joined(hierarchy, directory)));
            Hierarchy { name: text(hierarchy.name()), bind, data: text(&data) }
        });
        Ok(View::V1(hierarchies.collect()))
    }

    /// Leaving the host's tree.
    ///
    /// # Errors
    /// As runc: a private root that is only moved would keep the host's mounts alive below it, unseen.
    pub(super) fn enter_root(&mut self) -> Result<()> {
        let from = Some(Pointer::new("/root/path"));
        if self.inherits_mount_namespace() {
            self.init(from, EnterRoot);
            return Ok(());
        }
        let cut_off = self.shares_with_host();
        let joined = self.joins_mount_namespace();
        if !self.options.no_pivot && !joined {
            self.init(from, Pivot { cut_off, alone: self.begins_with_root() });
            return Ok(());
        }
        if !joined && self.spec.linux.rootfs_propagation.is_some_and(Propagation::is_private) {
            let error = Error::new("rootfsPropagation of [r]private is not safe without pivot_root");
            return Err(error.from_property("/linux/rootfsPropagation").hint("leave --no-pivot out"));
        }
        let hides = !(self.spec.linux.masked_paths.is_empty() && self.spec.linux.readonly_paths.is_empty());
        self.init(from, MoveRoot { cut_off, joined, hides });
        Ok(())
    }

    /// What is hidden, and what becomes read-only once everything is in its place.
    pub(super) fn paths(&mut self) {
        if !self.sealing.is_empty() || !self.spec.linux.readonly_paths.is_empty() {
            self.make_working_directory();
        }
        let mut read_only_root = None;
        for (index, path) in self.read_only_paths() {
            let from = Pointer::at("/linux/readonlyPaths/#", index);
            match is_root(&path) {
                true => read_only_root = Some(from),
                false => self.init(Some(from), ReadOnlyPath(path)),
            }
        }
        for (index, path) in self.hidden_paths() {
            let label = self.mount_label();
            self.init(Some(Pointer::at("/linux/maskedPaths/#", index)), Mask { path, label });
        }
        self.seal();
        self.working_directory();
        if let Some(from) = read_only_root {
            self.init(Some(from), ReadOnlyRoot { with_mounts: true });
        } else if self.spec.root.as_ref().is_some_and(|root| root.readonly) {
            self.init(Some(Pointer::new("/root/readonly")), ReadOnlyRoot { with_mounts: false });
        }
        let on_root = self.spec.mounts.iter().rposition(|entry| is_root(&entry.destination));
        if let Some((index, propagation)) = on_root.and_then(|on| Some((on, late_propagation(&self.spec.mounts[on])?)))
        {
            self.init(Some(Pointer::at("/mounts/#/options", index)), PropagateRoot(propagation));
        }
        if let Some(propagation) = self.spec.linux.rootfs_propagation.filter(|value| value.is_set_last()) {
            self.init(Some(Pointer::new("/linux/rootfsPropagation")), PropagateRoot(propagation));
        }
    }
}

/// The maps of a mount.
///
/// # Errors
/// More ranges than the kernel takes.
fn maps(entry: &Entry, index: usize) -> Result<Maps> {
    let at = |pattern| move |error: Error| error.from_property(Pointer::at(pattern, index));
    let uid = entry.uid_mappings.text().map_err(at("/mounts/#/uidMappings"))?;
    let gid = entry.gid_mappings.text().map_err(at("/mounts/#/gidMappings"))?;
    Ok(Maps { uid, gid })
}

/// Whether a path is the root directory, on which a process sees no mount.
pub(super) fn is_root(path: &CStr) -> bool {
    path == c"/"
}

/// The propagation of a mount on the root that has to wait until nothing is mounted any more, as that of the root itself:
/// pivot_root(2) takes no shared root.
fn late_propagation(entry: &Entry) -> Option<Propagation> {
    let (kind, _) = entry.options.propagation.last().filter(|_| is_root(&entry.destination))?;
    Some(Propagation::of_mount(*kind)).filter(|propagation| propagation.is_set_last())
}

/// Paths, without a slash at the end.
#[derive(Default)]
struct Places<'a>(BTreeSet<&'a [u8]>);

impl Places<'_> {
    /// Whether one of them is a path, below it or above it.
    fn meet(&self, path: &CStr) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let path = path.to_bytes();
        // Everything is below the root.
        if path == b"/" || self.0.contains(&b"/"[..]) {
            return true;
        }
        let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end]);
        let below = [path, b"/"].concat();
        above.chain([path]).any(|place| self.0.contains(place))
            || self.0.range(&*below..).next().is_some_and(|first| first.starts_with(&below))
    }
}
