//! `update` of a container whose cgroups systemd creates: its unit's properties are set as well, since systemd
//! would set the old limits again when it is reloaded.

use super::update::current;
use crate::bundle::limits::Version;
use crate::bundle::resources::{Cpu, Resources};
use crate::cgroup::controllers::Controllers;
use crate::cgroup::devices::access::DeviceAccess;
use crate::cgroup::directory::Directory;
use crate::cgroup::freezer::while_frozen;
use crate::cgroup::write::Write;
use crate::error::Result;
use crate::plan::resources::For;
use crate::plan::systemd::{devices, limits};
use crate::systemd::property::Property;
use crate::systemd::{Unit, set_properties};

/// What systemd must hear along with what is given: of its own it has whole percents of a CPU, which are of
/// both quota and period, and idleness and weight in one value. The kernel says what they are now.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn fill_in(resources: &mut Resources, controllers: &Controllers) -> Result<()> {
    let number = |file: &str| {
        let text = controllers.directory("cpu").map_or(Ok(None), |directory| current(directory, file))?;
        Ok(text.and_then(|text| text.parse().ok()))
    };
    let cpu = &mut resources.cpu;
    if let Controllers::V1(_) = controllers {
        quota_and_period(cpu, &number)?;
    }
    weight_after_idle(cpu, resources.unified.get("cpu.idle"), &number)
}

/// On v1 these are two files. On v2, where they are one, both are known anyway.
fn quota_and_period(cpu: &mut Cpu, now: &dyn Fn(&str) -> Result<Option<i64>>) -> Result<()> {
    let (quota, period) = (cpu.quota.filter(|quota| *quota != 0), cpu.period.filter(|period| *period != 0));
    if quota.is_some() != period.is_some() {
        cpu.quota = quota.map_or_else(|| now("cpu.cfs_quota_us"), |quota| Ok(Some(quota)))?;
        let now = |file| Ok(now(file)?.and_then(|period| period.try_into().ok()));
        cpu.period = period.map_or_else(|| now("cpu.cfs_period_us"), |period| Ok(Some(period)))?;
    }
    Ok(())
}

/// What is idle no more has the kernel's usual weight, as shares: else the unit's would still say idle, or on v1 what
/// it was before.
fn weight_after_idle(cpu: &mut Cpu, unified: Option<&String>, now: &dyn Fn(&str) -> Result<Option<i64>>) -> Result<()> {
    let idle = unified.map_or(cpu.idle, |value| value.trim().parse().ok());
    let shares = cpu.shares.filter(|shares| *shares != 0);
    if idle == Some(0) && shares.is_none() && now("cpu.idle")? == Some(1) {
        (cpu.idle, cpu.shares) = (idle, Some(1024));
    }
    Ok(())
}

/// What a unit is told.
pub struct Told<'a> {
    unit: &'a Unit,
    properties: Vec<Property>,
    /// Between two lists of devices systemd denies all of them on v1, for a moment that nothing must see.
    meanwhile_frozen: Option<&'a [Directory]>,
}

impl<'a> Told<'a> {
    /// The limits that are about to be written; quotas are rounded as systemd keeps them.
    pub fn new(unit: &'a Unit, writes: &mut [Write], version: Version) -> Told<'a> {
        limits::round_quotas(writes);
        Told { unit, properties: limits::properties(writes, version, For::Update), meanwhile_frozen: None }
    }

    /// The device rules as well. A list takes the place of the old one only if that is emptied before.
    pub fn devices(&mut self, access: &DeviceAccess, controllers: &Controllers<'a>) {
        let (version, meanwhile_frozen) = match controllers {
            Controllers::V1(directories) => (Version::V1, Some(*directories)),
            Controllers::V2(_) => (Version::V2, None),
        };
        self.meanwhile_frozen = meanwhile_frozen;
        let ([policy, list], _) = devices::properties(access, version);
        let none = Property { value: list.value.emptied(), ..list.clone() };
        self.properties.extend([policy, none, list]);
    }

    /// Tells it, for as long as the container lives. Nothing to tell is no word to the bus.
    pub fn run(&self) -> Result<()> {
        let tell = || set_properties(&self.unit.name, &self.properties);
        match self.meanwhile_frozen {
            _ if self.properties.is_empty() => Ok(()),
            Some(directories) => while_frozen(directories, tell),
            None => tell(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(text: &str) -> Cpu {
        let resources: Resources = serde_json::from_str(&format!(r#"{{"cpu":{text}}}"#)).unwrap();
        resources.cpu
    }

    #[test]
    fn on_v1_quota_and_period_are_told_together() {
        let now = |file: &str| Ok(Some(if file == "cpu.cfs_quota_us" { 25_000 } else { 50_000 }));
        for (given, quota, period) in [
            ("{}", None, None),
            (r#"{"quota":40000}"#, Some(40_000), Some(50_000)),
            (r#"{"quota":-1,"period":0}"#, Some(-1), Some(50_000)),
            (r#"{"period":70000}"#, Some(25_000), Some(70_000)),
            (r#"{"quota":1000,"period":70000}"#, Some(1000), Some(70_000)),
        ] {
            let mut cpu = cpu(given);
            quota_and_period(&mut cpu, &now).unwrap();
            assert_eq!((cpu.quota, cpu.period), (quota, period), "{given}");
        }
    }

    #[test]
    fn what_is_idle_no_more_has_a_weight() {
        for (given, unified, idle_now, shares) in [
            (r#"{"idle":0}"#, None, 1, Some(1024)),
            ("{}", Some("0\n"), 1, Some(1024)),
            (r#"{"idle":0,"shares":0}"#, None, 1, Some(1024)),
            (r#"{"idle":0,"shares":512}"#, None, 1, Some(512)),
            (r#"{"idle":0}"#, None, 0, None),
            (r#"{"idle":0}"#, Some("1"), 1, None),
            (r#"{"idle":1}"#, None, 1, None),
            ("{}", None, 1, None),
        ] {
            let mut cpu = cpu(given);
            weight_after_idle(&mut cpu, unified.map(str::to_owned).as_ref(), &|_| Ok(Some(idle_now))).unwrap();
            assert_eq!(cpu.shares.filter(|shares| *shares != 0), shares, "{given} {unified:?}");
            // The kernel takes no weight of what is idle.
            assert!(shares != Some(1024) || cpu.idle == Some(0), "{given} {unified:?}");
        }
    }
}
