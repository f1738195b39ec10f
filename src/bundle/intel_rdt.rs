//! `linux.intelRdt`.

use serde::Deserialize;

use super::problems::Problems;
use super::problems::wrong;
use super::text::or_default;
use crate::pointer::Pointer;

/// Shares of caches and memory bandwidth.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct IntelRdt {
    /// The class of service; empty: one of the container's own.
    #[serde(rename = "closID", deserialize_with = "or_default")]
    pub clos_id: String,
    /// A line for the schemata.
    #[serde(deserialize_with = "or_default")]
    pub l3_cache_schema: String,
    /// Another.
    #[serde(deserialize_with = "or_default")]
    pub mem_bw_schema: String,
    /// The rest of the lines.
    #[serde(deserialize_with = "or_default")]
    pub schemata: Vec<String>,
    /// Whether the container is counted by itself.
    #[serde(deserialize_with = "or_default")]
    pub enable_monitoring: bool,
}

/// Checks names and lines.
pub(super) fn check(rdt: &IntelRdt, found: &mut Problems) {
    // The directories that the kernel itself has there are no classes.
    let reserved = [".", "..", "info", "mon_groups", "mon_data"];
    let name = rdt.clos_id.as_str();
    if reserved.contains(&name) || (name != "/" && name.contains(['/', '\n', '\0'])) {
        found.error(wrong("/linux/intelRdt/closID", format!("{name:?} is no name of a class of service")));
    }
    let own = [
        (Pointer::new("/linux/intelRdt/l3CacheSchema"), &rdt.l3_cache_schema),
        (Pointer::new("/linux/intelRdt/memBwSchema"), &rdt.mem_bw_schema),
    ];
    let more = rdt.schemata.iter().enumerate();
    let more = more.map(|(index, line)| (Pointer::at("/linux/intelRdt/schemata/#", index), line));
    for (pointer, line) in own.into_iter().chain(more) {
        if line.contains(['\n', '\0']) {
            found.error(wrong(pointer, "a schema is one line"));
        }
    }
    if !rdt.mem_bw_schema.is_empty() && !rdt.mem_bw_schema.starts_with("MB:") {
        found.error(wrong(own[1].0, "memBwSchema must start with MB:"));
    }
    if !rdt.l3_cache_schema.is_empty() && !rdt.l3_cache_schema.starts_with("L3:") {
        found.warning(wrong(own[0].0, "l3CacheSchema should start with L3:"));
    }
}
