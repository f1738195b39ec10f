//! `uidMappings` and `gidMappings` of a mount: its files appear with other owners (mount_setattr(2),
//! MOUNT_ATTR_IDMAP, Linux 5.12). The kernel takes the maps from a user namespace, which is made for them.

use std::cell::OnceCell;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::unistd::pipe2;

use crate::error::{Context, Error, Result};
use crate::sys::child::{Child, Options};
use crate::sys::mount::{self, MountAttr, attr};

/// The maps as the kernel reads them: lines of `ID-in-the-file-system ID-that-appears COUNT`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Maps {
    /// For users.
    pub uid: String,
    /// For groups.
    pub gid: String,
}

/// A user namespace without a process, for its maps alone.
pub struct UserNamespace {
    /// The maps.
    pub maps: Maps,
    /// Its descriptor, once it is made: before the init is cloned, which has a copy then.
    made: OnceCell<OwnedFd>,
}

impl UserNamespace {
    /// One that is still to be made.
    pub fn new(maps: Maps) -> UserNamespace {
        UserNamespace { maps, made: OnceCell::new() }
    }

    /// Its descriptor, if it is made.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.made.get().map(AsFd::as_fd)
    }
}

impl PartialEq for UserNamespace {
    fn eq(&self, other: &UserNamespace) -> bool {
        self.maps == other.maps
    }
}

/// Makes a user namespace, in the parent: only there /proc shows the process that opens it.
#[derive(PartialEq)]
pub struct MakeUserNamespace(pub Rc<UserNamespace>);

impl MakeUserNamespace {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        let Maps { uid, gid } = &self.0.maps;
        let made = in_user_namespace(|directory| {
            for (file, map) in [("uid_map", uid), ("gid_map", gid)] {
                let written = std::fs::write(format!("{directory}/{file}"), map);
                written.what(|| format!("write {file} for the mounts that are mapped"))?;
            }
            let opened = File::open(format!("{directory}/ns/user"));
            opened.map(OwnedFd::from).what(|| "open the user namespace of mapped mounts")
        });
        let made = made.what(|| "make a user namespace for the mounts that are mapped")??;
        let _ = self.0.made.set(made);
        Ok(())
    }
}

/// Shows `look` the /proc directory of a process in a new user namespace, which ends then, also when ferrun dies: a
/// descriptor keeps the namespace.
fn in_user_namespace<T>(look: impl FnOnce(&str) -> T) -> nix::Result<T> {
    let (end, held) = pipe2(OFlag::O_CLOEXEC)?;
    let options = Options { flags: CloneFlags::CLONE_NEWUSER, ..Options::default() };
    let (mut child, held) = Child::create_with(&options, held, move |_| {
        let _ = File::from(end).read(&mut [0]);
        0
    })?;
    let looked = look(&format!("/proc/{}", child.pid()));
    drop(held);
    let _ = child.wait();
    Ok(looked)
}

impl fmt::Display for MakeUserNamespace {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let line = |map: &str| map.trim_end().replace('\n', ", ");
        write!(
            f,
            "user namespace for mapped mounts: users {}; groups {}",
            line(&self.0.maps.uid),
            line(&self.0.maps.gid)
        )
    }
}

/// How a mount is mapped.
#[derive(PartialEq)]
pub struct IdMap {
    /// The maps; none: those of the container's own user namespace.
    pub namespace: Option<Rc<UserNamespace>>,
    /// The mounts below, too.
    pub recursive: bool,
}

impl IdMap {
    /// Maps a mount that is not attached yet.
    pub(super) fn apply(&self, tree: &OwnedFd, containers: Option<&OwnedFd>, what: &dyn fmt::Display) -> Result<()> {
        use std::os::fd::AsRawFd;
        let namespace = self.namespace.as_ref().map_or(containers, |namespace| namespace.made.get());
        let namespace = namespace.ok_or_else(|| Error::new(format!("{what}: its user namespace is not made yet")))?;
        let change = MountAttr { set: attr::IDMAP, userns_fd: namespace.as_raw_fd() as u64, ..MountAttr::default() };
        mount::mount_setattr(tree, self.recursive, &change).map_err(|errno| {
            let error = Error::os(format!("map the owners of {what}"), errno);
            match errno {
                Errno::EINVAL if self.recursive => error
                    .hint("the file system of the source, or one mounted below it, cannot be mapped by this kernel"),
                Errno::EINVAL => error.hint("the file system of the source cannot be mapped by this kernel"),
                Errno::EPERM => error.hint("what is mapped already cannot be mapped again"),
                _ => error,
            }
        })
    }
}
