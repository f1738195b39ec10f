//! A filter for people: what it does with each call, by which rule, and its instructions.

use std::fmt::Write;

use super::compile::Filter;
use super::graph::Target;
use super::ranges::{Range, Reason, Section};
use super::{code, mux};
use crate::escape;
use crate::sys::seccomp::Insn;
use crate::types::seccomp::arch::{Arch, X32_BIT};
use crate::types::seccomp::profile::{Action, Profile, Rule};
use crate::types::seccomp::syscalls::{self, Call};

/// The program as the kernel takes it.
pub fn bytes(filter: &Filter) -> Vec<u8> {
    let raw = |insn: &Insn| [&insn.code.to_ne_bytes()[..], &[insn.jt, insn.jf], &insn.k.to_ne_bytes()].concat();
    filter.program.iter().flat_map(raw).collect()
}

/// What happens to each call, architecture by architecture.
pub fn text(filter: &Filter, profile: &Profile) -> String {
    let mut text = format!(
        "{} instructions, {} names, {} unknown; calls of Linux {}\n",
        filter.program.len(),
        filter.names,
        filter.unknown,
        syscalls::VERSION
    );
    for section in &filter.sections {
        let _ = writeln!(text, "\n{} (architecture {:#x})", section.arch.name(), section.arch.audit());
        let ends = section.ranges.iter().skip(1).map(|range| range.start - 1).chain([u32::MAX]);
        for ((range, place), end) in section.ranges.iter().zip(&section.places).zip(ends) {
            describe(&mut text, section, profile, (range, *place, end));
        }
    }
    for (index, rule) in profile.rules.iter().enumerate() {
        for (place, name) in &rule.unknown {
            let _ = writeln!(text, "\nunknown: {}  /linux/seccomp/syscalls/{index}/names/{place}", escape::part(name));
        }
    }
    text
}

fn describe(text: &mut String, section: &Section, profile: &Profile, (range, place, end): (&Range, usize, u32)) {
    let action = match range.target {
        Target::Act(action) => action.to_string(),
        Target::Test(_) => "by its arguments".to_owned(),
    };
    let why = match range.reason {
        Reason::Default => "no rule",
        Reason::Unlisted => "not listed in architectures",
        Reason::Newer => "newer than any call of the profile",
        Reason::Named => "",
    };
    let _ = writeln!(text, "  {:#x}–{end:#x}  {action}  @{place}  {why}", range.start);
    let mut known: Vec<(u32, Call, Arch)> = Vec::new();
    for arch in [section.arch, Arch::X32] {
        let listed = arch == section.arch || profile.architectures.contains(&arch);
        let of_section = listed && arch.audit() == section.arch.audit();
        let numbers = syscalls::all().filter_map(|call| Some((arch.number(call)?, call, arch)));
        known.extend(numbers.filter(|(number, ..)| of_section && (range.start..=end).contains(number)));
    }
    known.sort_by_key(|(number, ..)| *number);
    known.dedup_by_key(|(number, ..)| *number);
    // On 32-bit x86 a call with a disguise can be newer than the profile although a rule names it.
    let decided = !matches!(range.reason, Reason::Newer | Reason::Unlisted);
    for (number, call, arch) in known {
        let rules = rules_on(profile, call, arch).filter(|_| decided);
        let rules: Vec<String> = rules.map(|rule| format!("syscalls/{rule}")).collect();
        let _ = writeln!(text, "      {:>4} {:<24} {}", number & !X32_BIT, call.name(), rules.join(" "));
    }
}

/// The numbers of the rules on a call, also of those on functions that are this call in disguise.
pub(super) fn rules_on(profile: &Profile, call: Call, arch: Arch) -> impl Iterator<Item = usize> {
    let number = arch.number(call);
    let names_it = move |rule: &Rule| {
        let disguised = |one: &Call| mux::disguise(arch, *one).is_some_and(|(other, _)| Some(other) == number);
        rule.names.iter().any(|one| arch.number(*one) == number && number.is_some() || disguised(one))
    };
    profile.rules.iter().enumerate().filter(move |(_, rule)| names_it(rule)).map(|(index, _)| index)
}

/// Every instruction, with where its jumps lead.
pub fn instructions(filter: &Filter) -> String {
    let mut text = String::from("\n");
    for (at, insn) in filter.program.iter().enumerate() {
        let _ = writeln!(
            text,
            "{at:5}  {:04x} {:02x} {:02x} {:08x}  {}",
            insn.code,
            insn.jt,
            insn.jf,
            insn.k,
            words(at, insn)
        );
    }
    text
}

fn words(at: usize, insn: &Insn) -> String {
    let to = |skip: u8| at + 1 + usize::from(skip);
    let compare = |sign: &str| format!("if {sign} {:#x} go to {} else {}", insn.k, to(insn.jt), to(insn.jf));
    match insn.code {
        code::LOAD if insn.k == code::NUMBER => "load the number".to_owned(),
        code::LOAD if insn.k == code::ARCHITECTURE => "load the architecture".to_owned(),
        code::LOAD => {
            let word = (insn.k - code::ARGUMENTS) / 4;
            format!("load argument {}, {} half", word / 2, if word.is_multiple_of(2) { "low" } else { "high" })
        }
        code::RETURN => Action(insn.k).to_string(),
        code::JUMP => format!("go to {}", at + 1 + insn.k as usize),
        code::IF_EQUAL => compare("="),
        code::IF_GREATER => compare(">"),
        code::IF_GREATER_OR_EQUAL => compare("≥"),
        code::IF_ANY_BIT => compare("any of"),
        code::AND => format!("keep {:#x}", insn.k),
        other => format!("{other:#x}"),
    }
}
