//! The step that creates the default devices and links of /dev.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, makedev, mknodat};
use nix::unistd::symlinkat;

use super::Rootfs;
use super::node::{HANDLE, Node, There, is_mounted_on};
use crate::error::{Context, Error, Result};
use crate::sys::mount::MountedFile;
use crate::types::default_devices::{LINKS, NODES};

/// Makes the default devices and links. What an image brings in their place is kept if it is the same
/// thing and refused if not: nothing may pass for /dev/null.
#[derive(PartialEq)]
pub struct DefaultDevices {
    /// In a user namespace, which may make no devices, the host's are mounted.
    pub bind: bool,
    /// The names of links that are left out, since `linux.devices` has something in their place.
    pub without: Vec<&'static CStr>,
}

impl DefaultDevices {
    fn links(&self) -> impl Iterator<Item = &(&CStr, &CStr)> {
        LINKS.iter().filter(|(name, _)| !self.without.contains(name))
    }
}

impl DefaultDevices {
    /// Runs the step. A /dev that is a part of the host's tree, perhaps its own /dev, has what it has: as with runc, nothing
    /// is created there.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let dev = rootfs.make_directory(c"/dev").what(|| "open /dev of the container")?;
        let place = MountedFile::of(&dev).what(|| "look at /dev of the container")?;
        if rootfs.foreign_dev(Some(&place))?.is_some() {
            return Ok(());
        }
        let mut created = [None; NODES.len()];
        for ((name, major, minor), created) in NODES.into_iter().zip(&mut created) {
            let number = makedev(major, minor);
            if self.bind {
                node(name, number, true).bind(rootfs, &dev, name.to_bytes())?;
            } else if make_node(rootfs, &dev, name, number)? {
                *created = Some(name);
            }
        }
        rootfs.dev.created_defaults(place, created);
        for (name, target) in self.links() {
            make_link(&dev, name, target)?;
        }
        // The link to the kernel's memory image, only where the kernel has it.
        match rootfs.find(c"/proc/kcore") {
            // Nor where /proc is no procfs.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
            found => found.what(|| "look for /proc/kcore").and_then(|_| make_link(&dev, c"core", c"/proc/kcore")),
        }
    }
}

/// The node of a default device, for what is not done by its name in /dev.
fn node(name: &CStr, number: u64, bind: bool) -> Node {
    let path = [b"/dev/", name.to_bytes()].concat();
    Node::new(CString::new(path).expect("joined from strings without NUL"), SFlag::S_IFCHR, number, bind)
}

/// Returns whether it was created.
fn make_node(rootfs: &Rootfs, dev: &OwnedFd, name: &CStr, number: u64) -> Result<bool> {
    let node = || node(name, number, false);
    match mknodat(dev, name, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), number) {
        Err(Errno::EEXIST) => match node().there(dev, name.to_bytes())? {
            There::Same(_) | There::Mounted => Ok(false),
            There::Other(_) => Err(node().taken()),
        },
        Err(Errno::EPERM) => node().bind(rootfs, dev, name.to_bytes()).map(|()| false),
        result => result.what(|| format!("mknod {}", node())).map(|()| true),
    }
}

/// ptmx and core are the image's own if it has them: a devpts without `newinstance` brings a node. What the config has
/// mounted there stays.
fn make_link(dev: &OwnedFd, name: &CStr, target: &CStr) -> Result<()> {
    match symlinkat(target, dev, name) {
        Err(Errno::EEXIST) if name == c"ptmx" || name == c"core" => Ok(()),
        Err(Errno::EEXIST) => {
            let what = || format!("look at the container's /dev/{}", name.to_string_lossy());
            let found = openat(dev, name, HANDLE, Mode::empty()).what(what)?;
            if is_mounted_on(dev, &found).what(what)? {
                return Ok(());
            }
            let there = match readlinkat(&found, c"") {
                Err(Errno::ENOENT) => {
                    return Err(Error::new(format!("the container's /dev has a {name:?} that is no link")));
                }
                there => there.what(what)?,
            };
            if there.as_encoded_bytes() == target.to_bytes() {
                return Ok(());
            }
            Err(Error::new(format!("the container's /dev has a {name:?} that leads to {there:?}")))
        }
        result => result.what(|| format!("symlink /dev/{}", name.to_string_lossy())),
    }
}

impl fmt::Display for DefaultDevices {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let nodes: Vec<_> = NODES.iter().map(|(name, ..)| name.to_string_lossy()).collect();
        let links: Vec<_> = self.links().map(|(name, _)| name.to_string_lossy()).collect();
        let whose = if self.bind { "the host's " } else { "" };
        write!(f, "{whose}{}; links {}", nodes.join(" "), links.join(" "))
    }
}

/// Whether this is the null device, character device 1:3.
pub fn is_null(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == makedev(1, 3)
}
