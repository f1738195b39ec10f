//! Namespaces by descriptor: ioctl_ns(2).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::sched::CloneFlags;

use super::int;

/// Of linux/nsfs.h: `_IO(0xb7, 1)`.
const NS_GET_USERNS: libc::c_ulong = 0xb701;
/// `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// A time namespace, which nix has no name for.
pub const NEWTIME: CloneFlags = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);

/// The kind of a namespace, as the flag that clone(2) makes it with. ENOTTY: it is another file.
pub fn kind(namespace: impl AsFd) -> nix::Result<CloneFlags> {
    // SAFETY: this request takes no argument.
    int(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_NSTYPE as _) }.into())
        .map(CloneFlags::from_bits_retain)
}

/// The user namespace that a namespace belongs to. EPERM: one that this process is not in or above.
pub fn owner(namespace: impl AsFd) -> nix::Result<OwnedFd> {
    // SAFETY: this request takes no argument.
    let owner = int(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_USERNS as _) }.into())?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn namespaces_belong_to_a_user_namespace() {
        match owner(File::open("/proc/self/ns/net").unwrap()) {
            Ok(owner) => assert_eq!(kind(&owner), Ok(CloneFlags::CLONE_NEWUSER)),
            // The tests run in a user namespace, and in the network of the host.
            Err(errno) => assert_eq!(errno, nix::errno::Errno::EPERM),
        }
        assert_eq!(super::owner(File::open("/dev/null").unwrap()).map(drop), Err(nix::errno::Errno::ENOTTY));
    }
}
