//! The steps that touch the container's file tree. Every path inside it is resolved with
//! openat2(RESOLVE_IN_ROOT) to a descriptor, once, and used by that descriptor.

pub mod cgroup;
mod copy_up;
mod dev;
pub mod devices;
pub mod enter_tree;
pub mod file_system;
mod host_tree;
pub mod idmap;
mod kernel_views;
mod long_options;
pub mod mask;
pub mod mount;
mod mount_table;
pub mod node;
pub mod node_store;
mod paths;
pub mod propagation;
pub mod remount;
pub mod root;
pub mod source;
pub mod stored;
pub mod target;
pub mod terminal;

use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::fchdir;

use self::dev::Dev;
use self::host_tree::HostTree;
use self::kernel_views::FullView;
use self::mount::attach;
use crate::error::{Context, Result};
use crate::sys::fd::CWD;
use crate::sys::release::is_at_least;

/// The container's file tree while it is set up.
pub struct Rootfs {
    root: OwnedFd,
    /// It stands in a mount namespace that others are in.
    foreign: bool,
    /// It is mounted nowhere. There, mounts that are attached can no longer be changed: do_mount_setattr() of
    /// the kernel.
    nowhere: bool,
    /// The empty file system that hides directories, attached over the first of them.
    empty: OnceCell<OwnedFd>,
    /// The null device that hides files, looked up for the first of them.
    null: OnceCell<OwnedFd>,
    /// The mounts that later ones change, by destination.
    kept: RefCell<Vec<Kept>>,
    /// The source of the next bind, if it comes from the parent.
    handed: Cell<Option<OwnedFd>>,
    /// The host's tree, if this process has left it already.
    host: Option<HostTree>,
    /// Whose /dev it is.
    dev: Dev,
    /// What of a mount namespace that is joined shows all of proc or sysfs.
    full_views: OnceCell<Vec<FullView>>,
}

/// A mount that a later step changes: by its descriptor, since a link on the way may be exchanged meanwhile.
struct Kept {
    destination: Rc<CStr>,
    mount: OwnedFd,
    /// Whether its file system was made for it, and is not the host's.
    is_own: bool,
}

/// Room for what a [`Rootfs`] remembers.
#[derive(Default)]
pub struct Room {
    kept: Vec<Kept>,
    nodes: Vec<(u64, u64)>,
}

impl Room {
    /// Room for mounts that later ones change, and for devices of `linux.devices`.
    pub fn new(mounts: usize, nodes: usize) -> Room {
        Room { kept: Vec::with_capacity(mounts), nodes: Vec::with_capacity(nodes) }
    }
}

impl Rootfs {
    /// The tree below this mount.
    pub fn new(root: OwnedFd) -> Rootfs {
        Rootfs {
            root,
            foreign: false,
            nowhere: false,
            empty: OnceCell::new(),
            null: OnceCell::new(),
            kept: RefCell::default(),
            handed: Cell::default(),
            host: None,
            dev: Dev::default(),
            full_views: OnceCell::new(),
        }
    }

    /// The tree that this process has as its root directory: a running container's.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn of_this_process() -> Result<Rootfs> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(CWD, c"/", flags, Mode::empty()).map(Rootfs::new).what(|| "open the container's root")
    }

    /// Remembers things where there is room for them.
    pub fn with(self, room: Room) -> Rootfs {
        Rootfs { kept: room.kept.into(), dev: Dev::with(room.nodes), ..self }
    }

    /// The root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether it stands in a mount namespace that others are in, and does not go with the init.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Remembers a mount for [`Rootfs::kept`].
    fn keep(&self, destination: Rc<CStr>, mount: OwnedFd, is_own: bool) {
        self.kept.borrow_mut().push(Kept { destination, mount, is_own });
    }

    /// The last mount that was remembered under a destination.
    fn kept(&self, destination: &CStr) -> Option<Ref<'_, Kept>> {
        let kept = self.kept.borrow();
        let index = kept.iter().rposition(|one| *one.destination == *destination)?;
        Some(Ref::map(kept, |kept| &kept[index]))
    }

    /// Attaches a detached mount.
    fn attach(&self, tree: impl AsFd, target: impl AsFd, path: &CStr) -> Result<()> {
        attach(tree, target, path).map_err(|error| match error.code() {
            Errno::EINVAL if self.nowhere && is_at_least(6, 15) == Some(false) => {
                error.hint("without a mount namespace, a container with mounts needs Linux 6.15")
            }
            _ => error,
        })
    }

    /// The same with what is left to be done with it: after that, since a parent that is shared passes this on; in a tree
    /// that is mounted nowhere before, where no parent is shared and no mount that is attached can be changed any more.
    fn attach_and(
        &self,
        tree: &OwnedFd,
        target: &OwnedFd,
        path: &CStr,
        finish: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.nowhere {
            finish()?;
            return self.attach(tree, target, path);
        }
        self.attach(tree, target, path)?;
        finish()
    }

    /// Covers the root: from here on all paths are those of this mount, which becomes the container's root. In a tree that
    /// is mounted nowhere it takes the root's place, since the kernel would not change it any more on top of that.
    fn cover(&mut self, tree: OwnedFd, finish: impl FnOnce(&OwnedFd) -> Result<()>) -> Result<()> {
        if !self.nowhere {
            attach(&tree, &self.root, c"/")?;
        }
        finish(&tree)?;
        self.root = tree;
        // What was mounted before is out of sight.
        self.kept.get_mut().clear();
        Ok(())
    }

    /// Gives the source for the next bind.
    pub fn hand(&self, source: OwnedFd) {
        self.handed.set(Some(source));
    }

    /// The source of this bind.
    fn handed(&self) -> OwnedFd {
        self.handed.take().expect("a step that takes a source follows the one that hands it over")
    }
}

/// Takes a tree away from where others would see it, after a failure. The caller must be in the mount namespace.
pub fn withdraw(root: impl AsFd) -> nix::Result<()> {
    fchdir(root)?;
    umount2(".", MntFlags::MNT_DETACH)
}
