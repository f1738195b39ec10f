//! The file in which `create` and `run` leave the init's pid.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::linkat;

use crate::error::{Context, Result};
use crate::sys::fd::CWD;

/// Who can write to it chooses whom an engine kills: its owner alone, whatever the umask.
const MODE: Mode = Mode::from_bits_truncate(0o644);

/// Writes a pid without a newline, as engines parse the whole file as a number. The file gets its name when it is written:
/// nobody reads half of it, and a ferrun that is killed before leaves nothing.
pub fn write(path: &Path, pid: i32) -> Result<()> {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let written = match openat(CWD, directory, flags | OFlag::O_TMPFILE, MODE).map(File::from) {
        Ok(file) => fill(&file, pid).and_then(|()| name(&file, path)),
        // A file system without nameless files.
        Err(Errno::EOPNOTSUPP | Errno::EISDIR) => {
            // Never one that is there: it may be a fifo, or have another name elsewhere.
            let create = || Ok(openat(CWD, path, flags | OFlag::O_CREAT | OFlag::O_EXCL, MODE)?);
            in_its_place(path, create).and_then(|file| fill(&file.into(), pid))
        }
        Err(errno) => Err(errno.into()),
    };
    written.what(|| format!("write pid file {path:?}"))
}

fn fill(mut file: &File, pid: i32) -> io::Result<()> {
    file.write_all(pid.to_string().as_bytes())
}

/// Gives a nameless file a name, which another may have so far.
fn name(file: &File, path: &Path) -> io::Result<()> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    in_its_place(path, || Ok(linkat(CWD, &*own, CWD, path, AtFlags::AT_SYMLINK_FOLLOW)?))
}

/// Creates a name, and removes what has it first if there is something.
fn in_its_place<T>(path: &Path, create: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            create()
        }
        created => created,
    }
}
