//! New instances of file systems, detached: fsopen(2), fsconfig(2), fsmount(2).

use std::ffi::CStr;
use std::fmt::Arguments;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat};

use super::Rootfs;
use crate::digits::Digits;
use crate::error::{Error, Result};
use crate::sys::mount::{self, attr};
use crate::sys::xattr;
use crate::types::mount_options::{Data, Options};

/// The kernel's own file systems, for which read-only is a matter of the mount. Any other is told, too:
/// a device must not be written to by a read-only mount, not even to replay its journal.
pub const WITHOUT_DEVICE: &[&CStr] = &[
    c"binfmt_misc",
    c"bpf",
    c"cgroup2",
    c"debugfs",
    c"devpts",
    c"mqueue",
    c"proc",
    c"ramfs",
    c"sysfs",
    c"tmpfs",
    c"tracefs",
];

/// A new file system.
pub struct FileSystem<'a> {
    /// Its type.
    pub kind: &'a CStr,
    /// Its device or name.
    pub source: &'a CStr,
    /// Where it will be mounted, if that is there already; a tmpfs takes mode and owner from it.
    pub place: Option<&'a OwnedFd>,
}

impl FileSystem<'_> {
    /// Makes it. `what` is for errors: `mount tmpfs on /a`.
    pub fn make(&self, options: &Options, what: impl FnOnce() -> String) -> Result<OwnedFd> {
        let fail = |errno, context: Option<&OwnedFd>| {
            let mut error = Error::os(what(), errno);
            if errno == Errno::EINVAL && options.label_is_refused_by(self.kind) {
                error = label_refused(error);
            }
            let error = self.hinted(error, options);
            match context.and_then(mount::kernel_message) {
                Some(said) => error.detail(said),
                None => error,
            }
        };
        let context = match mount::fsopen(self.kind) {
            Ok(context) => context,
            Err(errno) => return Err(fail(errno, None)),
        };
        let made = self.configure(&context, options);
        let made = made.and_then(|()| mount::fsmount(&context, options.here.set));
        made.map_err(|errno| fail(errno, Some(&context)))
    }

    /// Says what a comma does, where the rest of a layer's name may have been taken for an option.
    pub(super) fn hinted(&self, error: Error, options: &Options) -> Error {
        match self.kind == c"overlay" && options.is_split() {
            true => error.hint("a comma ends an option; in the name of a layer it is written \\,"),
            false => error,
        }
    }

    fn configure(&self, context: &OwnedFd, options: &Options) -> nix::Result<()> {
        mount::fsconfig_string(context, c"source", self.source)?;
        if options.here.set & attr::RDONLY != 0 && !WITHOUT_DEVICE.contains(&self.kind) {
            mount::fsconfig_flag(context, c"ro")?;
        }
        if let Some(place) = self.place {
            for (key, value) in like(place, options)?.into_iter().flatten() {
                mount::fsconfig_string(context, key, value.as_c_str())?;
            }
        }
        configure(context, options)?;
        mount::fsconfig_create(context)
    }
}

/// Hands over what the options say of the file system.
pub(super) fn configure(context: &OwnedFd, options: &Options) -> nix::Result<()> {
    for flag in &options.superblock {
        mount::fsconfig_flag(context, flag)?;
    }
    for Data { key, value, .. } in &options.data {
        match value {
            Some(value) => mount::fsconfig_string(context, key, value)?,
            None => mount::fsconfig_flag(context, key)?,
        }
    }
    Ok(())
}

impl Options {
    /// What of the data a file system would not take, and its own words: nothing is made. A file system
    /// that looks at its data only when it is made refuses nothing here.
    pub fn refused_by(&self, kind: &CStr) -> nix::Result<Vec<(&Data, Error)>> {
        let context = mount::fsopen(kind)?;
        let refused = self.data.iter().filter(|data| !data.is_long()).filter_map(|data| {
            let Data { key, value, .. } = data;
            let result = match value {
                Some(value) => mount::fsconfig_string(&context, key, value),
                None => mount::fsconfig_flag(&context, key),
            };
            let error = Error::os(format!("option {key:?} of {}", kind.to_string_lossy()), result.err()?);
            Some((data, mount::kernel_message(&context).into_iter().fold(error, Error::detail)))
        });
        Ok(refused.collect())
    }

    /// Whether it is the label of all mounts that is not taken, which the options have from elsewhere.
    fn label_is_refused_by(&self, kind: &CStr) -> bool {
        self.data.iter().any(|data| data.at.is_none())
            && self.refused_by(kind).is_ok_and(|refused| refused.iter().any(|(data, _)| data.at.is_none()))
    }
}

/// The same error as one of the property that has the label.
pub fn label_refused(error: Error) -> Error {
    error.from_property("/linux/mountLabel").hint("the policy does not know this label")
}

/// Labels the root of a detached file system that takes none as an option.
pub(super) fn relabel(tree: &OwnedFd, label: &CStr) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = openat(tree, c".", flags, Mode::empty())?;
    xattr::set(root, c"security.selinux", label.to_bytes_with_nul())
}

/// The directory that a tmpfs is like: its mount point, unless that is still to be made or the options say
/// all of it. runc and crun take the mode from there; an owner other than root belongs to it.
pub(super) fn tmpfs_place(rootfs: &Rootfs, path: &CStr, options: &Options) -> nix::Result<Option<OwnedFd>> {
    if options.has_data(c"mode") && !options.copy_up {
        return Ok(None);
    }
    match rootfs.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        // What is wrong with it is told when it is mounted on.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        result => result.map(Some),
    }
}

/// Whom a user namespace shows in the place of owners that it does not know: `DEFAULT_OVERFLOWUID` of
/// linux/highuid.h.
const NOBODY: u32 = 65534;

/// Mode and owner, where the options do not say them.
pub(super) fn like(place: &OwnedFd, options: &Options) -> nix::Result<[Option<(&'static CStr, Digits)>; 3]> {
    let FileStat { st_mode, st_uid, st_gid, .. } = fstat(place)?;
    let unless_given = |key, value: Arguments| (!options.has_data(key)).then(|| (key, Digits::new(value)));
    let owner = |key, id: u32| if matches!(id, 0 | NOBODY) { None } else { unless_given(key, format_args!("{id}")) };
    let mode = unless_given(c"mode", format_args!("{:o}", st_mode & 0o7777));
    Ok([mode, owner(c"uid", st_uid), owner(c"gid", st_gid)])
}
