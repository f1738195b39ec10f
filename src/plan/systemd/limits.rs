//! What is written to files of the cgroup → properties of the unit. Systemd has its own idea of these files:
//! what it is not told of, it sets back when it touches the cgroup for some other reason.

use crate::bundle::limits::Version;
use crate::cgroup::write::{Otherwise, Write};
use crate::plan::resources::For;
use crate::systemd::dbus::value::Value;
use crate::systemd::property::Property;
use crate::types::limits::Unit;

/// The kernel's period where none is set, in µs.
const PERIOD: u64 = 100_000;
const PERIOD_NAME: &str = "CPUQuotaPeriodUSec";
/// Systemd keeps a quota as whole percents of a CPU: so many µs of a second are one.
const PERCENT: u64 = 10_000;
const SECOND: u64 = 1_000_000;

/// The properties that say the same as the writes, each once: of two writes to a file the later counts, as
/// it does for the kernel.
pub fn properties(writes: &[Write], version: Version, purpose: For) -> Vec<Property> {
    let mut all = Vec::new();
    let period = v1_period(writes);
    for write in writes {
        for (name, value) in named(write.file.unit, write.value.trim(), period, &write.otherwise) {
            let (recent, take) = match (name, &value) {
                // Taken for a unit that is not started yet, and refused for any other.
                ("OOMPolicy", _) => (true, purpose == For::Start),
                // On v1 it would be shares.
                ("CPUWeight", Value::U64(0)) => (true, version == Version::V2),
                _ => (false, true),
            };
            if !take {
                continue;
            }
            put(&mut all, Property { recent, ..Property::new(name, value).from(write.pointer()) });
        }
    }
    all
}

/// Adds a property in the place of one of the same name.
pub fn put(all: &mut Vec<Property>, property: Property) {
    all.retain(|other| other.name != property.name);
    all.push(property);
}

/// Quotas that systemd would round are rounded already when they are written, so that the value that the
/// kernel has is not another when systemd writes it again: up, so that nothing gets less than it asks for.
pub fn round_quotas(writes: &mut [Write]) {
    let period = v1_period(writes).unwrap_or(PERIOD);
    for write in writes {
        let rounded = match write.file.unit {
            Unit::Quota => write.value.parse().ok().map(|quota| rounded(quota, period).to_string()),
            Unit::CpuMax => {
                cpu_max(&write.value).and_then(|(quota, period)| Some(format!("{} {period}", rounded(quota?, period))))
            }
            _ => None,
        };
        write.value = rounded.unwrap_or_else(|| std::mem::take(&mut write.value));
    }
}

/// The period that goes with [`Unit::Quota`].
fn v1_period(writes: &[Write]) -> Option<u64> {
    writes.iter().find(|write| write.file.unit == Unit::Number(PERIOD_NAME))?.value.parse().ok()
}

fn per_second(quota: u64, period: u64) -> u64 {
    let exact = (u128::from(quota) * u128::from(SECOND)).div_ceil(u128::from(period.max(1)));
    u64::try_from(exact).unwrap_or(u64::MAX - PERCENT).next_multiple_of(PERCENT)
}

fn rounded(quota: u64, period: u64) -> u64 {
    (u128::from(per_second(quota, period)) * u128::from(period) / u128::from(SECOND)) as u64
}

/// `QUOTA [PERIOD]`; no quota: `max`.
fn cpu_max(value: &str) -> Option<(Option<u64>, u64)> {
    let mut words = value.split_ascii_whitespace();
    let quota = match words.next()? {
        "max" => None,
        quota => Some(quota.parse().ok()?),
    };
    let period = words.next().map_or(Some(PERIOD), |period| period.parse().ok())?;
    words.next().is_none().then_some((quota, period))
}

