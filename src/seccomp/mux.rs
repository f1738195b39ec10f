//! Calls that 32-bit x86 has twice: as calls of their own since Linux 4.3, and as one of many
//! functions of socketcall(2) or ipc(2). A rule on one of them is a rule on both, as in libseccomp.

use crate::types::seccomp::arch::Arch;
use crate::types::seccomp::profile::{Condition, Operator};
use crate::types::seccomp::syscalls::{Call, named};

/// The functions of socketcall(2) (linux/net.h), the first of which is 1.
#[rustfmt::skip]
const SOCKET: [&str; 20] = [
    "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv", "sendto",
    "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
];

/// The functions of ipc(2) (linux/ipc.h).
#[rustfmt::skip]
const IPC: [(&str, u64); 12] = [
    ("semop", 1), ("semget", 2), ("semctl", 3), ("semtimedop", 4), ("msgsnd", 11), ("msgrcv", 12), ("msgget", 13),
    ("msgctl", 14), ("shmat", 21), ("shmdt", 22), ("shmget", 23), ("shmctl", 24),
];

/// The call in whose disguise this one can come, and the function that it is there.
pub fn disguise(arch: Arch, call: Call) -> Option<(u32, u64)> {
    if arch != Arch::X86 {
        return None;
    }
    let name = call.name();
    // The first letter decides for many: 10 µs less for Docker's profile.
    if !matches!(name.as_bytes(), [b'a' | b'b' | b'c' | b'g' | b'l' | b'm' | b'r' | b's', ..]) {
        return None;
    }
    if let Some(function) = SOCKET.iter().position(|one| *one == name) {
        return Some((arch.number(named("socketcall")?)?, function as u64 + 1));
    }
    let (_, function) = IPC.iter().find(|(one, _)| *one == name)?;
    Some((arch.number(named("ipc")?)?, *function))
}

/// A rule's conditions in that disguise: the first argument is the function. What the rule says of the
/// first argument is lost, and what it says of others is compared with arguments that are not the call's
/// own (they are behind a pointer); libseccomp does so.
pub fn disguised(conditions: &[Condition], function: u64) -> Vec<Condition> {
    let first = Condition { argument: 0, operator: Operator::Equal, mask: u64::MAX, value: function };
    std::iter::once(first).chain(conditions.iter().copied().filter(|condition| condition.argument != 0)).collect()
}
