//! Evaluates a compiled filter for a system call, as the kernel's interpreter would: which of ferrun's own calls
//! a filter allows is known before it is installed.

use super::code;
use crate::sys::seccomp::Insn;
use crate::types::seccomp::arch::Arch;
use crate::types::seccomp::profile::Action;
use crate::types::seccomp::syscalls;

/// What a filter decides by: `struct seccomp_data` of seccomp(2), without the instruction pointer, which no filter of
/// ferrun's reads.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    /// The number of the call.
    pub number: u32,
    /// The architecture, `AUDIT_ARCH_*`.
    pub architecture: u32,
    /// The arguments.
    pub arguments: [u64; 6],
}

impl Data {
    /// A call by name on the machine's own architecture; `None` if that has no such call.
    pub fn native(name: &str, arguments: [u64; 6]) -> Option<Data> {
        let arch = Arch::NATIVE?;
        let number = arch.number(syscalls::named(name)?)?;
        Some(Data { number, architecture: arch.audit(), arguments })
    }

    /// The 32-bit word at an offset. Argument words are little-endian halves.
    fn word(&self, offset: u32) -> u32 {
        match offset {
            code::NUMBER => self.number,
            code::ARCHITECTURE => self.architecture,
            _ => {
                let at = offset.saturating_sub(code::ARGUMENTS);
                let argument = self.arguments.get(at as usize / 8).copied().unwrap_or(0);
                let half = if at.is_multiple_of(8) { argument } else { argument >> 32 };
                (half & 0xffff_ffff) as u32
            }
        }
    }
}

/// The action of a program for a call. A program that ends without a decision kills the process, which no program
/// that the kernel accepts does.
pub fn evaluate(program: &[Insn], data: &Data) -> Action {
    let (mut accumulator, mut at) = (0, 0);
    while let Some(&Insn { code, jt, jf, k }) = program.get(at) {
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            code::LOAD => accumulator = data.word(k),
            code::AND => accumulator &= k,
            code::JUMP => at += k as usize,
            code::IF_EQUAL => at += jump(accumulator == k),
            code::IF_GREATER => at += jump(accumulator > k),
            code::IF_GREATER_OR_EQUAL => at += jump(accumulator >= k),
            code::IF_ANY_BIT => at += jump(accumulator & k != 0),
            code::RETURN => return Action(k),
            _ => break,
        }
    }
    Action::KILL_PROCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::seccomp::profile::{Condition, Operator, Profile, Rule};

    #[test]
    fn conditions_decide_by_the_arguments() {
        let rule = |value| Rule {
            names: vec![syscalls::named("personality").unwrap()],
            unknown: Vec::new(),
            action: Action::ALLOW,
            conditions: vec![Condition { argument: 0, operator: Operator::Equal, mask: u64::MAX, value }],
        };
        let default = Action::ERRNO.with(1);
        let profile = Profile { default, rules: vec![rule(8), rule(1 << 40)], ..Profile::default() };
        let filter = super::super::compile(&profile, Arch::NATIVE.unwrap()).unwrap();
        for (value, action) in [(8, Action::ALLOW), (1 << 40, Action::ALLOW), (9, default), (8 | 1 << 40, default)] {
            let data = Data::native("personality", [value, 0, 0, 0, 0, 0]).unwrap();
            assert_eq!(evaluate(&filter.program, &data), action, "{value:#x}");
        }
        let other = Data { architecture: 0, ..Data::native("personality", [8; 6]).unwrap() };
        assert_eq!(evaluate(&filter.program, &other), Action::KILL_THREAD);
    }
}
