//! The mount API by descriptor: fsopen(2), fsconfig(2), fsmount(2), open_tree(2), move_mount(2),
//! mount_setattr(2). All are in Linux 5.12 or older; nix has none of them.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr::null;

use nix::errno::Errno;

use super::{check, new_descriptor};

/// Flags of [`open_tree`]; also `libc::AT_*`.
pub const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_NAMESPACE: u32 = 1 << 1;
const OPEN_TREE_CLOEXEC: u32 = libc::O_CLOEXEC as u32;

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
const FSPICK_CLOEXEC: u32 = 1;
const FSPICK_EMPTY_PATH: u32 = 8;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

/// Mount attributes as fsmount(2) and mount_setattr(2) take them (`MOUNT_ATTR_*`).
pub mod attr {
    #![allow(missing_docs)] // the names are mount_setattr(2)'s own
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    /// The field of the three access-time modes; relatime is its zero.
    pub const ATIME: u64 = 0x70;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    pub const IDMAP: u64 = 0x10_0000;
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Default, Clone, Copy, Debug)]
pub struct MountAttr {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0 to leave it.
    pub propagation: u64,
    /// A user namespace whose maps the mount shall use, with [`attr::IDMAP`].
    pub userns_fd: u64,
}

fn fd(ret: libc::c_long) -> nix::Result<OwnedFd> {
    // SAFETY: a non-negative return of these calls is a new descriptor that nothing else owns.
    unsafe { new_descriptor(ret) }
}

/// A new superblock's configuration context: fsopen(2). Its descriptor also reads the kernel's messages.
pub fn fsopen(kind: &CStr) -> nix::Result<OwnedFd> {
    // SAFETY: `kind` is a NUL-terminated string that outlives the call.
    fd(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

/// The configuration context of the superblock of a mount, whose root `at` is open on: fspick(2).
pub fn fspick(at: impl AsFd) -> nix::Result<OwnedFd> {
    let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    // SAFETY: the path is the empty NUL-terminated string.
    fd(unsafe { libc::syscall(libc::SYS_fspick, at.as_fd().as_raw_fd(), c"".as_ptr(), flags) })
}

/// Sets a parameter without a value, such as `memory` of cgroup v1.
pub fn fsconfig_flag(context: impl AsFd, key: &CStr) -> nix::Result<()> {
    fsconfig(context, FSCONFIG_SET_FLAG, Some(key), None)
}

/// Sets a parameter with a value, such as `size` = `64k`.
pub fn fsconfig_string(context: impl AsFd, key: &CStr, value: &CStr) -> nix::Result<()> {
    fsconfig(context, FSCONFIG_SET_STRING, Some(key), Some(value))
}

/// Creates the superblock from what was configured.
pub fn fsconfig_create(context: impl AsFd) -> nix::Result<()> {
    fsconfig(context, FSCONFIG_CMD_CREATE, None, None)
}

/// Changes the superblock as configured.
pub fn fsconfig_reconfigure(context: impl AsFd) -> nix::Result<()> {
    fsconfig(context, FSCONFIG_CMD_RECONFIGURE, None, None)
}

fn fsconfig(context: impl AsFd, command: u32, key: Option<&CStr>, value: Option<&CStr>) -> nix::Result<()> {
    let key = key.map_or(null(), CStr::as_ptr);
    let value = value.map_or(null(), CStr::as_ptr);
    // SAFETY: each pointer is null where the command takes none, else a NUL-terminated string that
    // outlives the call.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_fd().as_raw_fd(), command, key, value, 0) }).map(drop)
}

/// A detached mount of the created superblock, with `attr` of [`attr`]: fsmount(2).
pub fn fsmount(context: impl AsFd, attr: u64) -> nix::Result<OwnedFd> {
    // mount_setattr(2) has room for more.
    let attr = u32::try_from(attr).map_err(|_| Errno::EINVAL)?;
    // SAFETY: only integers are passed.
    fd(unsafe { libc::syscall(libc::SYS_fsmount, context.as_fd().as_raw_fd(), FSMOUNT_CLOEXEC, attr) })
}

/// Opens a mount, or with [`OPEN_TREE_CLONE`] a detached copy of it: open_tree(2).
pub fn open_tree(dir: impl AsFd, path: &CStr, flags: u32) -> nix::Result<OwnedFd> {
    let flags = flags | OPEN_TREE_CLOEXEC;
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    fd(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_fd().as_raw_fd(), path.as_ptr(), flags) })
}

/// A detached copy of the mount at exactly this descriptor, with what is mounted below it if `recursive`.
pub fn clone_tree(at: impl AsFd, recursive: bool) -> nix::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::AT_EMPTY_PATH as u32;
    open_tree(at, c"", if recursive { flags | libc::AT_RECURSIVE as u32 } else { flags })
}

