//! The socket between parent and init. Its closing is a hint: the init closes its end when it is set up and code of the
//! image can look, else when it executes the program, or when it dies; the parent's closes when ferrun dies.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::cgroup::directory::Directory;
use crate::cgroup::freezer;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fd::{receive, send_with};

const MOUNTED: u8 = b'm';
const RELEASED: u8 = b'g';
const SOURCE: u8 = b's';

/// One end.
pub struct Channel<'a> {
    socket: OwnedFd,
    /// What the parent watches beside its end.
    parent: Option<Parent<'a>>,
}

/// What the parent watches beside its end.
struct Parent<'a> {
    /// What ends the waiting.
    interrupt: Option<BorrowedFd<'a>>,
    /// The init: others may keep its end of the channel open when it is dead.
    init: Cell<Option<BorrowedFd<'a>>>,
    /// The init's cgroups: what is frozen says nothing.
    cgroup: &'a [Directory],
}

/// How many milliseconds nothing happens before the parent looks around, and how often it does so before it looks for
/// a frozen cgroup.
const PATIENCE: u8 = 100;
const LOOKS: u32 = 100;

/// What ends a sleep.
enum Woken<'a> {
    /// Something at the other end, or what was looked for.
    Message,
    /// The init is dead.
    Dead,
    /// Ferrun is to end.
    Interrupted,
    /// The init's cgroup is frozen.
    Frozen(&'a str),
}

/// Why nothing is received.
enum Unheard<'a> {
    Interrupted,
    Frozen(&'a str),
    Kernel(Errno),
    /// The question that is asked meanwhile has failed.
    Asked(Error),
}

impl From<Errno> for Unheard<'_> {
    fn from(errno: Errno) -> Self {
        Unheard::Kernel(errno)
    }
}

impl Unheard<'_> {
    fn error(self) -> Error {
        const WHAT: &str = "hear from the container's first process";
        match self {
            Unheard::Interrupted => Error::new(WHAT).of_kind(ErrorKind::Interrupted),
            Unheard::Frozen(path) => freezer::unexpectedly_frozen(path),
            Unheard::Kernel(errno) => Error::os(WHAT, errno),
            Unheard::Asked(error) => error,
        }
    }
}

/// What the parent hears.
pub enum FromInit {
    /// The mounts are made.
    Mounted,
    /// The init is set up, executed the program, or died.
    Closed,
}

/// The parent's end and the init's. Waiting at the first ends with an error when `interrupt` is readable, and
/// where one of the init's cgroups is frozen.
pub fn pair<'a>(interrupt: Option<BorrowedFd<'a>>, cgroup: &'a [Directory]) -> Result<(Channel<'a>, Channel<'static>)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .what(|| "make the channel to the container's first process")?;
    let parent = Parent { interrupt, init: None.into(), cgroup };
    Ok((Channel { socket: ours, parent: Some(parent) }, Channel { socket: theirs, parent: None }))
}

impl<'a> Channel<'a> {
    /// The parent watches the init, once there is one, and the process that it goes on in.
    pub fn watch(&self, init: BorrowedFd<'a>) {
        self.parent.iter().for_each(|parent| parent.init.set(Some(init)));
    }
}

