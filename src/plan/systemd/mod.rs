//! The unit that systemd makes for the container: its names and its properties. Pure; what the bus makes of
//! them is in src/systemd.

mod annotations;
pub mod devices;
pub mod limits;
pub mod names;

use super::Compiler;
use super::cgroups::{DEVICES, FROM};
use super::resources::For;
use crate::bundle::limits::Version;
use crate::cgroup::Manager;
use crate::cgroup::write::Write;
use crate::error::Result;
use crate::systemd::dbus::value::Value;
use crate::systemd::property::Property;
use crate::systemd::{StartUnit, Unit};
use names::Names;

impl Compiler<'_> {
    /// The names of the container's unit, if systemd makes its cgroups.
    pub(super) fn names_of_unit(&self) -> Result<Option<Names>> {
        let Manager::Systemd { user } = self.options.manager else { return Ok(None) };
        let path = self.spec.linux.cgroups_path.as_ref().and_then(|path| path.to_str().ok());
        names::names(path, &self.options.id, user).map(Some).map_err(|error| error.from_property(FROM))
    }

    /// Starts the unit; `writes` are its limits. Nothing to do where systemd makes no cgroups.
    pub(super) fn start_unit(&mut self, writes: &[Write]) -> Result<()> {
        let Some(names) = self.names.clone() else { return Ok(()) };
        let v1 = self.v1().find(|(hierarchy, _)| hierarchy.is_systemds());
        let (hierarchy, directory) = match (self.unified(), v1) {
            (Some(directory), _) => ("", directory.path.clone()),
            (None, Some((_, directory))) => (crate::cgroup::layout::SYSTEMD, directory.path.clone()),
            (None, None) => {
                return Err(crate::error::Error::new("systemd has no cgroup hierarchy on this host")
                    .hint("without --systemd-cgroup, ferrun makes the cgroups itself"));
            }
        };
        let properties = self.properties(&names, writes)?;
        self.plan.unit = Some(Unit { name: names.unit.clone(), directory });
        let unit = StartUnit { unit: names.unit, properties, path: names.path, hierarchy };
        self.parent(Some(FROM), Box::new(unit));
        Ok(())
    }

    /// What every container's unit is; what annotations make of that; the limits, which have the last word.
    fn properties(&mut self, names: &Names, writes: &[Write]) -> Result<Vec<Property>> {
        let version = self.version();
        let yes = |name| Property::new(name, Value::Bool(true));
        let text = |name, text: &str| Property::new(name, Value::text(text));
        let mut all = vec![
            text("Description", &format!("ferrun container {}", self.options.id)),
            text("Slice", &names.slice),
            yes("Delegate"),
            Property::new("DefaultDependencies", Value::Bool(false)),
            // A unit that failed is forgotten, too: nobody would ever look at it.
            text("CollectMode", "inactive-or-failed"),
            yes("MemoryAccounting"),
            yes("CPUAccounting"),
            yes(if version == Version::V2 { "IOAccounting" } else { "BlockIOAccounting" }),
            yes("TasksAccounting"),
        ];
        let (devices, narrower) = devices::properties(&self.device_access()?, version);
        if narrower {
            self.warn(DEVICES, "systemd has no words for these rules: after a daemon-reload it denies more".into());
        }
        let devices = devices.map(|property| property.from(DEVICES));
        let others = annotations::properties(&self.spec.annotations)?.into_iter().chain(devices);
        others
            .chain(limits::properties(writes, version, For::Start))
            .for_each(|property| limits::put(&mut all, property));
        Ok(all)
    }
}
