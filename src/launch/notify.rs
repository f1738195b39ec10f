//! NOTIFY_SOCKET: a container's program may tell a service manager that it is ready, sd_notify(3). It has a
//! socket of its own for that, and ferrun passes on the one word that counts, with the pid of whoever said it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstatat, mkdirat, umask};
use nix::unistd::{Pid, UnlinkatFlags, pipe2, unlinkat};

use crate::error::{Context, Result};
use crate::sys::fd;
use crate::sys::socket::through;

/// The directory of the socket, in that of the state.
pub const DIRECTORY: &str = "notify";
/// The socket, from there.
pub const SOCKET: &str = "notify/notify.sock";
/// How long the manager may take to have understood: then it knows of no BARRIER.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that are taken at once: a program that never stops telling keeps ferrun from nothing else.
const AT_ONCE: usize = 64;

/// The manager's socket, if there is a manager that wants to hear.
pub fn wanted() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())
}

/// Makes the directory that is mounted, for any user of the container.
pub fn make_directory(state: impl AsFd) -> Result<()> {
    let mode = Mode::from_bits_truncate(0o755);
    mkdirat(&state, DIRECTORY, mode).what(|| format!("mkdir {DIRECTORY:?} for NOTIFY_SOCKET"))?;
    // Whatever the umask.
    fchmodat(&state, DIRECTORY, mode, FchmodatFlags::FollowSymlink)
        .what(|| format!("chmod {DIRECTORY:?} for NOTIFY_SOCKET"))
}

/// Whether a state directory has one.
pub fn has_directory(state: impl AsFd) -> Result<bool> {
    match fstatat(state, DIRECTORY, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(false),
        there => Ok(there.what(|| "look for the directory of NOTIFY_SOCKET")?.st_mode & libc::S_IFMT == libc::S_IFDIR),
    }
}

/// A socket that the container's program tells its state on.
pub struct Notify {
    socket: UnixDatagram,
    host: SocketAddr,
}

impl Notify {
    /// Listens for the program; `host` is the manager's socket. The path of the state directory is for errors.
    pub fn listen(state: impl AsFd, path: &Path, host: &OsStr) -> Result<Notify> {
        let path = path.join(SOCKET);
        // The root and the id may be longer than an address.
        let short = through(&state).join(SOCKET);
        // One that a killed ferrun left.
        let _ = unlinkat(&state, SOCKET, UnlinkatFlags::NoRemoveDir);
        // Of any user from the beginning: in a user namespace the container may mount its directory writable, and a mode
        // that is set later could be that of another file.
        let own = umask(Mode::empty());
        let bound = UnixDatagram::bind(short);
        umask(own);
        let socket = bound.what(|| format!("make the socket {path:?}"))?;
        socket.set_nonblocking(true).what(|| format!("open {path:?}"))?;
        let address = match host.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(PathBuf::from(host)),
        };
        Ok(Notify { socket, host: address.what(|| format!("NOTIFY_SOCKET {host:?}"))? })
    }

    /// Takes what there is, and tells the manager if the program is ready. True: so it is, or nobody hears of it.
    pub fn pass_on(&self, process: Pid) -> bool {
        let mut message = [0; 4096];
        for _ in 0..AT_ONCE {
            let Ok(length) = self.socket.recv(&mut message) else { return false };
            if message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                let _ = self.manager().and_then(|manager| {
                    manager.send(b"READY=1\n")?;
                    manager.send(format!("MAINPID={process}\n").as_bytes())
                });
                return true;
            }
        }
        false
    }

    /// Waits until the program is ready and the manager knows, or until the program has ended. For a ferrun
    /// that ends then: of a sender that is gone, a manager does not know whose it was.
    pub fn wait(&self, process: Pid, descriptor: BorrowedFd) {
        loop {
            let mut events = [PollFd::new(self.as_fd(), PollFlags::POLLIN), PollFd::new(descriptor, PollFlags::POLLIN)];
            match poll(&mut events, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            if self.pass_on(process) {
                let _ = self.barrier();
                return;
            }
            if events[1].any().unwrap_or(true) {
                return;
            }
        }
    }

    /// The manager's socket, which may have no room just now.
    fn manager(&self) -> std::io::Result<UnixDatagram> {
        let manager = UnixDatagram::unbound()?;
        manager.set_write_timeout(Some(PATIENCE))?;
        manager.connect_addr(&self.host)?;
        Ok(manager)
    }

    /// A descriptor that the manager closes when it has understood all before: sd_notify_barrier(3).
    fn barrier(&self) -> std::io::Result<()> {
        let (closed, end) = pipe2(OFlag::O_CLOEXEC)?;
        fd::send_with(&self.manager()?, b"BARRIER=1", &end)?;
        drop(end);
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        poll(&mut [PollFd::new(closed.as_fd(), PollFlags::empty())], patience)?;
        Ok(())
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
