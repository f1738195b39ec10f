//! Descriptors by number: those that the caller of ferrun handed over.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check;

/// What names the working directory to the `*at` calls.
pub const CWD: BorrowedFd<'static> = {
    // SAFETY: AT_FDCWD is no descriptor that could be closed; every `*at` call knows it.
    unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) }
};

/// One of the standard streams, which no `OwnedFd` owns.
#[derive(Clone, Copy)]
pub enum Stream {
    /// Standard input.
    Input = 0,
    /// Standard output.
    Output = 1,
    /// Standard error.
    Error = 2,
}

impl Stream {
    /// All of them.
    pub const ALL: [Stream; 3] = [Stream::Input, Stream::Output, Stream::Error];
}

/// Puts a copy of a descriptor in the place of a stream: dup2(2). It is not close-on-exec.
pub fn duplicate(from: impl AsFd, to: Stream) -> nix::Result<()> {
    // SAFETY: `from` is open; what was at `to`, which no `OwnedFd` owns, is replaced.
    check(unsafe { libc::dup2(from.as_fd().as_raw_fd(), to as RawFd) }.into()).map(drop)
}

/// The same by dup3(2), for two different numbers.
pub fn duplicate3(from: impl AsFd, to: Stream) -> nix::Result<()> {
    // SAFETY: as above.
    check(unsafe { libc::dup3(from.as_fd().as_raw_fd(), to as RawFd, 0) }.into()).map(drop)
}

/// Closes every descriptor from `first` on: close_range(2). To be called before ferrun opens any.
pub fn close_from(first: u32) -> nix::Result<()> {
    // SAFETY: only integers are passed. What is closed was inherited, and no `OwnedFd` owns it.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Closes every descriptor but those of the list: close_range(2) for each gap of it.
///
/// For a process that was just forked and goes on with what the list names alone: the owners of all others must
/// neither be used nor dropped any more.
pub fn close_all_but(keep: &[RawFd]) -> nix::Result<()> {
    let mut keep: Vec<u32> = keep.iter().map(|number| number.unsigned_abs()).collect();
    keep.sort_unstable();
    let mut first = 0;
    for number in keep {
        if number > first {
            close_range(first, number - 1)?;
        }
        first = first.max(number + 1);
    }
    close_range(first, u32::MAX)
}

/// close_range(2), Linux 5.9.
fn close_range(first: u32, last: u32) -> nix::Result<()> {
    // SAFETY: only integers are passed; the caller gives up the owners of what is closed.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Closes a descriptor that this process has by its number alone.
pub fn close(number: RawFd) -> nix::Result<()> {
    // SAFETY: only an integer is passed; no `OwnedFd` owns it.
    check(unsafe { libc::close(number) }.into()).map(drop)
}

/// Whether a descriptor of this number is open.
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer; a closed number gives EBADF.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// The open descriptor that was inherited under this number.
///
/// EBADF: nothing is open there, or it is one of the standard streams.
pub fn inherited(number: RawFd) -> nix::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO || !is_open(number) {
        return Err(nix::errno::Errno::EBADF);
    }
    // SAFETY: it is open, and this is called before ferrun opens anything of its own, so nothing owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Marks every descriptor from `first` on close-on-exec: close_range(2), Linux 5.11 for the flag.
pub fn close_on_exec_from(first: u32) -> nix::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: only integers are passed, and no descriptor is closed now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Room for a header and a number, aligned as the header is.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    number: RawFd,
}

/// Sends bytes over a Unix socket, and a descriptor with them: sendmsg(2), SCM_RIGHTS. Gives how many bytes
/// were sent. nix's function wants an allocator that aligns bytes, which ours does not.
pub fn send_with(socket: impl AsFd, bytes: &[u8], descriptor: impl AsFd) -> nix::Result<usize> {
    // SAFETY: all-zero is a valid `cmsghdr` and `msghdr`; their other fields are private in musl's.
    let (mut header, mut message): (libc::cmsghdr, libc::msghdr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    // SAFETY: only sizes are computed.
    header.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<RawFd>() as u32) } as _;
    let mut rights = Rights { header, number: descriptor.as_fd().as_raw_fd() };
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = std::ptr::from_mut(&mut rights).cast();
    message.msg_controllen = size_of::<Rights>() as _;
    // SAFETY: `message` and all that it points at outlive the call, which writes to none of it.
    check(unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &message, libc::MSG_NOSIGNAL) } as libc::c_long)
        .map(|sent| sent as usize)
}

/// Receives a descriptor that was sent by [`send_with`] with a few bytes, which are dropped; it is
/// close-on-exec: recvmsg(2). ENOMSG: there came none.
pub fn receive(socket: impl AsFd) -> nix::Result<OwnedFd> {
    let mut bytes = [0u8; 16];
    // SAFETY: all-zero is a valid `cmsghdr`, descriptor number and `msghdr`.
    let (mut rights, mut message): (Rights, libc::msghdr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = std::ptr::from_mut(&mut rights).cast();
    // Not the whole of it, whose padding would take a second number.
    // SAFETY: only sizes are computed.
    message.msg_controllen = unsafe { libc::CMSG_LEN(size_of::<RawFd>() as u32) } as _;
    loop {
        // SAFETY: `message` and all that it points at outlive the call, which writes within the lengths given.
        match check(unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) } as _) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(nix::errno::Errno::EMFILE);
    }
    let header = &rights.header;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
        return Err(nix::errno::Errno::ENOMSG);
    }
    // SAFETY: the kernel wrote the number of a descriptor that it made for us; there is room for one only.
    Ok(unsafe { OwnedFd::from_raw_fd(rights.number) })
}
