//! Merging a rule into the tree of its call: what it covers is pruned, then its nodes are added.
//!
//! This is libseccomp's way, down to where it goes wrong (`db_rule_add` of its `src/db.c`, 2.6.1; 2.5
//! differs in one place, see [`Tree::unite`]). In a level nodes of later arguments come first, of one
//! argument the high word before the low, equalities before "less" before "greater", then the larger value
//! (of "less" the smaller). A node whose test is already there is not added again: what follows it is added
//! below.

use super::remove::Place;
use super::tree::{Id, NO, Result, Side, TOP, Tree, Trouble, YES};
use crate::types::seccomp::profile::{Action, Condition};

impl Tree {
    /// Adds a rule, at least one condition of which decides something.
    ///
    /// # Errors
    /// The same case has another action already; libseccomp would never end.
    pub fn add(&mut self, conditions: &[Condition], action: Action, wide: bool) -> Result<()> {
        self.refuse_too_large()?;
        let Some(new) = self.path(conditions, action, wide) else { return Ok(()) };
        self.nodes[new].holders += 1;
        if self.prune(new, action)? {
            return Ok(());
        }
        if self.top().next.is_none() {
            *self.at((TOP, YES)) = Some(new);
            return Ok(());
        }
        self.merge((TOP, YES), new)?;
        self.let_go_of_level(Some(new)).map(|_| ())
    }

    /// Adds nodes to a level that is not empty.
    fn merge(&mut self, place: Place, new: Id) -> Result<()> {
        let Some(mut last) = *self.at(place) else { return Ok(()) };
        let mut walk = self.walk(last);
        while let Some(old) = walk.next(self)? {
            if self.tests_alike(old, new) {
                return self.unite(old, new);
            }
            if self.stands_behind(old, new) {
                return self.put_before(place, old, new);
            }
            last = old;
        }
        self.nodes[new].before = self.hold(Some(last));
        self.nodes[last].after = self.hold(Some(new));
        Ok(())
    }

    fn put_before(&mut self, place: Place, old: Id, new: Id) -> Result<()> {
        match self.nodes[old].before {
            Some(before) => {
                self.nodes[before].after = self.hold(Some(new));
                self.nodes[new].before = Some(before);
                self.nodes[new].after = Some(old);
            }
            None => self.nodes[new].after = self.hold(Some(old)),
        }
        self.nodes[old].before = self.hold(Some(new));
        if *self.at(place) == Some(old) {
            *self.at(place) = self.hold(Some(new));
            self.let_go(old)?;
        }
        Ok(())
    }

    /// Makes one of two nodes with the same test.
    fn unite(&mut self, old: Id, new: Id) -> Result<()> {
        let ends = self.is_leaf(new);
        for side in [YES, NO] {
            let Some(action) = self.nodes[new].sides[side].action else { continue };
            match self.nodes[old].sides[side] {
                Side { action: Some(before), .. } if before == action => {}
                Side { action: Some(_), .. } => {
                    // Of two "greater" with one high word, what lies above both is the larger one's; of two
                    // "less", what lies below both the smaller one's (libseccomp 2.5: the first one's).
                    let (was, is) = (self.nodes[old].whole, self.nodes[new].whole);
                    let wins = if side == YES { is > was } else { is < was };
                    if self.nodes[new].test.word % 2 == 1 && wins {
                        self.nodes[old].sides[side].action = Some(action);
                    }
                    if ends || self.is_leaf(old) {
                        return Err(Trouble::Contradiction);
                    }
                }
                // The new rule covers what is below; it may do so if that says the same.
                Side { action: None, next } => {
                    if !self.all_do(next, action)? {
                        return Err(Trouble::Contradiction);
                    }
                    if let Some(next) = next {
                        self.let_go(next)?;
                    }
                    self.nodes[old].sides[side] = Side { action: Some(action), next: None };
                }
            }
        }
        for side in [YES, NO] {
            let Some(next) = self.nodes[new].sides[side].next else { continue };
            match self.nodes[old].sides[side] {
                Side { next: Some(_), .. } => self.merge((old, side), next)?,
                Side { action: None, .. } => self.nodes[old].sides[side].next = self.hold(Some(next)),
                // What is there is shorter.
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}
