//! Paths inside the container's root: opened as a process there would find them, created where they are missing.

use std::borrow::Cow;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::Rootfs;

/// The mode of a directory that is made: there is no umask.
pub(super) const MODE: Mode = Mode::from_bits_truncate(0o755);

/// Links in a path before it is given up as a loop, as the kernel's own limit.
pub(super) const LINKS: usize = 40;

impl Rootfs {
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
    pub(super) fn make_directory_with(&self, path: &CStr, mode: Mode) -> nix::Result<OwnedFd> {
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
    pub(super) fn find_missing_part<'a>(&self, path: &'a [u8], links: usize) -> nix::Result<(OwnedFd, Cow<'a, [u8]>)> {
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
}

/// A path's directory and last name; trailing slashes are no part of the name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let parent = if start == 0 { b"/" } else { &path[..start] };
    (parent, &path[start..end])
}

/// The names that a path goes through.
pub(super) fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// Makes a directory directly below another one and opens it; what is there already must be a
/// directory and no link.
pub(super) fn make_child_directory(parent: &OwnedFd, name: &[u8], mode: Mode) -> nix::Result<OwnedFd> {
    match mkdirat(parent, name, mode) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Makes an empty file directly below a directory; what somebody else has just made there is taken, unless
/// it is a link.
fn make_child_file(parent: &OwnedFd, name: &[u8]) -> nix::Result<OwnedFd> {
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    match openat(parent, name, new, Mode::from_bits_truncate(0o644)) {
        Err(Errno::EEXIST) => {
            let there = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = openat(parent, name, there, Mode::empty())?;
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
