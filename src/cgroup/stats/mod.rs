//! Statistics of a container's cgroup: the data of runc's `events`.

mod blkio;
mod go;
mod hugetlb;
mod rdt;
mod read;
mod report;
mod v1;
mod v2;

use nix::unistd::Pid;

use super::controllers::Controllers;
use super::directory::Directory;
use crate::error::Result;
pub use report::Stats;

impl Stats {
    /// Reads them. What this host does not count is left out.
    ///
    /// # Errors
    /// A container without cgroups; ENODEV, if its cgroup is removed meanwhile.
    pub fn read(directories: &[Directory], init: Pid) -> Result<Stats> {
        let mut stats = match Controllers::of(directories)? {
            Controllers::V2(path) => v2::stats(path),
            controllers => v1::stats(controllers),
        }?;
        stats.intel_rdt = rdt::read(init)?;
        Ok(stats)
    }
}
