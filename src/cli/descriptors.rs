//! The caller's descriptors that the container's program gets: those of LISTEN_FDS and of `--preserve-fds`.

use std::ffi::OsStr;
use std::os::fd::RawFd;

use super::self_exe;
use crate::error::{Error, Result};
use crate::sys::fd;

/// Checks that the descriptors to be passed on are open, and closes all others but one that `path` names, which is
/// ferrun's alone; returns how many of them a service manager has opened. To be called before ferrun opens any of its own,
/// which would take their numbers.
///
/// # Errors
/// One that is not open.
pub fn keep(preserved: u32, path: Option<&OsStr>) -> Result<u32> {
    let listening = listening();
    let mut passed = 3..3 + listening + preserved;
    match passed.find(|number| !fd::is_open(*number as i32)) {
        Some(number) if number < 3 + listening => {
            return Err(Error::new(format!("LISTEN_FDS: descriptor {number} is not open")));
        }
        Some(number) => return Err(Error::new(format!("--preserve-fds: descriptor {number} is not open"))),
        None => {}
    }
    if let Some(number) = path.and_then(named).filter(|number| !fd::is_open(*number)) {
        return Err(Error::new(format!("--process: descriptor {number} is not open")));
    }
    self_exe::close_others(listening + preserved, path.and_then(named).as_slice())?;
    Ok(listening)
}

/// The number of the caller's descriptor that a path names, as `<(...)` of a shell does.
fn named(path: &OsStr) -> Option<RawFd> {
    let path = path.to_str()?;
    let number = path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"))?;
    number.parse().ok().filter(|number| *number > libc::STDERR_FILENO)
}

/// How many sockets a service manager has opened for this process, after the standard streams: sd_listen_fds(3).
fn listening() -> u32 {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let ours = number("LISTEN_PID") == Some(std::process::id());
    number("LISTEN_FDS").filter(|count| ours && *count <= 65_535).unwrap_or(0)
}
