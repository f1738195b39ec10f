//! NOTIFY_SOCKET: where the container's program reaches the service manager, sd_notify(3).

use std::ffi::CStr;
use std::fmt;

use super::{Compiler, c_path};
use crate::rootfs::mount::{Mount, Source};
use crate::rootfs::source::BindSource;
use crate::types::mount_options::Options;

/// Where the container has the directory of the socket.
const DIRECTORY: &CStr = c"/run/notify";
/// The environment's entry for the socket.
pub(super) const ENTRY: &CStr = c"NOTIFY_SOCKET=/run/notify/notify.sock";

/// Mounts the directory of the socket. No property of config.json asks for it, but the caller's environment does.
#[derive(PartialEq)]
pub struct NotifyMount(pub Box<Mount>);

impl fmt::Display for NotifyMount {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Compiler<'_> {
    /// The mount of the socket's directory, after all others, as by runc.
    pub(super) fn notify_mount(&mut self) {
        let Some(directory) = &self.options.notify else { return };
        let mut options = Options::default();
        for option in ["bind", "nosuid", "noexec", "nodev", "ro"] {
            options.add(option).expect("an option of mounts");
        }
        let mount = Mount {
            source: Source::Bind(c_path(directory)),
            destination: DIRECTORY.into(),
            options,
            cut_off: self.shares_with_host(),
            idmap: None,
            handed: self.has_user_namespace(),
            label: None,
            keep: false,
        };
        self.init(None, NotifyMount(Box::new(mount)));
    }

    /// Its source, for the init of a user namespace.
    pub(super) fn notify_source(&self) -> Option<BindSource> {
        let path = c_path(self.options.notify.as_deref()?);
        Some(BindSource { from: None, path, recursive: false, idmap: None })
    }
}
