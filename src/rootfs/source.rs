//! The sources of binds for a container in a user namespace. Its root may have no way to them and no right
//! to map their owners, so a process of ferrun's own with all the rights that this has copies them, in the
//! init's mount namespace: only there the kernel has locked what the container must not change. It does so one
//! by one, between the mounts: a path may lead through an earlier one.

use std::ffi::CString;
use std::fmt;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, chroot, fchdir};

use super::idmap::IdMap;
use crate::error::{Context, Error, Result};
use crate::pointer::Pointer;
use crate::sys::fd::CWD;
use crate::sys::mount;

/// One source.
#[derive(PartialEq)]
pub struct BindSource {
    /// The mount that asked for it.
    pub from: Option<Pointer>,
    /// Its path on the host.
    pub path: CString,
    /// With what is mounted below it.
    pub recursive: bool,
    /// How owners are mapped.
    pub idmap: Option<IdMap>,
}

/// Opens the sources in their order and gives them to the init, which asks for each.
#[derive(PartialEq)]
pub struct OpenSources(pub Vec<BindSource>);

impl OpenSources {
    /// Runs the step, in a process that ends then: it does not come back from the init's mount namespace.
    /// `asked` waits for the init; it tells false when that will ask no more.
    pub fn run(&self, init: Pid, asked: impl Fn() -> bool, hand_over: impl Fn(OwnedFd) -> Result<()>) -> Result<()> {
        // The first time, it has that namespace.
        if !asked() {
            return Ok(());
        }
        let open = |name: &str, flags: OFlag| {
            let path = format!("/proc/{init}/{name}");
            openat(CWD, path.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty()).what(|| format!("open {path}"))
        };
        let (mounts, root) = (open("ns/mnt", OFlag::O_RDONLY)?, open("root", OFlag::O_PATH)?);
        let own_maps = |source: &BindSource| source.idmap.as_ref().is_some_and(|idmap| idmap.namespace.is_none());
        let user = match self.0.iter().any(own_maps) {
            true => Some(open("ns/user", OFlag::O_RDONLY)?),
            false => None,
        };
        setns(mounts, CloneFlags::CLONE_NEWNS).what(|| "enter the container's mount namespace")?;
        // Which need not be the namespace's own root.
        fchdir(root).and_then(|()| chroot(".")).what(|| "enter the init's root directory")?;
        for (number, source) in self.0.iter().enumerate() {
            if number > 0 && !asked() {
                break;
            }
            let copy = source.open(user.as_ref()).and_then(&hand_over);
            copy.map_err(|error| source.from.into_iter().fold(error, Error::from_property))?;
        }
        Ok(())
    }
}

impl BindSource {
    fn open(&self, user_namespace: Option<&OwnedFd>) -> Result<OwnedFd> {
        let flags = mount::OPEN_TREE_CLONE | if self.recursive { libc::AT_RECURSIVE as u32 } else { 0 };
        let copy = mount::open_tree(CWD, &self.path, flags).what(|| format!("bind source {:?}", self.path));
        let copy = copy.map_err(|error| match error.code() {
            Errno::EINVAL => {
                error.hint("in a user namespace a source with mounts below it can only be bound with them: rbind")
            }
            _ => error,
        })?;
        if let Some(idmap) = &self.idmap {
            idmap.apply(&copy, user_namespace, self)?;
        }
        Ok(copy)
    }
}

impl fmt::Display for BindSource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "bind {}", self.path.to_string_lossy())
    }
}

impl fmt::Display for OpenSources {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("sources of binds:")?;
        self.0.iter().try_for_each(|source| write!(f, " {}", source.path.to_string_lossy()))
    }
}
