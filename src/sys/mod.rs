//! System calls that nix lacks or does too slowly: the only room with `unsafe`.
//!
//! Every function is a thin typed wrapper around one call; none decides anything.
#![allow(unsafe_code)]

pub mod allocator;
pub mod bpf;
pub mod bump;
pub mod capability;
pub mod clone;
pub mod fd;
pub mod file;
pub mod helper_thread;
pub mod keyring;
pub mod link;
#[cfg(all(target_arch = "x86_64", any(target_env = "musl", test)))]
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod pidfd;
pub mod program;
pub mod regular;
pub mod seccomp;
pub mod shared;
pub mod socket;
pub mod task;
pub mod terminal;
pub mod userns;
pub mod xattr;

use nix::errno::Errno;

/// Turns the return value of a raw system call into a result.
fn check(ret: libc::c_long) -> nix::Result<libc::c_long> {
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}
