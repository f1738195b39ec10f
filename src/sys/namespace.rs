//! Namespaces by descriptor: ioctl_ns(2).

use std::os::fd::{AsFd, AsRawFd};

use nix::sched::CloneFlags;

use super::int;

/// Of linux/nsfs.h: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// A time namespace, which nix has no name for.
pub const NEWTIME: CloneFlags = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);

/// The kind of a namespace, as the flag that clone(2) makes it with. ENOTTY: it is another file.
pub fn kind(namespace: impl AsFd) -> nix::Result<CloneFlags> {
    // SAFETY: this request takes no argument.
    int(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_NSTYPE as _) }.into())
        .map(CloneFlags::from_bits_retain)
}
