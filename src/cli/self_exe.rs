//! Self-protection: ferrun re-executes itself from a detached read-only mount, so that no container can
//! overwrite or execute the binary.
//!
//! A process in the container can open /proc/PID/exe of a ferrun that is about to execute something there,
//! and write to it once ferrun has exited (CVE-2019-5736). So `create`, `run`, `exec` and `demo` first execute
//! themselves from a detached, read-only copy of their own mount, which they then make noexec: nothing
//! is copied, and the mount is gone with the last process that runs from it. Where mounts are not permitted,
//! a sealed memory file takes its place.
//!
//! Only this re-execution counts. A binary on a read-only mount is not protected: it can be executed, and
//! the host may remount it. [`COPY`] only says where to look; the kernel's answers are the proof.

use std::ffi::{CStr, CString};
use std::fs::{File, Permissions, read_link, set_permissions};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr, MountedFile, attr};
use crate::sys::program::{COPY, execute_file};
use crate::sys::start::arguments;

const SELF: &CStr = c"/proc/self/exe";
const SELF_PATH: &str = "/proc/self/exe";

/// Closes the descriptors that the caller left open, except the standard streams, `preserved` after them, and `named` ones: a
/// path such as /proc/self/fd/7 in an image must not lead anywhere (CVE-2024-21626).
pub fn close_others(preserved: u32, named: &[RawFd]) -> Result<()> {
    sys::fd::close_inherited_from(3 + preserved, named).what(|| "close the descriptors that the caller left open")
}

/// Closes what [`protect`] has left open, in a command that needs no protection: an id or a value looked like one that does.
/// A variable of the caller's that names no copy means nothing here.
pub fn leave_copy() {
    if let Some(descriptor) = own_copy() {
        let _ = finish(descriptor);
    }
}

/// Re-executes ferrun from a read-only mount, unless this process has just done so. Call it as early as
/// possible: the second ferrun repeats everything that the first one did before.
///
/// The release binary does so before anything else, where it can (sys/entry.rs).
///
/// # Errors
/// A kernel that permits neither a detached mount nor a sealed memory file; a second ferrun that runs from
/// neither, which does not try again. Returns `Ok` only in the second ferrun.
pub fn protect() -> Result<()> {
    if let Some(descriptor) = own_copy() {
        return finish(descriptor);
    }
    let mount = match read_only_mount() {
        Ok(copy) => execute(&copy),
        Err(error) => error,
    };
    let memory = match sealed_memory() {
        Ok(copy) => execute(&copy),
        Err(error) => error,
    };
    let error = mount.note(memory.to_string());
    Err(memory.hint.into_iter().fold(error, Error::hint))
}

/// The descriptor of the mount, if this process has re-executed itself. An inherited variable names
/// another process.
fn own_copy() -> Option<RawFd> {
    let value = std::env::var(COPY).ok()?;
    let (process, descriptor) = value.split_once(':')?;
    let process: u32 = process.parse().ok()?;
    if process == std::process::id() { descriptor.parse().ok() } else { None }
}

/// Executes ferrun from a copy of its binary; returns only the error.
fn execute(copy: &OwnedFd) -> Error {
    let args: Vec<CString> = arguments().into_iter().filter_map(|text| CString::new(text.into_vec()).ok()).collect();
    let entry = format!("{COPY}={}:{}", std::process::id(), copy.as_raw_fd());
    let entry = CString::new(entry).expect("a name and two numbers");
    Error::os("execute the protected copy of ferrun's own binary", execute_file(copy, &args, &entry))
}

/// A detached, read-only copy of the mount of ferrun's own binary. Its descriptor survives the execution.
fn read_only_mount() -> Result<OwnedFd> {
    let copy = mount::open_tree(CWD, SELF, mount::OPEN_TREE_CLONE).what(|| "copy the mount of ferrun's own binary")?;
    let read_only = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
    mount::mount_setattr(&copy, false, &read_only).what(|| "make the mount of ferrun's own binary read-only")?;
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty())).what(|| "keep the mount of ferrun's own binary")?;
    Ok(copy)
}

