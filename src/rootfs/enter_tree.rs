//! The root file system in a mount namespace that begins with nothing else: the host's mounts, of which there may be
//! thousands, are not copied, only to be unmounted again.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
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
use crate::error::{Context, Error, Result};
use crate::process::namespaces::Unshare;
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr};

/// A path of the host that is bound later, and whether with what is mounted below it.
pub type Source = (CString, bool);

/// Descriptors that the steps up to the program may have open beside the sources and the mounts that are kept.
const SPARE: usize = 32;

/// Enters a new mount namespace whose root is the container's. The sources of binds are opened before, since no path leads
/// to them from there. Where that cannot be had, nothing has been changed yet, and the host's mounts are copied as ever.
#[derive(PartialEq)]
pub struct EnterTree {
    /// The root, as it is bound in a copy of the host's mounts.
    pub otherwise: BindRoot,
    /// The sources of the binds, in the order in which they are mounted.
    pub sources: Vec<Source>,
    /// How many mounts stay open for later steps.
    pub kept: usize,
}

impl EnterTree {
    /// Runs the step. Calls `copied` with the reason if it copies the host's mounts after all.
    pub fn run(&self, copied: impl FnOnce(Error)) -> Result<Rootfs> {
        let host = match self.leave() {
            Ok(host) => host,
            // Whatever failed fails there again with its own words, if it is not the way alone.
            Err(error) => {
                copied(error);
                Unshare(CloneFlags::CLONE_NEWNS).run()?;
                return self.otherwise.run();
            }
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

    fn leave(&self) -> Result<HostTree> {
        // No link is followed, nor anything but a directory taken, which some kernels would.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let what = || format!("enter {}", self.otherwise);
        let root = openat(CWD, self.otherwise.path.as_c_str(), flags, Mode::empty()).what(what)?;
        let propagation = self.otherwise.propagation.of_host();
        // Before the sources, so that /proc/self/mountinfo begins with the root.
        let own = mount::namespace_of_tree(&root).what(what)?;
        let sources = self.open_sources(&root)?;
        HostTree::leave(own, sources, propagation).what(what)
    }

    /// Handles of the sources.
    ///
    /// # Errors
    /// Those of [`open_source`]. EMFILE: so many are open that the steps after this one might fail.
    fn open_sources(&self, root: &OwnedFd) -> Result<VecDeque<(CString, OwnedFd)>> {
        let mut sources = VecDeque::with_capacity(self.sources.len());
        if self.sources.is_empty() {
            return Ok(sources);
        }
        let root = path_of(root).what(|| format!("find {}", self.otherwise))?;
        for (path, recursive) in &self.sources {
            let source = open_source(path, *recursive, &root).map_err(|errno| match errno {
                Errno::EXDEV => Error::new(format!("bind source {path:?} shows the rootfs")),
                errno => Error::os(format!("bind source {path:?}"), errno),
            })?;
            sources.push_back((path.clone(), source));
        }
        let highest = sources.iter().map(|(_, source)| source.as_raw_fd()).max().unwrap_or_default();
        let needed = usize::try_from(highest).unwrap_or_default() + self.kept + SPARE;
        let most = getrlimit(Resource::RLIMIT_NOFILE).map(|(most, _)| usize::try_from(most).unwrap_or(usize::MAX));
        match most {
            Ok(most) if needed < most => Ok(sources),
            Ok(_) => Err(Errno::EMFILE),
            Err(errno) => Err(errno),
        }
        .what(|| format!("open the sources of {} binds", self.sources.len()))
    }
}

/// A handle of a source.
///
/// # Errors
/// EXDEV: it shows what is mounted in the root by then, since it lies below, or above and comes with all that is mounted
/// there. ELOOP: a magic link of /proc leads to it, by which a copy of the host's mounts can be had only here.
fn open_source(path: &CStr, recursive: bool, root: &[u8]) -> nix::Result<OwnedFd> {
    let plain = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
    openat2(CWD, path, plain.resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS)).map(drop)?;
    // Once more, since open_tree(2) mounts what is mounted on demand, and O_PATH does not.
    let place = mount::open_tree(CWD, path, 0)?;
    let at = path_of(&place)?;
    if at.starts_with(root) || recursive && root.starts_with(&at) {
        return Err(Errno::EXDEV);
    }
    Ok(place)
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
