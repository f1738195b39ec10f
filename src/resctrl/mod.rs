//! Limits on caches and memory bandwidth: the resctrl file system (Documentation/filesystems/resctrl.rst), a
//! directory for each class of service and below it one for each monitoring group.

pub mod class;
pub mod own_directory;

use std::path::Path;

use nix::errno::Errno;
use nix::sys::statfs::{FsType, statfs};

use crate::error::{Context, Result};

/// Where the kernel has a directory for it.
const MOUNT_POINT: &str = "/sys/fs/resctrl";
const RDTGROUP_SUPER_MAGIC: FsType = FsType(0x0765_5821);

/// Where resctrl is mounted here, if it is.
pub fn mount_point() -> Result<Option<String>> {
    match statfs(MOUNT_POINT) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        found if found.what(|| format!("statfs {MOUNT_POINT}"))?.filesystem_type() == RDTGROUP_SUPER_MAGIC => {
            return Ok(Some(MOUNT_POINT.to_owned()));
        }
        _ => {}
    }
    // The directory is there wherever the hardware has it; an administrator may have mounted it elsewhere.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").what(|| "read /proc/self/mountinfo")?;
    let line = mounts.lines().find(|line| line.contains(" - resctrl "));
    let point = line.and_then(|line| line.split(' ').nth(4));
    Ok(point.filter(|point| !point.contains('\\')).map(str::to_owned))
}

/// The class and the monitoring group of a process as /proc/PID/cpu_resctrl_groups (Linux 5.7) has them, `res:CLASS`
/// and `mon:GROUP`; empty: the default class `/`, or no group.
pub fn class_and_group(text: &str) -> (&str, &str) {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    (field("res:").trim_matches('/'), field("mon:").trim_matches('/'))
}

fn is_there(path: &str) -> Result<bool> {
    Path::new(path).try_exists().what(|| format!("examine {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_class_and_group() {
        for (text, found) in [
            ("res:\nmon:\n", ("", "")),
            ("res:/\nmon:\n", ("", "")),
            ("res:/\nmon:m\n", ("", "m")),
            ("res:c\nmon:m\n", ("c", "m")),
            ("res:c/\nmon:/m/\n", ("c", "m")),
            ("", ("", "")),
        ] {
            assert_eq!(class_and_group(text), found, "{text:?}");
        }
    }
}
