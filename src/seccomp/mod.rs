//! `linux.seccomp` → a classic BPF program that the kernel runs at each system call: seccomp(2).
//!
//! ```text
//! Profile ──calls──▶ an entry for each number ──graph──▶ ranges and tests ──code──▶ instructions
//! ```
//!
//! What a profile means is what libseccomp makes of it, since that is what engines have tested: which
//! rule wins where several fit ([`tree`]), which calls of 32-bit x86 are one call in disguise
//! ([`mux`]), what happens to a number that no rule names ([`ranges`]). The program is not libseccomp's:
//! the kernel runs it once for every number when it is installed, so that its cost is that of its
//! longest paths, and these are kept short.

mod calls;
mod code;
pub mod evaluate;
mod graph;
pub mod listing;
mod memo;
mod merge;
mod mux;
pub mod own_calls;
mod prune;
mod ranges;
pub mod step;
mod tree;
pub mod verdict;

pub use ranges::Range;

use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::sys::seccomp::Insn;
use crate::types::seccomp::{Arch, Profile};
use calls::Calls;
use code::Code;
use graph::Graph;

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;

/// A compiled profile.
pub struct Filter {
    /// The program.
    pub program: Vec<Insn>,
    /// For each architecture the kernel's name of it (`AUDIT_ARCH_*`), what the program does with each
    /// number, and where.
    pub sections: Vec<Section>,
    /// How many names of calls the profile has.
    pub names: usize,
    /// How many of these no architecture has.
    pub unknown: usize,
}

/// What the program does with the calls of one kind of process, as the kernel tells these apart.
pub struct Section {
    /// The architecture; x32 is a part of x86_64's.
    pub arch: Arch,
    /// Every number, in ranges of the same outcome.
    pub ranges: Vec<Range>,
    /// The instruction at which each range ends up.
    pub places: Vec<usize>,
}

/// Compiles a profile for a machine.
///
/// # Errors
/// Rules that contradict each other; a profile that makes more instructions than the kernel takes.
pub fn compile(profile: &Profile, native: Arch) -> Result<Filter> {
    let architectures = native.with_listed(&profile.architectures);
    let mut graph = Graph::default();
    let mut numbers = Vec::new();
    for arch in architectures {
        numbers.push((arch, Calls::new(profile, arch)?));
    }
    let mut sections = Vec::new();
    for (arch, ranges) in ranges::all(&numbers, profile, &mut graph)? {
        sections.push(Section { arch, places: vec![0; ranges.len()], ranges });
    }
    let program = Code::new(&graph).program(&mut sections);
    if program.len() > LONGEST {
        return Err(too_long(program.len()));
    }
    let names = profile.rules.iter().map(|rule| rule.names.len() + rule.unknown.len()).sum();
    let unknown = profile.rules.iter().map(|rule| rule.unknown.len()).sum();
    Ok(Filter { program, sections, names, unknown })
}

fn too_long(length: usize) -> Error {
    let message = format!("the profile makes a filter of {length} instructions; the kernel takes {LONGEST}");
    Error::new(message).from_property(Pointer::new("/linux/seccomp/syscalls"))
}
