//! Architectures that a seccomp filter distinguishes.

use super::syscalls;

/// An architecture whose calls a filter can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the kernel's own names
pub enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Riscv64,
}

/// The bit that distinguishes x32's calls from x86_64's (`__X32_SYSCALL_BIT`).
pub const X32_BIT: u32 = 0x4000_0000;

impl Arch {
    /// All of them.
    pub const ALL: [Arch; 6] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm, Arch::Riscv64];

    /// The one that ferrun is compiled for; none: there is no table for it.
    pub const NATIVE: Option<Arch> = if cfg!(target_arch = "x86_64") {
        Some(Arch::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Arch::Aarch64)
    } else if cfg!(target_arch = "riscv64") {
        Some(Arch::Riscv64)
    } else {
        None
    };

    /// The name in config.json, without `SCMP_ARCH_`.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "X86_64",
            Arch::X86 => "X86",
            Arch::X32 => "X32",
            Arch::Aarch64 => "AARCH64",
            Arch::Arm => "ARM",
            Arch::Riscv64 => "RISCV64",
        }
    }

    /// The kernel's number of it (`AUDIT_ARCH_*` of linux/audit.h).
    pub fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
            Arch::Riscv64 => 0xc000_00f3,
        }
    }

    /// Whether arguments are compared with all of their 64 bits. Of x32 libseccomp compares 32.
    pub fn is_wide(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64)
    }

    /// The number of a call here.
    pub fn number(self, call: syscalls::Call) -> Option<u32> {
        let table = match self {
            Arch::X86_64 => syscalls::x86_64::NUMBERS,
            Arch::X86 => syscalls::x86::NUMBERS,
            Arch::X32 => syscalls::x32::NUMBERS,
            Arch::Aarch64 => syscalls::aarch64::NUMBERS,
            Arch::Arm => syscalls::arm::NUMBERS,
            Arch::Riscv64 => syscalls::riscv64::NUMBERS,
        };
        let number = syscalls::number(table, call)?;
        Some(if self == Arch::X32 { number | X32_BIT } else { number })
    }

    /// The name of a number here.
    pub fn call_of(self, number: u32) -> Option<syscalls::Call> {
        syscalls::all().find(|call| self.number(*call) == Some(number))
    }

    /// This machine's architecture and, of those listed, the others that it can run.
    pub fn with_listed(self, listed: &[Arch]) -> Vec<Arch> {
        let family: &[Arch] = match self {
            Arch::X86_64 | Arch::X86 | Arch::X32 => &[Arch::X86_64, Arch::X86, Arch::X32],
            Arch::Aarch64 | Arch::Arm => &[Arch::Aarch64, Arch::Arm],
            Arch::Riscv64 => &[Arch::Riscv64],
        };
        family.iter().copied().filter(|arch| *arch == self || listed.contains(arch)).collect()
    }
}
