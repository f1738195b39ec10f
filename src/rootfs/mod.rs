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
pub mod propagation;
pub mod remount;
pub mod root;
pub mod source;
pub mod stored;
pub mod target;
pub mod terminal;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::fchdir;

use self::dev::Dev;
use self::host_tree::HostTree;
use self::kernel_views::FullView;
use self::mount::attach;
use crate::error::{Context, Result};
use crate::sys::fd::CWD;
use crate::sys::release::is_at_least;

/// The mode of a directory that is made: there is no umask.
const MODE: Mode = Mode::from_bits_truncate(0o755);

/// Links in a path before it is given up as a loop, as the kernel's own limit.
const LINKS: usize = 40;

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

    /// Opens a path as a process inside the container would find it, except that no magic link of /proc
    /// is followed.
    pub fn open(&self, path: &(impl NixPath + ?Sized), flags: OFlag) -> nix::Result<OwnedFd> {
        self.open_with(path, flags, ResolveFlag::empty())
    }

    /// As [`Rootfs::open`], with further rules of openat2(2).
    pub fn open_with(
        &self,
        path: &(impl NixPath + ?Sized),
        flags: OFlag,
        resolve: ResolveFlag,
    ) -> nix::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | resolve;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        for _ in 0..128 {
            // EAGAIN: something was renamed meanwhile, and the kernel could not be sure.
            match openat2(&self.root, path, how) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                result => return result,
            }
        }
        Err(Errno::EAGAIN)
    }

    /// A place to mount on: a handle of the path, without opening what is there.
    pub fn find(&self, path: &CStr) -> nix::Result<OwnedFd> {
        self.open(path, OFlag::O_PATH)
    }

    /// A handle of a directory, which is made (0755) with its parents if it is missing.
    pub fn make_directory(&self, path: &CStr) -> nix::Result<OwnedFd> {
        self.make_directory_with(path, MODE)
    }

    /// The same, with another mode for the last directory if that is missing.
    fn make_directory_with(&self, path: &CStr, mode: Mode) -> nix::Result<OwnedFd> {
        match self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) => {
                let (mut at, missing) = self.find_missing_part(path.to_bytes(), LINKS)?;
                let mut missing = names(&missing);
                let Some(last) = missing.next_back() else { return Ok(at) };
                for name in missing {
                    at = make_child_directory(&at, name, MODE)?;
                }
                make_child_directory(&at, last, mode)
            }
            result => result,
        }
    }

    /// A handle of a file, which is made (empty, 0644) with the directories above if it is missing.
    pub fn make_file(&self, path: &CStr) -> nix::Result<OwnedFd> {
        match self.find(path) {
            Err(Errno::ENOENT) => {
                let (mut at, missing) = self.find_missing_part(path.to_bytes(), LINKS)?;
                let mut missing = names(&missing);
                let last = missing.next_back().ok_or(Errno::ENOENT)?;
                for name in missing {
                    at = make_child_directory(&at, name, MODE)?;
                }
                make_child_file(&at, last)
            }
            result => result,
        }
    }

    /// What exists of a path, and the part that is missing below it. A link that leads to nothing (as /etc/resolv.conf of
    /// many images) is taken for the path that it names, inside the root; after `links` of them that is a loop.
    fn find_missing_part<'a>(&self, path: &'a [u8], links: usize) -> nix::Result<(OwnedFd, Cow<'a, [u8]>)> {
        let (at, parent, missing) = self.find_existing_part(path)?;
        let mut below = names(missing);
        let Some(first) = below.next() else { return Ok((at, missing.into())) };
        match fstatat(&at, first, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok((at, missing.into())),
            stat if stat?.st_mode & libc::S_IFMT != libc::S_IFLNK => return Ok((at, missing.into())),
            _ => {}
        }
        // What a magic link reads as is no path.
        if links == 0 || fstatfs(&at)?.filesystem_type() == PROC_SUPER_MAGIC {
            return Err(Errno::ELOOP);
        }
        let target = readlinkat(&at, first)?.into_vec();
        drop(at);
        let mut named = if target.starts_with(b"/") { target } else { [parent, &target].join(&b'/') };
        for name in below {
            named.push(b'/');
            named.extend_from_slice(name);
        }
        let (at, missing) = self.find_missing_part(&named, links - 1)?;
        Ok((at, missing.into_owned().into()))
    }

    /// The longest part of the path that exists (as a handle and as a path), and what follows. The names there are plain:
    /// a `..` among them could not be told from a way out.
    fn find_existing_part<'a>(&self, path: &'a [u8]) -> nix::Result<(OwnedFd, &'a [u8], &'a [u8])> {
        let mut rest = path;
        loop {
            let (parent, name) = split(rest);
            match name {
                b"" => return Err(Errno::ENOENT),
                b".." => return Err(Errno::EINVAL),
                _ => {}
            }
            match self.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY) {
                Err(Errno::ENOENT) => rest = parent,
                found => return Ok((found?, parent, path.strip_prefix(parent).unwrap_or(path))),
            }
        }
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

