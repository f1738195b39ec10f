//! The option `tmpcopyup`: a tmpfs begins with what its mount point holds. The tmpfs is still detached
//! while it is filled, so that nothing sees it half full and no path leads there.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, futimens, mkdirat, mknodat, utimensat,
};
use nix::sys::statfs::fstatfs;
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

use super::stored::is_kernels_own;
use crate::error::{Context, Error, Result};
use crate::sys::xattr;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(FILE);
const FILE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK);

/// Copies what is in a directory, with owners, modes, times and extended attributes. Names are used only
/// relative to the descriptor of their directory, and no link is followed.
pub(super) fn copy_up(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let from = openat(from, c".", DIRECTORY, Mode::empty()).what(|| "open the mount point")?;
    let to = openat(to, c".", DIRECTORY, Mode::empty()).what(|| "open the new tmpfs")?;
    // The top's own mode and owner are options of the tmpfs.
    copy_attributes(&from, &to).what(|| "copy extended attributes of the mount point")?;
    // A list, and no recursion: the image decides how deep its directories are. Each keeps its descriptors, as `..` of
    // one that was moved meanwhile would lead elsewhere.
    let mut open = vec![Directory::open(from, to, None)?];
    while let Some(deepest) = open.last_mut() {
        match deepest.names.pop() {
            Some(name) => {
                let below = copy_entry(&deepest.from, &deepest.to, name)?;
                open.extend(below);
            }
            None => open.pop().map_or(Ok(()), |done| done.finish())?,
        }
    }
    Ok(())
}

/// A directory that is being copied.
struct Directory {
    from: Dir,
    to: OwnedFd,
    /// What is left of it.
    names: Vec<CString>,
    /// Its name and attributes; `None` for the top.
    own: Option<(CString, FileStat)>,
}

impl Directory {
    fn open(from: OwnedFd, to: OwnedFd, own: Option<(CString, FileStat)>) -> Result<Directory> {
        // Whose files have no end, and no contents of their own.
        if is_kernels_own(&fstatfs(&from).what(|| "look at the mount point")?) {
            return Err(Error::new("there is a file system of the kernel's own, which cannot be copied"));
        }
        let mut from = Dir::from_fd(from).what(|| "read the mount point")?;
        let mut names = Vec::new();
        for entry in from.iter() {
            let name = entry.what(|| "read the mount point")?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        Ok(Directory { from, to, names, own })
    }

    /// Times and mode, which what is created in it would change or need.
    fn finish(self) -> Result<()> {
        let Some((name, stat)) = &self.own else { return Ok(()) };
        finish_open(&self.to, stat).what(|| format!("copy {name:?} to the tmpfs"))
    }
}

/// Copies one entry; of a directory only itself.
fn copy_entry(from: &Dir, to: &OwnedFd, name: CString) -> Result<Option<Directory>> {
    let what = || format!("copy {name:?} to the tmpfs");
    let copied = || -> nix::Result<Option<(OwnedFd, OwnedFd, FileStat)>> {
        let name = name.as_c_str();
        let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => {
                let source = openat(from, name, DIRECTORY, Mode::empty())?;
                mkdirat(to, name, Mode::S_IRWXU)?;
                let made = openat(to, name, DIRECTORY, Mode::empty())?;
                return Ok(Some((source, made, stat)));
            }
            libc::S_IFREG => copy_file(from, to, name)?,
            libc::S_IFLNK => {
                let target = readlinkat(from, name)?;
                symlinkat(target.as_os_str(), to, name)?;
                finish(to, name, &stat)?;
            }
            kind => {
                let mode = Mode::from_bits_truncate(stat.st_mode);
                mknodat(to, name, SFlag::from_bits_truncate(kind), mode, stat.st_rdev)?;
                finish(to, name, &stat)?;
            }
        }
        Ok(None)
    };
    let Some((source, made, stat)) = copied().what(what)? else { return Ok(None) };
    copy_attributes(&source, &made).what(what)?;
    Directory::open(source, made, Some((name, stat))).map(Some)
}

fn copy_file(from: &Dir, to: &OwnedFd, name: &CStr) -> nix::Result<()> {
    let source = openat(from, name, FILE, Mode::empty())?;
    let stat = fstat(&source)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Errno::EAGAIN); // replaced since it was looked at
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | FILE;
    let made = openat(to, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let (mut source, mut made) = (File::from(source), File::from(made));
    let code = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    std::io::copy(&mut source, &mut made).map_err(code)?;
    copy_attributes(&source, &made)?;
    finish_open(&made, &stat)
}

fn owner(stat: &FileStat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn times(stat: &FileStat) -> [TimeSpec; 2] {
    [TimeSpec::new(stat.st_atime, stat.st_atime_nsec), TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec)]
}

/// Owner, mode (after the owner, whose change takes set-user-ID bits away) and times.
fn finish_open(made: impl AsFd, stat: &FileStat) -> nix::Result<()> {
    let (uid, gid) = owner(stat);
    fchown(&made, uid, gid)?;
    fchmod(&made, Mode::from_bits_truncate(stat.st_mode))?;
    let [accessed, modified] = times(stat);
    futimens(&made, &accessed, &modified)
}

/// The same for what is not opened: links, whose mode means nothing, and nodes, which were made with theirs.
fn finish(to: &OwnedFd, name: &CStr, stat: &FileStat) -> nix::Result<()> {
    let (uid, gid) = owner(stat);
    fchownat(to, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let [accessed, modified] = times(stat);
    utimensat(to, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
}

/// Those that a tmpfs can have: before Linux 6.6 none of `user.`.
fn copy_attributes(from: impl AsFd, to: impl AsFd) -> nix::Result<()> {
    let names = match xattr::list(&from) {
        Err(Errno::ENOTSUP) => return Ok(()),
        names => names?,
    };
    for name in names {
        match xattr::get(&from, &name).and_then(|value| xattr::set(&to, &name, &value)) {
            Err(Errno::ENOTSUP | Errno::ENODATA) => {}
            result => result?,
        }
    }
    Ok(())
}
