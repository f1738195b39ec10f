//! The home directory of the container's user, where the config names none.

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, fstatfs};

use crate::rootfs::Rootfs;
use crate::rootfs::stored::is_kernels_own;

/// Longer files of users are read no further.
const LONGEST: u64 = 1024 * 1024;

const PASSWD: &CStr = c"/etc/passwd";

/// Looks up HOME in the container's /etc/passwd (passwd(5)), as runc; a user who is not there has `/`.
#[derive(PartialEq)]
pub struct Home {
    /// The user.
    pub uid: u32,
}

impl Home {
    /// Runs the step: gives the entry of the environment. The file is the image's, so that nothing in it
    /// and nothing about it is a reason to fail.
    pub fn run(&self, rootfs: &Rootfs) -> CString {
        let home = match open(rootfs) {
            Ok(Some(file)) => find(BufReader::new(File::from(file).take(LONGEST)), self.uid),
            Ok(None) | Err(_) => None,
        };
        let entry = home.map(|home| [b"HOME=", home.as_slice()].concat());
        entry.and_then(|entry| CString::new(entry).ok()).unwrap_or_else(|| c"HOME=/".to_owned())
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "HOME of uid {} from /etc/passwd", self.uid)
    }
}

/// The file, if it is one that stores what it shows: read with ferrun's rights, /proc/kmsg would take the host's
/// kernel log away. It is looked at before it is opened, since that alone may have an effect, and once more after.
fn open(rootfs: &Rootfs) -> nix::Result<Option<OwnedFd>> {
    let Some(found) = stored(&rootfs.find(PASSWD)?)? else { return Ok(None) };
    let file = rootfs.open(PASSWD, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
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

/// The sixth field of the first line with this uid.
fn find(mut file: impl BufRead, uid: u32) -> Option<Vec<u8>> {
    // One buffer for all lines.
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let mut fields = line.trim_ascii_end().split(|byte| *byte == b':');
        let number = fields.nth(2).and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
        if number == Some(uid) {
            return fields.nth(2).filter(|home| !home.is_empty()).map(<[u8]>::to_vec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt;

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

    #[test]
    fn the_first_line_of_the_user_counts() {
        let text = "\n# users\nroot:x:0:0:root:/root:/bin/sh\nbroken:x:7\nx:::::/x:\na:x:7:7::/home/a:\n\
                    b:x:7:7::/home/b:\nnone:x:8:8:::\nlast:x:9:9::/l";
        let home = |uid| find(text.as_bytes(), uid).map(|home| String::from_utf8(home).unwrap());
        assert_eq!(home(0).as_deref(), Some("/root"));
        assert_eq!(home(7), None, "a line that is cut short names no home");
        assert_eq!(home(8), None);
        assert_eq!(home(9).as_deref(), Some("/l"));
        assert_eq!(home(1), None);
    }
}