/// A new mount namespace, which has a copy of the directory that `at` is open on as its root, with what is mounted below it
/// but for the files of mount namespaces: open_tree(2) with `OPEN_TREE_NAMESPACE`, Linux 7.0.
pub fn namespace_of_tree(at: impl AsFd) -> nix::Result<OwnedFd> {
    open_tree(at, c"", OPEN_TREE_NAMESPACE | libc::AT_EMPTY_PATH as u32 | libc::AT_RECURSIVE as u32)
}

/// Attaches the mount `from` on the file or directory that `to` is open on: move_mount(2).
pub fn move_mount(from: impl AsFd, to: impl AsFd) -> nix::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    // SAFETY: both paths are the empty NUL-terminated string.
    check(unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), flags) }).map(drop)
}

/// Changes the attributes of the mount that `at` is open on, and of those below it if `recursive`.
/// EINVAL: `at` is not the root of a mount.
pub fn mount_setattr(at: impl AsFd, recursive: bool, attr: &MountAttr) -> nix::Result<()> {
    set_attributes(at.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH, recursive, attr)
}

/// The same for the mount on an absolute path.
pub fn mount_setattr_on(path: &CStr, recursive: bool, attr: &MountAttr) -> nix::Result<()> {
    set_attributes(libc::AT_FDCWD, path, 0, recursive, attr)
}

fn set_attributes(at: i32, path: &CStr, flags: i32, recursive: bool, attr: &MountAttr) -> nix::Result<()> {
    let flags = flags | if recursive { libc::AT_RECURSIVE } else { 0 };
    let (path, attr) = (path.as_ptr(), std::ptr::from_ref(attr));
    // SAFETY: `path` is a NUL-terminated string, `attr` points to a `struct mount_attr` of the size given,
    // which the kernel only reads; both outlive the call.
    check(unsafe { libc::syscall(libc::SYS_mount_setattr, at, path, flags, attr, size_of::<MountAttr>()) }).map(drop)
}

/// The id of the mount that a handle is open on: statx(2), without a question to its file system.
pub fn mount_id(handle: impl AsFd) -> nix::Result<u64> {
    statx(handle.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH, libc::STATX_MNT_ID).map(|found| found.stx_mnt_id)
}

fn statx(at: RawFd, path: &CStr, flags: i32, mask: u32) -> nix::Result<libc::statx> {
    // SAFETY: a `struct statx` is numbers, each of which may be zero.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let path = path.as_ptr();
    // SAFETY: `path` is a NUL-terminated string, `found` a `struct statx` that the call fills in.
    check(unsafe { libc::syscall(libc::SYS_statx, at, path, flags, mask, &mut found) })?;
    // The mount's id: Linux 5.8.
    if found.stx_mask & mask == mask { Ok(found) } else { Err(Errno::EOPNOTSUPP) }
}

/// A file and the mount that it is reached through: statx(2).
#[derive(Debug, PartialEq, Eq)]
pub struct MountedFile {
    mount: u64,
    device: (u32, u32),
    inode: u64,
}

impl MountedFile {
    /// The file on an absolute path; a link is followed.
    pub fn at(path: &CStr) -> nix::Result<MountedFile> {
        MountedFile::look(libc::AT_FDCWD, path, 0)
    }

    /// The file that a handle is open on.
    pub fn of(handle: impl AsFd) -> nix::Result<MountedFile> {
        MountedFile::of_descriptor(handle.as_fd().as_raw_fd())
    }

    /// The id of the mount, as /proc/PID/mountinfo has it.
    pub fn mount(&self) -> u64 {
        self.mount
    }

    /// The device that its file system has: major and minor number.
    pub fn device(&self) -> (u32, u32) {
        self.device
    }

    /// The file that a descriptor is open on. The number is only looked at: its owner keeps it.
    pub fn of_descriptor(number: RawFd) -> nix::Result<MountedFile> {
        MountedFile::look(number, c"", libc::AT_EMPTY_PATH)
    }

    fn look(at: RawFd, path: &CStr, flags: i32) -> nix::Result<MountedFile> {
        let found = statx(at, path, flags, libc::STATX_INO | libc::STATX_MNT_ID)?;
        let device = (found.stx_dev_major, found.stx_dev_minor);
        Ok(MountedFile { mount: found.stx_mnt_id, device, inode: found.stx_ino })
    }
}

/// pivot_root(2) with the same directory for the new root and the old: the old root is then mounted
/// on top of the new one, and unmounting `.` leaves just the new.
pub fn pivot_root_here() -> nix::Result<()> {
    // SAFETY: both paths are NUL-terminated literals.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// The oldest message that the kernel has for this context ("e tmpfs: Bad value for 'size'"), without
/// its level prefix; reading takes it from the queue.
pub fn kernel_message(context: impl AsFd) -> Option<String> {
    let mut text = [0u8; 512];
    match nix::unistd::read(context, &mut text) {
        Ok(n) => Some(String::from_utf8_lossy(&text[..n]).trim_start_matches("e ").trim().to_owned()),
        Err(Errno::ENODATA) | Err(_) => None,
    }
}
