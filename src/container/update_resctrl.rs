//! `update --l3-cache-schema` and `--mem-bw-schema`.

use super::state::State;
use crate::cgroup::limit::Limit;
use crate::cgroup::write::{Otherwise, Write};
use crate::error::{Context, Error, Result};
use crate::pointer::Pointer;
use crate::resctrl::{class_and_group, mount_point};
use crate::sys::file;
use crate::types::limits::{FILE, File, ReadBack};

static SCHEMATA: File = File { name: "schemata", read_back: ReadBack::Schemata, ..FILE };

/// What is written to the schemata of the container's class of service.
///
/// # Errors
/// A host without resctrl; a container that is in no class but the default one.
pub fn limits(state: &State, schemata: &[String]) -> Result<Vec<Limit>> {
    if schemata.is_empty() {
        return Ok(Vec::new());
    }
    let root = mount_point()?.ok_or_else(|| {
        Error::new("Intel RDT: cache and memory bandwidth schemas are not enabled: resctrl is not mounted on this host")
    })?;
    let pid = state.init.map_or(0, |init| init.pid);
    // The kernel knows it, also where the config has named it.
    let groups = format!("/proc/{pid}/cpu_resctrl_groups");
    let text = file::read(groups.as_str()).what(|| format!("read {groups}"))?;
    let text = String::from_utf8_lossy(&text);
    let (class, _) = class_and_group(&text);
    if class.is_empty() {
        return Err(Error::new("updating a non-existent Intel RDT configuration is not supported")
            .hint("the container has no class of service: linux.intelRdt gives it one when it is created"));
    }
    let limit = |line: &String| Limit {
        directory: format!("{root}/{class}").into(),
        write: Write {
            from: Pointer::new("/linux/intelRdt"),
            name: SCHEMATA.name.into(),
            file: &SCHEMATA,
            value: line.clone(),
            otherwise: Otherwise::Fail,
        },
    };
    Ok(schemata.iter().map(limit).collect())
}