/// The properties for a value of a file. None where systemd has none, or the value is not as expected: what
/// the kernel makes of it shows when it is written.
fn named(unit: Unit, value: &str, v1_period: Option<u64>, otherwise: &Otherwise) -> Vec<(&'static str, Value)> {
    let one = |name, value: Option<u64>| value.map(|value| (name, Value::U64(value))).into_iter().collect();
    match unit {
        Unit::None => Vec::new(),
        Unit::Bytes(name) => one(name, or_infinity(value)),
        Unit::Tasks(name) => one(name, or_infinity(value).map(|limit| limit.max(1))),
        Unit::Number(name) => one(name, value.parse().ok()),
        Unit::Weight(name) => one(name, value.strip_prefix("default ").unwrap_or(value).parse().ok()),
        Unit::Set(name) => bits(value).map(|bits| (name, Value::bytes(bits))).into_iter().collect(),
        Unit::OomPolicy => match value {
            "0" => vec![("OOMPolicy", Value::text("continue"))],
            "1" => vec![("OOMPolicy", Value::text("kill"))],
            _ => Vec::new(),
        },
        Unit::Idle => one("CPUWeight", Some(0).filter(|_| value == "1")),
        Unit::CpuMax => cpu_max(value).map_or(Vec::new(), |(quota, period)| quota_of(quota, Some(period))),
        Unit::Quota => match value.parse::<i64>() {
            Ok(quota) => quota_of(u64::try_from(quota).ok(), v1_period),
            Err(_) => Vec::new(),
        },
        Unit::OfInstead => match otherwise {
            Otherwise::Instead(file, value) => named(file.unit, value, v1_period, &Otherwise::Fail),
            _ => Vec::new(),
        },
    }
}

fn quota_of(quota: Option<u64>, period: Option<u64>) -> Vec<(&'static str, Value)> {
    let quota = quota.map_or(u64::MAX, |quota| per_second(quota, period.unwrap_or(PERIOD)));
    let period = period.map(|period| (PERIOD_NAME, Value::U64(period)));
    period.into_iter().chain([("CPUQuotaPerSecUSec", Value::U64(quota))]).collect()
}

