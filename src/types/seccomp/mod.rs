//! Seccomp profiles, and the architectures and system calls that they name.

pub mod arch;
pub mod profile;
pub mod syscalls;

pub use arch::Arch;
pub use profile::{Action, Profile};
