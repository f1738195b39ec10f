//! `linux.devices`: device nodes anywhere in the container.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, major, minor, mknodat};
use nix::unistd::{Gid, Uid, fchownat};

use super::Rootfs;
use super::node_store::NodeStore;
use super::paths::split;
use super::propagation::SLAVE;
use crate::error::{Context, Error, Result};
use crate::process::procfs::Procfs;
use crate::sys::fd::CWD;
use crate::sys::file;
use crate::sys::mount::{self, MountAttr, attr};

/// Creates a device node or a named pipe. One that was there before is kept as it is if it is the same device.
#[derive(PartialEq)]
pub struct Node {
    /// Where: absolute and clean, inside the container.
    pub path: CString,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub kind: SFlag,
    /// Its number; 0 for a pipe.
    pub number: u64,
    /// Permissions, if the config says them.
    pub mode: Option<u32>,
    /// Owner, if the config says it.
    pub uid: Option<u32>,
    /// The owner's group, if the config says it.
    pub gid: Option<u32>,
    /// In a user namespace, which may make no devices.
    pub bind: bool,
    /// In a user namespace: where it may be, and under which index, if the host does not have it under its path.
    pub store: Option<(Rc<NodeStore>, usize)>,
}

/// What is already where a device shall be.
pub(super) enum There {
    /// That device.
    Same((OwnedFd, FileStat)),
    /// Another thing.
    Other((OwnedFd, FileStat)),
    /// Whatever the config has mounted there.
    Mounted,
}

/// Whether something that was opened in a directory by its name is a mount of its own: the config's, since an image has
/// none.
pub(super) fn is_mounted_on(directory: &OwnedFd, found: &OwnedFd) -> nix::Result<bool> {
    Ok(mount::mount_id(found)? != mount::mount_id(directory)?)
}

fn is_empty_file(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_size == 0
}

/// Whatever the root's propagation is, the container mounts nothing over the host's device; and nobody executes one.
const BOUND: MountAttr = MountAttr { set: attr::NOSUID | attr::NOEXEC, ..SLAVE };

pub(super) const HANDLE: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

impl Node {
    /// A device with the default mode and owner.
    pub fn new(path: CString, kind: SFlag, number: u64, bind: bool) -> Node {
        Node { path, kind, number, mode: None, uid: None, gid: None, bind, store: None }
    }

