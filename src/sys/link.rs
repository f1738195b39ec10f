//! Network links, as far as a fresh network namespace needs: netdevice(7).

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::check;

/// IFF_UP, as `struct ifreq` has it.
const UP: libc::c_short = 1;

/// Sets the loopback link of this network namespace up, which a new one has down.
pub fn loopback_up() -> nix::Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: an all-zero `struct ifreq` is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = libc::c_char::from_ne_bytes([b'l']);
    request.ifr_name[1] = libc::c_char::from_ne_bytes([b'o']);
    request.ifr_ifru.ifru_flags = UP;
    // SAFETY: the kernel reads a `struct ifreq`, which `request` is and which outlives the call.
    check(unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS as _, std::ptr::from_ref(&request)) }.into())
        .map(drop)
}