/// A path's directory and last name; trailing slashes are no part of the name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let parent = if start == 0 { b"/" } else { &path[..start] };
    (parent, &path[start..end])
}

/// The names that a path goes through.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// Makes a directory directly below another one and opens it; what is there already must be a
/// directory and no link.
fn make_child_directory(parent: &OwnedFd, name: &[u8], mode: Mode) -> nix::Result<OwnedFd> {
    match mkdirat(parent, name, mode) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(parent, name, flags, Mode::empty())
}

/// Makes an empty file directly below a directory; what somebody else has just made there is taken, unless
/// it is a link.
fn make_child_file(parent: &OwnedFd, name: &[u8]) -> nix::Result<OwnedFd> {
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    match nix::fcntl::openat(parent, name, new, Mode::from_bits_truncate(0o644)) {
        Err(Errno::EEXIST) => {
            let there = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = nix::fcntl::openat(parent, name, there, Mode::empty())?;
            let is_link = fstat(&file)?.st_mode & libc::S_IFMT == libc::S_IFLNK;
            if is_link { Err(Errno::ELOOP) } else { Ok(file) }
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    /// A directory with a root inside and a canary beside it.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> (Tree, Rootfs) {
            let top = std::env::temp_dir().join(format!("ferrun-rootfs-{name}-{}", std::process::id()));
            std::fs::create_dir_all(top.join("root/etc")).unwrap();
            std::fs::create_dir_all(top.join("host")).unwrap();
            let root = std::fs::File::open(top.join("root")).unwrap();
            (Tree(top), Rootfs::new(root.into()))
        }

        fn root(&self) -> PathBuf {
            self.0.join("root")
        }

        fn host_is_untouched(&self) -> bool {
            std::fs::read_dir(self.0.join("host")).unwrap().count() == 0
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn missing_parts_are_made() {
        let (tree, rootfs) = Tree::new("made");
        rootfs.make_directory(c"/a/b/c/").unwrap();
        rootfs.make_file(c"/a/d/file").unwrap();
        assert_eq!(mode(&tree.root().join("a/b/c")), 0o755);
        assert!(tree.root().join("a/d/file").is_file());
        rootfs.make_file(c"/a/d/file").expect("what exists is opened");
    }

    #[test]
    fn a_file_that_somebody_else_makes_meanwhile_is_taken_but_no_link() {
        let (tree, rootfs) = Tree::new("meanwhile");
        std::fs::write(tree.root().join("file"), "x").unwrap();
        symlink("file", tree.root().join("link")).unwrap();
        let root = rootfs.find(c"/").unwrap();
        let file = make_child_file(&root, b"file").unwrap();
        assert_eq!(fstat(&file).unwrap().st_size, 1);
        assert_eq!(make_child_file(&root, b"link").unwrap_err(), Errno::ELOOP);
    }

    #[test]
    fn a_directory_that_somebody_else_makes_meanwhile_is_taken_but_no_link() {
        let (tree, rootfs) = Tree::new("meanwhile-directory");
        std::fs::create_dir_all(tree.root().join("directory/below")).unwrap();
        symlink(tree.0.join("host"), tree.root().join("link")).unwrap();
        let root = rootfs.find(c"/").unwrap();
        let make = |parent: &OwnedFd, name: &[u8]| make_child_directory(parent, name, Mode::S_IRWXU);
        let directory = make(&root, b"directory").unwrap();
        make(&directory, b"below").unwrap();
        // O_DIRECTORY comes first: a link is none.
        assert_eq!(make(&root, b"link").unwrap_err(), Errno::ENOTDIR);
        assert!(tree.host_is_untouched());
    }

    #[test]
    fn links_lead_nowhere_outside() {
        let (tree, rootfs) = Tree::new("links");
        symlink(tree.0.join("host"), tree.root().join("absolute")).unwrap();
        symlink("../../host", tree.root().join("relative")).unwrap();
        symlink("/etc", tree.root().join("inside")).unwrap();
        rootfs.make_directory(c"/absolute/x").unwrap();
        rootfs.make_file(c"/relative/y").unwrap();
        let inside = |path: &Path| tree.root().join(path.strip_prefix("/").unwrap());
        assert!(inside(&tree.0.join("host/x")).is_dir(), "a link that dangles is followed inside the root");
        assert!(tree.root().join("host/y").is_file());
        symlink("loop", tree.root().join("loop")).unwrap();
        assert_eq!(rootfs.make_directory(c"/loop/x").unwrap_err(), Errno::ELOOP);
        assert!(tree.host_is_untouched());
        rootfs.make_directory(c"/inside/x").unwrap();
        assert!(tree.root().join("etc/x").is_dir(), "an absolute link is taken from the root");
        assert!(rootfs.make_directory(c"/missing/../../host/x").is_err());
        assert!(tree.host_is_untouched());
    }

    #[test]
    fn links_that_dangle_are_followed_one_after_the_other() {
        let (tree, rootfs) = Tree::new("chain");
        let link = |target: &str, name: &str| symlink(target, tree.root().join(name)).unwrap();
        link("two", "etc/one");
        link("../three", "etc/two");
        link("/a/./b//c/", "three");
        rootfs.make_file(c"/etc/one").unwrap();
        assert!(tree.root().join("a/b/c").is_file());
        link("/d", "etc/directory");
        rootfs.make_directory(c"/etc/directory/x/./y").unwrap();
        assert!(tree.root().join("d/x/y").is_dir(), "what follows the link is made below its target");
        link("missing/../../host/x", "etc/out");
        assert_eq!(rootfs.make_file(c"/etc/out").unwrap_err(), Errno::EINVAL);
        assert!(!tree.root().join("etc/missing").exists());
        assert!(tree.host_is_untouched());
    }

    #[test]
    fn as_many_links_are_followed_as_by_the_kernel() {
        let (tree, rootfs) = Tree::new("many-links");
        for index in 0..=LINKS {
            symlink(format!("{}", index + 1), tree.root().join(index.to_string())).unwrap();
        }
        assert_eq!(rootfs.make_file(c"/0").unwrap_err(), Errno::ELOOP);
        rootfs.make_file(c"/1").unwrap();
        assert!(tree.root().join((LINKS + 1).to_string()).is_file());
    }

    #[test]
    fn paths_are_as_long_as_the_kernel_takes_them() {
        let (tree, rootfs) = Tree::new("long");
        let path = |names: usize| format!("/{}", "n".repeat(200)).repeat(names);
        let make = |path: &str| rootfs.make_directory(&std::ffi::CString::new(path).unwrap());
        make(&path(15)).unwrap();
        assert!(tree.root().join(&path(15)[1..]).is_dir());
        assert_eq!(make(&path(21)).unwrap_err(), Errno::ENAMETOOLONG);
    }

    #[test]
    fn magic_links_are_not_followed() {
        let (_tree, rootfs) = Tree::new("magic");
        let proc = Rootfs::new(std::fs::File::open("/proc").unwrap().into());
        assert_eq!(proc.find(c"/self/root").unwrap_err(), Errno::ELOOP);
        drop(rootfs);
    }

    #[test]
    fn paths_are_split_at_the_last_name() {
        let split = |path: &'static str| {
            let (parent, name) = split(path.as_bytes());
            [parent, name].map(|part| std::str::from_utf8(part).unwrap())
        };
        assert_eq!(split("/a/b"), ["/a/", "b"]);
        assert_eq!(split("/a//"), ["/", "a"]);
        assert_eq!(split("a"), ["/", "a"]);
        assert_eq!(split("/"), ["/", ""]);
    }
}
