//! What a process sets about itself and its UTS namespace, and nix has no call for: sched_setattr(2),
//! ioprio_set(2), set_mempolicy(2), personality(2), setdomainname(2).

use std::ffi::CStr;
use std::ptr::null;

use nix::unistd::Pid;

use super::{check, size};

/// `struct sched_attr` of sched_setattr(2), with the two fields of Linux 5.3 at its end.
#[repr(C)]
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // sched_setattr(2)'s own names
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

/// Sets policy and attributes of a thread, 0 being the one that calls: sched_setattr(2). The size is filled in here.
pub fn set_scheduler(thread: Pid, attr: SchedAttr) -> nix::Result<()> {
    let attr = SchedAttr { size: size::<SchedAttr>(), ..attr };
    // SAFETY: the kernel reads a `struct sched_attr` of the size that stands in it; `attr` outlives the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, thread.as_raw(), std::ptr::from_ref(&attr), 0) }).map(drop)
}

/// Sets the I/O priority of the calling thread, which its children inherit: ioprio_set(2).
pub fn set_io_priority(class: u32, level: u32) -> nix::Result<()> {
    const IOPRIO_WHO_PROCESS: u32 = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    // SAFETY: only integers are passed.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, class << IOPRIO_CLASS_SHIFT | level) })
        .map(drop)
}

/// Sets the NUMA memory policy of the calling thread, bit N of the words standing for node N:
/// set_mempolicy(2).
pub fn set_memory_policy(mode: u32, nodes: &[libc::c_ulong]) -> nix::Result<()> {
    // The kernel looks at one bit fewer than it is told.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * libc::c_ulong::BITS as usize + 1 };
    let words = if nodes.is_empty() { null() } else { nodes.as_ptr() };
    // SAFETY: the kernel reads `bits` - 1 bits, which is what `words` holds; null where it reads none.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, words, bits) }).map(drop)
}

/// Lets the calling thread run on some CPUs, bit N of the words standing for CPU N: sched_setaffinity(2). EINVAL: its
/// cpuset has none of them.
pub fn use_cpus(cpus: &[libc::c_ulong]) -> nix::Result<()> {
    // SAFETY: the kernel reads at most as many bytes as it is told that there are.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()) }).map(drop)
}

/// Lets the calling thread run on every CPU that its cpuset has: sched_setaffinity(2).
pub fn use_all_cpus() -> nix::Result<()> {
    // More than any kernel is built for; it reads no more than it has (NR_CPUS of x86_64: 8192).
    let all = [u8::MAX; 8192 / 8];
    // SAFETY: the kernel reads at most as many bytes as it is told that there are.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, all.len(), all.as_ptr()) }).map(drop)
}

/// Sets the execution domain of the calling thread: personality(2).
pub fn set_personality(domain: u32) -> nix::Result<()> {
    // SAFETY: only an integer is passed.
    check(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) }).map(drop)
}

/// Sets the NIS domain name of the UTS namespace: setdomainname(2).
pub fn set_domain_name(name: &CStr) -> nix::Result<()> {
    // SAFETY: the kernel reads as many bytes as `name` has.
    check(unsafe { libc::syscall(libc::SYS_setdomainname, name.as_ptr(), name.to_bytes().len()) }).map(drop)
}
