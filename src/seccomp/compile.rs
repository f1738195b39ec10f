//! Profile → filter.

use super::calls::Calls;
use super::code::Code;
use super::graph::Graph;
use super::ranges::{self, Section};
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::sys::seccomp::{Insn, LONGEST};
use crate::types::seccomp::{Arch, Profile};

/// A compiled profile.
pub struct Filter {
    /// The program.
    pub program: Vec<Insn>,
    /// What the program does with each number of each architecture, and where.
    pub sections: Vec<Section>,
    /// How many names of calls the profile has.
    pub names: usize,
    /// How many of these no architecture has.
    pub unknown: usize,
}

/// Compiles a profile for a machine.
///
/// # Errors
/// Rules that contradict each other; a profile that makes more instructions than the kernel takes.
pub fn compile(profile: &Profile, native: Arch) -> Result<Filter> {
    let calls = native.with_listed(&profile.architectures).into_iter().map(|arch| Calls::new(profile, arch));
    let mut graph = Graph::default();
    let mut sections = ranges::sections(&calls.collect::<Result<Vec<_>>>()?, profile, &mut graph)?;
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
