//! Whether the container's program is there, as far as the root file system alone tells: for `check`.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::fstatat;

use super::request::rootfs;
use crate::bundle::Bundle;
use crate::error::Error;
use crate::sys::fd::CWD;

/// A warning of a program that is named by its path and is missing. A mount or a hook may still bring it, which is why
/// nothing is said where there is one for that.
pub fn missing(bundle: &Bundle) -> Option<Error> {
    let program = bundle.spec.process.as_ref()?.args.first()?;
    let path = Path::new(OsStr::from_bytes(program.bytes()));
    let hooks = &bundle.spec.hooks;
    let before = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container, &hooks.start_container];
    if !path.is_absolute() || before.iter().any(|kind| !kind.is_empty()) {
        return None;
    }
    let root = rootfs(bundle);
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root_directory = openat2(CWD, &root, OpenHow::new().flags(flags | OFlag::O_DIRECTORY)).ok()?;
    let open =
        |path: &Path| openat2(&root_directory, path, OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT));
    if open(path).err() != Some(Errno::ENOENT) {
        return None;
    }
    // The last directory on the way that is there, and what is missing in it: a name, and not a link that leads nowhere.
    let (directory, there) = path.ancestors().skip(1).find_map(|above| Some((open(above).ok()?, above)))?;
    let rest = path.strip_prefix(there).ok()?;
    let is_missing = fstatat(&directory, rest.iter().next()?, AtFlags::AT_SYMLINK_NOFOLLOW).err()? == Errno::ENOENT;
    let real = inside(&directory, &root_directory)?.join(rest);
    let is_mounted = |point: &[u8]| [path, &real].iter().any(|path| path.starts_with(OsStr::from_bytes(point)));
    let mounted = bundle.spec.mounts.iter().any(|mount| is_mounted(mount.destination.to_bytes()));
    (is_missing && !mounted).then(|| {
        let message = format!("exec: {path:?}: there is no such file in the root file system");
        Error::new(message).from_property("/process/args/0")
    })
}

/// The path of a directory in the root, without links.
fn inside(directory: &OwnedFd, root: &OwnedFd) -> Option<PathBuf> {
    let path = |fd: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok();
    Some(Path::new("/").join(path(directory)?.strip_prefix(path(root)?).ok()?))
}
