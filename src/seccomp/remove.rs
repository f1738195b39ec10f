//! Removing: a node goes with its last holder, and with it what it holds alone.

use super::tree::{Id, NO, Result, TOP, Tree, Trouble, YES};
use crate::types::seccomp::profile::Action;

/// Where a level hangs: a node, and its side.
pub(super) type Place = (Id, usize);

impl Tree {
    pub(super) fn at(&mut self, (node, side): Place) -> &mut Option<Id> {
        &mut self.nodes[node].sides[side].next
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
        let mut walk = self.walk(self.first(of)?);
        while let Some(node) = walk.next(self)? {
            for side in self.nodes[node].sides {
                if side.action.is_some_and(|one| one != action) || !self.all_below_do(side.next, action)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Removes a node, and those that do nothing; gives how many are gone. One that is held elsewhere is
    /// not gone, and the search goes on.
    pub(super) fn remove(&mut self, node: Id) -> Result<usize> {
        self.mark += 1;
        self.remove_below((TOP, YES), node)
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
                gone += self.remove_below((at, YES), node)?;
                gone += self.remove_below((at, NO), node)?;
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

    pub(super) fn hold(&mut self, id: Option<Id>) -> Option<Id> {
        if let Some(id) = id {
            self.nodes[id].holders += 1;
        }
        id
    }

    /// The same for a level, which goes with its last holder from outside.
    pub(super) fn let_go_of_level(&mut self, of: Option<Id>) -> Result<usize> {
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
        let mut walk = self.walk(first);
        while let Some(id) = walk.next(self)? {
            let node = &self.nodes[id];
            if node.holders > u32::from(node.before.is_some()) + u32::from(node.after.is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
