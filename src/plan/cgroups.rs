//! `linux.cgroupsPath` and `linux.resources`.

use std::ffi::CString;

use super::Compiler;
use crate::cgroup::device_filter;
use crate::cgroup::device_rules::{self, Conflict, DeviceAccess};
use crate::cgroup::directory::{Directory, MakeV1, MakeV2};
use crate::cgroup::join::Join;
use crate::cgroup::layout::Hierarchy;
use crate::cgroup::limits::{DevicesV1, DevicesV2, Limit, weight_of_shares};
use crate::error::{Error, Result};
use crate::pointer::Pointer;

const FROM: Pointer = Pointer::new("/linux/cgroupsPath");
const SHARES: Pointer = Pointer::new("/linux/resources/cpu/shares");
const DEVICES: Pointer = Pointer::new("/linux/resources/devices");

impl Compiler<'_> {
    /// The container's directory in a hierarchy.
    pub(super) fn directory(&self, hierarchy: &Hierarchy) -> Directory {
        let path = self.spec.linux.cgroups_path.as_ref().and_then(|path| path.to_str().ok());
        Directory::new(hierarchy, path, &self.options.id)
    }

    /// The v2 directory that the init is born in.
    pub(super) fn v2_directory(&self) -> Option<Directory> {
        let unified = self.host.cgroups.unified.as_ref().filter(|_| !self.options.no_cgroup)?;
        Some(self.directory(unified))
    }

    /// The v2 cgroup with its limits: the init is born in it.
    pub(super) fn cgroup_at_birth(&mut self) -> Result<()> {
        let layout = &self.host.cgroups;
        if self.options.no_cgroup {
            return self.without_cgroups("--cgroup-manager disabled switches them off");
        }
        if layout.v1.is_empty() && layout.unified.is_none() {
            return self.without_cgroups("this host has none mounted at /sys/fs/cgroup");
        }
        self.refuse_own_cgroup()?;
        let Some(unified) = &layout.unified else { return Ok(()) };
        let directory = self.directory(unified);
        let path = directory.path.clone();
        self.plan.cgroup.push(directory);
        let make = MakeV2 { path: path.clone(), mount_point: unified.mount_point.clone(), controllers: layout.is_v2() };
        self.parent(Some(FROM), make);
        if !layout.is_v2() {
            return Ok(());
        }
        let program = device_filter::program(&self.device_access()?);
        self.parent(Some(DEVICES), DevicesV2 { directory: path.clone(), program });
        if let Some(shares) = self.shares() {
            self.limit(SHARES, format!("{path}/cpu.weight"), weight_of_shares(shares))?;
        }
        Ok(())
    }

    /// The v1 cgroups with their limits: the init joins them when they are there.
    pub(super) fn cgroup_meanwhile(&mut self) -> Result<()> {
        let layout = &self.host.cgroups;
        if self.options.no_cgroup || layout.v1.is_empty() {
            return Ok(());
        }
        let own: Vec<Directory> = layout.v1.iter().map(|hierarchy| self.directory(hierarchy)).collect();
        let name = own[0].in_hierarchy(&layout.v1[0]).to_owned();
        let cpuset = layout.v1.iter().map(|hierarchy| hierarchy.has("cpuset"));
        let directories = own.iter().map(|directory| directory.path.clone()).zip(cpuset).collect();
        self.plan.cgroup.extend(own);
        self.parent(Some(FROM), MakeV1 { directories, name });
        let hierarchy = self.v1_controller("devices", DEVICES)?;
        let directory = self.directory(hierarchy).path;
        let writes = self.device_access()?.v1_writes().map_err(|conflict| self.conflict(&conflict))?;
        self.parent(Some(DEVICES), DevicesV1 { directory, writes });
        if let Some(shares) = self.shares() {
            let directory = self.directory(self.v1_controller("cpu", SHARES)?);
            self.limit(SHARES, format!("{}/cpu.shares", directory.path), shares)?;
        }
        Ok(())
    }

    /// The init enters the v1 cgroups, and then leaves the cgroup namespace.
    pub(super) fn join_cgroup(&mut self) {
        if !self.options.no_cgroup && !self.host.cgroups.v1.is_empty() {
            let tasks = self.host.cgroups.v1.iter().map(|hierarchy| {
                CString::new(format!("{}/tasks", self.directory(hierarchy).path)).expect("paths have no NUL")
            });
            let tasks = tasks.collect();
            self.init(Some(FROM), Join { tasks });
        }
        self.unshare_cgroup();
    }

    fn limit(&mut self, from: Pointer, file: String, value: u64) -> Result<()> {
        let file = CString::new(file).map_err(|_| Error::new("a cgroup path has a NUL byte").from_property(FROM))?;
        self.parent(Some(from), Limit { file, value: value.to_string() });
        Ok(())
    }

    fn v1_controller(&self, name: &str, from: Pointer) -> Result<&Hierarchy> {
        self.host.cgroups.v1_with(name).ok_or_else(|| {
            Error::new(format!("cgroup controller {name} is not mounted on this host"))
                .from_property(from)
                .hint(format!("it would be at {}/{name}", crate::cgroup::layout::MOUNT_POINT))
        })
    }

    /// 0 is how engines say that nothing is asked for.
    fn shares(&self) -> Option<u64> {
        self.spec.linux.resources.cpu.shares.filter(|shares| *shares != 0)
    }

    /// The rules of the config, then those that every container has, as runc: what no rule allows is
    /// denied, also where the config has no rules.
    fn device_access(&self) -> Result<DeviceAccess> {
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
        for hierarchy in layout.v1.iter().chain(&layout.unified) {
            let directory = self.directory(hierarchy);
            let wanted = format!("{}/", directory.in_hierarchy(hierarchy));
            if format!("{}/", hierarchy.own).starts_with(&wanted) {
                let message = format!("cgroupsPath is ferrun's own cgroup, or one above it: {}", directory.path);
                return Err(Error::new(message).from_property(FROM));
            }
        }
        Ok(())
    }

    /// A limit is refused; that the devices are not limited is only warned about, since every config
    /// has a list of them.
    fn without_cgroups(&mut self, why: &str) -> Result<()> {
        if self.shares().is_some() {
            return Err(Error::new(format!("limits need cgroups, and {why}")).from_property(SHARES));
        }
        self.warn(DEVICES, format!("devices are not limited: that needs cgroups, and {why}"));
        Ok(())
    }
}
