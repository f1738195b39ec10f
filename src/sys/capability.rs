//! Capability sets as masks: capset(2) once for three sets, where the caps crate makes two calls a set
//! and allocates; dropping from the bounding set; raising in the ambient set.

use super::check;

const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The three sets of a thread, bit N standing for capability N.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets {
    /// Checked by the kernel.
    pub effective: u64,
    /// What the effective set may hold.
    pub permitted: u64,
    /// Kept over execve(2) together with the file's inheritable set.
    pub inheritable: u64,
}

/// The sets of the calling thread: capget(2).
pub fn get() -> nix::Result<Sets> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 writes two `struct __user_cap_data_struct`, which is what `data` holds.
    check(unsafe { libc::syscall(libc::SYS_capget, std::ptr::from_mut(&mut header), data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// Makes these the sets of the calling thread: capset(2).
pub fn set(sets: Sets) -> nix::Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let low = |set: u64| (set & 0xffff_ffff) as u32;
    let part = |shift: u32| Data {
        effective: low(sets.effective >> shift),
        permitted: low(sets.permitted >> shift),
        inheritable: low(sets.inheritable >> shift),
    };
    let data = [part(0), part(32)];
    // SAFETY: version 3 reads two `struct __user_cap_data_struct`, which is what `data` holds.
    check(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_mut(&mut header), data.as_ptr()) }).map(drop)
}

/// Takes a capability out of the bounding set: PR_CAPBSET_DROP. EINVAL: the kernel knows none of this number.
pub fn drop_bounding(capability: u32) -> nix::Result<()> {
    // SAFETY: only integers are passed.
    check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }.into()).map(drop)
}

/// Adds a capability to the ambient set: PR_CAP_AMBIENT_RAISE.
pub fn raise_ambient(capability: u32) -> nix::Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
    // SAFETY: only integers are passed.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, libc::c_ulong::from(capability), 0, 0) }.into()).map(drop)
}

/// Empties the ambient set: PR_CAP_AMBIENT_CLEAR_ALL.
pub fn clear_ambient() -> nix::Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    // SAFETY: only integers are passed.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, 0, 0, 0) }.into()).map(drop)
}