/// Checks that this process runs from the copy, and forbids its execution: a script with the interpreter
/// /proc/self/exe then fails.
fn finish(descriptor: RawFd) -> Result<()> {
    let link = read_link(SELF_PATH).what(|| "read the link to ferrun's own binary")?;
    if is_detached(&link) {
        return forbid_execution(descriptor);
    }
    if link.as_os_str().as_encoded_bytes().starts_with(b"/memfd:") && is_sealed()? {
        // Without an execute bit nobody can execute it any more.
        let mode = Permissions::from_mode(0o400);
        return set_permissions(SELF_PATH, mode).what(|| "forbid execution of ferrun's own binary");
    }
    Err(unproven(&format!("{link:?} is neither a detached mount nor a sealed memory file")))
}

fn unproven(reason: &str) -> Error {
    Error::new(format!("re-execute ferrun from a read-only mount: {reason}")).hint(format!("unset {COPY}"))
}

/// Whether a link of /proc leads to the root of a detached mount. d_path() begins at that root, so nothing
/// comes before the slash; an attached mount of a file has the name that it is attached on.
fn is_detached(link: &Path) -> bool {
    // The suffix is the kernel's if the binary has been unlinked, but it could be a name in the root directory.
    link == Path::new("/") || (link == Path::new("/ (deleted)") && matches!(link.try_exists(), Ok(false)))
}

/// Makes the mount noexec and closes its descriptor. Until it is proven to be the mount that this process runs
/// from, the descriptor is the caller's and must stay as it is. mount_setattr(2) itself accepts only the root of
/// a mount (EINVAL): never the host's mount that has ferrun somewhere in it.
fn forbid_execution(descriptor: RawFd) -> Result<()> {
    let what = || "compare ferrun's own binary with the mount for it";
    let here = MountedFile::at(SELF).what(what)?;
    if MountedFile::of_descriptor(descriptor).what(what)? != here {
        return Err(unproven(&format!("descriptor {descriptor} is another file or mount")));
    }
    let what = || "forbid execution of ferrun's own binary";
    let copy = sys::fd::take_inherited(descriptor).what(what)?;
    let no_execution = MountAttr { set: attr::RDONLY | attr::NOEXEC, ..MountAttr::default() };
    mount::mount_setattr(copy, false, &no_execution).what(what)
}

/// A copy in memory that nothing can change any more.
fn sealed_memory() -> Result<OwnedFd> {
    let mut file = File::from(executable_memory()?);
    let binary = std::fs::read(SELF_PATH).what(|| "read ferrun's own binary")?;
    file.write_all(&binary).what(|| "copy ferrun's own binary")?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals())).what(|| "seal the copy of ferrun's own binary")?;
    Ok(file.into())
}

/// A new memory file whose execution is allowed, whatever vm.memfd_noexec=1 makes of others.
fn executable_memory() -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let executable = flags | MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let file = match memfd_create(c"ferrun", executable) {
        Err(Errno::EINVAL) => memfd_create(c"ferrun", flags), // MFD_EXEC: Linux 6.3
        result => result,
    };
    let file = file.what(|| "create a memory file for ferrun's own binary");
    file.map_err(|error| if memory_is_never_executable() { error.hint(NO_EXECUTABLE_MEMORY) } else { error })
}

const NO_EXECUTABLE_MEMORY: &str = "set vm.memfd_noexec to 1 or 0: 2 forbids executable memory files";

/// Whether the sysctl of this pid namespace denies MFD_EXEC (with EACCES).
fn memory_is_never_executable() -> bool {
    std::fs::read("/proc/sys/vm/memfd_noexec").is_ok_and(|value| value.starts_with(b"2"))
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

/// Whether ferrun's own binary has all seals, which only a memory file can have.
fn is_sealed() -> Result<bool> {
    let file = File::open(SELF_PATH).what(|| "open ferrun's own binary")?;
    let flags = fcntl(&file, FcntlArg::F_GET_SEALS).what(|| "read the seals of ferrun's own binary")?;
    Ok(SealFlag::from_bits_truncate(flags).contains(seals()))
}
