//! Opening the directories that states are kept in: once, by descriptor, and checked there.
//!
//! Who can write to a state decides whom `kill` hits, what `delete` removes and which hooks run, with ferrun's rights. So
//! a command that acts uses only directories that nobody but root and ferrun's own user can have filled.

use std::ffi::CString;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat, stat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::id::Id;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fd::CWD;
use crate::sys::regular::{self, Regular, Unreadable};

/// The longest file of a state directory that is read, in bytes.
const LONGEST: usize = 4 << 20;

const OPEN: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// What a command does with a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reports on it.
    Look,
    /// Changes something: sends signals, sets limits, runs hooks, removes.
    Act,
}

/// Opens the directory of the state directories. `None`: it is missing.
///
/// # Errors
/// The root directory. To act: a directory in which others can write.
pub(super) fn open_root(path: &Path, purpose: Purpose) -> Result<Option<OwnedFd>> {
    let what = || format!("open the state root {path:?}");
    let root = match openat(CWD, path, OPEN, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        root => root.what(what)?,
    };
    let there = fstat(&root).what(what)?;
    if stat("/").is_ok_and(|top| (top.st_dev, top.st_ino) == (there.st_dev, there.st_ino)) {
        return Err(Error::new("--root must not be the root directory"));
    }
    if purpose == Purpose::Act {
        check_trust(&there, path)?;
    }
    Ok(Some(root))
}

/// Refuses a directory whose contents another user can have written. A sticky bit changes nothing: it allows to add.
fn check_trust(there: &FileStat, path: &Path) -> Result<()> {
    let refused = |reason: String| {
        let error = Error::new(format!("trust the state directory {path:?}: {reason}"));
        error.hint(
            "keep states in a directory that root or you own and nobody else can write to; state, list and ps read any",
        )
    };
    if !is_trusted(there.st_uid) {
        return Err(refused(format!("user {} owns it", there.st_uid)));
    }
    match there.st_mode & 0o022 {
        0 => Ok(()),
        _ => Err(refused(format!("others can write to it (mode {:04o})", there.st_mode & 0o7777))),
    }
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// A container's state directory, open. Files in it are used by their names alone.
#[derive(Debug)]
pub struct StateDirectory {
    root: OwnedFd,
    own: OwnedFd,
    id: Id,
    path: PathBuf,
    purpose: Purpose,
    /// Whether others can open what is in it, so that the mode of a file matters.
    open_to_others: bool,
}

impl AsFd for StateDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.own.as_fd()
    }
}

impl StateDirectory {
    /// Opens a container's directory in an open root. `None`: it is missing.
    ///
    /// # Errors
    /// A link or a file in its place. To act: one that others can write to.
    pub(super) fn open(root: OwnedFd, path: PathBuf, id: &Id, purpose: Purpose) -> Result<Option<StateDirectory>> {
        let what = || format!("open the state directory {path:?}");
        let own = match openat(&root, id.as_str(), OPEN | OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            own => own.what(what)?,
        };
        let mut open_to_others = false;
        if purpose == Purpose::Act {
            let there = fstat(&own).what(what)?;
            check_trust(&there, &path)?;
            open_to_others = there.st_mode & 0o011 != 0;
        }
        Ok(Some(StateDirectory { root, own, id: id.clone(), path, purpose, open_to_others }))
    }

    /// Creates a container's directory, and the root if it is missing.
    ///
    /// # Errors
    /// An id that is in use; a root that others can write to.
    pub(super) fn create(root: &Path, id: &Id) -> Result<StateDirectory> {
        let path = root.join(id.as_str());
        let what = || format!("create the state directory {path:?}");
        let root = match open_root(root, Purpose::Act)? {
            Some(root) => root,
            None => {
                // Whoever may write there may have containers deleted: root alone, whatever the umask.
                let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
                made.what(|| format!("create the state root {root:?}"))?;
                open_root(root, Purpose::Act)?.ok_or_else(|| Error::os(what(), Errno::ENOENT))?
            }
        };
        mkdirat(&root, id.as_str(), Mode::S_IRWXU).map_err(|errno| match errno {
            Errno::EEXIST => {
                Error::new(format!("container with given ID already exists: {id}")).of_kind(ErrorKind::Exists)
            }
            _ => Error::os(what(), errno),
        })?;
        let own = openat(&root, id.as_str(), OPEN | OFlag::O_NOFOLLOW, Mode::empty());
        let own = own.inspect_err(|_| {
            let _ = unlinkat(&root, id.as_str(), UnlinkatFlags::RemoveDir);
        });
        let own = own.what(what)?;
        Ok(StateDirectory {
            root,
            own,
            id: id.clone(),
            path: path.clone(),
            purpose: Purpose::Act,
            open_to_others: false,
        })
    }