impl Channel<'_> {
    fn send(&self, message: &[u8]) -> nix::Result<()> {
        send(self.socket.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL).map(drop)
    }

    fn receive_into(&self, buffer: &mut [u8]) -> std::result::Result<usize, Unheard<'_>> {
        self.receive_with(buffer, MsgFlags::empty())
    }

    fn receive_with(&self, buffer: &mut [u8], flags: MsgFlags) -> std::result::Result<usize, Unheard<'_>> {
        let at_once = if self.parent.is_some() { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
        loop {
            match recv(self.socket.as_raw_fd(), buffer, flags | at_once) {
                Err(Errno::EAGAIN) => match self.sleep(PollFlags::POLLIN, &mut || Ok(false))? {
                    Woken::Message => {}
                    // What it had still to say has come before.
                    Woken::Dead => return Ok(0),
                    Woken::Interrupted => return Err(Unheard::Interrupted),
                    Woken::Frozen(path) => return Err(Unheard::Frozen(path)),
                },
                // ECONNRESET: the other end died with something of ours unread. It is told once, and before
                // what that end had still to say.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Waits for something at the other end, for the interrupt, which does not undo what has already come, or for the
    /// init's death. Every now and then asks `look` whether there is nothing to wait for any more.
    fn sleep(
        &self,
        wanted: PollFlags,
        look: &mut dyn FnMut() -> Result<bool>,
    ) -> std::result::Result<Woken<'_>, Unheard<'_>> {
        let socket = self.socket.as_fd();
        let (interrupt, init) =
            self.parent.as_ref().map_or((None, None), |parent| (parent.interrupt, parent.init.get()));
        // In place of what is not there.
        let other = interrupt.or(init).unwrap_or(socket);
        let none = if interrupt.or(init).is_some() { PollFlags::POLLIN } else { wanted };
        let mut events = [
            PollFd::new(socket, wanted),
            PollFd::new(interrupt.unwrap_or(other), none),
            PollFd::new(init.unwrap_or(other), none),
        ];
        let mut looks = 0;
        loop {
            match poll(&mut events, PATIENCE) {
                Ok(0) if look().map_err(Unheard::Asked)? => return Ok(Woken::Message),
                Ok(0) => {
                    looks += 1;
                    if let Some(path) = Some(looks).filter(|looks| looks % LOOKS == 0).and_then(|_| self.frozen()) {
                        return Ok(Woken::Frozen(path));
                    }
                }
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let came = |event: &PollFd| event.any().unwrap_or(true);
        match () {
            () if came(&events[0]) => Ok(Woken::Message),
            () if interrupt.is_some() && came(&events[1]) => Ok(Woken::Interrupted),
            () => Ok(Woken::Dead),
        }
    }

    fn frozen(&self) -> Option<&str> {
        let directories = self.parent.iter().flat_map(|parent| parent.cgroup);
        directories.into_iter().find_map(|directory| freezer::frozen_at(&directory.path))
    }

    /// The parent lets the init go on. An init that is dead already is found out by [`Channel::receive`].
    pub fn release(&self) -> Result<()> {
        match self.send(&[RELEASED]) {
            Ok(()) | Err(Errno::EPIPE) => Ok(()),
            Err(errno) => Err(errno).what(|| "release the container's first process"),
        }
    }

    /// The parent listens.
    pub fn receive(&self) -> Result<FromInit> {
        let mut message = [0];
        match self.receive_into(&mut message).map_err(Unheard::error)? {
            0 => Ok(FromInit::Closed),
            _ if message == [MOUNTED] => Ok(FromInit::Mounted),
            _ => Err(Error::new("unexpected message of the container's first process")),
        }
    }

    /// The parent sleeps until the init has closed its end, is dead, or has come as far as `look` says: others may keep its
    /// end open.
    pub fn await_close(&self, look: &mut dyn FnMut() -> Result<bool>) -> Result<()> {
        // A hang-up is told without being asked for, and nothing else of the init's wakes this up.
        match self.sleep(PollFlags::empty(), look).map_err(Unheard::error)? {
            Woken::Message | Woken::Dead => Ok(()),
            Woken::Interrupted => Err(Unheard::Interrupted.error()),
            Woken::Frozen(path) => Err(Unheard::Frozen(path).error()),
        }
    }

    /// The init waits for the parent. False: the parent is gone.
    pub fn await_release(&self) -> bool {
        let mut buffer = [0];
        matches!(self.receive_into(&mut buffer), Ok(1)) && buffer[0] == RELEASED
    }

    /// Whether the parent is still there; nothing is waited for.
    pub fn has_parent(&self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        recv(self.socket.as_raw_fd(), &mut [0], flags) == Err(Errno::EAGAIN)
    }

    /// The init asks for the source of its next bind. False: the parent is gone.
    pub fn ask_for_source(&self) -> bool {
        self.send(&[SOURCE]).is_ok()
    }

    /// Waits until the init asks for one. False: it has something else to say, which is left for
    /// [`Channel::receive`].
    pub fn is_asked_for_source(&self) -> bool {
        let mut word = [0];
        let asked = matches!(self.receive_with(&mut word, MsgFlags::MSG_PEEK), Ok(1)) && word[0] == SOURCE;
        asked && self.receive_into(&mut word).is_ok()
    }

    /// The parent gives the init a descriptor.
    pub fn source(&self, source: &OwnedFd) -> nix::Result<()> {
        send_with(&self.socket, &[SOURCE], source).map(drop)
    }

    /// The init takes it. `None`: the parent is gone.
    pub fn take_source(&self) -> io::Result<Option<OwnedFd>> {
        loop {
            match receive(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                result => return result,
            }
        }
    }

    /// The init has made the mounts. False: the parent is gone.
    pub fn mounted(&self) -> bool {
        self.send(&[MOUNTED]).is_ok()
    }
}

impl AsFd for Channel<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
