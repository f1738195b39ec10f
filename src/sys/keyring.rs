//! keyctl(2): the session keyring.

use std::ptr::null;

use super::int;

/// Leaves the caller's session keyring for a new one without a name; gives its serial number.
pub fn new_session() -> nix::Result<i32> {
    let name = null::<libc::c_char>();
    // SAFETY: a null name asks for an anonymous keyring.
    int(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name) })
}
