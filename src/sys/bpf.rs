//! bpf(2): loading a program, and attaching it to a cgroup. Neither nix nor libc has more of it than
//! the number of the call; names and numbers are those of `linux/bpf.h`.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{check, new_descriptor};

const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const PROG_QUERY: u32 = 16;

/// `BPF_PROG_TYPE_CGROUP_DEVICE`, since Linux 4.15.
pub const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
/// `BPF_CGROUP_DEVICE`, the place in a cgroup where such a program is attached.
pub const CGROUP_DEVICE: u32 = 6;

/// The program stands beside others of this cgroup and of those above and below; all must agree.
const F_ALLOW_MULTI: u32 = 1 << 1;
/// The program takes the place of another. Since Linux 5.6.
const F_REPLACE: u32 = 1 << 2;

/// The most programs a cgroup takes at one place (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGS: u32 = 64;
/// Room for the verifier's words on a program of the size that we write.
const LOG_SIZE: usize = 64 << 10;
/// How often a load is tried that a signal cut short; libbpf's number.
const LOAD_ATTEMPTS: usize = 5;

/// An instruction (`struct bpf_insn`; Documentation/bpf/standardization/instruction-set.rst).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Class, operation and kind of operand.
    pub code: u8,
    /// The register written to in the low four bits, the one read from in the high (little endian).
    pub regs: u8,
    /// A jump's distance from the next instruction, or a load's place.
    pub off: i16,
    /// The constant operand.
    pub imm: i32,
}

/// `union bpf_attr` as BPF_PROG_LOAD reads it; later fields of it are not ours and count as zero.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// `union bpf_attr` as BPF_PROG_ATTACH and BPF_PROG_DETACH read it.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// `union bpf_attr` as BPF_PROG_QUERY reads and writes it. The later fields are here only so that a
/// kernel that fills them in (`revision`, Linux 6.6) writes to memory that is ours.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    _pad: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// `union bpf_attr` as BPF_PROG_GET_FD_BY_ID reads it.
#[repr(C)]
#[derive(Default)]
struct GetIdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// A program that the kernel did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// Of the first attempt.
    pub errno: Errno,
    /// What the verifier said last; empty if it was not asked.
    pub log: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.log.as_str() {
            "" => write!(f, "{}", self.errno),
            log => write!(f, "{}: the verifier says: {log}", self.errno),
        }
    }
}

impl std::error::Error for LoadError {}

/// The call itself.
///
/// # Safety
/// `T` is the part of `union bpf_attr` that `command` reads and writes, and its pointers are good for
/// what the command does with them.
unsafe fn bpf<T>(command: u32, attr: &mut T) -> nix::Result<libc::c_long> {
    // SAFETY: `attr` is writable for the size given; the rest is the caller's promise.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) })
}

