//! The cgroups above a container's own: created where they are missing, removed by whoever empties them, which may be
//! another container than the one for which they were created.

use nix::errno::Errno;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, stat};
use nix::unistd::{UnlinkatFlags, mkdir, unlinkat};

use super::layout::MOUNT_POINT;
use crate::error::{Context, Error, Result};
use crate::sys::{fd::CWD, xattr};

/// The mode of those that ferrun creates. The sticky bit distinguishes them: it changes nothing where root alone can write,
/// and nobody else gives it to a cgroup. Unlike an attribute, which is a second call, it is there from the beginning, so
/// that a ferrun which is killed in between leaves nothing that cannot be recognized.
const MODE: Mode = Mode::from_bits_truncate(0o1755);

/// The attribute that ferrun gave them in the time of format 1.
const MADE: &std::ffi::CStr = c"user.ferrun.made";

/// The cgroup above.
pub(super) fn parent(path: &str) -> &str {
    &path[..path.rfind('/').unwrap_or(0)]
}

/// Creates a cgroup above a container's own with those above it that are missing, and has each that is new filled.
pub(super) fn create(path: &str, fill: &dyn Fn(&str) -> Result<()>) -> Result<()> {
    let what = || format!("make cgroup {path}");
    // What is missing is the hierarchy itself.
    if path.len() <= MOUNT_POINT.len() {
        return Err(Error::os(what(), Errno::ENOENT));
    }
    match mkdir(path, MODE) {
        Ok(()) => fill(path),
        Err(Errno::EEXIST) => Ok(()),
        Err(Errno::ENOENT) => create(parent(path), fill).and_then(|()| create(path, fill)),
        Err(errno) => Err(errno).what(what),
    }
}

/// Where the cgroups above a directory end.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Top {
    /// At the mount point of all hierarchies, which on v2 is that of the only one.
    OfAll,
    /// At that of one hierarchy, just below.
    OfOne,
}

impl Top {
    fn is_above(self, path: &str) -> bool {
        path.len() > MOUNT_POINT.len() && (self == Top::OfAll || path[MOUNT_POINT.len() + 1..].contains('/'))
    }
}

/// Removes those above a path, and below the top, that ferrun created and nobody uses any more.
///
/// # Errors
/// One of them that cannot be removed although it is unused.
pub(super) fn remove_above(path: &str, top: Top) -> Result<()> {
    let mut above = parent(path);
    while top.is_above(above) {
        let removed = is_created_by_ferrun(above).and_then(|own| if own { remove(above).map(Some) } else { Ok(None) });
        match removed {
            // One that is gone may have been removed by a ferrun that was killed before it went on.
            Ok(Some(())) | Err(Errno::ENOENT) => above = parent(above),
            Ok(None) | Err(Errno::EBUSY | Errno::ENOTEMPTY) => break,
            Err(errno) => return Err(errno).what(|| format!("remove cgroup {above}")),
        }
    }
    Ok(())
}

fn is_created_by_ferrun(path: &str) -> nix::Result<bool> {
    Ok(stat(path)?.st_mode & Mode::S_ISVTX.bits() != 0)
}

/// Removes a cgroup that has no others below it.
pub(super) fn remove(path: &str) -> nix::Result<()> {
    unlinkat(CWD, path, UnlinkatFlags::RemoveDir)
}

/// Gives the sticky bit to those above a path that a ferrun of format 1 has created.
pub(super) fn adopt_above(path: &str) -> Result<()> {
    let mut above = parent(path);
    while above.len() > MOUNT_POINT.len() && xattr::has(above, MADE).what(|| format!("examine cgroup {above}"))? {
        // One that cannot be changed stays.
        let _ = fchmodat(CWD, above, MODE, FchmodatFlags::FollowSymlink);
        above = parent(above);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroups_above_end_where_a_hierarchy_is_mounted() {
        let at = |path: &str| format!("{MOUNT_POINT}{path}");
        for (path, [of_all, of_one]) in [
            ("", [false, false]),
            ("/memory", [true, false]),
            ("/memory/a", [true, true]),
            ("/memory/a/b", [true, true]),
        ] {
            assert_eq!([Top::OfAll, Top::OfOne].map(|top| top.is_above(&at(path))), [of_all, of_one], "{path}");
        }
    }
}
