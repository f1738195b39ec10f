//! Profiles compiled by libseccomp, for comparison: a C program that loads the library does it.
#![allow(dead_code)] // each user needs a part of it

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ferrun::sys::seccomp::Insn;
use ferrun::types::seccomp::profile::{Condition, Operator};
use ferrun::types::seccomp::{Arch, Profile};

use crate::common::skip;

/// The operators, in libseccomp's order, with their names in config.json.
pub const OPERATORS: [(Operator, &str); 7] = [
    (Operator::NotEqual, "NE"),
    (Operator::Less, "LT"),
    (Operator::LessOrEqual, "LE"),
    (Operator::Equal, "EQ"),
    (Operator::GreaterOrEqual, "GE"),
    (Operator::Greater, "GT"),
    (Operator::MaskedEqual, "MASKED_EQ"),
];

/// The helper, compiled; none: there is no compiler or no libseccomp here.
pub fn helper() -> Option<PathBuf> {
    if Arch::NATIVE != Some(Arch::X86_64) {
        skip("the comparison with libseccomp is for x86_64");
        return None;
    }
    let helper = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libseccomp");
    // Tests of this file run at the same time.
    let new = helper.with_extension(format!("{:?}", std::thread::current().id()) + &std::process::id().to_string());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libseccomp/compile.c");
    let built = Command::new("cc").args(["-O2", "-o"]).arg(&new).arg(source).arg("-ldl").status();
    if !built.is_ok_and(|status| status.success()) {
        skip("there is no C compiler for a comparison with libseccomp");
        return None;
    }
    std::fs::rename(new, &helper).unwrap();
    let tried = Command::new(&helper).stdin(Stdio::null()).status().unwrap();
    if tried.code() == Some(77) {
        skip("there is no libseccomp to compare with");
        return None;
    }
    Some(helper)
}

/// What libseccomp calls an architecture.
pub fn token(arch: Arch) -> u32 {
    if arch == Arch::X32 { 0x4000_003e } else { arch.audit() }
}

/// A profile as the helper reads it.
pub fn spelled(profile: &Profile, native: Arch) -> String {
    use std::fmt::Write;
    let calls: usize = profile.rules.iter().map(|rule| rule.names.len()).sum();
    let mut text = format!("begin {:x} {}\n", profile.default.0, u8::from(calls > 32));
    for arch in native.with_listed(&profile.architectures) {
        writeln!(text, "arch {:x}", token(arch)).unwrap();
    }
    if native != Arch::X86_64 {
        writeln!(text, "without {:x}", token(Arch::X86_64)).unwrap();
    }
    for rule in &profile.rules {
        let arguments: BTreeSet<u8> = rule.conditions.iter().map(|condition| condition.argument).collect();
        let any = arguments.len() < rule.conditions.len();
        for call in &rule.names {
            let mut groups: Vec<&[Condition]> =
                if any { rule.conditions.chunks(1).collect() } else { vec![&rule.conditions] };
            for group in groups.drain(..) {
                write!(text, "rule {:x} {} {}", rule.action.0, call.name(), group.len()).unwrap();
                for condition in group {
                    let operator = 1 + OPERATORS.iter().position(|(one, _)| *one == condition.operator).unwrap();
                    let (a, b) = match condition.operator {
                        Operator::MaskedEqual => (condition.mask, condition.value),
                        _ => (condition.value, 0),
                    };
                    write!(text, " {} {operator} {a:x} {b:x}", condition.argument).unwrap();
                }
                text.push('\n');
            }
        }
    }
    text + "end\n"
}

/// What the helper answers.
pub fn ask(helper: &Path, arguments: &[&str], text: String) -> Vec<u8> {
    let mut child = Command::new(helper).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    output
}

/// What libseccomp makes of profiles; -1: it refuses one; -2: it fails on it.
pub fn programs(helper: &Path, profiles: &[(Profile, Arch)]) -> Vec<Result<Vec<Insn>, i32>> {
    let text = profiles.iter().map(|(profile, native)| spelled(profile, *native)).collect();
    compiled(helper, text, profiles.len())
}

/// The same, of so many that are spelled already.
pub fn compiled(helper: &Path, text: String, count: usize) -> Vec<Result<Vec<Insn>, i32>> {
    let output = ask(helper, &[], text);
    let mut rest = &output[..];
    let mut next = || {
        let (length, after) = rest.split_first_chunk::<4>().unwrap();
        let length = i32::from_le_bytes(*length);
        let (program, after) = after.split_at(8 * length.max(0) as usize);
        rest = after;
        let insn = |bytes: &[u8]| Insn {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        if length >= 0 { Ok(program.chunks(8).map(insn).collect()) } else { Err(length) }
    };
    (0..count).map(|_| next()).collect()
}