    /// Its path, for messages and mounts.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its owner.
    pub fn owner(&self) -> nix::Result<u32> {
        Ok(fstat(&self.own)?.st_uid)
    }

    /// Opens it so that it can be locked.
    pub fn lockable(&self) -> nix::Result<OwnedFd> {
        openat(&self.own, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Reads a file: a regular one, and no link. `None`: it is missing.
    ///
    /// # Errors
    /// To act: a file that another user owns or can write to.
    pub fn read(&self, name: &str) -> Result<Option<Regular>> {
        self.read_up_to(name, LONGEST)
    }

    /// The same for a file that may have so many bytes.
    ///
    /// # Errors
    /// As [`StateDirectory::read`].
    pub fn read_up_to(&self, name: &str, longest: usize) -> Result<Option<Regular>> {
        let what = || format!("read {:?}", self.path.join(name));
        match regular::read(&self.own, name, OFlag::O_NOFOLLOW, longest) {
            Err(Unreadable::Kernel(Errno::ENOENT)) => Ok(None),
            Ok(regular) if self.purpose == Purpose::Act && !is_trusted(regular.stat.st_uid) => {
                Err(Error::new(format!("{}: user {} owns it", what(), regular.stat.st_uid)))
            }
            Ok(regular) if self.open_to_others && regular.stat.st_mode & 0o022 != 0 => {
                Err(Error::new(format!("{}: others can write to it", what())))
            }
            regular => regular.map(Some).what(what),
        }
    }

    /// Creates a file that must not be there.
    pub fn create_file(&self, name: &str) -> nix::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        openat(&self.own, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)
    }

    /// Writes a file, whether it is there or not.
    pub fn write(&self, name: &str, text: &[u8]) -> std::io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.own, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        File::from(file).write_all(text)
    }

    /// Renames a file.
    pub fn rename(&self, from: &str, to: &str) -> nix::Result<()> {
        renameat(&self.own, from, &self.own, to)
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> nix::Result<()> {
        unlinkat(&self.own, name, UnlinkatFlags::NoRemoveDir)
    }

    /// Removes an empty directory in it.
    pub fn remove_directory(&self, name: &str) -> nix::Result<()> {
        unlinkat(&self.own, name, UnlinkatFlags::RemoveDir)
    }

    /// Whether it has been removed, by whomever.
    pub fn is_deleted(&self) -> bool {
        fstat(&self.own).is_ok_and(|there| there.st_nlink == 0)
    }

    /// Removes the directory itself, which must be empty.
    pub fn remove_itself(&self) -> nix::Result<()> {
        unlinkat(&self.root, self.id.as_str(), UnlinkatFlags::RemoveDir)
    }

    /// The names in it, and whether each is a directory's.
    pub fn entries(&self) -> nix::Result<Vec<(String, bool)>> {
        let entry = |(name, kind): (CString, Option<Type>)| {
            Ok((name.into_string().map_err(|_| Errno::EILSEQ)?, kind == Some(Type::Directory)))
        };
        entries(&self.own)?.into_iter().map(entry).collect()
    }
}

/// The names in an open directory, with their kinds where the file system knows them.
pub(super) fn entries(directory: impl AsFd) -> nix::Result<Vec<(CString, Option<Type>)>> {
    let mut directory = Dir::openat(directory, c".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut found = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_others_are_refused() {
        let mut there = stat("/").unwrap();
        let me = geteuid().as_raw();
        for (uid, mode, trusted) in [
            (me, 0o700, true),
            (0, 0o755, true),
            (0, 0o711, true),
            (0, 0o1777, false),
            (0, 0o770, false),
            (me, 0o702, false),
            (me + 1, 0o700, me + 1 == 0),
        ] {
            (there.st_uid, there.st_mode) = (uid, libc::S_IFDIR | mode);
            assert_eq!(check_trust(&there, Path::new("/x")).is_ok(), trusted, "{uid} {mode:o}");
        }
    }
}
