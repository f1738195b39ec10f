//! A cgroup with all that is below it, by descriptor: a container that may make cgroups of its own can
//! give them names that are no text, and paths that are too long to be opened.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
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
    let mut todo = vec![children(&at).unwrap_or_default()];
    let mut names: Vec<CString> = Vec::new();
    while let Some(list) = todo.last_mut() {
        if let Some(name) = list.pop() {
            // One that is gone meanwhile needs no visit.
            let Ok(child) = open(&at, &name) else { continue };
            enter(&child);
            todo.push(children(&child).unwrap_or_default());
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

fn children(at: &OwnedFd) -> nix::Result<Vec<CString>> {
    let mut directory = Dir::from_fd(open(at, c".")?)?;
    let entries = directory.iter().filter_map(Result::ok);
    let directories = entries.filter(|entry| entry.file_type() == Some(Type::Directory));
    let names = directories.map(|entry| entry.file_name().to_owned());
    Ok(names.filter(|name| !matches!(name.to_bytes(), b"." | b"..")).collect())
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
