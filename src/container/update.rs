//! `update`: new limits for an existing container.

use nix::errno::Errno;

use super::directory::Purpose;
use super::id::Id;
use super::state::Root;
use super::status::status;
use super::update_devices::Change;
use super::update_resctrl;
use super::update_unit::{self, Told};
use crate::bundle::check_resources::check;
use crate::bundle::limits::Version;
use crate::bundle::resources::Resources;
use crate::cgroup::change::all_or_none;
use crate::cgroup::controllers::Controllers;
use crate::cgroup::limit::Limit;
use crate::cgroup::write::Write;
use crate::error::{Context, Error, Result};
use crate::plan::resources::{For, writes};
use crate::sys::{file, pidfd};

/// Sets the limits that are given, and leaves the others as they are; gives warnings.
///
/// # Errors
/// "container not running", which engines match. A limit that is refused: then all are as before.
pub fn update(root: &Root, id: &Id, mut resources: Resources, schemata: &[String]) -> Result<Vec<Error>> {
    let state = root.load(id, Purpose::Act)?;
    let not_running = || Error::state(format!("container not running: {id}"));
    let init = status(&state)?.1.filter(|_| state.complete).ok_or_else(not_running)?;
    let controllers = Controllers::of(&state.cgroup)?;
    if state.unit.is_some() {
        update_unit::fill_in(&mut resources, &controllers)?;
    }
    let version = match controllers {
        Controllers::V1(_) => Version::V1,
        Controllers::V2(directory) => {
            complete(&mut resources, directory)?;
            Version::V2
        }
    };
    let mut list = writes(&resources, version, For::Update)?;
    let asks_for_limits = !list.writes.is_empty() || !schemata.is_empty();
    let mut told = state.unit.as_ref().map(|unit| Told::new(unit, &mut list.writes, version));
    let mut limits = list.writes.into_iter().map(|write| limit(&controllers, write)).collect::<Result<Vec<Limit>>>()?;
    limits.extend(update_resctrl::limits(&state, schemata)?);
    // Its class was asked for by pid.
    if !schemata.is_empty() && pidfd::is_gone(&init) {
        return Err(not_running());
    }
    let devices = Change::new(&state, &controllers, &resources)?;
    if let (Some(told), Some(devices)) = (&mut told, &devices) {
        told.devices(&devices.access, &controllers);
    }
    if !asks_for_limits && devices.is_none() {
        list.warnings.push(Error::new("no limit is given: nothing is changed"));
    }
    apply(&limits, devices.as_ref(), told.map(|told| move || told.run()))?;
    Ok(list.warnings)
}

/// The one place where a container's limits are changed; `tell` is how systemd hears of them. It is asked when
/// the kernel has taken everything, and so has the last word: what is written once more after that, since
/// systemd made something of its own of it, was taken before.
fn apply(limits: &[Limit], devices: Option<&Change>, tell: Option<impl FnOnce() -> Result<()>>) -> Result<()> {
    let told = || {
        let Some(tell) = tell else { return Ok(()) };
        tell()?;
        let mut changed = limits.iter().filter(|limit| limit.write.file.converted);
        changed.try_for_each(Limit::run)?;
        devices.map_or(Ok(()), Change::again)
    };
    all_or_none(limits, || match devices {
        Some(devices) => devices.all_or_nothing(told),
        None => told(),
    })
}

/// Where a value is written.
fn limit(controllers: &Controllers, write: Write) -> Result<Limit> {
    let directory = controllers.directory(write.controller()).map(str::to_owned).ok_or_else(|| {
        let (property, controller) = (write.property(), write.controller());
        Error::new(format!("{property}: the container has no cgroup with the controller {controller}"))
            .from_property(write.pointer())
    })?;
    Ok(Limit { directory: directory.into(), write })
}

/// Resources for v2, checked.
fn complete(resources: &mut Resources, directory: &str) -> Result<()> {
    let read = |file: &str| current(directory, file);
    fill_in(resources, &read)?;
    check(resources)?;
    check_usage(resources, &read)
}

/// What a file of a cgroup says now; `None`: there is no such file.
pub(super) fn current(directory: &str, file: &str) -> Result<Option<String>> {
    let path = format!("{directory}/{file}");
    match file::read(path.as_str()) {
        Err(Errno::ENOENT) => Ok(None),
        text => Ok(Some(String::from_utf8_lossy(text.what(|| format!("read {path}"))?.trim_ascii()).into_owned())),
    }
}

