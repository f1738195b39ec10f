//! keyctl(2): the session keyring.

use std::ffi::CStr;

use super::check;

/// Leaves the caller's session keyring for a new one of this name; gives its serial number.
pub fn join_session(name: &CStr) -> nix::Result<i32> {
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
        .map(|n| n as i32)
}
