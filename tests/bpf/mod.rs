//! A machine for BPF, and what a plain reader of a profile expects of a call: filters are run on made-up calls,
//! so that every architecture is tested on any machine.
#![allow(dead_code)] // each user needs a part of it

use std::collections::BTreeSet;

use ferrun::seccomp::evaluate::{self, evaluate};
use ferrun::sys::seccomp::Insn;
use ferrun::types::seccomp::arch::X32_BIT;
use ferrun::types::seccomp::profile::{Condition, Operator, Rule};
use ferrun::types::seccomp::{Action, Arch, Profile};

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    pub number: u32,
    pub architecture: u32,
    pub arguments: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            16..64 => (self.arguments[(offset as usize - 16) / 8] >> (8 * (offset % 8))) as u32,
            _ => panic!("a load from {offset}"),
        }
    }
}

/// Runs a program as the kernel does; gives its result and how many instructions that took.
pub fn run(program: &[Insn], data: &Data) -> (u32, usize) {
    let (mut accumulator, mut at, mut steps) = (0, 0, 0);
    loop {
        let Insn { code, jt, jf, k } = program[at];
        (at, steps) = (at + 1, steps + 1);
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = data.word(k),
            0x06 => return (k, steps),
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            0x54 => accumulator &= k,
            _ => panic!("operation {code:#x}"),
        }
    }
}

/// What ferrun's own evaluator makes of the call, which is to be the same.
pub fn evaluated(program: &[Insn], data: &Data) -> u32 {
    let Data { number, architecture, arguments } = *data;
    evaluate(program, &evaluate::Data { number, architecture, arguments }).0
}

pub fn holds(condition: &Condition, data: &Data, wide: bool) -> bool {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let (left, right) = (cut(data.arguments[usize::from(condition.argument)]), cut(condition.value));
    match condition.operator {
        Operator::Equal => left == right,
        Operator::NotEqual => left != right,
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterOrEqual => left >= right,
        Operator::MaskedEqual => left & condition.mask == right & condition.mask,
    }
}

/// The number of a function of socketcall(2) or ipc(2) on 32-bit x86.
pub fn function(name: &str) -> Option<(u32, u64)> {
    let socket = "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom \
                  shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
    let ipc = [("semop", 1), ("semget", 2), ("semctl", 3), ("semtimedop", 4), ("msgsnd", 11), ("msgrcv", 12)];
    let more = [("msgget", 13), ("msgctl", 14), ("shmat", 21), ("shmdt", 22), ("shmget", 23), ("shmctl", 24)];
    let found = socket.split(' ').filter(|one| !one.is_empty()).position(|one| one == name);
    let ipc = || ipc.iter().chain(&more).find(|(one, _)| *one == name).map(|(_, number)| (117, *number));
    found.map(|at| (102, at as u64 + 1)).or_else(ipc)
}

/// Which architecture's names a call is looked up with.
pub fn arch_of(data: &Data, listed: &[Arch]) -> Option<Arch> {
    let x32 = data.number & X32_BIT != 0 && data.architecture == Arch::X86_64.audit();
    let has = |arch| listed.contains(&arch);
    match x32 {
        true if has(Arch::X32) => Some(Arch::X32),
        true if data.number == u32::MAX && has(Arch::X86_64) => Some(Arch::X86_64),
        true => None,
        false => listed.iter().copied().find(|arch| *arch != Arch::X32 && arch.audit() == data.architecture),
    }
}

/// The largest number that the profile names, if runc's rule for newer calls applies.
pub fn newest(profile: &Profile, arch: Arch) -> Option<u32> {
    let named = profile.rules.iter().flat_map(|rule| &rule.names);
    let direct = named.filter(|call| arch != Arch::X86 || function(call.name()).is_none());
    let last = direct.filter_map(|call| arch.number(*call)).max().unwrap_or(0);
    let denies = ![Action::ALLOW, Action::LOG, Action::TRACE].contains(&profile.default.kind());
    (denies && last > 0).then_some(last)
}