/// What v2 has in one value and the specification in two: the half that is not given is what it is now.
fn fill_in(resources: &mut Resources, read: &dyn Fn(&str) -> Result<Option<String>>) -> Result<()> {
    let cpu = &mut resources.cpu;
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let (quota, period) = (given(cpu.quota), cpu.period.filter(|period| *period != 0));
    if quota.is_some() != period.is_some() {
        let max = read("cpu.max")?.unwrap_or_default();
        let (old_quota, old_period) = max.split_once(' ').unwrap_or(("max", "100000"));
        cpu.quota = quota.or(old_quota.parse().ok());
        cpu.period = period.or(old_period.parse().ok());
    }
    let memory = &mut resources.memory;
    // "max" is -1.
    let number = |file: &str| Ok(read(file)?.map(|text| text.parse::<i64>().unwrap_or(-1)));
    match (given(memory.limit), given(memory.swap)) {
        (None, Some(1..)) => memory.limit = number("memory.max")?,
        // The sum of both stays, as on v1; no swap stays no swap.
        (Some(1..), None) if !resources.unified.contains_key("memory.swap.max") => {
            let now = (number("memory.max")?, number("memory.swap.max")?);
            if let (Some(limit @ 0..), Some(swap @ 1..)) = now {
                memory.swap = Some(limit.saturating_add(swap));
            }
        }
        _ => {}
    }
    Ok(())
}

/// `checkBeforeUpdate`: v2 would kill what is above a new limit; v1 refuses by itself.
fn check_usage(resources: &Resources, read: &dyn Fn(&str) -> Result<Option<String>>) -> Result<()> {
    let memory = &resources.memory;
    if memory.check_before_update != Some(true) {
        return Ok(());
    }
    let usage: i64 = read("memory.current")?.and_then(|text| text.parse().ok()).unwrap_or(0);
    for (pointer, name, value) in [
        ("/linux/resources/memory/swap", "memory+swap", memory.swap),
        ("/linux/resources/memory/limit", "memory", memory.limit),
    ] {
        if let Some(limit @ 1..) = value.filter(|limit| *limit <= usage) {
            let message = format!("rejecting {name} limit {limit} because of current usage {usage}");
            return Err(Error::new(message).from_property(pointer));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle;
    use crate::cgroup::write::Otherwise;
    use crate::pointer::Pointer;

    #[test]
    fn what_systemd_makes_something_else_of_is_written_again() {
        let place = std::env::temp_dir().join(format!("ferrun-update-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let limits = ["io.bfq.weight", "blkio.weight", "pids.max"].map(|name| {
            std::fs::write(place.join(name), "1").unwrap();
            let from = Pointer::new("/linux/resources/blockIO/weight");
            let (value, otherwise) = ("500".to_owned(), Otherwise::Fail);
            let write = Write { from, name: name.into(), file: bundle::limits::file_named(name), value, otherwise };
            Limit { directory: place.to_str().unwrap().into(), write }
        });
        let systemd = || {
            let all = limits.iter().try_for_each(|limit| std::fs::write(place.join(&*limit.write.name), "777"));
            all.map_err(|error| Error::io("write", &error))
        };
        apply(&limits, None, Some(systemd)).unwrap();
        let now = limits.each_ref().map(|limit| std::fs::read_to_string(place.join(&*limit.write.name)).unwrap());
        assert_eq!(now, ["500", "500", "777"]);
        std::fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn what_is_not_given_is_taken_from_the_kernel() {
        let completed = |text: &str| {
            let mut resources: Resources = serde_json::from_str(text).unwrap();
            let read = |file: &str| {
                Ok(match file {
                    "cpu.max" => Some("20000 50000".to_owned()),
                    "memory.max" => Some("100".to_owned()),
                    "memory.swap.max" => Some("200".to_owned()),
                    _ => None,
                })
            };
            fill_in(&mut resources, &read).unwrap();
            let Resources { cpu, memory, .. } = resources;
            (cpu.quota, cpu.period, memory.limit, memory.swap)
        };
        assert_eq!(completed("{}"), (None, None, None, None));
        assert_eq!(completed(r#"{"cpu":{"period":70000}}"#), (Some(20_000), Some(70_000), None, None));
        assert_eq!(completed(r#"{"cpu":{"quota":-1,"period":0}}"#), (Some(-1), Some(50_000), None, None));
        assert_eq!(completed(r#"{"memory":{"limit":150}}"#), (None, None, Some(150), Some(300)));
        assert_eq!(completed(r#"{"memory":{"swap":150}}"#), (None, None, Some(100), Some(150)));
        assert_eq!(completed(r#"{"memory":{"limit":-1}}"#), (None, None, Some(-1), None));
        assert_eq!(completed(r#"{"memory":{"limit":10,"swap":-1}}"#), (None, None, Some(10), Some(-1)));
    }
}
