//! Namespaces that the container joins: opened and examined by the parent before anything is created, entered with
//! setns(2).

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::stat::{Mode, fstat, stat};
use nix::unistd::{chroot, fchdir};

use crate::error::{Context, Error, Result};
use crate::pointer::Pointer;
use crate::sys::fd::CWD;
use crate::sys::namespace;
use crate::types::namespaces::{NamespaceKind, names};

/// Opens a namespace, which must be of the kind that the config says.
#[derive(PartialEq)]
pub struct Open {
    /// The kind.
    pub kind: NamespaceKind,
    /// Its file.
    pub path: CString,
    /// Where it stands in the list of namespaces.
    pub index: usize,
    /// The property that sets a kernel parameter in it, as a JSON pointer.
    pub setting: Option<String>,
}

/// A namespace to enter.
pub struct Opened {
    kind: NamespaceKind,
    path: CString,
    index: usize,
    file: OwnedFd,
}

impl Open {
    /// Runs the step.
    pub fn run(&self) -> Result<Opened> {
        // Should it be a fifo or a terminal, it must neither block nor become ours.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let path = &self.path;
        let file = openat(CWD, path.as_c_str(), flags, Mode::empty()).what(|| format!("open namespace {path:?}"))?;
        match namespace::kind(&file) {
            Ok(kind) if kind == self.kind.flag() => {}
            Ok(kind) => {
                let (is, wanted) = (names(kind), self.kind);
                let article = if is.starts_with('i') { "an" } else { "a" };
                return Err(Error::new(format!("{path:?} is {article} {is} namespace, not {wanted}")));
            }
            Err(_) => {
                let error = Error::new(format!("{path:?} is not a namespace"));
                return Err(error.hint("a namespace's file is /proc/PID/ns/NAME, or a bind mount of it"));
            }
        }
        self.refuse_own(&file)?;
        Ok(Opened { kind: self.kind, path: path.clone(), index: self.index, file })
    }

    /// Refuses the namespace that ferrun itself is in where it cannot be entered or must not be changed.
    fn refuse_own(&self, file: &OwnedFd) -> Result<()> {
        if self.kind == NamespaceKind::Mount {
            return self.refuse_hosts_mounts(file);
        }
        let is_user = self.kind == NamespaceKind::User;
        if !(is_user || self.setting.is_some()) || !is_same(file, &self.kind.file("self"))? {
            return Ok(());
        }
        let error = Error::new(format!("{:?} is the {} namespace that ferrun itself is in", self.path, self.kind));
        Err(match &self.setting {
            // Nobody can enter the user namespace that he is in.
            _ if is_user => error.hint("without a user namespace in the list the container stays in it"),
            Some(pointer) => error.detail("kernel parameters would be set for the host").from_property(pointer),
            None => error,
        })
    }
}

impl Open {
    /// The container's root covers that of the namespace: neither ferrun's own nor the host's may be that.
    fn refuse_hosts_mounts(&self, file: &OwnedFd) -> Result<()> {
        let whose = match (is_same(file, &self.kind.file("self"))?, is_same(file, &self.kind.file(1))) {
            (true, _) => "ferrun itself",
            (false, Ok(true)) => "the host's first process",
            // Who may not look at that can only tell his own.
            _ => return Ok(()),
        };
        let error = Error::new(format!("{:?} is the mount namespace that {whose} is in", self.path));
        Err(error.hint("the container's root and mounts would become the host's"))
    }
}

fn is_same(file: &OwnedFd, path: &str) -> Result<bool> {
    let other = stat(path).what(|| format!("look at {path:?}"))?;
    let this = fstat(file).what(|| "look at a namespace that is joined")?;
    Ok((this.st_dev, this.st_ino) == (other.st_dev, other.st_ino))
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} namespace {}", self.kind, self.path.to_string_lossy())
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Opened {
    fn enter(&self) -> Result<()> {
        let entered =
            setns(&self.file, self.kind.flag()).what(|| format!("join {} namespace {:?}", self.kind, self.path));
        entered.map_err(|error| {
            let error = error.from_property(Pointer::at("/linux/namespaces/#/path", self.index));
            match (error.code(), self.kind) {
                (Errno::EINVAL, NamespaceKind::Pid) => {
                    error.hint("a pid namespace can only be joined from itself or from one above it")
                }
                (Errno::EPERM, _) => error.hint("that needs CAP_SYS_ADMIN in the user namespace that owns it"),
                _ => error,
            }
        })
    }

    /// The namespace of a kind, if it is joined.
    pub fn find(list: &[Opened], kind: NamespaceKind) -> Option<&OwnedFd> {
        list.iter().find(|opened| opened.kind == kind).map(|opened| &opened.file)
    }
}

/// Enters the opened namespaces of these kinds, the user namespace last: the others may belong to a user
/// namespace above it, in which there are no rights any more from then on (as runc).
#[derive(PartialEq)]
pub struct Enter(pub CloneFlags);

impl Enter {
    /// Runs the step.
    pub fn run(&self, list: &[Opened]) -> Result<()> {
        let is_user = |opened: &&Opened| opened.kind == NamespaceKind::User;
        let (user, others): (Vec<&Opened>, Vec<&Opened>) =
            list.iter().filter(|opened| self.0.contains(opened.kind.flag())).partition(is_user);
        let has_user = !user.is_empty();
        others.into_iter().chain(user).try_for_each(Opened::enter)?;
        // New credentials make a process dumpable where the host says so (fs.suid_dumpable).
        if has_user { prctl::set_dumpable(false).what(|| "stay undumpable") } else { Ok(()) }
    }
}

/// Enters a running container by the descriptor of its init: setns(2), Linux 5.8. The pid namespace is that of children.
#[derive(PartialEq)]
pub struct EnterContainer(pub CloneFlags);

impl EnterContainer {
    /// Runs the step. From then on the root directory is the init's, of which `root` is a handle: where the container has
    /// no mount namespace of its own, or was not pivoted into, it is another than its mount namespace's.
    pub fn run(&self, init: &OwnedFd, root: &OwnedFd) -> Result<()> {
        let entered = setns(init, self.0).what(|| format!("enter the container's {} namespaces", names(self.0)));
        entered.map_err(|error| match error.code() {
            Errno::EPERM => error.hint("that needs CAP_SYS_ADMIN in the user namespaces that own them"),
            _ => error,
        })?;
        fchdir(root).and_then(|()| chroot(".")).what(|| "enter the container's root")?;
        // New credentials make a process dumpable where the host says so (fs.suid_dumpable).
        prctl::set_dumpable(false).what(|| "stay undumpable")
    }
}

impl fmt::Display for EnterContainer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&names(self.0))
    }
}

impl fmt::Display for Enter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&names(self.0))
    }
}
