//! A pseudo-terminal of the container's own, and its place in /dev.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};

use super::Rootfs;
use super::node::is_mounted_on;
use crate::error::{Context, Error, Result};
use crate::sys::{mount, terminal};

const PTS: &CStr = c"/dev/pts";
const CONSOLE: &CStr = c"/dev/console";

/// Makes a pseudo-terminal in the container's devpts; gives the side that a program sees as its keyboard and
/// screen last. Nothing else can have that name there: a devpts has no links and nobody makes files in it.
pub fn open_terminal(rootfs: &Rootfs) -> Result<(OwnedFd, OwnedFd)> {
    let missing = |error: Error| error.hint("a terminal needs a mount of type devpts on /dev/pts");
    let pts = rootfs.open(PTS, OFlag::O_PATH | OFlag::O_DIRECTORY).what(|| format!("open {PTS:?}")).map_err(missing)?;
    if fstatfs(&pts).what(|| format!("statfs {PTS:?}"))?.filesystem_type() != DEVPTS_SUPER_MAGIC {
        return Err(missing(Error::new(format!("{PTS:?} of the container is no devpts"))));
    }
    let how = OpenHow::new().flags(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC);
    let how = how.resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let master = openat2(&pts, c"ptmx", how).what(|| "open \"/dev/pts/ptmx\"")?;
    terminal::unlock(&master).what(|| "unlock the terminal")?;
    let slave = terminal::open_peer(&master).what(|| "open the terminal")?;
    Ok((master, slave))
}

/// Mounts the terminal on /dev/console, which is created if it is missing, unless in a /dev that is not the container's
/// own; what the config has mounted there stays. It is mounted by its descriptor, and on what is there itself, should that
/// be a link (CVE-2025-52565).
pub fn mount_console(rootfs: &Rootfs, terminal: &OwnedFd) -> Result<()> {
    let dev = rootfs.make_directory(c"/dev").what(|| "open /dev of the container")?;
    let handle = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let copy = mount::clone_tree(terminal, false).what(|| format!("bind the terminal on {CONSOLE:?}"))?;
    let place = match openat(&dev, c"console", handle, Mode::empty()) {
        Err(Errno::ENOENT) if rootfs.is_in_foreign_dev(&dev)? => return Ok(()),
        Err(Errno::ENOENT) => {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            openat(&dev, c"console", flags, Mode::from_bits_truncate(0o600)).what(|| format!("make {CONSOLE:?}"))?
        }
        result => result.what(|| format!("open {CONSOLE:?}"))?,
    };
    if is_mounted_on(&dev, &place).what(|| format!("statx {CONSOLE:?}"))? {
        return Ok(());
    }
    if fstat(&place).what(|| format!("stat {CONSOLE:?}"))?.st_mode & libc::S_IFMT == libc::S_IFLNK {
        return Err(Error::new(format!("{CONSOLE:?} of the container is a symlink")));
    }
    rootfs.attach(&copy, &place, CONSOLE)
}
