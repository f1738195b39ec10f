//! Files that others may have put there: only regular ones are opened, without waiting, and read up to a size.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, lstat, makedev};
use nix::unistd::ftruncate;

use super::fd::CWD;
use super::file;

/// The reason why a file is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The kernel's.
    Kernel(Errno),
    /// A fifo, a device or a socket.
    NotRegular,
    /// A link, which is not followed.
    Link,
    /// More bytes than this.
    LongerThan(usize),
}

impl From<Errno> for Unreadable {
    fn from(errno: Errno) -> Unreadable {
        Unreadable::Kernel(errno)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Unreadable::Kernel(errno) => f.write_str(errno.desc()),
            Unreadable::NotRegular => f.write_str("not a regular file"),
            Unreadable::Link => f.write_str("a symbolic link, which is not followed"),
            Unreadable::LongerThan(most) => write!(f, "longer than {} MiB", most >> 20),
        }
    }
}

/// A file that was read, still open.
#[derive(Debug)]
pub struct Regular {
    /// Its descriptor.
    pub file: OwnedFd,
    /// Its owner and mode.
    pub stat: FileStat,
    /// Its contents.
    pub text: Vec<u8>,
}

/// Reads a regular file. `flags` are O_NOFOLLOW or none.
pub fn read(
    directory: impl AsFd,
    path: &(impl NixPath + ?Sized),
    flags: OFlag,
    most: usize,
) -> Result<Regular, Unreadable> {
    // A fifo would be waited for; a terminal could become ferrun's own.
    let flags = flags | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = openat(directory, path, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => {}
        libc::S_IFDIR => return Err(Errno::EISDIR.into()),
        _ => return Err(Unreadable::NotRegular),
    }
    if usize::try_from(stat.st_size).is_ok_and(|size| size > most) {
        return Err(Unreadable::LongerThan(most));
    }
    // It may grow meanwhile.
    let text = file::read_open(&file, most)?.ok_or(Unreadable::LongerThan(most))?;
    Ok(Regular { file, stat, text })
}

/// Creates a file, or empties one that is there, to be read and appended to by its owner alone. Neither a link is
/// followed nor another kind of file opened: in a directory such as /tmp anybody may have put it there.
pub fn create(path: &(impl NixPath + ?Sized)) -> Result<File, Unreadable> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_NOFOLLOW;
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = openat(CWD, path, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|errno| match errno {
        Errno::ELOOP if is_link(path) => Unreadable::Link,
        errno => errno.into(),
    })?;
    let stat = fstat(&file)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == makedev(1, 3) {
        // Nothing can be in /dev/null.
        return Ok(file.into());
    }
    // Another name of a file elsewhere is as good as a link.
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG || stat.st_nlink > 1 {
        return Err(Unreadable::NotRegular);
    }
    ftruncate(&file, 0)?;
    Ok(file.into())
}

/// Whether its last part is one.
fn is_link(path: &(impl NixPath + ?Sized)) -> bool {
    lstat(path).is_ok_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFLNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_up_to_a_size_are_read() {
        let place = std::env::temp_dir().join(format!("ferrun-regular-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let read = |name: &str| read(CWD, &place.join(name), OFlag::O_NOFOLLOW, 1 << 20).map(|regular| regular.text);
        std::fs::write(place.join("exact"), vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(read("exact").unwrap().len(), 1 << 20);
        std::fs::write(place.join("long"), vec![b'x'; (1 << 20) + 1]).unwrap();
        assert_eq!(read("long"), Err(Unreadable::LongerThan(1 << 20)));
        nix::unistd::mkfifo(&place.join("fifo"), Mode::S_IRWXU).unwrap();
        assert_eq!(read("fifo"), Err(Unreadable::NotRegular));
        assert_eq!(read("."), Err(Unreadable::Kernel(Errno::EISDIR)));
        assert_eq!(read("/dev/zero"), Err(Unreadable::NotRegular));
        std::os::unix::fs::symlink("exact", place.join("link")).unwrap();
        assert_eq!(read("link"), Err(Unreadable::Kernel(Errno::ELOOP)));
        assert_eq!(read("none"), Err(Unreadable::Kernel(Errno::ENOENT)));
        std::fs::remove_dir_all(place).unwrap();
    }
}
