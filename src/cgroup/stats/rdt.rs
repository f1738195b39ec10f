//! Limits of the container's class of service and statistics of its monitoring group: resctrl.rst.

use nix::unistd::Pid;
use serde::Serialize;

use super::go::is_zero;
use super::read::Files;
use crate::error::Result;
use crate::resctrl;

/// All of it; empty for a container that is in no class of its own.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)] // the keys say it
pub struct Rdt {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    #[serde(skip_serializing_if = "is_zero")]
    pub l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    #[serde(skip_serializing_if = "is_zero")]
    pub mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub mem_bw_schema: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub schemata: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<Bandwidth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<Occupancy>>,
}

/// What shares of the L3 cache there can be.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct L3CacheInfo {
    #[serde(skip_serializing_if = "is_zero")]
    pub cbm_mask: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub min_cbm_bits: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

/// What shares of the memory's bandwidth there can be.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct MemBwInfo {
    #[serde(skip_serializing_if = "is_zero")]
    pub bandwidth_gran: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_linear: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub min_bandwidth: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

/// Bytes that passed between a cache and memory.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Bandwidth {
    pub mbm_total_bytes: u64,
    pub mbm_local_bytes: u64,
}

/// Bytes in a cache.
#[derive(Serialize, Default, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Occupancy {
    pub llc_occupancy: u64,
}

/// Reads them for a container's init, which is in a class and maybe in a group: the kernel reports which
/// (/proc/PID/cpu_resctrl_groups, Linux 5.7).
pub fn read(init: Pid) -> Result<Rdt> {
    // Where the hardware has none, this is all that it costs.
    let Some(root) = resctrl::mount_point()? else { return Ok(Rdt::default()) };
    let groups = Files(&format!("/proc/{init}")).text("cpu_resctrl_groups")?.unwrap_or_default();
    let (class, group) = resctrl::class_and_group(&groups);
    if class.is_empty() && group.is_empty() {
        return Ok(Rdt::default());
    }
    let class = format!("{root}/{class}");
    let counted = if group.is_empty() { class.clone() } else { format!("{class}/mon_groups/{group}") };
    of_class(&root, &class, &counted)
}

fn of_class(root: &str, class: &str, counted: &str) -> Result<Rdt> {
    let schemata = |directory: &str| -> Result<Vec<String>> {
        let text = Files(directory).text("schemata")?.unwrap_or_default();
        Ok(text.trim().split('\n').map(str::to_owned).collect())
    };
    let of_kind = |schemata: &[String], kind: &str| {
        schemata.iter().rfind(|line| line.contains(kind)).map_or_else(String::new, |line| line.trim().to_owned())
    };
    let (all, own) = (schemata(root)?, schemata(class)?);
    let mut rdt = Rdt::default();
    let info = format!("{root}/info/L3");
    let info = Files(&info);
    if let Some(mask) = info.text("cbm_mask")? {
        rdt.l3_cache_info = Some(L3CacheInfo {
            cbm_mask: mask.trim().to_owned(),
            min_cbm_bits: info.count("min_cbm_bits")?,
            num_closids: info.count("num_closids")?,
        });
        rdt.l3_cache_schema_root = of_kind(&all, "L3");
        rdt.l3_cache_schema = of_kind(&own, "L3");
    }
    let info = format!("{root}/info/MB");
    let info = Files(&info);
    if let Some(bandwidth_gran) = info.number("bandwidth_gran")? {
        rdt.mem_bw_info = Some(MemBwInfo {
            bandwidth_gran,
            delay_linear: info.count("delay_linear")?,
            min_bandwidth: info.count("min_bandwidth")?,
            num_closids: info.count("num_closids")?,
        });
        rdt.mem_bw_schema_root = of_kind(&all, "MB");
        rdt.mem_bw_schema = of_kind(&own, "MB");
    }
    rdt.schemata = own;
    monitored(root, counted, &mut rdt)?;
    Ok(rdt)
}

/// What the hardware counts, a directory for each of its caches.
fn monitored(root: &str, counted: &str, rdt: &mut Rdt) -> Result<()> {
    let features = Files(&format!("{root}/info/L3_MON")).text("mon_features")?.unwrap_or_default();
    let has = |feature: &str| features.lines().any(|line| line == feature);
    let entries = std::fs::read_dir(format!("{counted}/mon_data")).into_iter().flatten().flatten();
    let mut caches: Vec<String> = entries.filter_map(|entry| entry.path().to_str().map(str::to_owned)).collect();
    caches.sort();
    let count = |cache: &str, name: &str| if has(name) { Files(cache).count(name) } else { Ok(0) };
    let bandwidth = |cache: &String| -> Result<Bandwidth> {
        let mbm_total_bytes = count(cache, "mbm_total_bytes")?;
        Ok(Bandwidth { mbm_total_bytes, mbm_local_bytes: count(cache, "mbm_local_bytes")? })
    };
    let occupancy = |cache: &String| Ok(Occupancy { llc_occupancy: count(cache, "llc_occupancy")? });
    if has("mbm_total_bytes") || has("mbm_local_bytes") {
        rdt.mbm_stats = Some(caches.iter().map(bandwidth).collect::<Result<_>>()?);
    }
    if has("llc_occupancy") {
        rdt.cmt_stats = Some(caches.iter().map(occupancy).collect::<Result<_>>()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::Fake;
    use super::*;
    use serde_json::json;

    #[test]
    fn shares_and_counts_of_a_class() {
        let fake = Fake::new(&[
            ("schemata", "    MB:0=100\n    L3:0=7ff\n"),
            ("info/L3/cbm_mask", "7ff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\n"),
            ("c1/schemata", "    MB:0=20\n    L3:0=00f\n"),
            ("c1/mon_data/mon_L3_00/llc_occupancy", "5\n"),
            ("c1/mon_data/mon_L3_00/mbm_total_bytes", "Unavailable\n"),
            ("c1/mon_groups/g/mon_data/mon_L3_00/llc_occupancy", "3\n"),
            ("c1/mon_groups/g/mon_data/mon_L3_00/mbm_total_bytes", "9\n"),
        ]);
        let root = fake.files().0;
        let class = format!("{root}/c1");
        let rdt = of_class(root, &class, &format!("{class}/mon_groups/g")).unwrap();
        assert_eq!(
            serde_json::to_value(rdt).unwrap(),
            json!({"l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
                   "l3_cache_schema_root": "L3:0=7ff", "l3_cache_schema": "L3:0=00f",
                   "schemata": ["MB:0=20", "    L3:0=00f"],
                   "mbm_stats": [{"mbm_total_bytes": 9, "mbm_local_bytes": 0}],
                   "cmt_stats": [{"llc_occupancy": 3}]})
        );
        assert!(of_class(root, &class, &class).is_err(), "what is not available is no number");
    }
}
