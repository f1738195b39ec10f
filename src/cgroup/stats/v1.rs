//! Statistics of the v1 controllers.

use super::super::controllers::Controllers;
use super::read::{self, Files};
use super::report::{CpuSet, CpuUsage, Memory, MemoryUse, Pids, Stats, Throttling};
use super::{blkio, hugetlb};
use crate::error::Result;

/// Reads those that this host has.
pub fn stats(controllers: Controllers) -> Result<Stats> {
    let mut stats = Stats {
        cpuset: of(controllers, "cpuset", cpuset)?,
        memory: of(controllers, "memory", memory)?,
        pids: of(controllers, "pids", pids)?,
        blkio: of(controllers, "blkio", blkio::v1)?,
        hugetlb: of(controllers, "hugetlb", hugetlb::v1)?,
        ..Stats::default()
    };
    stats.cpu.usage = of(controllers, "cpuacct", cpu_usage)?;
    stats.cpu.throttling = of(controllers, "cpu", throttling)?;
    Ok(stats)
}

fn of<T: Default>(controllers: Controllers, controller: &str, read: fn(Files) -> Result<T>) -> Result<T> {
    controllers.directory(controller).map_or_else(|| Ok(T::default()), |path| read(Files(path)))
}

/// cpuacct.rst. `stat` counts ticks, of which all architectures show 100 a second.
fn cpu_usage(files: Files) -> Result<CpuUsage> {
    const NANOSECONDS_PER_TICK: u64 = 10_000_000;
    let stat = files.pairs("cpuacct.stat")?.unwrap_or_default();
    let time = |mode: &str| stat.get(mode).copied().unwrap_or(0).saturating_mul(NANOSECONDS_PER_TICK);
    let (percpu_user, percpu_kernel) = by_mode(files)?;
    let percpu = files.text("cpuacct.usage_percpu")?.unwrap_or_default();
    Ok(CpuUsage {
        total: files.count("cpuacct.usage")?,
        percpu: percpu.split_whitespace().filter_map(read::number).collect(),
        percpu_kernel,
        percpu_user,
        kernel: time("system"),
        user: time("user"),
    })
}

/// A line for each processor under the header `cpu user system`.
fn by_mode(files: Files) -> Result<(Vec<u64>, Vec<u64>)> {
    let text = files.text("cpuacct.usage_all")?.unwrap_or_default();
    let line = |line: &str| {
        let mut fields = line.split(' ').skip(1).map_while(read::number);
        Some((fields.next()?, fields.next()?))
    };
    Ok(text.lines().skip(1).filter_map(line).unzip())
}

fn throttling(files: Files) -> Result<Throttling> {
    let stat = files.pairs("cpu.stat")?.unwrap_or_default();
    let value = |key: &str| stat.get(key).copied().unwrap_or(0);
    Ok(Throttling {
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_time: value("throttled_time"),
    })
}

fn cpuset(files: Files) -> Result<CpuSet> {
    let list = |name: &str| {
        let text = files.text(name)?.unwrap_or_default();
        files.understood(name, &text, read::list(text.trim()))
    };
    let level = files.text("cpuset.sched_relax_domain_level")?;
    Ok(CpuSet {
        cpus: list("cpuset.cpus")?,
        cpu_exclusive: files.count("cpuset.cpu_exclusive")?,
        mems: list("cpuset.mems")?,
        mem_hardwall: files.count("cpuset.mem_hardwall")?,
        mem_exclusive: files.count("cpuset.mem_exclusive")?,
        memory_migrate: files.count("cpuset.memory_migrate")?,
        memory_spread_page: files.count("cpuset.memory_spread_page")?,
        memory_spread_slab: files.count("cpuset.memory_spread_slab")?,
        memory_pressure: files.count("cpuset.memory_pressure")?,
        sched_load_balance: files.count("cpuset.sched_load_balance")?,
        sched_relax_domain_level: level.and_then(|level| level.trim().parse().ok()).unwrap_or(0),
    })
}

fn memory(files: Files) -> Result<Memory> {
    let raw = files.pairs("memory.stat")?.unwrap_or_default();
    Ok(Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: memory_use(files, "memory")?,
        swap: memory_use(files, "memory.memsw")?,
        kernel: memory_use(files, "memory.kmem")?,
        kernel_tcp: memory_use(files, "memory.kmem.tcp")?,
        raw,
        psi: None,
    })
}

/// Kernels leave out what they are built or booted without, newest ones the limit of kernel memory.
fn memory_use(files: Files, kind: &str) -> Result<MemoryUse> {
    Ok(MemoryUse {
        limit: files.count(&format!("{kind}.limit_in_bytes"))?,
        usage: files.count(&format!("{kind}.usage_in_bytes"))?,
        max: files.count(&format!("{kind}.max_usage_in_bytes"))?,
        failcnt: files.count(&format!("{kind}.failcnt"))?,
    })
}

/// Of v1 as of v2.
pub fn pids(files: Files) -> Result<Pids> {
    let limit = files.count("pids.max")?;
    Ok(Pids { current: files.count("pids.current")?, limit: if limit == u64::MAX { 0 } else { limit } })
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::Fake;
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_come_from_their_files() {
        let fake = Fake::new(&[
            ("cpuacct.stat", "user 12\nsystem 3\n"),
            ("cpuacct.usage", "1234\n"),
            ("cpuacct.usage_percpu", "1000 234 \n"),
            ("cpuacct.usage_all", "cpu user system\n0 900 100\n1 200 34\n"),
            ("cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 77\nwait_sum 9\n"),
            ("memory.stat", "cache 42\nrss -1\n"),
            ("memory.usage_in_bytes", "10\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.failcnt", "0\n"),
            ("memory.memsw.limit_in_bytes", "7\n"),
            ("cpuset.cpus", "0-1,4\n"),
            ("cpuset.mems", "\n"),
            ("cpuset.sched_relax_domain_level", "-1\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
        ]);
        let files = fake.files();
        assert_eq!(
            serde_json::to_value(cpu_usage(files).unwrap()).unwrap(),
            json!({"total": 1234, "percpu": [1000, 234], "percpu_kernel": [100, 34], "percpu_user": [900, 200],
                   "kernel": 30_000_000, "user": 120_000_000})
        );
        assert_eq!(
            serde_json::to_value(throttling(files).unwrap()).unwrap(),
            json!({"periods": 5, "throttledPeriods": 2, "throttledTime": 77})
        );
        assert_eq!(
            serde_json::to_value(memory(files).unwrap()).unwrap(),
            json!({"cache": 42, "usage": {"limit": 9_223_372_036_854_771_712u64, "usage": 10, "failcnt": 0},
                   "swap": {"limit": 7, "failcnt": 0}, "raw": {"cache": 42, "rss": 0}})
        );
        let set = serde_json::to_value(cpuset(files).unwrap()).unwrap();
        assert_eq!(set["cpus"], json!([0, 1, 4]));
        assert_eq!((set.get("mems"), &set["sched_relax_domain_level"]), (None, &json!(-1)));
        assert_eq!(pids(files).unwrap(), Pids { current: 3, limit: 0 });
    }

    #[test]
    fn what_is_no_number_is_an_error_with_its_file() {
        let fake = Fake::new(&[("pids.current", "three\n"), ("memory.stat", "cache\n")]);
        let error = pids(fake.files()).unwrap_err().to_string();
        assert!(error.contains("/pids.current") && error.contains("\"three\""), "{error}");
        assert!(memory(fake.files()).unwrap_err().to_string().ends_with("/memory.stat: \"cache\""));
    }
}
