//! The option `remount`: it changes the options of an earlier mount.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::Rootfs;
use super::mount::set_mount_options;
use crate::error::{Context, Error, Result};
use crate::sys::mount::{self, MountAttr, attr};
use crate::types::mount_options::Options;

/// Changes what is mounted on a destination. The flags of the mount change as named, the rest stays, as
/// with mount(8). The file system itself changes only if `mounts` made it: any other is the host's, too.
#[derive(PartialEq)]
pub struct Remount {
    /// Where: absolute and clean, inside the container.
    pub destination: Rc<CStr>,
    /// What changes.
    pub options: Options,
}

impl Remount {
    /// Runs the step.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        match rootfs.kept(&self.destination) {
            Some(kept) => self.change(&kept.mount, kept.is_own),
            None => self.change(&rootfs.find(&self.destination).what(|| self.to_string())?, false),
        }
    }

    fn change(&self, mount: &OwnedFd, is_own: bool) -> Result<()> {
        // EINVAL: nothing is mounted there.
        let context = mount::fspick(mount).what(|| self.to_string())?;
        self.file_system(is_own, &context)?;
        let change = MountAttr { set: self.options.here.set, clear: self.options.here.clear, ..MountAttr::default() };
        if !self.options.here.is_empty() {
            mount::mount_setattr(mount, false, &change).what(|| self.to_string())?;
        }
        set_mount_options(mount, &self.options, self)
    }

    fn file_system(&self, is_own: bool, context: &OwnedFd) -> Result<()> {
        let Options { bind, here, superblock, data, .. } = &self.options;
        let read_only = [(here.set, c"ro"), (here.clear, c"rw")];
        let read_only = read_only.iter().find(|(bits, _)| bits & attr::RDONLY != 0);
        if bind.is_some() || (superblock.is_empty() && data.is_empty() && read_only.is_none()) {
            return Ok(());
        }
        if !is_own {
            if superblock.is_empty() && data.is_empty() {
                return Ok(());
            }
            let message = format!("{self}: the file system there is not the container's own");
            return Err(
                Error::new(message).hint("only flags of the mount, such as ro and nosuid, can be changed there")
            );
        }
        let configure = || {
            read_only.map_or(Ok(()), |(_, flag)| mount::fsconfig_flag(context, flag))?;
            super::file_system::configure(context, &self.options)?;
            mount::fsconfig_reconfigure(context)
        };
        configure().map_err(|errno| match mount::kernel_message(context) {
            Some(said) => Error::os(self.to_string(), errno).detail(said),
            None => Error::os(self.to_string(), errno),
        })
    }
}

impl fmt::Display for Remount {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "remount {}", self.destination.to_string_lossy())
    }
}
