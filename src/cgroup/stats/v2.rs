//! Statistics of the v2 controllers: cgroup-v2.rst.

use super::read::{self, Files};
use super::report::{CpuUsage, Memory, MemoryUse, Pids, Pressure, Psi, Stats, Throttling};
use super::{blkio, hugetlb, v1};
use crate::error::Result;

/// Reads those that are enabled.
pub fn stats(path: &str) -> Result<Stats> {
    let files = Files(path);
    let mut stats = Stats {
        memory: memory(files)?,
        pids: pids(files)?,
        blkio: blkio::v2(files)?,
        hugetlb: hugetlb::v2(files)?,
        ..Stats::default()
    };
    stats.blkio.psi = pressure(files, "io.pressure")?;
    (stats.cpu.usage, stats.cpu.throttling) = cpu(files)?;
    stats.cpu.psi = pressure(files, "cpu.pressure")?;
    Ok(stats)
}

/// The kernel counts microseconds.
fn cpu(files: Files) -> Result<(CpuUsage, Throttling)> {
    let stat = files.pairs("cpu.stat")?.unwrap_or_default();
    let count = |key: &str| stat.get(key).copied().unwrap_or(0);
    let time = |key: &str| count(key).saturating_mul(1000);
    let (total, kernel, user) = (time("usage_usec"), time("system_usec"), time("user_usec"));
    let throttling = Throttling {
        periods: count("nr_periods"),
        throttled_periods: count("nr_throttled"),
        throttled_time: time("throttled_usec"),
    };
    Ok((CpuUsage { total, kernel, user, ..CpuUsage::default() }, throttling))
}

/// Swap is reported as on v1, together with memory; the maximum of both together is not known.
fn memory(files: Files) -> Result<Memory> {
    let psi = pressure(files, "memory.pressure")?;
    let Some(raw) = files.pairs("memory.stat")? else { return Ok(Memory { psi, ..Memory::default() }) };
    let usage = memory_use(files, "memory")?;
    let swap = memory_use(files, "memory.swap")?;
    let limit = if swap.limit == u64::MAX { u64::MAX } else { swap.limit.saturating_add(usage.limit) };
    let swap = MemoryUse { limit, usage: swap.usage + usage.usage, max: 0, failcnt: 0 };
    let cache = raw.get("file").copied().unwrap_or(0);
    Ok(Memory { cache, usage, swap, raw, psi, ..Memory::default() })
}

/// `peak` came with Linux 5.19, that of swap with 6.5.
fn memory_use(files: Files, kind: &str) -> Result<MemoryUse> {
    Ok(MemoryUse {
        limit: files.count(&format!("{kind}.max"))?,
        usage: files.count(&format!("{kind}.current"))?,
        max: files.count(&format!("{kind}.peak"))?,
        failcnt: 0,
    })
}

/// Without the controller the processes are counted, those of the container's own cgroup alone.
fn pids(files: Files) -> Result<Pids> {
    if files.number("pids.current")?.is_some() {
        return v1::pids(files);
    }
    // In a threaded cgroup only threads can be listed.
    let list = files.text("cgroup.procs")?.map_or_else(|| files.text("cgroup.threads"), |list| Ok(Some(list)))?;
    Ok(Pids { current: list.unwrap_or_default().lines().count() as u64, limit: 0 })
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
fn pressure(files: Files, name: &str) -> Result<Option<Psi>> {
    let Some(text) = files.text(name)? else { return Ok(None) };
    let mut psi = Psi::default();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let of_kind = match kind {
            "some" => &mut psi.some,
            "full" => &mut psi.full,
            _ => continue,
        };
        *of_kind = files.understood(name, line, pressure_of(rest))?;
    }
    Ok(Some(psi))
}

fn pressure_of(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    for field in text.split_ascii_whitespace() {
        match field.split_once('=')? {
            ("avg10", value) => pressure.avg10 = value.parse().ok()?,
            ("avg60", value) => pressure.avg60 = value.parse().ok()?,
            ("avg300", value) => pressure.avg300 = value.parse().ok()?,
            ("total", value) => pressure.total = read::number(value)?,
            _ => {}
        }
    }
    Some(pressure)
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::Fake;
    use super::*;
    use serde_json::{Value, json};

    fn told(files: &[(&str, &str)]) -> Value {
        serde_json::to_value(stats(Fake::new(files).files().0).unwrap()).unwrap()
    }

    #[test]
    fn numbers_come_from_their_files() {
        let pressure = "some avg10=1.50 avg60=0.00 avg300=12.07 total=321\nfull avg10=0.00 avg60=0.00 avg300=0.00 \
                        total=0\n";
        let stats = told(&[
            ("cpu.stat", "usage_usec 12\nuser_usec 7\nsystem_usec 5\nnr_periods 3\nnr_throttled 1\nthrottled_usec 9\n"),
            ("cpu.pressure", pressure),
            ("memory.stat", "anon 4096\nfile 8192\n"),
            ("memory.current", "12288\n"),
            ("memory.max", "100000\n"),
            ("memory.peak", "20000\n"),
            ("memory.swap.current", "512\n"),
            ("memory.swap.max", "1000\n"),
            ("memory.swap.peak", "600\n"),
            ("pids.current", "2\n"),
            ("pids.max", "20\n"),
        ]);
        assert_eq!(
            stats["cpu"],
            json!({"usage": {"total": 12000, "kernel": 5000, "user": 7000},
                   "throttling": {"periods": 3, "throttledPeriods": 1, "throttledTime": 9000},
                   "psi": {"some": {"avg10": 1.5, "avg60": 0, "avg300": 12.07, "total": 321}}})
        );
        assert_eq!(
            stats["memory"],
            json!({"cache": 8192, "usage": {"limit": 100_000, "usage": 12288, "max": 20000, "failcnt": 0},
                   "swap": {"limit": 101_000, "usage": 12800, "failcnt": 0},
                   "raw": {"anon": 4096, "file": 8192}})
        );
        assert_eq!(stats["pids"], json!({"current": 2, "limit": 20}));
    }

    #[test]
    fn what_is_unlimited_is_the_largest_number() {
        let stats = told(&[
            ("memory.stat", "anon 1\n"),
            ("memory.current", "1\n"),
            ("memory.max", "max\n"),
            ("memory.swap.current", "0\n"),
            ("memory.swap.max", "max\n"),
            ("cgroup.procs", "1\n2\n3\n"),
        ]);
        assert_eq!(stats["memory"]["usage"]["limit"], json!(u64::MAX));
        assert_eq!(stats["memory"]["swap"]["limit"], json!(u64::MAX));
        assert_eq!(stats["pids"], json!({"current": 3}));
    }

    #[test]
    fn an_empty_cgroup_has_runcs_empty_shape() {
        let text = serde_json::to_string(&stats(Fake::new(&[]).files().0).unwrap()).unwrap();
        let set = r#"{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0}"#;
        let rest = r#""memory":{},"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}"#;
        assert_eq!(text, format!(r#"{{"cpu":{{}},"cpuset":{set},{rest}"#));
    }
}
