//! Memory limits that are too small for a start, and whether a cgroup ran out of memory.

use super::write::Write;
use crate::error::Error;

/// What a start takes of a memory limit, besides the program, in bytes.
///
/// `create` with the release binary, ten times at each limit, without swap: on v2 (Linux 6.1), where the init is created
/// in its cgroup, the config of `ferrun spec` starts from 192 KiB on and Docker's with its filter from 208; on v1
/// (Linux 6.18), where it enters late, from 64 and 72. With `true` of a static busybox, `run` takes 272 KiB on v2 and
/// 192 on v1. From 256 KiB on the kernel charges a cgroup's memory for a CPU in batches as large, which another may
/// then lack: up to twice that, one start in thirty fails.
pub const START: u64 = 240 << 10;

/// How many bytes a write allows, if it is that of the limit on memory.
pub fn limit(write: &Write) -> Option<u64> {
    let is_limit = matches!(&*write.name, "memory.limit_in_bytes" | "memory.max");
    write.value.trim().parse().ok().filter(|_| is_limit)
}

/// A warning of a limit that no start gets by with.
pub fn too_small(write: &Write) -> Option<Error> {
    let limit = limit(write).filter(|limit| *limit < START)?;
    let message = format!("{} KiB is below what a start needs (about {} KiB)", limit >> 10, START >> 10);
    Some(Error::new(message).from_property(write.pointer()))
}

/// Whether the kernel killed a process of this cgroup for want of memory: memory.oom_control of v1,
/// memory.events of v2.
pub fn was_out_of_memory(directory: &str) -> bool {
    let files =
        ["memory.oom_control", "memory.events"].map(|name| std::fs::read_to_string(format!("{directory}/{name}")));
    let mut lines = files.iter().flatten().flat_map(|text| text.lines());
    lines.any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
}