/// Every action that a reader of the profile could expect for a call: several where rules overlap.
pub fn expected(profile: &Profile, native: Arch, data: &Data) -> BTreeSet<u32> {
    let listed = native.with_listed(&profile.architectures);
    let one = |action: Action| BTreeSet::from([action.0]);
    let Some(arch) = arch_of(data, &listed) else { return one(Action::KILL_THREAD) };
    let no_newer = data.number & X32_BIT != 0 && arch == Arch::X86_64;
    if newest(profile, arch).is_some_and(|last| data.number > last) && !no_newer {
        return one(Action::ENOSYS);
    }
    if arch == Arch::X86_64 && !listed.contains(&Arch::X32) && data.number >= X32_BIT && data.number != u32::MAX {
        return one(Action::KILL_THREAD);
    }
    let mut found = BTreeSet::new();
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default) {
        let direct = rule.names.iter().any(|call| arch.number(*call) == Some(data.number));
        if !direct && arch != Arch::X86 {
            continue;
        }
        let arguments: BTreeSet<u8> = rule.conditions.iter().map(|condition| condition.argument).collect();
        let any = arguments.len() < rule.conditions.len();
        let size = if any { 1 } else { rule.conditions.len().max(1) };
        let mut groups: Vec<&[Condition]> = rule.conditions.chunks(size).collect();
        if groups.is_empty() {
            groups.push(&[]);
        }
        for group in groups {
            let fits = |condition: &&Condition| holds(condition, data, arch.is_wide());
            let always = |condition: &Condition| {
                let mask = if arch.is_wide() { condition.mask } else { condition.mask & 0xffff_ffff };
                condition.operator == Operator::MaskedEqual && mask == 0
            };
            if direct && group.iter().all(always) {
                return one(rule.action);
            }
            let disguised = arch == Arch::X86
                && rule
                    .names
                    .iter()
                    .filter_map(|call| function(call.name()))
                    .any(|(number, function)| number == data.number && data.arguments[0] as u32 == function as u32);
            if direct && group.iter().all(|one| fits(&one))
                || disguised && group.iter().filter(|condition| condition.argument != 0).all(|one| fits(&one))
            {
                found.insert(rule.action.0);
            }
        }
    }
    // A later rule without conditions covers all those with some; it has returned above.
    if found.is_empty() { one(profile.default) } else { found }
}

/// A small generator of numbers: xorshift.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

pub const FAMILIES: [(Arch, &[Arch]); 6] = [
    (Arch::X86_64, &[]),
    (Arch::X86_64, &[Arch::X86]),
    (Arch::X86_64, &[Arch::X86, Arch::X32]),
    (Arch::Aarch64, &[]),
    (Arch::Aarch64, &[Arch::Arm]),
    (Arch::Riscv64, &[]),
];

/// Whether two rules on one call look at the same argument, and one of them at others, too. libseccomp can
/// lose one of these when it looks for what covers what, or mix what follows; and so does ferrun.
pub fn is_entangled(profile: &Profile) -> bool {
    let looks_further = |rule: &Rule| rule.conditions.len() > 1;
    pairs(profile).any(|(one, other)| {
        (looks_further(one) || looks_further(other)) && products(one, other).any(|(a, b)| a.argument == b.argument)
    })
}

/// Two different rules on one call.
pub fn pairs(profile: &Profile) -> impl Iterator<Item = (&Rule, &Rule)> {
    let rules = &profile.rules;
    let all = rules.iter().enumerate().flat_map(move |(at, one)| rules[..at].iter().map(move |other| (one, other)));
    all.filter(|(one, other)| one.names.iter().any(|call| other.names.contains(call)))
}

/// Each condition of a rule with each of another.
pub fn products<'a>(one: &'a Rule, other: &'a Rule) -> impl Iterator<Item = (&'a Condition, &'a Condition)> {
    one.conditions.iter().flat_map(|one| other.conditions.iter().map(move |other| (one, other)))
}
