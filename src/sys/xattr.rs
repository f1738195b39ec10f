//! Extended attributes that are only there or not: setxattr(2), getxattr(2).

use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};

use nix::errno::Errno;

use super::check;

/// Gives a file an attribute without a value.
pub fn mark(path: &str, name: &CStr) -> nix::Result<()> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    // SAFETY: both strings are NUL-terminated and outlive the call; an empty value needs no buffer.
    check(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), null(), 0, 0) }.into()).map(drop)
}

/// Whether a file has an attribute.
pub fn has(path: &str, name: &CStr) -> bool {
    let Ok(path) = CString::new(path) else { return false };
    // SAFETY: as above; a buffer of size 0 asks for the value's length alone.
    unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), null_mut(), 0) >= 0 }
}
