//! Merging a rule into the tree of its call: what it covers is pruned, then its nodes are added.
//!
//! This is libseccomp's way, down to where it goes wrong (`db_rule_add` of its `src/db.c`, 2.6.1; 2.5
//! differs in one place, see [`Tree::unite`]). In a level nodes of later arguments come first, of one
//! argument the high word before the low, equalities before "less" before "greater", then the larger value
//! (of "less" the smaller). A node whose test is already there is not added again: what follows it is added
//! below.

use super::tree::{Id, NO, Place, Result, Side, Tree, Trouble, YES};
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
        if self.root.is_none() {
            self.root = Some(new);
            return Ok(());
        }
        self.merge(Place::Root, new)?;
        self.let_go_of_level(Some(new)).map(|_| ())
    }

    fn at(&mut self, place: Place) -> &mut Option<Id> {
        match place {
            Place::Root => &mut self.root,
            Place::Under(node, side) => &mut self.nodes[node].sides[side].next,
        }
    }

    #[inline]
    pub(super) fn tests_alike(&self, old: Id, new: Id) -> bool {
        self.nodes[old].test == self.nodes[new].test
    }

    /// Whether a node of a level stands behind another.
    #[inline]
    pub(super) fn stands_behind(&self, node: Id, other: Id) -> bool {
        let (node, other) = (&self.nodes[node], &self.nodes[other]);
        let order = (node.test.word, node.rank).cmp(&(other.test.word, other.rank));
        let values = match node.rank {
            2 => other.test.value.cmp(&node.test.value),
            _ => node.test.value.cmp(&other.test.value),
        };
        order.then(values).is_lt()
    }

    /// Whether every action of a level, and below it, is this one.
    pub(super) fn all_do(&mut self, of: Option<Id>, action: Action) -> Result<bool> {
        self.mark += 1;
        self.all_below_do(of, action)
    }

    /// Goes to each level once, though many ways lead there.
    fn all_below_do(&mut self, of: Option<Id>, action: Action) -> Result<bool> {
        let Some(of) = of.filter(|of| self.nodes[*of].mark != self.mark) else { return Ok(true) };
        self.nodes[of].mark = self.mark;
        let mut next = Some(self.first(of)?);
        for _ in 0..=self.nodes.len() {
            let Some(node) = next else { return Ok(true) };
            for side in self.nodes[node].sides {
                if side.action.is_some_and(|one| one != action) || !self.all_below_do(side.next, action)? {
                    return Ok(false);
                }
            }
            next = self.nodes[node].after;
        }
        Err(Trouble::Endless)
    }

    /// Removes a node, and those that do nothing; gives how many are gone. One that is held elsewhere is
    /// not gone, and the search goes on.
    pub(super) fn remove(&mut self, node: Id) -> Result<usize> {
        self.mark += 1;
        self.remove_below(Place::Root, node)
    }

    /// Where nothing was found, nothing is looked for again until something changes.
    fn remove_below(&mut self, place: Place, node: Id) -> Result<usize> {
        let Some(of) = *self.at(place) else { return Ok(0) };
        let (first, mark) = (self.first(of)?, self.mark);
        if self.nodes[first].mark == mark {
            return Ok(0);
        }
        let (mut gone, mut at) = (0, first);
        for _ in 0..=self.nodes.len() {
            if at != node {
                gone += self.remove_below(Place::Under(at, YES), node)?;
                gone += self.remove_below(Place::Under(at, NO), node)?;
                let does = self.nodes[at].sides.iter().any(|side| side.action.is_some() || side.next.is_some());
                match self.nodes[at].after {
                    Some(after) if does && gone == 0 => {
                        at = after;
                        continue;
                    }
                    _ if does => {
                        if self.mark == mark {
                            self.nodes[first].mark = mark;
                        }
                        return Ok(gone);
                    }
                    _ => {}
                }
            }
            self.change();
            let (before, after) = (self.nodes[at].before.take(), self.nodes[at].after.take());
            if *self.at(place) == Some(at) {
                *self.at(place) = before.or(after);
            }
            if let Some(before) = before {
                self.nodes[before].after = after;
            }
            if let Some(after) = after {
                self.nodes[after].before = before;
            }
            return Ok(gone + self.let_go(at)?.0);
        }
        Err(Trouble::Endless)
    }

    /// One holder less; the last takes the node away. Gives how many nodes are gone, and what is there now.
    pub(super) fn let_go(&mut self, id: Id) -> Result<(usize, Option<Id>)> {
        let node = &mut self.nodes[id];
        node.holders = node.holders.checked_sub(1).ok_or(Trouble::Endless)?;
        if node.holders > 0 {
            return Ok((0, Some(id)));
        }
        self.change();
        let node = &self.nodes[id];
        let (mut before, mut after, sides) = (node.before, node.after, node.sides);
        let mut gone = 1;
        if let Some(before) = before {
            self.nodes[before].after = None;
        }
        if let Some(after) = after {
            self.nodes[after].before = None;
        }
        for neighbour in [&mut before, &mut after] {
            if let Some(id) = *neighbour {
                let (more, left) = self.let_go(id)?;
                (gone, *neighbour) = (gone + more, left);
            }
        }
        if let Some(before) = before {
            self.nodes[before].after = self.hold(after);
        }
        if let Some(after) = after {
            self.nodes[after].before = self.hold(before);
        }
        for side in sides {
            gone += self.let_go_of_level(side.next)?;
        }
        Ok((gone, before.or(after)))
    }

    /// What was found before may no longer be so.
    fn change(&mut self) {
        self.changes += 1;
        self.mark += 1;
    }

    fn hold(&mut self, id: Option<Id>) -> Option<Id> {
        if let Some(id) = id {
            self.nodes[id].holders += 1;
        }
        id
    }

    /// The same for a level, which goes with its last holder from outside.
    fn let_go_of_level(&mut self, of: Option<Id>) -> Result<usize> {
        let Some(of) = of else { return Ok(0) };
        let (mut gone, left) = self.let_go(of)?;
        let Some(of) = left else { return Ok(gone) };
        let first = self.first(of)?;
        if self.is_held_outside(first)? {
            return Ok(gone);
        }
        let mut left = Some(first);
        while let Some(node) = left {
            let (more, next) = self.let_go(node)?;
            (gone, left) = (gone + more, next);
        }
        Ok(gone)
    }

    /// Whether more than their neighbours hold one of these nodes, from the first of their level.
    fn is_held_outside(&self, first: Id) -> Result<bool> {
        let mut next = Some(first);
        for _ in 0..=self.nodes.len() {
            let Some(id) = next else { return Ok(false) };
            let node = &self.nodes[id];
            if node.holders > u32::from(node.before.is_some()) + u32::from(node.after.is_some()) {
                return Ok(true);
            }
            next = node.after;
        }
        Err(Trouble::Endless)
    }

    /// Adds nodes to a level that is not empty.
    fn merge(&mut self, place: Place, new: Id) -> Result<()> {
        let Some(mut old) = *self.at(place) else { return Ok(()) };
        for _ in 0..=self.nodes.len() {
            if self.tests_alike(old, new) {
                return self.unite(old, new);
            }
            if self.stands_behind(old, new) {
                self.put_before(place, old, new)?;
                return Ok(());
            }
            match self.nodes[old].after {
                Some(after) => old = after,
                None => {
                    self.nodes[new].before = self.hold(Some(old));
                    self.nodes[old].after = self.hold(Some(new));
                    return Ok(());
                }
            }
        }
        Err(Trouble::Endless)
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
                Side { next: Some(_), .. } => self.merge(Place::Under(old, side), next)?,
                Side { action: None, .. } => self.nodes[old].sides[side].next = self.hold(Some(next)),
                // What is there is shorter.
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}
