//! The names in `linux.seccomp`: of actions, operators, flags, architectures and system calls.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::names::{nearest, one_of, question};
use super::problems::MOST;
use super::text::parsed;
use crate::error::Error;
use crate::types::seccomp::profile::{Flags, Operator, Profile};
use crate::types::seccomp::syscalls::{self, Call};
use crate::types::seccomp::{Action, Arch};

/// The actions by their names.
pub const ACTIONS: &[(&str, Action)] = &[
    ("SCMP_ACT_ALLOW", Action::ALLOW),
    ("SCMP_ACT_ERRNO", Action::ERRNO),
    ("SCMP_ACT_KILL", Action::KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", Action::KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", Action::KILL_THREAD),
    ("SCMP_ACT_LOG", Action::LOG),
    ("SCMP_ACT_NOTIFY", Action::NOTIFY),
    ("SCMP_ACT_TRACE", Action::TRACE),
    ("SCMP_ACT_TRAP", Action::TRAP),
];

/// The comparisons by their names.
pub const OPERATORS: &[(&str, Operator)] = &[
    ("SCMP_CMP_EQ", Operator::Equal),
    ("SCMP_CMP_GE", Operator::GreaterOrEqual),
    ("SCMP_CMP_GT", Operator::Greater),
    ("SCMP_CMP_LE", Operator::LessOrEqual),
    ("SCMP_CMP_LT", Operator::Less),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEqual),
    ("SCMP_CMP_NE", Operator::NotEqual),
];

/// The flags by their names, and what each sets.
pub const FLAGS: &[(&str, Flag)] = &[
    ("SECCOMP_FILTER_FLAG_LOG", Flag(|flags| Flags { log: true, ..flags })),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", Flag(|flags| Flags { spec_allow: true, ..flags })),
    ("SECCOMP_FILTER_FLAG_TSYNC", Flag(|flags| Flags { tsync: true, ..flags })),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", Flag(|flags| Flags { wait_killable: true, ..flags })),
];

/// What the names of architectures begin with.
const ARCH: &str = "SCMP_ARCH_";

/// Architectures of the specification whose calls no machine can make that ferrun has tables for.
const OTHERS: &[&str] = &[
    "LOONGARCH64",
    "M68K",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PARISC",
    "PARISC64",
    "PPC",
    "PPC64",
    "PPC64LE",
    "S390",
    "S390X",
    "SH",
    "SHEB",
];

/// The names of all architectures.
pub fn architectures() -> impl Iterator<Item = String> {
    Arch::ALL.into_iter().map(Arch::name).chain(OTHERS.iter().copied()).map(|name| format!("{ARCH}{name}"))
}

pub(super) fn action<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Action>, D::Error> {
    parsed(from, |text| if text.is_empty() { Ok(None) } else { one_of("seccomp action", ACTIONS, text).map(Some) })
}

pub(super) fn operator<'de, D: Deserializer<'de>>(from: D) -> Result<Operator, D::Error> {
    parsed(from, |text| one_of("seccomp operator", OPERATORS, text))
}

/// An architecture; none: one whose calls this kind of machine cannot make, so that nothing is to be done.
pub(super) struct Architecture(pub Option<Arch>);

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Architecture, D::Error> {
        parsed(from, |text| {
            let name = text.strip_prefix(ARCH).unwrap_or_default();
            let known = Arch::ALL.into_iter().find(|arch| arch.name() == name);
            if known.is_some() || OTHERS.contains(&name) {
                return Ok(Architecture(known));
            }
            let table: Vec<_> = architectures().collect();
            let table: Vec<_> = table.iter().map(|name| (name.as_str(), None)).collect();
            one_of("seccomp architecture", &table, text).map(Architecture)
        })
    }
}

/// What a flag sets.
#[derive(Clone, Copy)]
pub struct Flag(pub(super) fn(Flags) -> Flags);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Flag, D::Error> {
        parsed(from, |text| one_of("seccomp flag", FLAGS, text))
    }
}

/// Names of calls. The spec does not say what an unknown one means; every runtime passes over it, since
/// profiles are written for kernels older and newer than this one.
#[derive(Default)]
pub(super) struct Names {
    pub known: Vec<Call>,
    /// With their places in the list.
    pub unknown: Vec<(usize, String)>,
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Names, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of names of system calls")
            }
            fn visit_unit<E>(self) -> Result<Names, E> {
                Ok(Names::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Names::default();
                let mut index = 0;
                while let Some(Name(name)) = list.next_element()? {
                    match name {
                        Ok(call) => names.known.push(call),
                        Err(unknown) => names.unknown.push((index, unknown)),
                    }
                    index += 1;
                }
                Ok(names)
            }
        }
        from.deserialize_any(NamesVisitor)
    }
}

/// A warning for each unknown name that is near a known one.
pub(super) fn misspelt(profile: &Profile) -> Vec<Error> {
    let known: Vec<&str> = syscalls::all().map(Call::name).collect();
    let rules = profile.rules.iter().enumerate();
    let unknown = rules.flat_map(|(rule, names)| names.unknown.iter().map(move |(index, name)| (rule, index, name)));
    let warning = |(rule, index, name): (usize, &usize, &String)| {
        let near = nearest(name, known.iter().copied())?;
        let error = Error::new(format!("no system call is named {name:?}; it is passed over")).hint(question(near));
        Some(error.from_property(format!("/linux/seccomp/syscalls/{rule}/names/{index}")))
    };
    // To find a near name takes time, and nobody reads so many warnings.
    unknown.take(MOST + 1).filter_map(warning).collect()
}

struct Name(Result<Call, String>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
        parsed(from, |name| match syscalls::named(name) {
            _ if name.is_empty() => Err("an empty string is no name of a system call".to_owned()),
            Some(call) => Ok(Name(Ok(call))),
            None => Ok(Name(Err(name.to_owned()))),
        })
    }
}
