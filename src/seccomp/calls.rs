//! The rules for each number of one architecture.

use super::LONGEST;
use super::mux;
use super::tree::{self, Tree, Trouble};
use crate::error::{self, Error};
use crate::pointer::Pointer;
use crate::types::seccomp::arch::{Arch, X32_BIT};
use crate::types::seccomp::profile::{Action, Condition, Profile, Rule};

/// Numbers below this are looked up by place; there are a few hundred.
const PLACES: usize = 1024;

/// What is said of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Unnamed,
    /// An action.
    Always(Action),
    /// The tree of this number decides.
    Depends(u16),
}

/// The calls of one architecture.
pub struct Calls {
    arch: Arch,
    places: Vec<Entry>,
    /// ARM's own, which are far above the others.
    private: Vec<(u32, Entry)>,
    /// What [`Entry::Depends`] means.
    pub trees: Vec<Tree>,
    /// The largest number that the profile names, by whatever rule; 0: none.
    pub last: u32,
}

impl Calls {
    /// Applies the rules in their order.
    pub fn new(profile: &Profile, arch: Arch) -> error::Result<Calls> {
        let places = vec![Entry::Unnamed; PLACES];
        let mut calls = Calls { arch, places, private: Vec::new(), trees: Vec::new(), last: 0 };
        for (index, rule) in profile.rules.iter().enumerate() {
            // A rule that asks for what happens anyway is none, but its names count as known.
            let counts = rule.action != profile.default;
            calls.rule(rule, counts).map_err(|(call, trouble)| {
                in_trouble(call, trouble).from_property(Pointer::at("/linux/seccomp/syscalls/#", index))
            })?;
        }
        Ok(calls)
    }

    /// Fails with the name of a call whose rules are in trouble.
    fn rule(&mut self, rule: &Rule, counts: bool) -> Result<(), (&'static str, Trouble)> {
        let groups: Vec<&[Condition]> =
            if rule.is_any() { rule.conditions.chunks(1).collect() } else { vec![&rule.conditions] };
        for call in &rule.names {
            let number = self.arch.number(*call);
            let disguise = mux::disguise(self.arch, *call);
            // libseccomp knows a call that can come in disguise by that alone.
            if let (Some(number), None) = (number, disguise) {
                self.last = self.last.max(number);
            }
            if !counts {
                continue;
            }
            for conditions in &groups {
                if let Some((number, function)) = disguise {
                    let conditions = mux::disguised(conditions, function);
                    self.add(number, rule.action, &conditions).map_err(|trouble| (call.name(), trouble))?;
                }
                if let Some(number) = number {
                    self.add(number, rule.action, conditions).map_err(|trouble| (call.name(), trouble))?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, number: u32, action: Action, conditions: &[Condition]) -> tree::Result<()> {
        let wide = self.arch.is_wide();
        let tree = match self.entry(number) {
            // The first rule without conditions stays, and covers those with conditions, before it and after.
            Entry::Always(_) => return Ok(()),
            _ if !conditions.iter().any(|condition| tree::decides(condition, wide)) => {
                self.set(number, Entry::Always(action));
                return Ok(());
            }
            Entry::Depends(tree) => usize::from(tree),
            Entry::Unnamed => {
                self.set(number, Entry::Depends(self.trees.len() as u16));
                self.trees.push(Tree::default());
                self.trees.len() - 1
            }
        };
        self.trees[tree].add(conditions, action, wide)
    }

    /// What to say of a call whose tree leads nowhere.
    pub fn in_trouble(&self, number: u32, trouble: Trouble) -> Error {
        let name = self.arch.call_of(number).map_or_else(|| number.to_string(), |call| call.name().to_owned());
        in_trouble(&name, trouble).from_property(Pointer::new("/linux/seccomp/syscalls"))
    }

    fn place(&self, number: u32) -> usize {
        (if self.arch == Arch::X32 { number & !X32_BIT } else { number }) as usize
    }

    fn entry(&self, number: u32) -> Entry {
        match self.places.get(self.place(number)) {
            Some(entry) => *entry,
            None => self.private.iter().find(|(one, _)| *one == number).map_or(Entry::Unnamed, |(_, entry)| *entry),
        }
    }

    fn set(&mut self, number: u32, entry: Entry) {
        let place = self.place(number);
        if let Some(there) = self.places.get_mut(place) {
            *there = entry;
        } else if let Some((_, there)) = self.private.iter_mut().find(|(one, _)| *one == number) {
            *there = entry;
        } else {
            self.private.push((number, entry));
            self.private.sort_by_key(|(number, _)| *number);
        }
    }

    /// Every number of which something is said, from small to large, and the number after each; what is
    /// between is unnamed.
    pub fn entries(&self) -> impl Iterator<Item = (u32, Entry)> {
        let bit = if self.arch == Arch::X32 { X32_BIT } else { 0 };
        let places = self.places.iter().enumerate().map(move |(place, entry)| (place as u32 | bit, *entry));
        places.chain(self.private.iter().copied()).filter(|(_, entry)| *entry != Entry::Unnamed)
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
