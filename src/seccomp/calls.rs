//! The rules for each number of one architecture.

use super::mux;
use super::tree::{Tree, Trouble, decides};
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::sys::seccomp::LONGEST;
use crate::types::seccomp::arch::{Arch, X32_BIT};
use crate::types::seccomp::profile::{Action, Condition, Profile, Rule};
use crate::types::seccomp::syscalls::Call;

/// How many numbers are looked up by place; an architecture has a few hundred.
const PLACES: u32 = 1024;
/// ARM's own numbers are those from here on, and have the last places.
const PRIVATE: u32 = 0x0f_0000;
const PRIVATE_PLACES: u32 = PLACES - 16;

/// What is said of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An action.
    Always(Action),
    /// The tree with this index decides.
    Depends(u16),
}

/// The calls of one architecture.
pub struct Calls {
    /// The architecture.
    pub arch: Arch,
    places: Vec<Option<Entry>>,
    /// What [`Entry::Depends`] means.
    pub trees: Vec<Tree>,
    /// The largest number that the profile names, by whatever rule; 0: none.
    pub last: u32,
}

impl Calls {
    /// Applies the rules in their order.
    pub fn new(profile: &Profile, arch: Arch) -> Result<Calls> {
        let places = vec![None; PLACES as usize];
        let mut calls = Calls { arch, places, trees: Vec::new(), last: 0 };
        for (index, rule) in profile.rules.iter().enumerate() {
            // A rule that asks for what happens anyway is none, but its names count as known.
            let groups = if rule.action == profile.default { Vec::new() } else { rule.groups() };
            calls
                .rule(rule, &groups)
                .map_err(|error| error.from_property(Pointer::at("/linux/seccomp/syscalls/#", index)))?;
        }
        Ok(calls)
    }

    fn rule(&mut self, rule: &Rule, groups: &[&[Condition]]) -> Result<()> {
        for call in &rule.names {
            let number = self.arch.number(*call);
            let disguise = mux::disguise(self.arch, *call);
            // libseccomp knows a call that can come in disguise by that alone.
            if let (Some(number), None) = (number, disguise) {
                self.last = self.last.max(number);
            }
            for conditions in groups {
                if let Some((number, function)) = disguise {
                    self.add(*call, number, rule.action, &mux::disguised(conditions, function))?;
                }
                if let Some(number) = number {
                    self.add(*call, number, rule.action, conditions)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, call: Call, number: u32, action: Action, conditions: &[Condition]) -> Result<()> {
        let (place, wide) = (self.place(number), self.arch.is_wide());
        let tree = match self.places[place] {
            // The first rule without conditions stays, and covers those with conditions, before it and after.
            Some(Entry::Always(_)) => return Ok(()),
            _ if !conditions.iter().any(|condition| decides(condition, wide)) => {
                self.places[place] = Some(Entry::Always(action));
                return Ok(());
            }
            Some(Entry::Depends(tree)) => tree,
            None => {
                let tree = u16::try_from(self.trees.len()).expect("there is a tree for each place at most");
                self.places[place] = Some(Entry::Depends(tree));
                self.trees.push(Tree::default());
                tree
            }
        };
        self.trees[usize::from(tree)].add(conditions, action, wide).map_err(|trouble| in_trouble(call.name(), trouble))
    }

    /// What to say of a call whose tree leads nowhere.
    pub fn in_trouble(&self, number: u32, trouble: Trouble) -> Error {
        let name = self.arch.call_of(number).map_or_else(|| number.to_string(), |call| call.name().to_owned());
        in_trouble(&name, trouble).from_property(Pointer::new("/linux/seccomp/syscalls"))
    }

    fn place(&self, number: u32) -> usize {
        (match self.arch {
            Arch::X32 => number & !X32_BIT,
            Arch::Arm if number >= PRIVATE => number - PRIVATE + PRIVATE_PLACES,
            _ => number,
        }) as usize
    }

    fn number(&self, place: u32) -> u32 {
        match self.arch {
            Arch::X32 => place | X32_BIT,
            Arch::Arm if place >= PRIVATE_PLACES => place - PRIVATE_PLACES + PRIVATE,
            _ => place,
        }
    }

    /// Every number of which something is said, from small to large; what is between is unnamed.
    pub fn entries(&self) -> impl Iterator<Item = (u32, Entry)> {
        (0..PLACES).zip(&self.places).filter_map(|(place, entry)| Some((self.number(place), (*entry)?)))
    }
}

fn in_trouble(call: &str, trouble: Trouble) -> Error {
    Error::new(match trouble {
        Trouble::Contradiction => {
            format!("the rules on {call} contradict each other: the same arguments have two actions")
        }
        Trouble::Endless => format!("the rules on {call} overlap in a way that libseccomp comes to no end with"),
        Trouble::Long => {
            format!(
                "with the rules on {call} the filter is longer than the {LONGEST} instructions that the kernel takes"
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::seccomp::syscalls;

    #[test]
    fn every_call_has_a_place() {
        for arch in Arch::ALL {
            let calls = Calls::new(&Profile::default(), arch).unwrap();
            for number in syscalls::all().filter_map(|call| arch.number(call)) {
                let place = u32::try_from(calls.place(number)).unwrap();
                assert!(place < PLACES && calls.number(place) == number, "{arch:?} {number:#x}");
            }
        }
    }
}
