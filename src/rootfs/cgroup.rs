//! A mount of type `cgroup`: the container's view of its own cgroup.

use std::ffi::CString;
use std::fmt;
use std::os::fd::OwnedFd;

use nix::mount::MsFlags;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{fchdir, symlinkat};

use super::Rootfs;
use super::mount::{attach, finish, guard_proc};
use super::options::Options;
use crate::error::{Context, Result};
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr, attr};

/// What every part of it is mounted with.
const BASE: u64 = attr::NOSUID | attr::NODEV | attr::NOEXEC;

/// A cgroup v1 hierarchy inside the container.
pub struct Hierarchy {
    /// The directory: `memory`, `cpu,cpuacct`, `systemd`.
    pub name: CString,
    /// Without a cgroup namespace: the container's directory on the host, which is bound.
    pub bind: Option<CString>,
    /// With one: the mount data that names the hierarchy: `memory`, `none,name=systemd`.
    pub data: CString,
}

/// What the mount shows.
pub enum View {
    /// A tmpfs with a directory for each v1 hierarchy.
    V1(Vec<Hierarchy>),
    /// The cgroup v2 tree, rooted at the container's cgroup by its cgroup namespace.
    V2,
    /// The host's cgroup v2 tree, for a container without a cgroup namespace.
    HostV2(CString),
}

/// Mounts the container's cgroups.
pub struct CgroupMount {
    /// What is shown.
    pub view: View,
    /// Where: absolute and clean, inside the container.
    pub destination: CString,
    /// How.
    pub options: Options,
}

impl CgroupMount {
    /// Runs the step, after the process has joined its cgroups and left the cgroup namespace.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let target = rootfs.make_directory(&self.destination).what(|| format!("mount point {:?}", self.destination))?;
        let tree = match &self.view {
            View::V1(_) => file_system(c"tmpfs", Some(c"755"), BASE),
            View::V2 => file_system(c"cgroup2", None, BASE | self.options.here.set),
            View::HostV2(path) => mount::open_tree(CWD, path, mount::OPEN_TREE_CLONE),
        };
        let tree = tree.what(|| format!("mount {self}"))?;
        guard_proc(&self.destination, &tree, &target)?;
        attach(&tree, &target, &self.destination)?;
        if let View::V1(hierarchies) = &self.view {
            self.fill(&tree, hierarchies)?;
        }
        let change =
            MountAttr { set: BASE | self.options.here.set, clear: self.options.here.clear, ..MountAttr::default() };
        mount::mount_setattr(&tree, false, &change).what(|| format!("set options of {self}"))?;
        finish(&tree, &self.options).what(|| format!("set options of {self}"))
    }

    /// Mounts each hierarchy by a name relative to the new tmpfs: nothing else can reach that yet, and
    /// mount(2) is one call where the descriptors would take eight.
    fn fill(&self, tmpfs: &OwnedFd, hierarchies: &[Hierarchy]) -> Result<()> {
        fchdir(tmpfs).what(|| format!("enter {:?}", self.destination))?;
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        flags.set(MsFlags::MS_RDONLY, self.options.read_only());
        for hierarchy in hierarchies {
            let name = hierarchy.name.as_c_str();
            mkdirat(tmpfs, name, Mode::from_bits_truncate(0o755)).what(|| format!("mkdir {name:?}"))?;
            let mounted = match &hierarchy.bind {
                None => {
                    nix::mount::mount(Some(c"cgroup"), name, Some(c"cgroup"), flags, Some(hierarchy.data.as_c_str()))
                }
                Some(path) => bind(path, name, flags),
            };
            mounted.what(|| format!("mount cgroup hierarchy {name:?}"))?;
            // Where controllers share a hierarchy, each is found by its own name, too.
            for controller in name.to_bytes().split(|byte| *byte == b',').filter(|part| *part != name.to_bytes()) {
                let link = CString::new(controller).expect("part of a string without NUL");
                symlinkat(name, tmpfs, link.as_c_str()).what(|| format!("symlink {link:?}"))?;
            }
        }
        Ok(())
    }
}

fn bind(path: &std::ffi::CStr, name: &std::ffi::CStr, flags: MsFlags) -> nix::Result<()> {
    let none = None::<&std::ffi::CStr>;
    nix::mount::mount(Some(path), name, none, MsFlags::MS_BIND, none)?;
    nix::mount::mount(none, name, none, flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT, none)
}

fn file_system(kind: &std::ffi::CStr, mode: Option<&std::ffi::CStr>, attributes: u64) -> nix::Result<OwnedFd> {
    let context = mount::fsopen(kind)?;
    mount::fsconfig_string(&context, c"source", kind)?;
    if let Some(mode) = mode {
        mount::fsconfig_string(&context, c"mode", mode)?;
    }
    mount::fsconfig_create(&context)?;
    mount::fsmount(&context, attributes)
}

impl fmt::Display for CgroupMount {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let destination = self.destination.to_string_lossy();
        match &self.view {
            View::V1(hierarchies) => {
                let names: Vec<_> = hierarchies.iter().map(|hierarchy| hierarchy.name.to_string_lossy()).collect();
                write!(f, "cgroup v1 on {destination}: {}", names.join(" "))
            }
            View::V2 => write!(f, "cgroup2 on {destination}"),
            View::HostV2(_) => write!(f, "the host's cgroup2 on {destination}"),
        }
    }
}
