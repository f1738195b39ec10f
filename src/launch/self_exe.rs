//! The binary can be neither overwritten nor executed by a container.
//!
//! A process in the container can open /proc/PID/exe of a ferrun that is about to execute something
//! there, and write to it once ferrun has exited (CVE-2019-5736). So `create` and `run` first execute
//! themselves from a detached, read-only copy of their own mount, which they then make noexec: nothing
//! is copied, and the mount is gone with the last process that runs from it.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;

use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{fstat, stat};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::program::execute_file;

const SELF: &std::ffi::CStr = c"/proc/self/exe";

/// Tells the second ferrun which descriptor the mount is that it runs from.
const COPY: &str = "FERRUN_COPY";

/// Closes what the caller left open but for the standard streams and `preserved` descriptors after them: a
/// path such as /proc/self/fd/7 in an image must not lead anywhere (CVE-2024-21626).
pub fn close_others(preserved: u32) -> Result<()> {
    sys::fd::close_from(3 + preserved).what(|| "close the descriptors that the caller left open")
}

/// Executes ferrun again from where it cannot be written, unless it already runs from there. To be called
/// as early as can be: what the first ferrun does is done once more by the second.
///
/// # Errors
/// A kernel that permits neither a detached mount nor a sealed memfd; returns only in the second ferrun.
pub fn execute_sealed() -> Result<()> {
    let place = statvfs(SELF).what(|| "look at ferrun's own binary")?;
    if place.flags().contains(FsFlags::ST_RDONLY) {
        return forbid_execution();
    }
    // Only a ferrun that was executed by another can be.
    if std::env::var_os(COPY).is_some() && is_sealed() {
        // Without an execute bit it can be executed by nobody any more.
        let mode = std::fs::Permissions::from_mode(0o400);
        return std::fs::set_permissions("/proc/self/exe", mode).what(|| "forbid execution of ferrun's own binary");
    }
    let copy = read_only_mount().or_else(|_| sealed_copy())?;
    let args: Vec<CString> = std::env::args_os().filter_map(|text| CString::new(text.into_vec()).ok()).collect();
    let told = CString::new(format!("{COPY}={}", copy.as_raw_fd())).expect("a name and a number");
    Err(Error::os("execute ferrun from where it cannot be written", execute_file(copy, &args, &told)))
}

/// A detached, read-only copy of the mount of ferrun's own binary. Its descriptor outlives the execution.
fn read_only_mount() -> Result<OwnedFd> {
    let copy = mount::open_tree(CWD, SELF, mount::OPEN_TREE_CLONE).what(|| "copy the mount of ferrun's own binary")?;
    let read_only = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
    mount::mount_setattr(&copy, false, &read_only).what(|| "make the mount of ferrun's own binary read-only")?;
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty())).what(|| "keep the mount of ferrun's own binary")?;
    Ok(copy)
}

/// Makes that mount noexec and lets go of it: a script with the interpreter /proc/self/exe finds nothing
/// to execute. Where the binary was on a read-only mount from the beginning there is no such descriptor.
fn forbid_execution() -> Result<()> {
    let Some(number) = std::env::var(COPY).ok().and_then(|number| number.parse().ok()) else { return Ok(()) };
    let what = || "forbid execution of ferrun's own binary";
    let (Ok(copy), here) = (sys::fd::inherited(number), stat(SELF).what(what)?) else { return Ok(()) };
    // The variable may be a caller's, from a ferrun before.
    let there = fstat(&copy).what(what)?;
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino) {
        return Ok(());
    }
    let no_execution = MountAttr { set: attr::NOEXEC, ..MountAttr::default() };
    mount::mount_setattr(copy, false, &no_execution).what(what)
}

/// A copy in memory that nothing can change any more, where mounts are not permitted.
fn sealed_copy() -> Result<OwnedFd> {
    let copy = memfd_create(c"ferrun", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING);
    let copy = copy.what(|| "make a memory file for ferrun's own binary")?;
    let mut file = File::from(copy);
    let binary = std::fs::read("/proc/self/exe").what(|| "read ferrun's own binary")?;
    file.write_all(&binary).what(|| "copy ferrun's own binary")?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals())).what(|| "seal the copy of ferrun's own binary")?;
    Ok(file.into())
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

/// Whether this runs from such a copy: its link in /proc says so, and only then is the file looked at.
fn is_sealed() -> bool {
    let from_memory = std::fs::read_link("/proc/self/exe")
        .is_ok_and(|path| path.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"));
    let flags = |file: File| fcntl(&file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
    from_memory && File::open("/proc/self/exe").is_ok_and(|file| flags(file).is_ok_and(|flags| flags.contains(seals())))
}
