//! System calls that nix lacks or does too slowly: the only module with `unsafe`.
//!
//! Functions are thin typed wrappers around one call and decide nothing; [`child`] makes the creation of a process safe.
#![allow(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss))]

pub mod allocator;
mod arena;
mod blocks;
pub mod bpf;
pub mod capability;
pub mod child;
mod clone;
#[cfg(any(ferrun_entry, all(test, any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(crate) mod entry;
pub mod fd;
pub mod file;
pub mod helper_thread;
pub mod ids;
pub mod keyring;
pub mod link;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod pidfd;
pub mod proc_stat;
pub mod program;
pub mod regular;
pub mod release;
pub mod sched;
pub mod seccomp;
pub mod shared;
pub mod sigchld;
pub mod socket;
pub mod start;
pub mod terminal;
pub mod xattr;

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Turns the return value of a raw system call into a result.
fn check(ret: libc::c_long) -> nix::Result<libc::c_long> {
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}

/// Turns the return value of a call that counts into a result.
fn count(ret: impl TryInto<usize>) -> nix::Result<usize> {
    ret.try_into().map_err(|_| Errno::last())
}

/// Turns the return value of a raw system call that gives an `int` into a result.
fn int(ret: libc::c_long) -> nix::Result<i32> {
    i32::try_from(check(ret)?).map_err(|_| Errno::EOVERFLOW)
}

/// Takes over the descriptor that a raw system call has made.
///
/// # Safety
/// If the call has succeeded, it returned a descriptor that nothing else owns.
unsafe fn new_descriptor(ret: libc::c_long) -> nix::Result<OwnedFd> {
    // SAFETY: by the caller's promise.
    int(ret).map(|number| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Bytes of a structure, as the kernel counts them in others.
fn size<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("a structure of the kernel's is small")
}

/// Makes a call again as long as a signal interrupts it.
fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