    /// Runs the step. In a /dev that is not the container's own nothing is created or changed, by whatever links of the
    /// image it is reached.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let (parent, name) = split(self.path.to_bytes());
        let Some(directory) = rootfs.directory_of_node(parent)? else { return Ok(()) };
        let mode = Mode::from_bits_truncate(self.mode.unwrap_or(0o666));
        let made = match mknodat(&directory, name, self.kind, mode, self.number) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(Errno::EPERM) => return self.bind(rootfs, &directory, name),
            Err(errno) => return Err(Error::os(format!("mknod {self}"), errno)),
        };
        let (node, stat) = match self.there(&directory, name)? {
            There::Same(found) => found,
            There::Mounted => return Ok(()),
            There::Other((_, stat)) if self.bind && is_empty_file(&stat) => {
                return self.bind(rootfs, &directory, name);
            }
            There::Other(_) => return Err(self.taken()),
        };
        if made {
            rootfs.dev.created_node(&stat);
        } else if !rootfs.dev.has_created(&directory, name, &stat).what(|| format!("stat {self}"))? {
            return Ok(());
        }
        let owned = self.own(&node, &stat)?;
        match self.mode {
            // There is no umask: what was made has its mode, but for what a new owner takes away.
            Some(mode) if !made || (owned && mode & 0o6000 != 0) => set_mode(&node, mode, || format!("chmod {self}")),
            _ => Ok(()),
        }
    }

    /// What has its name in a directory.
    pub(super) fn there(&self, directory: &OwnedFd, name: &[u8]) -> Result<There> {
        let found = openat(directory, name, HANDLE, Mode::empty()).what(|| format!("open {self}"))?;
        if is_mounted_on(directory, &found).what(|| format!("statx {self}"))? {
            return Ok(There::Mounted);
        }
        let stat = fstat(&found).what(|| format!("stat {self}"))?;
        Ok(if self.is_same(&stat) { There::Same((found, stat)) } else { There::Other((found, stat)) })
    }

    /// That it is none that could be taken for it.
    pub(super) fn taken(&self) -> Error {
        Error::new(format!("device {self}: the container has another thing of that name"))
    }

    fn is_same(&self, stat: &FileStat) -> bool {
        let number = if self.kind == SFlag::S_IFIFO { 0 } else { stat.st_rdev };
        stat.st_mode & libc::S_IFMT == self.kind.bits() && number == self.number
    }

    /// Sets the owner, and says so, if it is another.
    fn own(&self, node: &OwnedFd, stat: &FileStat) -> Result<bool> {
        let uid = self.uid.filter(|uid| *uid != stat.st_uid).map(Uid::from_raw);
        let gid = self.gid.filter(|gid| *gid != stat.st_gid).map(Gid::from_raw);
        if uid.is_none() && gid.is_none() {
            return Ok(false);
        }
        fchownat(node, c"", uid, gid, AtFlags::AT_EMPTY_PATH).what(|| format!("chown {self}"))?;
        Ok(true)
    }

    /// Where no devices may be made, the host's own is shown, with the host's owner and mode, on a file that
    /// is made for it.
    pub(super) fn bind(&self, rootfs: &Rootfs, directory: &OwnedFd, name: &[u8]) -> Result<()> {
        // Before a file is made for it, which would stay and be in the way of a start that makes the node.
        let copy = match self.copy_of_host(rootfs) {
            Ok(copy) => copy,
            Err(error) => match self.there(directory, name) {
                Ok(There::Same(_) | There::Mounted) => return Ok(()),
                _ => return Err(error),
            },
        };
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let place = match openat(directory, name, flags, Mode::from_bits_truncate(0o666)) {
            Err(Errno::EEXIST) => match self.there(directory, name)? {
                There::Same(_) | There::Mounted => return Ok(()),
                // What a container before this one was mounted on.
                There::Other((place, stat)) if is_empty_file(&stat) => place,
                There::Other(_) => return Err(self.taken()),
            },
            result => result.what(|| format!("mount point of {self}"))?,
        };
        rootfs.attach(&copy, &place, &self.path)
    }

    /// A detached mount of the device: of what was created for this container, or of what the host has under its path.
    fn copy_of_host(&self, rootfs: &Rootfs) -> Result<OwnedFd> {
        let created = match &self.store {
            Some((store, index)) => store.take(*index, rootfs).map_err(|errno| match errno {
                Errno::EMFILE => Error::os(format!("bind {self}"), errno)
                    .hint("raise the limit of open files: each device that the host does not have there needs one"),
                _ => Error::os(format!("bind {self}"), errno),
            })?,
            None => None,
        };
        let copy = match created {
            Some(copy) => copy,
            None => rootfs.on_host(|| {
                let source = self.of_host()?.ok_or_else(|| {
                    let error = Error::os(format!("mknod {self}"), Errno::EPERM);
                    error.hint("the host has no such device there that could be bound in its place")
                })?;
                mount::clone_tree(&source, false).what(|| format!("bind {self}"))
            })?,
        };
        mount::mount_setattr(&copy, false, &BOUND).what(|| format!("set options of {self}"))?;
        Ok(copy)
    }

    /// The same device on the host, under the same path.
    pub(super) fn of_host(&self) -> Result<Option<OwnedFd>> {
        let what = || format!("look for {self} on the host");
        match openat(CWD, self.path.as_c_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            found => {
                let found = found.what(what)?;
                Ok(self.is_same(&fstat(&found).what(what)?).then_some(found))
            }
        }
    }
}

/// Changes the mode of a handle: fchmodat2(2), or a link of /proc before Linux 6.6, or where a filter of system calls does
/// not know that call.
fn set_mode(node: &OwnedFd, mode: u32, what: impl Fn() -> String) -> Result<()> {
    let mode = Mode::from_bits_truncate(mode);
    match file::change_mode(node, mode) {
        Err(Errno::ENOSYS | Errno::EPERM) => set_mode_by_link(node, mode, what),
        result => result.what(what),
    }
}

/// The same through a procfs of ferrun's own, since that of a joined mount namespace may be anything.
fn set_mode_by_link(node: &OwnedFd, mode: Mode, what: impl Fn() -> String) -> Result<()> {
    let links = Procfs::of_processes()?.open(c"thread-self/fd", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let name = node.as_raw_fd().to_string();
    fchmodat(&links, name.as_str(), mode, FchmodatFlags::FollowSymlink).what(what)
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let path = self.path.to_string_lossy();
        let kind = match self.kind {
            SFlag::S_IFBLK => "b",
            SFlag::S_IFCHR => "c",
            _ => return write!(f, "{path} (p)"),
        };
        write!(f, "{path} ({kind} {}:{})", major(self.number), minor(self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_mode_of_a_handle_can_be_changed_without_fchmodat2() {
        if !nix::unistd::geteuid().is_root() {
            return crate::skip::skip("this test needs root");
        }
        let path = std::env::temp_dir().join(format!("ferrun-node-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let node = openat(CWD, &path, HANDLE, Mode::empty()).unwrap();
        let changed = set_mode_by_link(&node, Mode::from_bits_truncate(0o4611), || "chmod".into());
        let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
        std::fs::remove_file(path).unwrap();
        assert_eq!((changed, mode), (Ok(()), 0o4611));
    }
}
