//! Ranges and tests → instructions.
//!
//! Jumps lead forward only, so the program is written from its end: what follows an instruction is then
//! already there, and can be shared. A comparison reaches 255 instructions far; what is further off is
//! written once more if it is one instruction, else reached by way of a jump that has no limit.

use super::graph::{Graph, Step, Target};
use super::ranges::{Range, Section};
use super::tree::Compare;
use crate::sys::seccomp::Insn;
use crate::types::seccomp::profile::Action;

// The operations that are used (linux/bpf_common.h).
/// Loads a 32-bit word of `struct seccomp_data`.
pub const LOAD: u16 = 0x20;
/// Ends the program with a constant.
pub const RETURN: u16 = 0x06;
/// Jumps.
pub const JUMP: u16 = 0x05;
/// Compares.
pub const IF_EQUAL: u16 = 0x15;
/// Compares, unsigned.
pub const IF_GREATER: u16 = 0x25;
/// Compares, unsigned.
pub const IF_GREATER_OR_EQUAL: u16 = 0x35;
/// Looks for any of some bits.
pub const IF_ANY_BIT: u16 = 0x45;
/// Keeps some bits.
pub const AND: u16 = 0x54;

/// Where things are in `struct seccomp_data`: the number, the architecture, the first argument.
pub const NUMBER: u32 = 0;
/// See above.
pub const ARCHITECTURE: u32 = 4;
/// See above.
pub const ARGUMENTS: u32 = 16;

/// How far a comparison may lead when it is planned: a few instructions can still come between.
const REACH: usize = 250;

/// A place in the program: how many instructions were written before, that is, stand after it.
type Label = usize;

/// The program while it is written.
pub struct Code<'a> {
    graph: &'a Graph,
    /// From the last instruction to the first.
    reversed: Vec<Insn>,
    /// Where each action is returned, as near as that is known.
    returns: Vec<(Action, Label)>,
    /// Where each test is: for who has its word loaded already, and for who has not.
    tests: Vec<[Option<Label>; 2]>,
}

impl<'a> Code<'a> {
    /// An empty program.
    pub fn new(graph: &'a Graph) -> Code<'a> {
        Code { graph, reversed: Vec::with_capacity(512), returns: Vec::new(), tests: vec![[None; 2]; graph.len()] }
    }

    /// Writes the program: the architecture decides first, then the number.
    pub fn program(mut self, sections: &mut [Section]) -> Vec<Insn> {
        let mut next = self.act(Action::KILL_THREAD);
        for Section { arch, ranges, places } in sections.iter_mut().rev() {
            let entry = self.search(ranges, places);
            let entry = if ranges.len() > 1 { self.push(LOAD, 0, 0, NUMBER) } else { entry };
            next = self.compare(IF_EQUAL, arch.audit(), entry, next);
        }
        let last = self.push(LOAD, 0, 0, ARCHITECTURE);
        for place in sections.iter_mut().flat_map(|section| &mut section.places) {
            *place = last - *place;
        }
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Insn { code, jt, jf, k });
        self.reversed.len() - 1
    }

    /// How many instructions the next one would pass over to get there.
    fn distance(&self, to: Label) -> usize {
        self.reversed.len() - to - 1
    }

    /// A place near enough that leads there.
    fn reach(&mut self, to: Label) -> Label {
        let there = self.reversed[to];
        match self.distance(to) {
            0..=REACH => to,
            _ if there.code == RETURN => self.act(Action(there.k)),
            far => self.push(JUMP, 0, 0, u32::try_from(far).expect("there are few instructions")),
        }
    }

    fn act(&mut self, action: Action) -> Label {
        let known = self.returns.iter().position(|(one, _)| *one == action);
        match known {
            Some(at) if self.distance(self.returns[at].1) <= REACH => self.returns[at].1,
            _ => {
                let label = self.push(RETURN, 0, 0, action.0);
                match known {
                    Some(at) => self.returns[at].1 = label,
                    None => self.returns.push((action, label)),
                }
                label
            }
        }
    }

    fn compare(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        // The second may need an instruction, which moves the first away by one: REACH leaves room.
        let (yes, no) = (self.reach(yes), self.reach(no));
        let skip = |to| u8::try_from(self.distance(to)).expect("it is within reach");
        self.push(code, skip(yes), skip(no), k)
    }

    /// Finds the range of the number, which is loaded.
    fn search(&mut self, ranges: &[Range], places: &mut [Label]) -> Label {
        match ranges {
            [range] => {
                places[0] = self.target(range.target, None);
                places[0]
            }
            // One number between two ranges that are the same.
            [before, one, after] if before.target == after.target && one.start + 1 == after.start => {
                let no = self.target(before.target, None);
                let yes = self.target(one.target, None);
                (places[0], places[1], places[2]) = (no, yes, no);
                self.compare(IF_EQUAL, one.start, yes, no)
            }
            _ => {
                let middle = ranges.len() / 2;
                let (low, high) = places.split_at_mut(middle);
                let yes = self.search(&ranges[middle..], high);
                let no = self.search(&ranges[..middle], low);
                self.compare(IF_GREATER_OR_EQUAL, ranges[middle].start, yes, no)
            }
        }
    }

    /// What follows; `loaded` is the word of the arguments that is loaded.
    fn target(&mut self, target: Target, loaded: Option<u8>) -> Label {
        match target {
            Target::Act(action) => self.act(action),
            Target::Test(number) => self.test(number, loaded),
        }
    }

    fn test(&mut self, number: u32, loaded: Option<u8>) -> Label {
        let Step { test, yes, no } = *self.graph.step(number);
        let load = loaded != Some(test.word);
        let known = self.tests[number as usize];
        if let Some(label) = known[usize::from(load)] {
            return self.reach(label);
        }
        let label = match known[0] {
            // It stands on top: only the load is missing.
            Some(label) if label + 1 == self.reversed.len() => label,
            _ => {
                let masks = test.compare == Compare::Masked && test.value != 0;
                let kept = if masks { None } else { Some(test.word) };
                let (no, yes) = (self.target(no, kept), self.target(yes, kept));
                let label = match test.compare {
                    Compare::Equal => self.compare(IF_EQUAL, test.value, yes, no),
                    Compare::Greater => self.compare(IF_GREATER, test.value, yes, no),
                    Compare::GreaterOrEqual => self.compare(IF_GREATER_OR_EQUAL, test.value, yes, no),
                    Compare::Masked if masks => self.compare(IF_EQUAL, test.value, yes, no),
                    Compare::Masked => self.compare(IF_ANY_BIT, test.mask, no, yes),
                };
                let label = if masks { self.push(AND, 0, 0, test.mask) } else { label };
                self.tests[number as usize][0] = Some(label);
                label
            }
        };
        if !load {
            return label;
        }
        let label = self.push(LOAD, 0, 0, ARGUMENTS + 4 * u32::from(test.word));
        self.tests[number as usize][1] = Some(label);
        label
    }
}
