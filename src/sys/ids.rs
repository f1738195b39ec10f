//! The user and the groups of this thread: the system calls themselves, since the C library's functions stop all other
//! threads by signals, of which there are none, in nine calls more.

use super::check;

/// Sets the supplementary groups: setgroups(2).
pub fn set_groups(groups: &[u32]) -> nix::Result<()> {
    // SAFETY: the kernel reads as many numbers as it is told.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// Sets the real, the effective and the saved group: setresgid(2).
pub fn set_group(gid: u32) -> nix::Result<()> {
    // SAFETY: only integers are passed.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Sets the real, the effective and the saved user: setresuid(2).
pub fn set_user(uid: u32) -> nix::Result<()> {
    // SAFETY: only integers are passed.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}
