//! Which file systems store files, and which show something of the kernel in their place.

use nix::sys::statfs::{FUSE_SUPER_MAGIC, FsType, Statfs, TMPFS_MAGIC};

/// `RAMFS_MAGIC` and `EFIVARFS_MAGIC` of linux/magic.h.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
const EFIVARFS_MAGIC: FsType = FsType(0xde5e_81e4);

/// Whether the files are the kernel's own: to read one, or to open it, may have an effect, and it may have no end. Such a
/// file system has no blocks to store files in (simple_statfs(): proc, sysfs, debugfs, tracefs, cgroup, securityfs, bpf,
/// configfs and others); only efivarfs has. Of the others, those in memory and FUSE may have none.
pub fn is_kernels_own(found: &Statfs) -> bool {
    match found.filesystem_type() {
        EFIVARFS_MAGIC => true,
        TMPFS_MAGIC | RAMFS_MAGIC | FUSE_SUPER_MAGIC => false,
        _ => found.blocks() == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_kernel_are_told_from_those_that_store_files() {
        let is_own = |path: &str| is_kernels_own(&nix::sys::statfs::statfs(path).unwrap());
        assert!(!is_own(std::env::current_exe().unwrap().to_str().unwrap()));
        for path in ["/proc/version", "/sys/kernel", "/proc/self/ns/mnt"] {
            assert!(is_own(path), "{path}");
        }
    }
}
