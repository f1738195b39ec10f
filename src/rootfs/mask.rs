//! Paths that the container shall not see, and paths that it shall not write to.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::Rootfs;
use super::devices::is_null;
use crate::error::{Context, Error, Result};
use crate::sys::file::is_directory;
use crate::sys::mount::{self, MountAttr, attr};

/// Hides a path: an empty directory over a directory, the null device over a file. A path that is not
/// there needs no mask.
#[derive(PartialEq)]
pub struct Mask {
    /// The path.
    pub path: CString,
    /// The SELinux context of the empty directory: the program may look into it as into another.
    pub label: Option<CString>,
}

impl Mask {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let target = match rootfs.find(&self.path) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            result => result.what(|| format!("mask {self}"))?,
        };
        rootfs.refuse_useless(&target, || format!("mask {:?}", self.path), true)?;
        let is_directory = is_directory(&target).what(|| format!("stat {self}"))?;
        let cover = match is_directory {
            true => empty_directory(rootfs, self.label.as_deref()).what(|| format!("mask {self}"))?,
            false => mount::clone_tree(null_device(rootfs)?, false).what(|| "mask with /dev/null")?,
        };
        rootfs.attach(&cover, &target, &self.path)?;
        if is_directory {
            rootfs.empty.get_or_init(|| cover);
        }
        Ok(())
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.path.to_string_lossy())
    }
}

/// The container's null device, which is looked up once and verified: an image may bring a link or another
/// device of that name (CVE-2025-31133).
fn null_device(rootfs: &Rootfs) -> Result<&OwnedFd> {
    if let Some(found) = rootfs.null.get() {
        return Ok(found);
    }
    let null = rootfs.find(c"/dev/null").what(|| "mask with /dev/null of the container")?;
    match is_null(&fstat(&null).what(|| "stat /dev/null of the container")?) {
        true => Ok(rootfs.null.get_or_init(|| null)),
        false => Err(Error::new("the container's /dev/null is not the null device")),
    }
}

/// The file system that hides directories, one for all of them. The first directory is covered by itself and
/// the others by copies of it: before Linux 6.15 a mount can be copied only once it is attached.
fn empty_directory(rootfs: &Rootfs, label: Option<&CStr>) -> nix::Result<OwnedFd> {
    match rootfs.empty.get() {
        Some(attached) => mount::clone_tree(attached, false),
        None => empty_file_system(label),
    }
}

/// A detached file system that holds nothing and can hold nothing.
fn empty_file_system(label: Option<&CStr>) -> nix::Result<OwnedFd> {
    let context = mount::fsopen(c"tmpfs")?;
    mount::fsconfig_string(&context, c"source", c"tmpfs")?;
    mount::fsconfig_string(&context, c"nr_inodes", c"1")?;
    if let Some(label) = label {
        mount::fsconfig_string(&context, c"context", label)?;
    }
    mount::fsconfig_create(&context)?;
    mount::fsmount(&context, attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)
}

/// Makes a path and what is mounted below it read-only. A path that is not there is left alone.
#[derive(PartialEq)]
pub struct ReadOnlyPath(pub CString);

impl ReadOnlyPath {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let target = match rootfs.find(&self.0) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            result => result.what(|| format!("make {self} read-only"))?,
        };
        rootfs.refuse_useless(&target, || format!("make {:?} read-only", self.0), false)?;
        let copy = mount::clone_tree(&target, true).what(|| format!("bind {self}"))?;
        let change = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
        mount::mount_setattr(&copy, true, &change).what(|| format!("make {self} read-only"))?;
        rootfs.attach(&copy, &target, &self.0)
    }
}

impl fmt::Display for ReadOnlyPath {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}
