//! Mounts with an option that is too long for fsconfig(2), as the layers of an overlay are soon, or that has
//! a comma, as a layer's name may. mount(2) takes it, but attaches the mount: here to a scratch directory over
//! the container's root, where no mount goes to the host and nothing else is looked up meanwhile.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::fchdir;

use super::file_system::{FileSystem, WITHOUT_DEVICE, like};
use super::{Rootfs, withdraw};
use crate::error::{Context, Error, Result};
use crate::sys::fd::CWD;
use crate::sys::mount::{self, MountAttr, attr};
use crate::types::mount_options::{Data, Options, takes_quotes};

/// The longest value that fsconfig(2) takes: `strndup_user(_value, 256)` of the kernel's fs/fsopen.c.
const LONGEST_VALUE: usize = 255;
/// All options together as mount(2) takes them: the kernel cuts them off silently at the end of a page.
const LONGEST_TEXT: usize = 4095;

const SCRATCH: &CStr = c"new";

impl Data {
    /// Whether fsconfig(2) does not take it.
    pub(super) fn is_long(&self) -> bool {
        self.value.as_deref().is_some_and(|value| is_long(value) || (has_comma(value) && !takes_quotes(&self.key)))
    }
}

fn is_long(value: &CStr) -> bool {
    value.to_bytes().len() > LONGEST_VALUE
}

/// A file system that knows nothing of fsconfig(2), as overlay before Linux 6.5, cannot be handed such a value
/// by it: `legacy_parse_param` of the kernel's fs/fs_context.c.
fn has_comma(value: &CStr) -> bool {
    value.to_bytes().contains(&b',')
}

impl FileSystem<'_> {
    /// Whether fsconfig(2) does not take all of it.
    pub(super) fn is_long(&self, options: &Options) -> bool {
        is_long(self.source) || options.data.iter().any(Data::is_long)
    }

    /// Makes it with mount(2). `what` is for errors: `mount overlay on /a`.
    pub(super) fn make_with_long_options(
        &self,
        options: &Options,
        rootfs: &Rootfs,
        what: impl Fn() -> String,
    ) -> Result<OwnedFd> {
        let text = self.text(options).what(&what)?;
        if text.to_bytes().len() > LONGEST_TEXT {
            let (length, what) = (text.to_bytes().len(), what());
            return Err(Error::new(format!(
                "{what}: options of {length} bytes, of which the kernel takes {LONGEST_TEXT}"
            )));
        }
        if rootfs.nowhere {
            let error = Error::new(format!(
                "{}: an option of more than 255 bytes, or with a comma, needs a mount namespace",
                what()
            ));
            return Err(error.hint("add {\"type\": \"mount\"} to linux.namespaces"));
        }
        let scratch = scratch(rootfs).what(|| "make a directory to mount on")?;
        let made = self.mount(options, &text).what(&what);
        withdraw(&scratch).what(|| "take the directory to mount on away")?;
        made.map_err(|error| self.hinted(error, options).hint("the kernel's log may say more"))
    }

    /// Mounts it on the scratch directory, which is where this process works, and copies that mount.
    fn mount(&self, options: &Options, text: &CStr) -> nix::Result<OwnedFd> {
        mount(Some(self.source), SCRATCH, Some(self.kind), self.flags(options), Some(text))?;
        let made = mount::open_tree(CWD, SCRATCH, mount::OPEN_TREE_CLONE)?;
        let change = MountAttr { set: options.here.set, clear: options.here.clear, ..MountAttr::default() };
        mount::mount_setattr(&made, false, &change)?;
        Ok(made)
    }

    /// What is no flag: `lowerdir=/a:/b,userxattr`.
    fn text(&self, options: &Options) -> nix::Result<CString> {
        let like = match self.place {
            Some(place) => like(place, options)?,
            None => Default::default(),
        };
        let mut text = Vec::new();
        let mut add = |key: &CStr, value: Option<&CStr>| {
            let quote: &[u8] = if takes_quotes(key) { b"\"" } else { b"" };
            text.extend(if text.is_empty() { &b""[..] } else { b"," });
            text.extend(key.to_bytes());
            value.iter().for_each(|value| text.extend([b"=", quote, value.to_bytes(), quote].concat()));
        };
        like.iter().flatten().for_each(|(key, value)| add(key, Some(value.as_c_str())));
        options.data.iter().for_each(|data| add(&data.key, data.value.as_deref()));
        Ok(CString::new(text).expect("joined from strings without NUL"))
    }

    /// The flags of the file system; those of the mount follow.
    fn flags(&self, options: &Options) -> MsFlags {
        let mut flags = MsFlags::empty();
        let read_only = options.here.set & attr::RDONLY != 0;
        flags.set(MsFlags::MS_RDONLY, read_only && !WITHOUT_DEVICE.contains(&self.kind));
        for flag in &options.superblock {
            match flag.to_bytes() {
                b"sync" => flags.insert(MsFlags::MS_SYNCHRONOUS),
                b"async" => flags.remove(MsFlags::MS_SYNCHRONOUS),
                b"dirsync" => flags.insert(MsFlags::MS_DIRSYNC),
                b"lazytime" => flags.insert(MsFlags::MS_LAZYTIME),
                b"nolazytime" => flags.remove(MsFlags::MS_LAZYTIME),
                b"mand" => flags.insert(MsFlags::MS_MANDLOCK),
                _ => flags.remove(MsFlags::MS_MANDLOCK),
            }
        }
        flags
    }
}

/// A file system to mount in, with one directory, where the process works from now on.
fn scratch(rootfs: &Rootfs) -> nix::Result<OwnedFd> {
    let context = mount::fsopen(c"tmpfs")?;
    mount::fsconfig_create(&context)?;
    let scratch = mount::fsmount(&context, 0)?;
    mkdirat(&scratch, SCRATCH, Mode::S_IRWXU)?;
    fchdir(&scratch)?;
    mount::move_mount(&scratch, rootfs.root())?;
    Ok(scratch)
}
