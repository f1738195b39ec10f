//! Extended attributes: setxattr(2), getxattr(2), and the same by descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;

use nix::errno::Errno;

use super::{check, count};

/// Whether there is a file with an attribute. A file system that has no attributes has none.
pub fn has(path: &str, name: &CStr) -> nix::Result<bool> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    // SAFETY: both strings are NUL-terminated and outlive the call; a buffer of size 0 asks for the value's length alone.
    match check(unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), null_mut(), 0) } as libc::c_long) {
        Ok(_) => Ok(true),
        Err(Errno::ENODATA | Errno::ENOENT | Errno::ENOTDIR | Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The names of the attributes of an open file: flistxattr(2).
pub fn list(file: impl AsFd) -> nix::Result<Vec<CString>> {
    let fd = file.as_fd().as_raw_fd();
    let names = grown(|buffer| {
        // SAFETY: the buffer is as long as said; a size of 0 asks for the length alone.
        unsafe { libc::flistxattr(fd, buffer.as_mut_ptr().cast(), buffer.len()) }
    })?;
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// The value of an attribute of an open file: fgetxattr(2).
pub fn get(file: impl AsFd, name: &CStr) -> nix::Result<Vec<u8>> {
    let fd = file.as_fd().as_raw_fd();
    grown(|buffer| {
        // SAFETY: as above; `name` is NUL-terminated.
        unsafe { libc::fgetxattr(fd, name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
    })
}

/// Gives an open file an attribute: fsetxattr(2).
pub fn set(file: impl AsFd, name: &CStr, value: &[u8]) -> nix::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: `name` is NUL-terminated, `value` as long as said; both outlive the call.
    check(unsafe { libc::fsetxattr(fd, name.as_ptr(), value.as_ptr().cast(), value.len(), 0) }.into()).map(drop)
}

/// What a call writes into a buffer, whose length it tells when the buffer is empty.
fn grown(call: impl Fn(&mut [u8]) -> isize) -> nix::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    loop {
        let length = count(call(&mut []))?;
        buffer.resize(length, 0);
        if length == 0 {
            return Ok(buffer);
        }
        match count(call(&mut buffer)) {
            // It has grown meanwhile.
            Err(Errno::ERANGE) => {}
            result => {
                buffer.truncate(result?);
                return Ok(buffer);
            }
        }
    }
}
