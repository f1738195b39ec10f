//! `linux.cgroupsPath` and `linux.resources`.

use std::borrow::Cow;
use std::rc::Rc;

use super::Compiler;
use super::resources::{self, For, Writes};
use super::systemd::limits;
use crate::bundle::limits::Version;
use crate::cgroup::Manager;
use crate::cgroup::devices::access::{Conflict, DeviceAccess};
use crate::cgroup::devices::filter;
use crate::cgroup::devices::{DevicesV1, DevicesV2};
use crate::cgroup::directory::{Directory, MakeV1, MakeV2};
use crate::cgroup::join::{Join, Move};
use crate::cgroup::layout::{Hierarchy, MOUNT_POINT, is_outside};
use crate::cgroup::limit::Limit;
use crate::cgroup::memory;
use crate::cgroup::owner::GiveCgroup;
use crate::cgroup::write::{Write, property};
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::types::device_rules;

pub(super) const FROM: Pointer = Pointer::new("/linux/cgroupsPath");
pub(super) const DEVICES: Pointer = Pointer::new("/linux/resources/devices");

impl Compiler<'_> {
    /// The container's directories: in the v2 hierarchy, if there is one, and in those of v1.
    pub(super) fn directories(&self) -> Vec<Directory> {
        let layout = &self.host.cgroups;
        layout.unified.iter().chain(&layout.v1).map(|hierarchy| self.directory_in(hierarchy)).collect()
    }

    fn directory_in(&self, hierarchy: &Hierarchy) -> Directory {
        if let Some(names) = &self.names {
            return Directory { path: [&hierarchy.mount_point, &*names.path].concat().into(), existed: false };
        }
        let path = self.spec.linux.cgroups_path.as_ref().and_then(|path| path.to_str().ok());
        Directory::new(hierarchy, path, &self.options.id)
    }

    /// Each v1 hierarchy and the container's directory in it.
    pub(super) fn v1(&self) -> impl Iterator<Item = (&Hierarchy, &Directory)> {
        let layout = &self.host.cgroups;
        layout.v1.iter().zip(&self.directories[usize::from(layout.unified.is_some())..])
    }

    /// The cgroup of a hierarchy that the container's processes are in: its own, or ferrun's where none is created.
    pub(super) fn joined<'a>(&self, hierarchy: &Hierarchy, directory: &'a Directory) -> Cow<'a, str> {
        match self.options.manager == Manager::Disabled && !is_outside(&hierarchy.own) {
            true => format!("{}{}", hierarchy.mount_point, hierarchy.own).into(),
            false => (&*directory.path).into(),
        }
    }

    /// The container's directory in the v2 hierarchy.
    pub(super) fn unified(&self) -> Option<&Directory> {
        self.host.cgroups.unified.as_ref().and(self.directories.first())
    }

    /// The v2 directory that the init is born in. Systemd makes one only for a process that there is.
    pub(super) fn v2_directory(&self) -> Option<&Directory> {
        self.unified().filter(|_| self.options.manager == Manager::Cgroupfs)
    }

    /// The v2 cgroup with its limits: the init is born in it.
    pub(super) fn cgroup_at_clone(&mut self) -> Result<()> {
        let layout = &self.host.cgroups;
        if self.options.manager == Manager::Disabled {
            return self.without_cgroups("--cgroup-manager disabled switches them off");
        }
        if layout.v1.is_empty() && layout.unified.is_none() && self.options.manager == Manager::Cgroupfs {
            return self.without_cgroups("this host has none mounted at /sys/fs/cgroup");
        }
        self.refuse_own_cgroup()?;
        self.plan.cgroup = self.directories.clone();
        let Some(path) = self.v2_directory().map(|directory| directory.path.clone()) else { return Ok(()) };
        self.make_v2(&path);
        if !self.host.cgroups.is_v2() {
            return Ok(());
        }
        let writes = self.writes()?;
        self.limits_of_v2(&path, writes)
    }

    /// What needs no place at birth: the v1 cgroups with their limits, which the init joins when they are
    /// there; and all that systemd makes, which puts the init into it itself.
    pub(super) fn cgroup_meanwhile(&mut self) -> Result<()> {
        match self.options.manager {
            Manager::Disabled => Ok(()),
            Manager::Cgroupfs if self.host.cgroups.v1.is_empty() => {
                self.move_by_parent();
                Ok(())
            }
            Manager::Cgroupfs => {
                let writes = self.writes()?;
                self.make_v1();
                self.limits_of_v1(writes)
            }
            Manager::Systemd { .. } => self.cgroup_by_systemd(),
        }
    }

    /// The unit; then what systemd has no property for, or would not tell if the kernel refused it.
    fn cgroup_by_systemd(&mut self) -> Result<()> {
        let mut writes = self.writes()?;
        limits::round_quotas(&mut writes);
        self.start_unit(&writes)?;
        let unified = self.unified().map(|directory| directory.path.clone());
        match unified.filter(|_| self.host.cgroups.is_v2()) {
            Some(path) => {
                self.make_v2(&path);
                self.limits_of_v2(&path, writes)
            }
            None => {
                self.make_v1();
                self.limits_of_v1(writes)
            }
        }
    }

    /// Makes the v2 cgroup, or where it is there already hands the controllers down to it.
    fn make_v2(&mut self, path: &Rc<str>) {
        let Some(unified) = &self.host.cgroups.unified else { return };
        let (mount_point, controllers) = (unified.mount_point.clone(), self.host.cgroups.is_v2());
        self.parent(Some(FROM), MakeV2 { path: path.clone(), mount_point, controllers });
    }

    /// The version that has the controllers.
    pub(super) fn version(&self) -> Version {
        if self.host.cgroups.is_v2() { Version::V2 } else { Version::V1 }
    }

    fn writes(&mut self) -> Result<Vec<Write>> {
        let list = resources::writes(&self.spec.linux.resources, self.version(), For::Start)?;
        Ok(self.taken(list))
    }

    fn limits_of_v2(&mut self, path: &Rc<str>, writes: Vec<Write>) -> Result<()> {
        let program = filter::program(&self.device_access()?);
        self.parent(Some(DEVICES), DevicesV2 { directory: path.clone(), program });
        for write in writes {
            self.limit(path.clone(), write);
        }
        self.give_cgroup(path);
        Ok(())
    }

    fn limit(&mut self, directory: Rc<str>, write: Write) {
        if let Some(bytes) = memory::limit(&write) {
            self.plan.deadly.memory = Some((bytes, write.pointer()));
        }
        self.parent(Some(write.from), Box::new(Limit { directory, write }));
    }

    /// A container that may write to its own cgroups, seen as the root of all, owns them: the spec's rule,
    /// and runc's.
    fn give_cgroup(&mut self, path: &Rc<str>) {
        let user = self.spec.process.as_ref().map_or(0, |process| process.user.uid);
        let uid = if self.has_user_namespace() { self.spec.linux.uid_mappings.on_host(user) } else { Some(user) };
        let mut shown = self.spec.mounts.iter().enumerate().filter(|(_, entry)| entry.is_cgroup());
        let writable = shown.find(|(_, entry)| !entry.options.read_only()).map(|(index, _)| index);
        if let (Some(uid @ 1..), Some(index), true) = (uid, writable, self.has_new_cgroup_namespace()) {
            self.parent(Some(Pointer::at("/mounts/#", index)), GiveCgroup { directory: path.clone(), uid });
        }
    }

    /// The v1 hierarchies in which ferrun makes the cgroup.
    fn own_v1(&self) -> impl Iterator<Item = (&Hierarchy, &Directory)> {
        let systemd = self.names.is_some();
        self.v1().filter(move |(hierarchy, _)| !(systemd && hierarchy.is_systemds()))
    }

    fn make_v1(&mut self) {
        let Some((first, directory)) = self.v1().next() else { return };
        let name = directory.in_hierarchy(first).to_owned();
        let own = self.own_v1();
        let directories = own.map(|(hierarchy, own)| (own.path.clone(), hierarchy.has("cpuset"))).collect();
        self.parent(Some(FROM), MakeV1 { directories, name });
    }

    /// The init's own lane joins otherwise.
    fn move_by_parent(&mut self) {
        if self.is_moved_by_parent() {
            self.move_to_v2().into_iter().for_each(|step| self.parent(Some(FROM), step));
            self.join().into_iter().for_each(|step| self.parent(Some(FROM), step));
        }
    }

    /// The way into the v2 cgroup of an init that is not born in it.
    fn move_to_v2(&self) -> Option<Move> {
        self.v2_directory().filter(|_| self.options.moves).map(|directory| Move(directory.path.clone()))
    }

    fn limits_of_v1(&mut self, writes: Vec<Write>) -> Result<()> {
        let directory = self.v1_with("devices", DEVICES)?;
        let access = self.device_access()?.for_v1().map_err(|conflict| self.conflict(&conflict))?;
        self.parent(Some(DEVICES), Box::new(DevicesV1 { directory, access }));
        for write in writes {
            let directory = self.v1_with(write.controller(), write.from)?;
            self.limit(directory, write);
        }
        self.move_by_parent();
        Ok(())
    }

    /// The init enters the cgroups that it is not born in, and then leaves the cgroup namespace.
    pub(super) fn join_cgroup(&mut self) {
        if !self.is_moved_by_parent() {
            self.move_to_v2().into_iter().for_each(|step| self.init(Some(FROM), step));
            self.join().into_iter().for_each(|step| self.init(Some(FROM), step));
        }
        self.unshare_cgroup();
    }

    /// The way into the v1 cgroups, if there are any.
    fn join(&self) -> Option<Join> {
        let has_v1 = !self.host.cgroups.v1.is_empty() && self.options.manager != Manager::Disabled;
        has_v1.then(|| Join::new(self.own_v1().map(|(_, directory)| &*directory.path)))
    }

    /// An init that is born inside of a joined mount namespace sees that one's cgroups, and not the host's.
    fn is_moved_by_parent(&self) -> bool {
        self.has_user_namespace() && self.joins_mount_namespace()
    }

    /// The writes, once their warnings are noted.
    fn taken(&mut self, list: Writes) -> Vec<Write> {
        self.plan.warnings.extend(list.warnings);
        list.writes
    }

    /// The path of the directory in the hierarchy of a controller.
    fn v1_with(&self, name: &str, from: Pointer) -> Result<Rc<str>> {
        let found = self.v1().find(|(hierarchy, _)| hierarchy.has(name));
        found.map(|(_, directory)| directory.path.clone()).ok_or_else(|| {
            let beside = self.host.cgroups.unified.as_ref();
            let beside = beside.map(|v2| format!("; controllers of v2 ({}) are not used beside v1", v2.mount_point));
            Error::new(format!("{}: cgroup controller {name} is not mounted on this host", property(from)))
                .from_property(from)
                .hint(format!("it would be at {MOUNT_POINT}/{name}{}", beside.unwrap_or_default()))
        })
    }

    /// The rules of the config, then those that every container has, as runc: what no rule allows is
    /// denied, also where the config has no rules.
    pub(super) fn device_access(&self) -> Result<DeviceAccess> {
        let all: Vec<_> = self.spec.linux.resources.devices.iter().chain(device_rules::DEFAULT).cloned().collect();
        DeviceAccess::from_rules(&all).map_err(|conflict| self.conflict(&conflict))
    }

    fn conflict(&self, conflict: &Conflict) -> Error {
        let own = conflict.index < self.spec.linux.resources.devices.len();
        let from = if own { Pointer::at("/linux/resources/devices/#", conflict.index) } else { DEVICES };
        Error::new(conflict.to_string()).from_property(from)
    }

    /// Ferrun's own cgroup, and those above it, would get the container's limits and its signals.
    fn refuse_own_cgroup(&self) -> Result<()> {
        let layout = &self.host.cgroups;
        for (hierarchy, directory) in self.v1().chain(layout.unified.as_ref().zip(self.unified())) {
            let above = hierarchy.own.strip_prefix(directory.in_hierarchy(hierarchy));
            if above.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                let message = format!("cgroupsPath is ferrun's own cgroup, or one above it: {}", directory.path);
                return Err(Error::new(message).from_property(FROM));
            }
        }
        Ok(())
    }

    /// A limit is refused; that the devices are not limited is only warned about, since every config
    /// has a list of them.
    fn without_cgroups(&mut self, why: &str) -> Result<()> {
        if let Some(limit) = resources::first_limit(&self.spec.linux.resources) {
            return Err(Error::new(format!("limits need cgroups, and {why}")).from_property(limit));
        }
        self.warn(DEVICES, format!("devices are not limited: that needs cgroups, and {why}"));
        Ok(())
    }
}
