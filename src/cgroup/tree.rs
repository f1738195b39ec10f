//! Walks over a cgroup and all below it, by descriptor: a container that may create cgroups of its own can
//! give them names that are no text, and paths that are too long to be opened.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::sys::fd::CWD;

fn open(at: impl std::os::fd::AsFd, name: &CStr) -> nix::Result<OwnedFd> {
    openat(at, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// Visits a directory and all below it, each before its children.
pub fn visit(top: &str, visitor: &mut dyn FnMut(&OwnedFd)) -> nix::Result<()> {
    walk(top, visitor, &mut |_, _| Ok(()))
}

/// Removes all that is below a directory, deepest first.
pub fn remove_below(top: &str) -> nix::Result<()> {
    walk(top, &mut |_| {}, &mut |parent, name| unlinkat(parent, name, UnlinkatFlags::RemoveDir))
}

/// Goes down and up again with one open directory, however deep the tree.
fn walk(
    top: &str,
    enter: &mut dyn FnMut(&OwnedFd),
    leave: &mut dyn FnMut(&OwnedFd, &CStr) -> nix::Result<()>,
) -> nix::Result<()> {
    let top = CString::new(top).map_err(|_| Errno::EINVAL)?;
    let mut at = match open(CWD, &top) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        result => result?,
    };
    enter(&at);
    let mut todo = vec![children(&at)?];
    let mut names: Vec<CString> = Vec::new();
    while let Some(list) = todo.last_mut() {
        if let Some(name) = list.pop() {
            // One that is gone meanwhile needs no visit.
            let child = match open(&at, &name) {
                Err(Errno::ENOENT | Errno::ENODEV) => continue,
                child => child?,
            };
            enter(&child);
            todo.push(children(&child)?);
            names.push(name);
            at = child;
        } else {
            todo.pop();
            if let Some(name) = names.pop() {
                at = open(&at, c"..")?;
                match leave(&at, &name) {
                    Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
    }
    Ok(())
}

/// The names of the directories in one; none in one that is gone.
fn children(at: &OwnedFd) -> nix::Result<Vec<CString>> {
    let mut names = Vec::new();
    // One without others in it has two links: kernfs_refresh_inode() of the kernel counts.
    if fstat(at)?.st_nlink == 2 {
        return Ok(names);
    }
    let mut directory = match open(at, c".").and_then(Dir::from_fd) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(names),
        directory => directory?,
    };
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_removed_however_deep_and_whatever_its_names() {
        let top = std::env::temp_dir().join(format!("ferrun-tree-{}", std::process::id()));
        let top = top.to_str().unwrap();
        std::fs::create_dir(top).unwrap();
        let mut at = open(CWD, &CString::new(top).unwrap()).unwrap();
        for _ in 0..40 {
            let name = CString::new(vec![0xff; 200]).unwrap();
            nix::sys::stat::mkdirat(&at, name.as_c_str(), Mode::from_bits_truncate(0o755)).unwrap();
            nix::sys::stat::mkdirat(&at, c"beside", Mode::from_bits_truncate(0o755)).unwrap();
            at = open(&at, &name).unwrap();
        }
        let mut seen = 0;
        visit(top, &mut |_| seen += 1).unwrap();
        assert_eq!(seen, 81);
        remove_below(top).unwrap();
        std::fs::remove_dir(top).unwrap();
    }
}
