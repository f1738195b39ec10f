//! Statistics of huge pages, with reserved ones where the kernel counts these (Linux 5.7).

use std::collections::BTreeMap;

use super::read::Files;
use super::report::HugeTlb;
use crate::error::Result;

type BySize = BTreeMap<String, HugeTlb>;

/// hugetlb.rst.
pub fn v1(files: Files) -> Result<BySize> {
    each_size(&|prefix| {
        let Some(usage) = files.number(&format!("{prefix}.usage_in_bytes"))? else { return Ok(None) };
        let max = files.count(&format!("{prefix}.max_usage_in_bytes"))?;
        Ok(Some(HugeTlb { usage, max, failcnt: files.count(&format!("{prefix}.failcnt"))? }))
    })
}

/// cgroup-v2.rst, "HugeTLB".
pub fn v2(files: Files) -> Result<BySize> {
    each_size(&|prefix| {
        let Some(usage) = files.number(&format!("{prefix}.current"))? else { return Ok(None) };
        let events = files.pairs(&format!("{}.events", prefix.trim_end_matches(".rsvd")))?.unwrap_or_default();
        Ok(Some(HugeTlb { usage, max: 0, failcnt: events.get("max").copied().unwrap_or(0) }))
    })
}

/// By the size of a page, as the controller spells it.
fn each_size(read: &dyn Fn(&str) -> Result<Option<HugeTlb>>) -> Result<BySize> {
    let mut all = BySize::new();
    for size in page_sizes() {
        let reserved = read(&format!("hugetlb.{size}.rsvd"))?;
        let found = reserved.map_or_else(|| read(&format!("hugetlb.{size}")), |found| Ok(Some(found)))?;
        if let Some(found) = found {
            all.insert(size, found);
        }
    }
    Ok(all)
}

/// The kernel has a directory `hugepages-2048kB` for each.
fn page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    entries.filter_map(|entry| size(entry.file_name().to_str()?)).collect()
}

fn size(directory: &str) -> Option<String> {
    let kib: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kib {
        1_048_576.. => format!("{}GB", kib >> 20),
        1024.. => format!("{}MB", kib >> 10),
        _ => format!("{kib}KB"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::Fake;
    use super::*;

    #[test]
    fn sizes_are_spelt_as_the_controller_does() {
        for (directory, name) in
            [("hugepages-64kB", "64KB"), ("hugepages-2048kB", "2MB"), ("hugepages-1048576kB", "1GB")]
        {
            assert_eq!(size(directory).as_deref(), Some(name));
        }
        assert_eq!((size("hugepages-2M"), size("x")), (None, None));
    }

    #[test]
    fn reservations_count_where_the_kernel_has_them() {
        let Some(size) = page_sizes().pop() else { return };
        let name = |file: &str| format!("hugetlb.{size}{file}");
        let (current, reserved, events) = (name(".current"), name(".rsvd.current"), name(".events"));
        let plain = [(current.as_str(), "5\n"), (events.as_str(), "max 3\n")];
        let found = v2(Fake::new(&plain).files()).unwrap();
        assert_eq!(found[&size], HugeTlb { usage: 5, max: 0, failcnt: 3 });
        let both = [plain[0], plain[1], (reserved.as_str(), "7\n")];
        assert_eq!(v2(Fake::new(&both).files()).unwrap()[&size], HugeTlb { usage: 7, max: 0, failcnt: 3 });
        let (usage, max, failures) = (name(".usage_in_bytes"), name(".max_usage_in_bytes"), name(".failcnt"));
        let old = [(usage.as_str(), "1\n"), (max.as_str(), "2\n"), (failures.as_str(), "3\n")];
        assert_eq!(v1(Fake::new(&old).files()).unwrap()[&size], HugeTlb { usage: 1, max: 2, failcnt: 3 });
    }
}
