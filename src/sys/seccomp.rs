//! seccomp(2): installing a filter, which nix lacks. Names and numbers are those of `linux/seccomp.h`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::{check, new_descriptor};

/// `SECCOMP_FILTER_FLAG_TSYNC`.
pub const TSYNC: u32 = 1 << 0;
/// `SECCOMP_FILTER_FLAG_LOG`.
pub const LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`.
pub const SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
pub const NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_TSYNC_ESRCH`, without which TSYNC and NEW_LISTENER exclude each other. Linux 5.7.
pub const TSYNC_ESRCH: u32 = 1 << 4;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`. Linux 5.19.
pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;

/// An instruction (`struct sock_filter`; Documentation/networking/filter.rst).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Class, operation and kind of operand.
    pub code: u16,
    /// How many instructions are passed over if the comparison holds.
    pub jt: u8,
    /// And if it does not.
    pub jf: u8,
    /// The constant operand.
    pub k: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    insns: *const Insn,
}

/// Puts the calling process under a filter, for good: SECCOMP_SET_MODE_FILTER. Gives the descriptor on
/// which calls are answered if [`NEW_LISTENER`] is among the flags.
///
/// EACCES: neither no_new_privs nor CAP_SYS_ADMIN. EINVAL: a flag that this kernel does not know.
pub fn set_filter(program: &[Insn], flags: u32) -> nix::Result<Option<OwnedFd>> {
    const SET_MODE_FILTER: libc::c_long = 1;
    // Longer than any that the kernel takes, which says the same.
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let program = Program { length, insns: program.as_ptr() };
    let pointer = std::ptr::from_ref(&program);
    // SAFETY: `pointer` and the instructions behind it outlive the call, which copies them.
    let ret = check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, libc::c_ulong::from(flags), pointer) })?;
    if flags & NEW_LISTENER == 0 && ret > 0 {
        // A thread that TSYNC could not put under the filter.
        return Err(Errno::ESRCH);
    }
    // SAFETY: with this flag the result is a new descriptor, which nothing else owns.
    (flags & NEW_LISTENER != 0).then(|| unsafe { new_descriptor(ret) }).transpose()
}

/// Whether this kernel knows the flags of a filter: it looks at them before it looks at the program, and
/// there is none.
///
/// EINVAL: it does not know one of them.
pub fn probe_flags(flags: u32) -> nix::Result<()> {
    const SET_MODE_FILTER: libc::c_long = 1;
    let program: *const Program = std::ptr::null();
    // SAFETY: the null pointer is what the kernel shall refuse (EFAULT); it reads nothing.
    match check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, libc::c_ulong::from(flags), program) }) {
        Err(Errno::EFAULT) => Ok(()),
        result => result.map(drop),
    }
}

/// A copy of a descriptor of another process: pidfd_getfd(2), Linux 5.6.
pub fn descriptor_of(process: impl AsFd, number: i32) -> nix::Result<OwnedFd> {
    let pidfd = process.as_fd().as_raw_fd();
    // SAFETY: only integers are passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, number, 0) };
    // SAFETY: the kernel made this descriptor for us.
    unsafe { new_descriptor(fd) }
}

/// Whether a descriptor is the listener of a filter: SECCOMP_IOCTL_NOTIF_ID_VALID is known to it alone.
pub fn is_listener(descriptor: impl AsFd) -> bool {
    // _IOW('!', 2, __u64) since Linux 5.8, _IOR before (and accepted still).
    const ID_VALID: [u32; 2] = [0x4008_2102, 0x8008_2102];
    let id = 0u64;
    ID_VALID.iter().any(|request| {
        // SAFETY: the kernel reads the 8 bytes of `id`, which outlives the call.
        let ret = unsafe { libc::ioctl(descriptor.as_fd().as_raw_fd(), *request as _, std::ptr::from_ref(&id)) };
        // There is no call of this id, which only a listener knows.
        ret == 0 || Errno::last() == Errno::ENOENT
    })
}
