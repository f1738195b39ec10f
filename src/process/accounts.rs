//! The container's users and groups, by its /etc/passwd and /etc/group. The files are the image's: nothing in them is trusted.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, fstatfs};

use crate::error::{Context, Error, Result};
use crate::rootfs::Rootfs;
use crate::rootfs::stored::is_kernels_own;

/// Longer files are read no further.
pub const LONGEST: u64 = 1024 * 1024;
/// Further groups that the kernel takes (NGROUPS_MAX).
const MOST_GROUPS: usize = 65_536;

/// passwd(5).
pub const PASSWD: &CStr = c"/etc/passwd";
/// group(5).
const GROUP: &CStr = c"/etc/group";

/// A user by name, with the groups that this user is in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// The further groups.
    pub groups: Vec<u32>,
}

/// Looks up a user of the container.
///
/// # Errors
/// One that is not there, in the words of other runtimes.
pub fn user(rootfs: &Rootfs, name: &str) -> Result<Account> {
    let lines = read(rootfs, PASSWD)?;
    let found = lines.iter().find_map(|line| {
        let mut fields = line.split(':');
        let is_named = fields.next() == Some(name);
        let ids = (id(fields.nth(1)), id(fields.next()));
        if let (true, (Some(uid), Some(gid))) = (is_named, ids) { Some((uid, gid)) } else { None }
    });
    let (uid, gid) = found.ok_or_else(|| missing("user", name, "passwd"))?;
    let is_member = |line: &&String| line.split(':').nth(3).is_some_and(|list| list.split(',').any(|one| one == name));
    let lines = read(rootfs, GROUP)?;
    let groups = lines.iter().filter(is_member).filter_map(|line| id(line.split(':').nth(2)));
    Ok(Account { uid, gid, groups: groups.filter(|group| *group != gid).take(MOST_GROUPS).collect() })
}

/// Looks up a group of the container.
///
/// # Errors
/// As [`user`].
pub fn group(rootfs: &Rootfs, name: &str) -> Result<u32> {
    let is_it = |line: &String| if line.split(':').next() == Some(name) { id(line.split(':').nth(2)) } else { None };
    read(rootfs, GROUP)?.iter().find_map(is_it).ok_or_else(|| missing("group", name, "group"))
}

fn missing(what: &str, name: &str, file: &str) -> Error {
    Error::new(format!("unable to find {what} {name}: no matching entries in {file} file"))
}

/// The largest number stands for none.
fn id(field: Option<&str>) -> Option<u32> {
    field.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok().filter(|id| *id != u32::MAX)
}

/// The lines of a file; none, where there is no such file.
fn read(rootfs: &Rootfs, path: &CStr) -> Result<Vec<String>> {
    let what = || format!("read {path:?} of the container");
    let file = match open(rootfs, path) {
        Ok(Some(file)) => file,
        Ok(None) | Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => return Ok(Vec::new()),
        Err(errno) => return Err(errno).what(what),
    };
    let mut bytes = Vec::new();
    File::from(file).take(LONGEST).read_to_end(&mut bytes).what(what)?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

/// The file, if it is one that stores what it shows: read with ferrun's rights, /proc/kmsg would take the host's
/// kernel log away. It is looked at before it is opened, since that alone may have an effect, and once more after.
pub fn open(rootfs: &Rootfs, path: &CStr) -> nix::Result<Option<OwnedFd>> {
    let Some(found) = stored(&rootfs.find(path)?)? else { return Ok(None) };
    let file = rootfs.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
    Ok((stored(&file)? == Some(found)).then_some(file))
}

/// Device and inode of a regular file on a file system that stores files. A FUSE server could do anything.
fn stored(file: &OwnedFd) -> nix::Result<Option<(u64, u64)>> {
    let stat = fstat(file)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Ok(None);
    }
    let found = fstatfs(file)?;
    let is_stored = !is_kernels_own(&found) && found.filesystem_type() != FUSE_SUPER_MAGIC;
    Ok(is_stored.then_some((stat.st_dev, stat.st_ino)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn only_file_systems_that_store_files_count() {
        let stored = |path: &str| {
            let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).unwrap();
            super::stored(&OwnedFd::from(file)).unwrap().is_some()
        };
        assert!(stored(std::env::current_exe().unwrap().to_str().unwrap()));
        for path in ["/proc/version", "/sys/kernel/notes", "/proc/self/ns/mnt", "/dev/null", "/proc", "/"] {
            assert!(!stored(path), "{path}");
        }
    }
}
