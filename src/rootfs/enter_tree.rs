//! The root file system in a mount namespace that begins with nothing else: the host's mounts, of which there may be
//! thousands, are not copied, only to be unmounted again.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlink};
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;

use super::Rootfs;
use super::host_tree::HostTree;
use super::root::BindRoot;
use crate::error::{Context, Result};
use crate::process::namespaces::Unshare;
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr};

/// A path of the host that is bound later, and whether with what is mounted below it.
pub type Source = (CString, bool);

/// Descriptors that the steps up to the program may have open beside the sources.
const SPARE: i32 = 32;

/// Enters a new mount namespace whose root is the container's. The sources of binds are opened before, since no path leads
/// to them from there. Where that cannot be had, nothing has been changed yet, and the host's mounts are copied as ever.
#[derive(PartialEq)]
pub struct EnterTree {
    /// The root, as it is bound in a copy of the host's mounts.
    pub otherwise: BindRoot,
    /// The sources of the binds, in the order in which they are mounted.
    pub sources: Vec<Source>,
}

impl EnterTree {
    /// Runs the step.
    pub fn run(&self) -> Result<Rootfs> {
        // Whatever failed fails there again with its own words, if it is not the way alone.
        let Ok(host) = self.leave() else {
            Unshare(CloneFlags::CLONE_NEWNS).run()?;
            return self.otherwise.run();
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = openat(CWD, c"/", flags, Mode::empty()).what(|| format!("open {}", self.otherwise))?;
        let propagation = &self.otherwise.propagation;
        for (recursive, kind) in [(true, propagation.of_host()), (false, propagation.of_root())] {
            if recursive || kind != propagation.of_host() {
                let change = MountAttr { propagation: kind, ..MountAttr::default() };
                mount::mount_setattr(&root, recursive, &change)
                    .what(|| format!("set the propagation of {}", self.otherwise))?;
            }
        }
        Ok(Rootfs { host: Some(host), ..Rootfs::new(root) })
    }

    fn leave(&self) -> nix::Result<HostTree> {
        // No link is followed, nor anything but a directory taken, which some kernels would.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let root = openat(CWD, self.otherwise.path.as_c_str(), flags, Mode::empty())?;
        let propagation = self.otherwise.propagation.of_host();
        // Before the sources, so that /proc/self/mountinfo begins with the root.
        let own = mount::namespace_of_tree(&root)?;
        let sources = self.open_sources(&root, propagation)?;
        HostTree::leave(own, sources, propagation)
    }

    /// Copies of the sources, cut off from the host as those in a copy of its mounts are.
    ///
    /// # Errors
    /// EXDEV: one shows what is mounted in the root by then, since it lies below, or above and comes with all that is mounted
    /// there. ELOOP: a magic link of /proc leads to it, by which a copy of the host's mounts can be had only here. EMFILE: so
    /// many are open that the steps after this one might fail.
    fn open_sources(&self, root: &OwnedFd, propagation: u64) -> nix::Result<VecDeque<(CString, OwnedFd)>> {
        let mut sources = VecDeque::with_capacity(self.sources.len());
        if self.sources.is_empty() {
            return Ok(sources);
        }
        let root = path_of(root)?;
        for (path, recursive) in &self.sources {
            let plain = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
            openat2(CWD, path.as_c_str(), plain.resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS)).map(drop)?;
            let place = mount::open_tree(CWD, path, 0)?;
            let at = path_of(&place)?;
            if at.starts_with(&root) || *recursive && root.starts_with(&at) {
                return Err(Errno::EXDEV);
            }
            let copy = mount::clone_tree(&place, *recursive)?;
            mount::mount_setattr(&copy, true, &MountAttr { propagation, ..MountAttr::default() })?;
            sources.push_back((path.clone(), copy));
        }
        let (most, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let highest = sources.iter().map(|(_, copy)| copy.as_raw_fd()).max().unwrap_or_default();
        if highest + SPARE >= i32::try_from(most).unwrap_or(i32::MAX) {
            return Err(Errno::EMFILE);
        }
        Ok(sources)
    }
}

/// The path that a handle has now, without links, with a slash at the end.
fn path_of(handle: &OwnedFd) -> nix::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    let mut path = readlink(format!("/proc/self/fd/{}", handle.as_raw_fd()).as_str())?.into_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    Ok(path)
}

impl fmt::Display for EnterTree {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} as the root of a mount namespace", self.otherwise)
    }
}