/// `max`, and -1 of v1, are without limit.
fn or_infinity(value: &str) -> Option<u64> {
    match value {
        "max" | "-1" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// A list of CPUs or memory nodes as a mask of bytes, the lowest first.
fn bits(list: &str) -> Option<Vec<u8>> {
    const HIGHEST: usize = 65_535;
    let mut mask = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last > HIGHEST {
            return None;
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|bit| mask[bit / 8] |= 1 << (bit % 8));
    }
    (!mask.is_empty()).then_some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::resources::Resources;
    use crate::plan::resources::writes;

    /// The properties for a config, and what is written all the same.
    fn told(config: &str, version: Version) -> (String, String) {
        let resources: Resources = serde_json::from_str(config).unwrap();
        let mut writes = writes(&resources, version, For::Start).unwrap().writes;
        round_quotas(&mut writes);
        let written: Vec<String> = writes.iter().map(|write| format!("{}={}", write.name, write.value)).collect();
        let told: Vec<String> = properties(&writes, version, For::Start).iter().map(Property::to_string).collect();
        (told.join(" "), written.join(" "))
    }

    #[test]
    fn limits_of_v2() {
        for (config, expected) in [
            (
                r#"{"memory":{"limit":1048576,"swap":2097152,"reservation":4096}}"#,
                "MemorySwapMax=1048576 MemoryMax=1048576 MemoryLow=4096",
            ),
            (r#"{"memory":{"limit":-1}}"#, "MemorySwapMax=infinity MemoryMax=infinity"),
            (r#"{"cpu":{"shares":1024}}"#, "CPUWeight=100"),
            (r#"{"cpu":{"quota":50000}}"#, "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=500000"),
            (r#"{"cpu":{"period":50000}}"#, "CPUQuotaPeriodUSec=50000 CPUQuotaPerSecUSec=infinity"),
            (r#"{"cpu":{"quota":-1,"period":50000}}"#, "CPUQuotaPeriodUSec=50000 CPUQuotaPerSecUSec=infinity"),
            (r#"{"cpu":{"cpus":"0,2-3,9","mems":"0"}}"#, "AllowedCPUs=0d 02 AllowedMemoryNodes=01"),
            (r#"{"cpu":{"shares":1024,"idle":1}}"#, "CPUWeight=0"),
            (r#"{"pids":{"limit":7}}"#, "TasksMax=7"),
            (r#"{"pids":{"limit":0}}"#, "TasksMax=1"),
            (r#"{"pids":{"limit":-1}}"#, "TasksMax=infinity"),
            (r#"{"blockIO":{"weight":1000}}"#, "IOWeight=10000"),
            (r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}]}}"#, ""),
            (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#, ""),
            (
                r#"{"unified":{"memory.max":"max","memory.high":"1000","memory.min":"0","memory.low":" 5\n"}}"#,
                "MemoryHigh=1000 MemoryLow=5 MemoryMax=infinity MemoryMin=0",
            ),
            (r#"{"unified":{"cpu.max":"max 1000"}}"#, "CPUQuotaPeriodUSec=1000 CPUQuotaPerSecUSec=infinity"),
            (r#"{"unified":{"cpu.max":"20000"}}"#, "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=200000"),
            (
                r#"{"unified":{"cpu.weight":"7","cpuset.cpus":"1","pids.max":"0","io.weight":"default 50"}}"#,
                "CPUWeight=7 AllowedCPUs=02 IOWeight=50 TasksMax=1",
            ),
            (r#"{"unified":{"memory.oom.group":"1","memory.swap.max":"0"}}"#, "OOMPolicy=kill MemorySwapMax=0"),
            (r#"{"memory":{"limit":4096},"unified":{"memory.max":"8192"}}"#, "MemoryMax=8192"),
            // The kernel may say what is wrong with these.
            (r#"{"unified":{"memory.max":"1G","cpu.max":"1 2 3","cpuset.cpus":"0-2:1/2","hugetlb.2MB.max":"0"}}"#, ""),
        ] {
            assert_eq!(told(config, Version::V2).0, expected, "{config}");
        }
    }

    #[test]
    fn limits_of_v1() {
        for (config, expected) in [
            (r#"{"memory":{"limit":1048576,"swap":2097152,"reservation":4096}}"#, "MemoryLimit=1048576"),
            (r#"{"memory":{"limit":-1}}"#, "MemoryLimit=infinity"),
            (
                r#"{"cpu":{"shares":1024,"quota":25000,"period":50000}}"#,
                "CPUShares=1024 CPUQuotaPeriodUSec=50000 CPUQuotaPerSecUSec=500000",
            ),
            (r#"{"cpu":{"quota":-1}}"#, "CPUQuotaPerSecUSec=infinity"),
            (r#"{"cpu":{"shares":512,"idle":1}}"#, "CPUShares=512"),
            (
                r#"{"blockIO":{"weight":500},"pids":{"limit":5},"cpu":{"cpus":"1"}}"#,
                "AllowedCPUs=02 TasksMax=5 BlockIOWeight=500",
            ),
        ] {
            assert_eq!(told(config, Version::V1).0, expected, "{config}");
        }
    }

    #[test]
    fn quotas_are_written_as_systemd_keeps_them() {
        for (config, on_v1, on_v2) in [
            (
                r#"{"cpu":{"quota":50000,"period":100000}}"#,
                "cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000",
                "cpu.max=50000 100000",
            ),
            (r#"{"cpu":{"quota":33333}}"#, "cpu.cfs_quota_us=34000", "cpu.max=34000 100000"),
            (
                r#"{"cpu":{"quota":1000,"period":3000}}"#,
                "cpu.cfs_period_us=3000 cpu.cfs_quota_us=1020",
                "cpu.max=1020 3000",
            ),
            (r#"{"cpu":{"quota":-1}}"#, "cpu.cfs_quota_us=-1", "cpu.max=max 100000"),
        ] {
            assert_eq!(told(config, Version::V1).1, on_v1, "{config}");
            assert_eq!(told(config, Version::V2).1, on_v2, "{config}");
        }
        let unified = r#"{"unified":{"cpu.max":"33333 100000"}}"#;
        let kept = "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=340000";
        assert_eq!(told(unified, Version::V2), (kept.into(), "cpu.max=34000 100000".into()));
    }

    #[test]
    fn what_older_versions_of_systemd_do_not_take_is_marked() {
        let resources: Resources =
            serde_json::from_str(r#"{"cpu":{"idle":1},"pids":{"limit":1},"unified":{"memory.oom.group":"0"}}"#)
                .unwrap();
        let all = properties(&writes(&resources, Version::V2, For::Start).unwrap().writes, Version::V2, For::Start);
        let recent: Vec<(&str, bool)> = all.iter().map(|one| (&*one.name, one.recent)).collect();
        assert_eq!(recent, [("CPUWeight", true), ("TasksMax", false), ("OOMPolicy", true)]);
        assert_eq!(all[2].from.as_deref(), Some("/linux/resources/unified/memory.oom.group"));
    }

    #[test]
    fn a_unit_that_runs_is_not_told_what_it_takes_at_its_start_only() {
        let unified = r#"{"unified":{"memory.oom.group":"1","memory.high":"4096"}}"#;
        let writes = writes(&serde_json::from_str(unified).unwrap(), Version::V2, For::Update).unwrap().writes;
        let told: Vec<String> = properties(&writes, Version::V2, For::Update).iter().map(Property::to_string).collect();
        assert_eq!(told, ["MemoryHigh=4096"]);
    }
}
