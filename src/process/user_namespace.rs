//! The steps on a user namespace: its mappings, and the init's ids in it.

use std::fmt;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::fstat;
use nix::unistd::{Pid, Uid, fchown};

use super::procfs::Procfs;
use super::stdio::can_be_given;
use crate::error::{Context, Error, Result};
use crate::sys::ids;
use crate::types::ids::{Mappings, Range};

/// Which of the two lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// User ids.
    Users,
    /// Group ids.
    Groups,
}

impl Ids {
    fn file(self) -> &'static str {
        match self {
            Ids::Users => "uid_map",
            Ids::Groups => "gid_map",
        }
    }
}

/// Writes a list of mappings to the init's new user namespace.
#[derive(PartialEq)]
pub struct WriteMap {
    /// Which list.
    pub ids: Ids,
    text: String,
}

impl WriteMap {
    /// The step for a list.
    ///
    /// # Errors
    /// More ranges than the kernel takes.
    pub fn new(ids: Ids, list: &Mappings) -> Result<WriteMap> {
        Ok(WriteMap { ids, text: list.text()? })
    }

    /// Runs the step. That ferrun may map groups leaves setgroups(2) allowed: user_namespaces(7).
    pub fn run(&self, init: Pid) -> Result<()> {
        let path = format!("/proc/{init}/{}", self.ids.file());
        std::fs::write(&path, &self.text).what(|| format!("write {path}")).map_err(|error| match error.code() {
            Errno::EPERM => error.hint("ferrun may only map ids that are mapped in its own user namespace"),
            _ => error,
        })
    }
}

impl fmt::Display for WriteMap {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut lines = self.text.lines();
        write!(f, "{}: {}", self.ids.file(), lines.next().unwrap_or_default())?;
        match lines.count() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Looks whether the user namespace that was joined has the mappings that the config gives, too: engines
/// write both.
#[derive(PartialEq)]
pub struct CheckMap {
    /// Which list.
    pub ids: Ids,
    /// What the config gives.
    pub wanted: Mappings,
}

impl CheckMap {
    /// Runs the step, in the namespace; the /proc of a mount namespace that is joined as well may be anything.
    pub fn run(&self) -> Result<()> {
        let path = match self.ids {
            Ids::Users => c"thread-self/uid_map",
            Ids::Groups => c"thread-self/gid_map",
        };
        let text = Procfs::to_read()?.read(path)?;
        let text = String::from_utf8_lossy(&text);
        let range = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
            Some(Range { inside: numbers.next()??, outside: numbers.next()??, size: numbers.next()?? })
        };
        let found = Mappings(text.lines().filter_map(range).collect());
        if found.joined() == self.wanted.joined() {
            return Ok(());
        }
        let shown: Vec<String> =
            text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let message = format!("these are not the mappings of the user namespace that is joined ({})", shown.join(", "));
        Err(Error::new(message).hint("leave the mappings out: a joined namespace has its own"))
    }
}

impl fmt::Display for CheckMap {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} is as given", self.ids.file())
    }
}

/// Makes the init root in its user namespace: what it makes from now on belongs to the container.
#[derive(PartialEq)]
pub struct BecomeRoot;

impl BecomeRoot {
    /// Runs the step. A change of user makes a process dumpable where the host says so
    /// (fs.suid_dumpable), which the init must not be.
    pub fn run(&self) -> Result<()> {
        ids::set_group(0).what(|| "become group 0 of the user namespace")?;
        match ids::set_groups(&[]) {
            // A joined namespace may deny it; the container's own groups are set later, and judged then.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(errno) => return Err(errno).what(|| "leave the host's groups"),
        }
        ids::set_user(0).what(|| "become user 0 of the user namespace")?;
        prctl::set_dumpable(false).what(|| "make the init undumpable")
    }
}

impl fmt::Display for BecomeRoot {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("root in the user namespace")
    }
}

/// Gives the standard streams to the container's user, which nobody inside of a user namespace can: they
/// belong to users of the host. A container with a terminal has none of them.
#[derive(PartialEq)]
pub struct GiveStreams {
    /// The user's id on the host.
    pub uid: u32,
}

impl GiveStreams {
    /// Runs the step. Not every file can be given away; the program may still use what it has.
    pub fn run(&self) {
        let streams = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        for stream in [streams.0.as_fd(), streams.1.as_fd(), streams.2.as_fd()] {
            let Ok(stat) = fstat(stream) else { continue };
            if can_be_given(stream, &stat) && stat.st_uid != self.uid {
                let _ = fchown(stream, Some(Uid::from_raw(self.uid)), None);
            }
        }
    }
}

impl fmt::Display for GiveStreams {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "streams to uid {} of the host", self.uid)
    }
}
