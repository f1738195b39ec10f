//! Rules for mounts on /proc and inside of it.

use std::ffi::CStr;

/// The files of /proc that may be mounted over, as with runc: a mount on any other could fake what the kernel
/// reports of processes and security labels (CVE-2019-16884).
const OVER_PROC: &[&CStr] = &[
    c"/proc/cpuinfo",
    c"/proc/diskstats",
    c"/proc/meminfo",
    c"/proc/stat",
    c"/proc/swaps",
    c"/proc/uptime",
    c"/proc/loadavg",
    c"/proc/slabinfo",
    c"/proc/sys/kernel/ns_last_pid",
    c"/proc/sys/crypto/fips_enabled",
];

/// The reason why nothing may be mounted there, if so; `is_procfs` is asked about a mount on /proc itself.
pub fn refused_on_proc(path: &CStr, inside: bool, is_procfs: impl FnOnce() -> bool) -> Option<&'static str> {
    if path == c"/proc" && !is_procfs() {
        return Some("only a procfs may be mounted on /proc");
    }
    (inside && !OVER_PROC.contains(&path)).then_some("inside of /proc only a few files may be mounted over")
}
