//! The container's terminal: its keyboard and screen are the container's, its other side whoever's that
//! asked for it.

use std::fmt;
use std::os::fd::OwnedFd;

use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};

use crate::error::{Context, Result};
use crate::rootfs::Rootfs;
use crate::rootfs::terminal::{mount_console, open_terminal};
use crate::sys::fd::{self, Stream};
use crate::sys::terminal::{self, Size};

/// What is sent along with the descriptor: a name that receivers may show.
const NAME: &[u8] = b"/dev/ptmx";

/// Who gets the other side.
pub struct Console {
    /// A Unix socket to send it over.
    pub socket: OwnedFd,
    /// The size of the terminal that is shown on; it goes before the config's.
    pub size: Option<Size>,
    /// What is written ends in a file or pipe: lines shall end as they do there, without a carriage return.
    pub plain: bool,
}

/// Makes the terminal and gives it to the process.
#[derive(PartialEq)]
pub struct Terminal {
    /// What the config says.
    pub size: Option<Size>,
    /// Whether it is /dev/console as well. That of a further process is not.
    pub console: bool,
    /// Whether it is the controlling one of this process, or of one that makes a session of its own later.
    pub controls: bool,
}

impl Terminal {
    /// Runs the step, in a session that has no terminal yet. Who owns it is seen to with the other streams.
    pub fn run(&self, rootfs: &Rootfs, console: &Console) -> Result<()> {
        let (master, slave) = open_terminal(rootfs)?;
        if let Some(size) = console.size.or(self.size) {
            terminal::set_size(&slave, size).what(|| "set the size of the terminal")?;
        }
        if console.plain {
            let mut modes = tcgetattr(&slave).what(|| "read the modes of the terminal")?;
            modes.output_flags.remove(OutputFlags::ONLCR);
            tcsetattr(&slave, SetArg::TCSANOW, &modes).what(|| "set the modes of the terminal")?;
        }
        if self.console {
            mount_console(rootfs, &slave)?;
        }
        if self.controls {
            terminal::take_control(&slave).what(|| "make the terminal the controlling one")?;
        }
        for stream in Stream::ALL {
            fd::duplicate(&slave, stream).what(|| "make the terminal a standard stream")?;
        }
        fd::send_with(&console.socket, NAME, &master).what(|| "send the terminal over the console socket").map(drop)
    }
}

impl fmt::Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("of /dev/pts: streams")?;
        f.write_str(if self.console { ", /dev/console" } else { "" })?;
        f.write_str(if self.controls { ", controlling" } else { "" })?;
        match self.size {
            Some(Size { rows, columns }) => write!(f, ", {columns}x{rows}"),
            None => Ok(()),
        }
    }
}
