//! Ranges: every number of an architecture, in ranges of the same outcome.

use super::calls::{Calls, Entry};
use super::graph::{Graph, Target};
use crate::error::Result;
use crate::types::seccomp::arch::{Arch, X32_BIT};
use crate::types::seccomp::profile::{Action, Profile};

/// Numbers from `start` to the next range's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first number.
    pub start: u32,
    /// What the program does.
    pub target: Target,
    /// Why.
    pub reason: Reason,
}

/// Why a range has its outcome. Neighbours whose outcome is the same are one, and have the first one's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No rule names these calls.
    Default,
    /// The architecture is not listed.
    Unlisted,
    /// Newer than any call that the profile names.
    Newer,
    /// A rule names these calls.
    Named,
}

/// What the program does with the calls of one kind of process, as the kernel tells these apart.
pub struct Section {
    /// The architecture; x32 is a part of x86_64's.
    pub arch: Arch,
    /// Every number, in ranges of the same outcome.
    pub ranges: Vec<Range>,
    /// The instruction at which each range ends up, once the program is written.
    pub places: Vec<usize>,
}

/// The section of each architecture, the machine's own first.
///
/// # Errors
/// The rules on a call lead nowhere.
pub fn sections(all: &[Calls], profile: &Profile, graph: &mut Graph) -> Result<Vec<Section>> {
    let x32 = all.iter().find(|calls| calls.arch == Arch::X32);
    let sections = all.iter().filter(|calls| calls.arch != Arch::X32).map(|calls| {
        let mut ranges = Ranges { list: Vec::with_capacity(256), profile, graph, stub: has_stub(profile) };
        match calls.arch {
            Arch::X86_64 => ranges.x86_64(calls, x32)?,
            _ => {
                ranges.calls(calls, 0)?;
            }
        }
        Ok(Section { arch: calls.arch, places: vec![0; ranges.list.len()], ranges: ranges.list })
    });
    sections.collect()
}

/// Calls that are newer than the profile do not exist, so that programs fall back to older ones. runc does
/// so unless unnamed calls happen anyway, or a tracer decides.
fn has_stub(profile: &Profile) -> bool {
    !matches!(profile.default.kind(), Action::ALLOW | Action::LOG | Action::TRACE)
}

struct Ranges<'a> {
    list: Vec<Range>,
    profile: &'a Profile,
    graph: &'a mut Graph,
    stub: bool,
}

impl Ranges<'_> {
    fn push(&mut self, start: u32, target: Target, reason: Reason) {
        // What began here and is empty is replaced; it may have parted two that are the same.
        if self.list.last().is_some_and(|last| last.start == start) {
            self.list.pop();
        }
        if self.list.last().is_none_or(|last| last.target != target) {
            self.list.push(Range { start, target, reason });
        }
    }

    fn act(&mut self, start: u32, action: Action, reason: Reason) {
        self.push(start, Target::Act(action), reason);
    }

    fn default(&mut self, start: u32) {
        self.act(start, self.profile.default, Reason::Default);
    }

    /// Numbers from `first` on; those above the last named one get what new calls get. Gives whether there
    /// are such.
    fn calls(&mut self, calls: &Calls, first: u32) -> Result<bool> {
        // runc looks for the largest number above 0; on x86 it does not count the calls with a disguise, so
        // that even a named one can be above it.
        let newer = self.stub && calls.last > 0;
        self.default(first);
        for (number, entry) in calls.entries().take_while(|(number, _)| !newer || *number <= calls.last) {
            match entry {
                Entry::Always(action) => self.act(number, action, Reason::Named),
                Entry::Depends(tree) => {
                    let target = self.graph.add(&calls.trees[usize::from(tree)], self.profile.default);
                    let target = target.map_err(|trouble| calls.in_trouble(number, trouble))?;
                    self.push(number, target, Reason::Named);
                }
            }
            self.default(number + 1);
        }
        if newer {
            self.act(calls.last + 1, Action::ENOSYS, Reason::Newer);
        }
        Ok(newer)
    }

    /// x86_64 and, told apart by one bit of the number, x32.
    fn x86_64(&mut self, calls: &Calls, x32: Option<&Calls>) -> Result<()> {
        const HIGH: u32 = 0x8000_0000;
        let newer = self.calls(calls, 0)?;
        let bad = |ranges: &mut Self, start| ranges.act(start, Action::KILL_THREAD, Reason::Unlisted);
        let newer_x32 = match x32 {
            Some(x32) => self.calls(x32, X32_BIT)?,
            None => {
                bad(self, X32_BIT);
                false
            }
        };
        // The bit counts, and not the size of the number, where new calls are told.
        match (newer, x32.is_some()) {
            (true, _) => self.act(HIGH, Action::ENOSYS, Reason::Newer),
            (false, true) => self.default(HIGH),
            (false, false) => bad(self, HIGH),
        }
        match (newer_x32, x32.is_some()) {
            (true, _) => self.act(HIGH | X32_BIT, Action::ENOSYS, Reason::Newer),
            (false, true) => self.default(HIGH | X32_BIT),
            (false, false) => {
                bad(self, HIGH | X32_BIT);
                // A tracer that skips a call sets its number to -1, and the filter sees that.
                self.default(u32::MAX);
            }
        }
        Ok(())
    }
}
