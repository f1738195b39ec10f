//! Paths in normal form: absolute, without `.`, `..` and doubled slashes.

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

/// Whether a `cgroupsPath` names a cgroup of the container's own, and not the root or ferrun's.
pub fn names_a_cgroup(cgroups_path: &str) -> bool {
    let mut depth = 0u32;
    for part in cgroups_path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    depth > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_of_the_containers_own() {
        for (path, names) in
            [("/a", true), ("a/..", false), ("/", false), (".", false), ("../../a", true), ("a/../..", false)]
        {
            assert_eq!(names_a_cgroup(path), names, "{path}");
        }
    }
}
