//! The names and numbers of the system calls of every architecture. hack/syscalls writes the tables.

pub(super) mod aarch64;
pub(super) mod arm;
mod names;
pub(super) mod riscv64;
pub(super) mod x32;
pub(super) mod x86;
pub(super) mod x86_64;

pub use names::VERSION;
use names::{COUNT, NAMES};

/// A call that some architecture has: its place in the list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call(u16);

/// Numbers of ARM's own start here; the tables have them as 0xf000 and what is above.
const ARM_PRIVATE: u32 = 0x0f_0000;
const ARM_PRIVATE_PACKED: u16 = 0xf000;

/// Where each name begins; they are one string, so that the binary has no pointer to relocate for each.
const STARTS: [u16; COUNT + 1] = {
    let (text, mut starts) = (NAMES.as_bytes(), [0; COUNT + 1]);
    let (mut at, mut name) = (0, 1);
    while at < text.len() {
        if text[at] == b'\n' {
            starts[name] = at as u16 + 1;
            name += 1;
        }
        at += 1;
    }
    starts
};

const SLOTS: usize = 2048;
const EMPTY: u16 = u16::MAX;

/// Names by their hash; one whose slot is taken is in the next free one.
static BY_HASH: [u16; SLOTS] = {
    let mut slots = [EMPTY; SLOTS];
    let mut name = 0;
    while name < COUNT {
        let mut slot = hash(NAMES.as_bytes(), STARTS[name] as usize, STARTS[name + 1] as usize - 1);
        while slots[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = name as u16;
        name += 1;
    }
    slots
};

/// FNV-1a of a part of a text, as a slot.
const fn hash(text: &[u8], start: usize, end: usize) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = start;
    while at < end {
        hash = (hash ^ text[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ hash >> 15) as usize % SLOTS
}

/// The call of this name.
pub fn named(name: &str) -> Option<Call> {
    let mut slot = hash(name.as_bytes(), 0, name.len());
    while BY_HASH[slot] != EMPTY {
        let call = Call(BY_HASH[slot]);
        if call.name() == name {
            return Some(call);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

impl Call {
    /// Its name.
    pub fn name(self) -> &'static str {
        let at = usize::from(self.0);
        &NAMES[usize::from(STARTS[at])..usize::from(STARTS[at + 1]) - 1]
    }
}

/// Every call.
pub fn all() -> impl Iterator<Item = Call> {
    (0..COUNT as u16).map(Call)
}

/// A call's number in a table.
pub(super) fn number(table: &[u16; COUNT], call: Call) -> Option<u32> {
    match table[usize::from(call.0)] {
        EMPTY => None,
        packed if packed >= ARM_PRIVATE_PACKED => Some(ARM_PRIVATE + u32::from(packed - ARM_PRIVATE_PACKED)),
        number => Some(u32::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::seccomp::Arch;

    #[test]
    fn every_name_is_found_and_no_other() {
        let mut before = "";
        for call in all() {
            assert_eq!(named(call.name()), Some(call));
            assert!(before < call.name(), "{before} {}", call.name());
            before = call.name();
        }
        for other in ["", "no_such_call", "reads", "rea", "write\n"] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn numbers_that_everyone_knows() {
        let number = |arch: Arch, name: &str| arch.number(named(name).unwrap());
        assert_eq!(number(Arch::X86_64, "execve"), Some(59));
        assert_eq!(number(Arch::X86, "execve"), Some(11));
        assert_eq!(number(Arch::X32, "execve"), Some(0x4000_0000 + 520));
        assert_eq!(number(Arch::Aarch64, "execve"), Some(221));
        assert_eq!(number(Arch::Arm, "set_tls"), Some(0x0f_0005));
        assert_eq!(number(Arch::Riscv64, "riscv_flush_icache"), Some(259));
        assert_eq!(number(Arch::Aarch64, "open"), None);
        assert_eq!(number(Arch::X86_64, "socketcall"), None);
    }

    /// Of riscv64 and aarch64 most numbers are the same; neither is a 32-bit architecture's.
    #[test]
    fn a_64_bit_architecture_has_no_calls_of_32_bit_ones() {
        for arch in [Arch::Aarch64, Arch::Riscv64] {
            for (name, number) in [("mmap", 222), ("clock_gettime", 113), ("futex", 98), ("fstat", 80), ("lseek", 62)] {
                assert_eq!(arch.number(named(name).unwrap()), Some(number), "{arch:?} {name}");
            }
        }
        for call in all().filter(|call| call.name().ends_with("time64") || call.name() == "mmap2") {
            for arch in [Arch::X86_64, Arch::X32, Arch::Aarch64, Arch::Riscv64] {
                assert_eq!(arch.number(call), None, "{arch:?} {}", call.name());
            }
        }
    }
}
