//! Paths as they are meant: absolute, without `.`, `..` and doubled slashes.

use std::ffi::{CStr, CString};

/// A path from the root without `.`, `..` and doubled slashes.
pub fn clean(path: &CStr) -> CString {
    // As nearly all are.
    if is_clean(path.to_bytes()) {
        return path.to_owned();
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.to_bytes().split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let mut clean = vec![b'/'];
    clean.extend(parts.join(&b'/'));
    CString::new(clean).expect("cut from a string without NUL")
}

/// Whether a path is absolute and has no `.`, `..` or doubled slashes.
pub fn is_clean(path: &[u8]) -> bool {
    let mut parts = path.strip_prefix(b"/").into_iter().flat_map(|path| path.split(|byte| *byte == b'/')).peekable();
    parts.peek().is_some() && parts.all(|part| !matches!(part, b"" | b"." | b".."))
}
