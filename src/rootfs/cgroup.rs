//! A mount of type `cgroup` or `cgroup2`: the container's view of its own cgroup.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use nix::fcntl::{OFlag, openat};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{fchdir, symlinkat};

use super::Rootfs;
use super::file_system::FileSystem;
use super::mount::set_mount_options;
use super::propagation::SLAVE;
use super::target::guard_proc;
use crate::error::{Context, Error, Result};
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr, attr};
use crate::types::mount_options::Options;

/// What every part of it is mounted with.
const BASE: u64 = attr::NOSUID | attr::NODEV | attr::NOEXEC;

/// A cgroup v1 hierarchy inside the container.
#[derive(PartialEq)]
pub struct Hierarchy {
    /// The directory: `memory`, `cpu,cpuacct`, `systemd`.
    pub name: CString,
    /// Without a cgroup namespace: the container's directory on the host, which is bound.
    pub bind: Option<CString>,
    /// With one: the mount data that names the hierarchy: `memory`, `none,name=systemd`.
    pub data: CString,
}

/// What the mount shows.
#[derive(PartialEq)]
pub enum View {
    /// A tmpfs with a directory for each v1 hierarchy.
    V1(Vec<Hierarchy>),
    /// The cgroup v2 tree, rooted at the container's cgroup by its cgroup namespace.
    V2,
    /// The container's directory of that tree on the host, for a container without a cgroup namespace.
    OwnV2(CString),
    /// The host's cgroup v2 tree, for such a container where there is no other.
    HostV2(CString),
}

/// Mounts the container's cgroups.
#[derive(PartialEq)]
pub struct CgroupMount {
    /// What is shown.
    pub view: View,
    /// Where: absolute and clean, inside the container.
    pub destination: Rc<CStr>,
    /// How. The tmpfs of v1 may be made read-only only by [`SealReadOnly`](super::mount::SealReadOnly), so that mount points
    /// can be made in it.
    pub options: Options,
    /// Whether the hierarchies of v1 are read-only.
    pub read_only: bool,
    /// The mount is needed again.
    pub keep: bool,
    /// What is bound of the host's does not stay shared with it.
    pub cut_off: bool,
    /// The SELinux context of the tmpfs of v1.
    pub label: Option<CString>,
}

impl CgroupMount {
    /// Runs the step, after the process has joined its cgroups and left the cgroup namespace.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let tree = match &self.view {
            View::V2 => {
                let made = FileSystem { kind: c"cgroup2", source: c"cgroup2", place: None };
                made.make(&self.options, || format!("mount {self}"))?
            }
            _ if !self.options.data.is_empty() => {
                let key = self.options.data[0].key.to_string_lossy();
                return Err(Error::new(format!(
                    "mount {self}: no file system is made here to take the option \"{key}\""
                )));
            }
            View::V1(_) => tmpfs(self.label.as_deref()).what(|| format!("mount {self}"))?,
            View::OwnV2(path) | View::HostV2(path) => {
                mount::open_tree(CWD, path, mount::OPEN_TREE_CLONE).what(|| format!("mount {self}"))?
            }
        };
        let target = rootfs.make_directory(&self.destination).what(|| format!("mount point {:?}", self.destination))?;
        guard_proc(&self.destination, &tree, &target, self)?;
        rootfs.attach_and(&tree, &target, &self.destination, || self.finish(&tree))?;
        if self.keep {
            rootfs.keep(self.destination.clone(), tree, true);
        }
        Ok(())
    }

    /// What is left when it is attached: mount(2) works in no other tree.
    fn finish(&self, tree: &OwnedFd) -> Result<()> {
        if let View::V1(hierarchies) = &self.view {
            self.fill(tree, hierarchies)?;
        }
        if self.cut_off {
            mount::mount_setattr(tree, true, &SLAVE).what(|| format!("cut off {self}"))?;
        }
        let options = &self.options;
        let change = MountAttr { set: BASE | options.here.set, clear: options.here.clear, ..MountAttr::default() };
        mount::mount_setattr(tree, false, &change).what(|| format!("set options of {self}"))?;
        set_mount_options(tree, options, self)
    }

    /// Mounts each hierarchy by a name relative to the new tmpfs: nothing else can reach that yet, and for a
    /// new view of one mount(2) is one call where the descriptors would take eight.
    fn fill(&self, tmpfs: &OwnedFd, hierarchies: &[Hierarchy]) -> Result<()> {
        fchdir(tmpfs).what(|| format!("enter {:?}", self.destination))?;
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        flags.set(MsFlags::MS_RDONLY, self.read_only);
        for hierarchy in hierarchies {
            let name = hierarchy.name.as_c_str();
            mkdirat(tmpfs, name, Mode::from_bits_truncate(0o755)).what(|| format!("mkdir {name:?}"))?;
            let mounted = match &hierarchy.bind {
                None => {
                    nix::mount::mount(Some(c"cgroup"), name, Some(c"cgroup"), flags, Some(hierarchy.data.as_c_str()))
                }
                Some(path) => bind(path, tmpfs, name, self.read_only),
            };
            mounted.what(|| format!("mount cgroup hierarchy {name:?}"))?;
            // Where controllers share a hierarchy, each is found by its own name, too.
            for controller in name.to_bytes().split(|byte| *byte == b',').filter(|part| *part != name.to_bytes()) {
                symlinkat(name, tmpfs, controller).what(|| format!("symlink \"{}\"", controller.escape_ascii()))?;
            }
        }
        Ok(())
    }
}

/// By descriptors: the tmpfs may be mounted nowhere, where mount(2) does not work.
fn bind(path: &CStr, tmpfs: &OwnedFd, name: &CStr, read_only: bool) -> nix::Result<()> {
    let tree = mount::open_tree(CWD, path, mount::OPEN_TREE_CLONE)?;
    let set = if read_only { BASE | attr::RDONLY } else { BASE };
    mount::mount_setattr(&tree, false, &MountAttr { set, ..MountAttr::default() })?;
    mount::move_mount(&tree, openat(tmpfs, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
}

fn tmpfs(label: Option<&CStr>) -> nix::Result<OwnedFd> {
    let context = mount::fsopen(c"tmpfs")?;
    mount::fsconfig_string(&context, c"source", c"tmpfs")?;
    mount::fsconfig_string(&context, c"mode", c"755")?;
    if let Some(label) = label {
        mount::fsconfig_string(&context, c"context", label)?;
    }
    mount::fsconfig_create(&context)?;
    mount::fsmount(&context, BASE)
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
            View::OwnV2(path) => write!(f, "cgroup2 {} on {destination}", path.to_string_lossy()),
            View::HostV2(_) => write!(f, "the host's cgroup2 on {destination}"),
        }
    }
}
