//! What terminals are told, and nix has no call for: ioctl_tty(2).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::{check, new_descriptor};

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// The size of a terminal. ENOTTY: it is none.
pub fn size(terminal: impl AsFd) -> nix::Result<Size> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes a `struct winsize`; `size` outlives the call.
    check(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the size of a terminal. Its foreground processes get SIGWINCH if it is another one.
pub fn set_size(terminal: impl AsFd, size: Size) -> nix::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads a `struct winsize`; `size` outlives the call.
    check(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into()).map(drop)
}

/// Lets the other side of a pseudo-terminal be opened.
pub fn unlock(master: impl AsFd) -> nix::Result<()> {
    let locked: libc::c_int = 0;
    // SAFETY: the kernel reads an int; `locked` outlives the call.
    check(unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) }.into()).map(drop)
}

/// Opens the other side of a pseudo-terminal, close-on-exec, without a path that could lead elsewhere:
/// Linux 4.13.
pub fn open_peer(master: impl AsFd) -> nix::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: only integers are passed.
    let number = unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCGPTPEER, flags) };
    // SAFETY: the kernel made this descriptor for us.
    unsafe { new_descriptor(number.into()) }
}

/// Makes a terminal the controlling one of the calling process, which leads a session that has none.
pub fn take_control(terminal: impl AsFd) -> nix::Result<()> {
    // SAFETY: only integers are passed; 0: it is not taken away from another session.
    check(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}
