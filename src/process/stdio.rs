//! The standard streams of the container.

use std::fmt;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{Uid, fchown};

use crate::error::{Context, Error, Result};
use crate::rootfs::Rootfs;
use crate::rootfs::devices::is_null;
use crate::sys::fd::{self, Stream};

/// Fits the three streams to the container: what is the host's /dev/null becomes the container's, open
/// for both directions (callers open it one way only); files that are open for writing, pipes and sockets become the
/// user's, so that the program may open /dev/stdout again, and so does the container's own terminal.
#[derive(PartialEq)]
pub struct Stdio {
    /// The user that the program runs as.
    pub uid: u32,
    /// The streams are a terminal that was created for the container.
    pub own_terminal: bool,
}

impl Stdio {
    /// Runs the step, while ferrun may still change owners.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        for stream in Stream::ALL {
            // A caller may have closed it.
            let Ok(stat) = fstat(stream) else { continue };
            if is_null(&stat) {
                let null = match rootfs.open(c"/dev/null", OFlag::O_RDWR | OFlag::O_NOCTTY) {
                    // A container without /dev/null keeps what it was given.
                    Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
                    result => result.what(|| "open /dev/null of the container")?,
                };
                if !is_null(&fstat(&null).what(|| "stat /dev/null of the container")?) {
                    return Err(Error::new("/dev/null of the container is not the null device"));
                }
                fd::duplicate(null, stream).what(|| "reopen /dev/null")?;
            } else if stat.st_uid != self.uid && (self.own_terminal || can_be_given(stream, &stat)) {
                // Not every file can be given away (a pipe of another user namespace, a read-only mount);
                // the program may still use what it has.
                let _ = fchown(stream, Some(Uid::from_raw(self.uid)), None);
            }
        }
        Ok(())
    }
}

impl fmt::Display for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("own the streams, reopen /dev/null")
    }
}

/// Whether a stream may be given to the container's user. Devices and directories belong to the host for longer than
/// the container lives: the terminal that ferrun runs in, a disk, /dev/null. The owner of a file could write to it,
/// although it was opened for reading alone.
pub(super) fn can_be_given(stream: impl AsFd, stat: &FileStat) -> bool {
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFSOCK => true,
        libc::S_IFREG => fcntl(stream, FcntlArg::F_GETFL).is_ok_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY),
        _ => false,
    }
}
