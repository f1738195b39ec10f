//! System calls that nix lacks or does too slowly: the only room with `unsafe`.
//!
//! Functions are thin typed wrappers around one call and decide nothing; [`child`] makes the creation of a process safe.
#![allow(unsafe_code)]

pub mod allocator;
mod arena;
mod blocks;
pub mod bpf;
pub mod capability;
pub mod child;
mod clone;
pub mod fd;
pub mod file;
pub mod helper_thread;
pub mod keyring;
pub mod link;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod pidfd;
pub mod program;
pub mod regular;
pub mod release;
pub mod sched;
pub mod seccomp;
pub mod shared;
pub mod sigchld;
pub mod socket;
pub mod terminal;
pub mod userns;
pub mod xattr;

use nix::errno::Errno;

/// Turns the return value of a raw system call into a result.
fn check(ret: libc::c_long) -> nix::Result<libc::c_long> {
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
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
