//! The step that sets a limit: it writes a value to a file of the cgroup.

use std::fmt;
use std::rc::Rc;

use nix::errno::Errno;

use super::missing;
use super::write::{Otherwise, Write};
use crate::error::{Error, Result};
use crate::sys::file;

/// Writes a value to a file of the cgroup.
#[derive(PartialEq)]
pub struct Limit {
    /// The cgroup's directory.
    pub directory: Rc<str>,
    /// What is written.
    pub write: Write,
}

impl Limit {
    /// Runs the step.
    ///
    /// # Errors
    /// ENOENT: the controller is not enabled for this cgroup, or the kernel has no such file. Else the
    /// kernel does not take the value.
    pub fn run(&self) -> Result<()> {
        let Write { file, value, otherwise, .. } = &self.write;
        match (self.put(file, value), otherwise) {
            (Err((Errno::ENOENT, ..)), Otherwise::Skip) => Ok(()),
            (Err((Errno::ENOENT, ..)), Otherwise::Instead(file, value)) => self.put(file, value),
            (Err((Errno::EINVAL, ..)), Otherwise::After(first, its_value)) => {
                self.put(first, its_value).and_then(|()| self.put(file, value))
            }
            (result, _) => result,
        }
        .map_err(|(errno, file, value)| self.explain(errno, &file, &value).from_property(self.write.pointer()))
    }

    /// The files that may be written to, and what with.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let other = match &self.write.otherwise {
            Otherwise::Instead(file, value) | Otherwise::After(file, value) => Some((*file, value.as_str())),
            Otherwise::Fail | Otherwise::Skip => None,
        };
        std::iter::once((&*self.write.file, self.write.value.as_str())).chain(other)
    }

    fn put(&self, file: &str, value: &str) -> std::result::Result<(), (Errno, String, String)> {
        let path = format!("{}/{file}", self.directory);
        let line = |line: &str| {
            file::write(path.as_str(), line.as_bytes()).map_err(|errno| (errno, file.to_owned(), line.to_owned()))
        };
        if value.contains('\n') { value.lines().try_for_each(line) } else { line(value) }
    }

    fn explain(&self, errno: Errno, file: &str, value: &str) -> Error {
        let error = Error::os(format!("write {value:?} to {}/{file}", self.directory), errno);
        let read = |path: &str| {
            let text = file::read(path).unwrap_or_default();
            String::from_utf8_lossy(text.trim_ascii()).into_owned()
        };
        let above = self.directory.rsplit_once('/').map_or("", |(above, _)| above);
        let own = |file: &str| read(&format!("{}/{file}", self.directory));
        match (errno, file) {
            (Errno::ENOENT, _) => missing::explain(&self.directory, &self.write, error),
            (Errno::EBUSY, "memory.limit_in_bytes") => {
                error.detail(format!("{} bytes are in use", own("memory.usage_in_bytes")))
            }
            (Errno::EBUSY, "memory.memsw.limit_in_bytes") => {
                error.detail(format!("{} bytes are in use", own("memory.memsw.usage_in_bytes")))
            }
            (Errno::EINVAL, "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes") => error.hint(format!(
                "the limit of memory is {}, and may not exceed that of memory and swap together, which is {}",
                bytes(&own("memory.limit_in_bytes")),
                bytes(&own("memory.memsw.limit_in_bytes"))
            )),
            (Errno::EINVAL, "cpu.cfs_quota_us" | "cpu.cfs_period_us" | "cpu.max") => error.hint(
                "a quota is at least 1000 microseconds, a period 1000 to 1000000, and on v1 no cgroup has more CPU time \
                 than the one above",
            ),
            (Errno::EINVAL, "cpu.cfs_burst_us" | "cpu.max.burst") => error.hint("a burst is at most the quota"),
            (Errno::EINVAL, "cpu.shares" | "cpu.weight") if own("cpu.idle") == "1" => {
                error.hint("what is idle has no weight: cpu.idle must be 0")
            }
            (Errno::EINVAL, "cpu.rt_runtime_us") => {
                let of_parent = read(&format!("{above}/cpu.rt_runtime_us"));
                error.hint(format!("{above} has {of_parent} to give: a cgroup has real-time only out of its parent's"))
            }
            (_, "cpuset.cpus" | "cpuset.mems") => {
                // What v2 has no value of its own for, it has from above.
                let set = |suffix: &str| Some(read(&format!("{above}/{file}{suffix}"))).filter(|set| !set.is_empty());
                error.hint(format!("{above} has {}", set("").or_else(|| set(".effective")).unwrap_or_default()))
            }
            (Errno::EOPNOTSUPP, "blkio.bfq.weight_device" | "io.bfq.weight") => {
                error.hint("only the disks of the scheduler bfq have weights: /sys/block/NAME/queue/scheduler")
            }
            (Errno::EOPNOTSUPP, "io.weight") => {
                error.hint("only disks whose costs the kernel models have weights: io.cost.qos in the root cgroup")
            }
            (Errno::ENODEV, "rdma.max") => error.hint("/sys/class/infiniband has the RDMA devices of this host"),
            (Errno::ENODEV, "net_prio.ifpriomap") => {
                error.hint("the network links are those of ferrun's own namespace: /sys/class/net")
            }
            (Errno::ENODEV, _) => error.hint("the kernel limits whole disks, and knows none of this number"),
            _ => error,
        }
    }
}

/// A limit of memory as v1 prints it: without one it is the largest number of whole pages.
fn bytes(limit: &str) -> String {
    const NONE: u64 = i64::MAX as u64 - (1 << 20);
    let is_none = limit.parse::<u64>().is_ok_and(|limit| limit >= NONE);
    if is_none { "unlimited".into() } else { format!("{limit} bytes") }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} = {}", self.write.file, self.write.value.replace('\n', "; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pointer::Pointer;

    /// A directory in the place of a cgroup: a file takes anything, a directory refuses.
    fn directory(name: &str) -> String {
        let path = std::env::temp_dir().join(format!("ferrun-limit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn limit(directory: &str, file: &'static str, otherwise: Otherwise) -> Limit {
        let from = Pointer::new("/linux/resources/memory/limit");
        let write = Write { from, controller: "memory".into(), file: file.into(), value: "1".into(), otherwise };
        Limit { directory: directory.into(), write }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_skipped_or_replaced() {
        let place = directory("missing");
        std::fs::write(format!("{place}/there"), "").unwrap();
        let error = limit(&place, "gone", Otherwise::Fail).run().unwrap_err();
        assert_eq!((error.code(), error.pointer.as_deref()), (Errno::ENOENT, Some("/linux/resources/memory/limit")));
        limit(&place, "gone", Otherwise::Skip).run().unwrap();
        limit(&place, "gone", Otherwise::Instead("there", "7".into())).run().unwrap();
        assert_eq!(std::fs::read(format!("{place}/there")).unwrap(), b"7");
        assert!(!std::path::Path::new(&format!("{place}/gone")).exists(), "no file is made");
        std::fs::remove_dir_all(place).unwrap();
    }
}
