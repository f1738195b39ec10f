//! Descriptors by number: those that the caller of ferrun handed over, the standard streams, and all that are open.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::errno::Errno;

use super::{check, count, size};

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

impl AsFd for Stream {
    /// The number, whether it is open or not: the standard library's own handles allocate a buffer.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: no `OwnedFd` owns it, so that nothing closes it meanwhile.
        unsafe { BorrowedFd::borrow_raw(*self as RawFd) }
    }
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

/// Closes every descriptor from `first` on but those of `keep`, which is short and in any order: close_range(2) for each gap.
///
/// # Safety
/// Owners of what is closed are neither used nor dropped any more.
pub(super) unsafe fn close_from(mut first: u32, keep: &(impl Iterator<Item = RawFd> + Clone)) -> nix::Result<()> {
    // Nothing is allocated to sort them: the init calls this.
    let next = |first| keep.clone().map(RawFd::unsigned_abs).filter(|number| *number >= first).min();
    while let Some(number) = next(first) {
        if number > first {
            // SAFETY: by the caller's promise.
            unsafe { close_range(first, number - 1, 0) }?;
        }
        first = number + 1;
    }
    // SAFETY: as above.
    unsafe { close_range(first, u32::MAX, 0) }
}

/// close_range(2), Linux 5.9.
///
/// # Safety
/// Owners of what is closed are neither used nor dropped any more.
unsafe fn close_range(first: u32, last: u32, flags: u32) -> nix::Result<()> {
    // SAFETY: only integers are passed, and the owners are the caller's to see to.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Closes a descriptor: close(2).
///
/// # Safety
/// An owner, if it has one, is neither used nor dropped any more.
pub(super) unsafe fn close(number: RawFd) -> nix::Result<()> {
    // SAFETY: only an integer is passed, and the owner is the caller's to see to.
    check(unsafe { libc::close(number) }.into()).map(drop)
}

/// Whether a descriptor of this number is open.
pub fn is_open(number: RawFd) -> bool {
    flags(number).is_some()
}

/// Whether a descriptor of this number is open and was so before this process was executed: it is not close-on-exec, as
/// all are that ferrun opens for itself.
fn is_inherited(number: RawFd) -> bool {
    flags(number).is_some_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

fn flags(number: RawFd) -> Option<i32> {
    // SAFETY: F_GETFD takes no pointer; a closed number gives EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    (flags >= 0).then_some(flags)
}

/// Takes over the descriptor that was inherited under this number: once in the life of a process, so that it has one owner.
///
/// # Errors
/// EBADF: nothing was inherited there, or it is one of the standard streams, or one was taken over already.
pub fn take_inherited(number: RawFd) -> nix::Result<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if number <= libc::STDERR_FILENO || !is_inherited(number) || TAKEN.swap(true, Relaxed) {
        return Err(Errno::EBADF);
    }
    // SAFETY: it is open, nothing in this process has opened it, and nothing else takes it over.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes every descriptor that was inherited, from `first` on, but those of `keep`, which become close-on-exec:
/// close_range(2). To be called before ferrun opens any that it keeps, which a debug build makes sure of.
///
/// # Errors
/// Those of close_range(2).
pub fn close_inherited_from(first: u32, keep: &[RawFd]) -> nix::Result<()> {
    debug_assert!(open_from(first).all(is_inherited), "ferrun has opened a descriptor that would be closed");
    // SAFETY: nothing that is open there has an owner in this process.
    unsafe { close_from(first, &keep.iter().copied()) }?;
    if keep.is_empty() { Ok(()) } else { close_on_exec_from(first) }
}

/// The numbers of open descriptors, from `first` on.
fn open_from(first: u32) -> impl Iterator<Item = RawFd> {
    let list = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers: Vec<RawFd> = list.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // Without that of the list itself, which is closed again.
    numbers.into_iter().filter(move |number| number.cast_unsigned() >= first && is_open(*number))
}

/// Marks every descriptor from `first` on close-on-exec: close_range(2), Linux 5.11 for the flag.
pub fn close_on_exec_from(first: u32) -> nix::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: no descriptor is closed now.
    unsafe { close_range(first, u32::MAX, CLOSE_RANGE_CLOEXEC) }
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
    header.cmsg_len = unsafe { libc::CMSG_LEN(size::<RawFd>()) } as _;
    let mut rights = Rights { header, number: descriptor.as_fd().as_raw_fd() };
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = std::ptr::from_mut(&mut rights).cast();
    message.msg_controllen = size_of::<Rights>() as _;
    // SAFETY: `message` and all that it points at outlive the call, which writes to none of it.
    count(unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &message, libc::MSG_NOSIGNAL) })
}

/// Receives a descriptor that was sent by [`send_with`] with a few bytes, which are dropped: recvmsg(2). It is
/// close-on-exec. `None`: there were bytes without one, or the end.
///
/// # Errors
/// Those of recvmsg(2), and one without an errno: a descriptor was lost, since it came with another, or since no more can
/// be open here.
pub fn receive(socket: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let mut bytes = [0u8; 16];
    // SAFETY: all-zero is a valid `cmsghdr`, descriptor number and `msghdr`.
    let (mut rights, mut message): (Rights, libc::msghdr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = std::ptr::from_mut(&mut rights).cast();
    // Not the whole of it, whose padding would take a second number.
    // SAFETY: only sizes are computed.
    message.msg_controllen = unsafe { libc::CMSG_LEN(size::<RawFd>()) } as _;
    loop {
        // SAFETY: `message` and all that it points at outlive the call, which writes within the lengths given.
        match count(unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) }) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => break,
        }
    }
    let header = &rights.header;
    let came = (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS);
    // SAFETY: the kernel wrote the number of a descriptor that it made for us; there is room for one only.
    let descriptor = came.then(|| unsafe { OwnedFd::from_raw_fd(rights.number) });
    match message.msg_flags & libc::MSG_CTRUNC {
        0 => Ok(descriptor),
        _ => Err(io::Error::other("more than one descriptor came, or no more can be open (RLIMIT_NOFILE)")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Sends two descriptors in one message.
    fn send_two(socket: &UnixStream) {
        let length = 2 * size::<RawFd>();
        // SAFETY: only sizes are computed.
        let (aligned, exact) = unsafe { (libc::CMSG_SPACE(length), libc::CMSG_LEN(length)) };
        let mut control = vec![0u64; aligned as usize / 8];
        let mut byte = 1u8;
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: all-zero is a valid `msghdr`; `control` is aligned and has room for the header and two numbers.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            (message.msg_iov, message.msg_iovlen) = (&mut part, 1);
            (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), exact as _);
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_len = exact as _;
            ((*header).cmsg_level, (*header).cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
            libc::CMSG_DATA(header).cast::<[RawFd; 2]>().write_unaligned([socket.as_raw_fd(); 2]);
            assert_eq!(libc::sendmsg(socket.as_raw_fd(), &message, 0), 1);
        }
    }

    #[test]
    fn a_descriptor_is_received_or_missing_or_lost() {
        let (own, other) = UnixStream::pair().unwrap();
        send_with(&other, b"with", &other).unwrap();
        assert!(receive(&own).unwrap().is_some());
        send_two(&other);
        let error = receive(&own).unwrap_err();
        assert!(error.raw_os_error().is_none() && error.to_string().starts_with("more than one"), "{error}");
        drop(other);
        assert!(receive(&own).unwrap().is_none());
    }
}
