//! Small files in few calls. The standard library's way costs two more each: musl's open sets
//! close-on-exec once again, and the size is asked for, which files of /proc and cgroups do not have.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::unistd;

use super::count;
use super::fd::CWD;

/// Bytes to begin with: nearly every config.json fits.
const ROOM: usize = 32 * 1024;

/// Whether a handle is open on a directory. fstat(2) is for the file system to answer, which a FUSE server may deny to root
/// and a dead one does to all; a path that begins at the handle fails with ENOTDIR before anything is asked.
pub fn is_directory(handle: impl AsFd) -> nix::Result<bool> {
    match fstat(&handle) {
        Ok(stat) => Ok(stat.st_mode & libc::S_IFMT == libc::S_IFDIR),
        Err(_) => match openat(&handle, c".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
            Err(Errno::ENOTDIR) => Ok(false),
            Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EBADF)) => Err(errno),
            _ => Ok(true),
        },
    }
}

/// Opens a file, close-on-exec.
pub fn open(path: &(impl NixPath + ?Sized), access: OFlag) -> nix::Result<OwnedFd> {
    openat(CWD, path, access | OFlag::O_CLOEXEC, Mode::empty())
}

/// What stands in a file.
pub fn read(path: &(impl NixPath + ?Sized)) -> nix::Result<Vec<u8>> {
    read_at(CWD, path)
}

/// The same for a path from a directory.
pub fn read_at(directory: impl AsFd, path: &(impl NixPath + ?Sized)) -> nix::Result<Vec<u8>> {
    open_and_read_at(directory, path).map(|(_, text)| text)
}

/// The same with the file, which stays open.
pub fn open_and_read_at(directory: impl AsFd, path: &(impl NixPath + ?Sized)) -> nix::Result<(OwnedFd, Vec<u8>)> {
    let file = openat(directory, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let text = read_open(&file, usize::MAX)?.unwrap_or_default();
    Ok((file, text))
}

/// Reads an open file to its end. `None`: it has more bytes than `most`.
pub fn read_open(file: impl AsFd, most: usize) -> nix::Result<Option<Vec<u8>>> {
    // Room that is not written to costs nothing, and the allocator takes it back (arena.rs).
    let mut text = Vec::with_capacity(ROOM);
    while read_more(file.as_fd(), &mut text)? {
        if text.len() > most {
            return Ok(None);
        }
        if text.len() == text.capacity() {
            text.reserve(text.len());
        }
    }
    text.shrink_to_fit();
    Ok(Some(text))
}

/// Reads behind what is there, as much as there is room for. False: that was the end.
fn read_more(file: BorrowedFd, text: &mut Vec<u8>) -> nix::Result<bool> {
    let room = text.spare_capacity_mut();
    // SAFETY: the kernel writes at most as many bytes as there is room for.
    let length = unsafe { libc::read(file.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
    match count(length) {
        Ok(length) => {
            // SAFETY: these have just been written.
            unsafe { text.set_len(text.len() + length) };
            Ok(length > 0)
        }
        Err(Errno::EINTR) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Writes to a file that must be there, in one piece, as files of /proc and cgroups want it.
pub fn write(path: &(impl NixPath + ?Sized), value: &[u8]) -> nix::Result<()> {
    unistd::write(open(path, OFlag::O_WRONLY)?, value).map(drop)
}

/// The same below another root directory, out of which nothing leads.
pub fn write_below(root: Option<BorrowedFd>, path: &str, value: &[u8]) -> nix::Result<()> {
    let Some(root) = root else { return write(path, value) };
    let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let file = openat2(root, path, how)?;
    unistd::write(file, value).map(drop)
}

/// Whether the working directory has a path from the root directory: getcwd(2). One outside of the root has
/// "(unreachable)" in its place, which begins with no slash (Linux 2.6.36), and one that was removed has none.
pub fn is_working_directory_reachable() -> bool {
    // No path is longer for the kernel.
    let mut path = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most as many bytes as there is room for.
    let written = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    written > 0 && path[0] == b'/'
}

/// `SYS_fchmodat2`, which the libc crate does not have for every target; the number is the same on all but alpha.
const SYS_FCHMODAT2: libc::c_long = 452;

/// Changes the mode of the file that a handle (O_PATH) is open on: fchmodat2(2), Linux 6.6.
pub fn change_mode(handle: impl AsFd, mode: Mode) -> nix::Result<()> {
    let (handle, path) = (handle.as_fd().as_raw_fd(), c"".as_ptr());
    // SAFETY: the path is the empty NUL-terminated string; only integers are passed beside it.
    super::check(unsafe { libc::syscall(SYS_FCHMODAT2, handle, path, mode.bits(), libc::AT_EMPTY_PATH) }).map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_mode_of_a_handle_is_changed() {
        use super::*;
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("ferrun-mode-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let handle = openat(CWD, &path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let changed = change_mode(&handle, Mode::from_bits_truncate(0o4611));
        let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
        std::fs::remove_file(path).unwrap();
        assert!(changed == Err(Errno::ENOSYS) || changed == Ok(()) && mode == 0o4611, "{changed:?} {mode:o}");
    }

    #[test]
    fn files_of_any_length_are_read_whole() {
        let path = std::env::temp_dir().join(format!("ferrun-file-{}", std::process::id()));
        for length in [0, 1, 4095, 4096, 4097, 70_000] {
            let text: Vec<u8> = (0..length).map(|n: u32| n as u8).collect();
            std::fs::write(&path, &text).unwrap();
            assert_eq!(super::read(&path).unwrap(), text, "{length}");
        }
        super::write(&path, b"xyz").unwrap();
        assert_eq!(&super::read(&path).unwrap()[..3], b"xyz");
        std::fs::remove_file(path).unwrap();
        assert!(super::write(std::path::Path::new("/nowhere/x"), b"").is_err());
    }
}