/// A descriptor as `union bpf_attr` holds it.
fn raw(fd: BorrowedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// How long a list is, or as much of it as the kernel can be told.
fn listed<T>(list: &[T]) -> u32 {
    list.len().try_into().unwrap_or(u32::MAX)
}

/// Loads a program: BPF_PROG_LOAD. `name` is what bpftool shows of it, at most 15 letters or digits.
/// Needs CAP_BPF or CAP_SYS_ADMIN in the first user namespace.
pub fn prog_load(prog_type: u32, insns: &[Insn], license: &CStr, name: &str) -> Result<OwnedFd, LoadError> {
    let mut attr = LoadAttr {
        prog_type,
        insn_cnt: listed(insns),
        insns: insns.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        ..LoadAttr::default()
    };
    let length = name.len().min(attr.prog_name.len() - 1);
    attr.prog_name[..length].copy_from_slice(&name.as_bytes()[..length]);

    let mut load = |log: &mut [u8]| {
        attr.log_level = u32::from(!log.is_empty());
        attr.log_size = listed(log);
        attr.log_buf = if log.is_empty() { 0 } else { log.as_mut_ptr().expose_provenance() as u64 };
        // SAFETY: LoadAttr is this command's; instructions, license and log outlive the call, have the
        // lengths given (the license its NUL), and only the log, borrowed mutably, is written to. What the
        // command makes is a descriptor that nobody else owns.
        unsafe { bpf(PROG_LOAD, &mut attr).and_then(|new| new_descriptor(new)) }
    };
    let mut result = load(&mut []);
    for _ in 1..LOAD_ATTEMPTS {
        // The verifier gives up with EAGAIN when a signal is pending.
        if !matches!(result, Err(Errno::EAGAIN)) {
            break;
        }
        result = load(&mut []);
    }
    let errno = match result {
        Ok(new) => return Ok(new),
        Err(errno) => errno,
    };
    // Who may not load programs learns no more from the verifier.
    if errno == Errno::EPERM {
        return Err(LoadError { errno, log: String::new() });
    }
    let mut log = vec![0; LOG_SIZE];
    load(&mut log).map_err(|_| LoadError { errno, log: last_line(&log) })
}

/// The last line of the verifier's log that says something; statistics may follow it.
fn last_line(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log.split(|&byte| byte == 0).next().unwrap_or_default());
    let mut lines = text.lines().rev().filter(|line| !line.is_empty() && !line.starts_with("processed "));
    lines.next().unwrap_or_default().to_owned()
}

/// Attaches a program to a cgroup beside those that are there (BPF_F_ALLOW_MULTI), or in the place of
/// `replace` without a moment between the two: BPF_PROG_ATTACH.
pub fn prog_attach(
    cgroup: BorrowedFd,
    program: BorrowedFd,
    attach_type: u32,
    replace: Option<BorrowedFd>,
) -> nix::Result<()> {
    let mut attr = AttachAttr {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type,
        attach_flags: F_ALLOW_MULTI | if replace.is_some() { F_REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, raw),
    };
    // SAFETY: AttachAttr is this command's and has no pointers.
    unsafe { bpf(PROG_ATTACH, &mut attr) }.map(drop)
}

/// Takes a program from a cgroup: BPF_PROG_DETACH.
pub fn prog_detach(cgroup: BorrowedFd, program: BorrowedFd, attach_type: u32) -> nix::Result<()> {
    let (target_fd, attach_bpf_fd) = (raw(cgroup), raw(program));
    let mut attr = AttachAttr { target_fd, attach_bpf_fd, attach_type, ..AttachAttr::default() };
    // SAFETY: AttachAttr is this command's and has no pointers.
    unsafe { bpf(PROG_DETACH, &mut attr) }.map(drop)
}

/// The ids of the programs attached to this cgroup itself, oldest first: BPF_PROG_QUERY.
pub fn prog_query(cgroup: BorrowedFd, attach_type: u32) -> nix::Result<Vec<u32>> {
    let mut ids = [0; MAX_PROGS as usize];
    let mut attr = QueryAttr {
        target_fd: raw(cgroup),
        attach_type,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: MAX_PROGS,
        ..QueryAttr::default()
    };
    // SAFETY: QueryAttr is this command's; the kernel writes at most `prog_cnt` ids to `prog_ids`.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    Ok(ids.into_iter().take(attr.prog_cnt as usize).collect())
}

/// A loaded program by its id: BPF_PROG_GET_FD_BY_ID. Needs CAP_SYS_ADMIN; ENOENT if it is gone.
pub fn prog_get_fd_by_id(id: u32) -> nix::Result<OwnedFd> {
    let mut attr = GetIdAttr { prog_id: id, ..GetIdAttr::default() };
    // SAFETY: GetIdAttr is this command's and has no pointers; the descriptor that it makes is nobody else's.
    unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr).and_then(|new| new_descriptor(new)) }
}

#[cfg(test)]
mod tests {
    use super::last_line;

    #[test]
    fn the_verifiers_statistics_are_not_its_last_word() {
        assert_eq!(last_line(b"0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n\0\0"), "R0 !read_ok");
        assert_eq!(last_line(b"\0"), "");
    }
}
