//! Pruning: what a new rule covers is removed from the tree of its call, before the rule is merged.
//!
//! The rule is compared with the tree, level by level. There are few pairs of levels, but the ways to them
//! double with each condition: what was found for a pair is kept while nothing is removed.

use super::memo::Memo;
use super::tree::{Id, NO, Result, Side, Tree, YES};
use crate::types::seccomp::profile::Action;

// What is known while a rule is compared with a level of the tree.
/// The tests above are the same.
const MATCH: u8 = 1;
/// They were once.
const ONCE: u8 = 2;
/// Nothing follows the node of the tree.
const OLD_ENDS: u8 = 4;
/// Nothing follows the node of the rule.
const NEW_ENDS: u8 = 8;
/// The tree tests more before it comes to this.
const OLD_BELOW: u8 = 16;
/// The rule does.
const NEW_BELOW: u8 = 32;

fn has(state: u8, bits: u8) -> bool {
    state & bits == bits
}

impl Tree {
    /// Removes what a rule covers. Gives whether, on the contrary, what is there covers the rule.
    pub(super) fn prune(&mut self, new: Id, action: Action) -> Result<bool> {
        let (old, mut state) = (self.top().next, 0);
        let gone = Pruning { tree: self, action, memo: Memo::new() }.prune(old, Some(new), &mut state)?;
        Ok(gone == 0 && has(state, MATCH | OLD_ENDS | NEW_BELOW))
    }
}

/// A rule that is compared with the tree.
struct Pruning<'a> {
    tree: &'a mut Tree,
    action: Action,
    /// For the first node of a level, a node of the rule, and what is known: how many changes there were
    /// then, and what is known after.
    memo: Memo<(Id, Id, u8), (usize, u8)>,
}

/// What pruning a level has come to.
struct Pruned {
    gone: usize,
    state: u8,
}

impl Pruning<'_> {
    /// Gives how many nodes are gone.
    fn prune(&mut self, old: Option<Id>, new: Option<Id>, state: &mut u8) -> Result<usize> {
        let (Some(old), Some(new)) = (old, new) else { return Ok(0) };
        if *state & (MATCH | ONCE) == ONCE {
            return Ok(0);
        }
        let first = self.tree.first(old)?;
        let (question, changes) = ((first, new, *state), self.tree.changes);
        if let Some((_, found)) = self.memo.get(&question).filter(|(then, _)| *then == changes) {
            *state = found;
            return Ok(0);
        }
        let (mut pruned, mut walk) = (Pruned { gone: 0, state: *state }, self.tree.walk(first));
        let stopped = loop {
            let Some(old) = walk.next(self.tree)? else { break false };
            let stop = if self.tree.tests_alike(old, new) {
                self.prune_alike(old, new, *state, &mut pruned)?
            } else if self.tree.stands_behind(old, new) {
                has(*state, NEW_BELOW)
                    || !self.tree.is_leaf(old) && self.prune_below(old, new, *state | OLD_BELOW, &mut pruned)?
            } else {
                has(*state, OLD_BELOW)
                    || !self.tree.is_leaf(new) && self.prune_below(old, new, *state | NEW_BELOW, &mut pruned)?
            };
            if stop {
                break true;
            }
        };
        if !stopped {
            pruned.state &= !MATCH;
        }
        *state = if has(pruned.state, MATCH) { *state | pruned.state } else { *state & !MATCH };
        if self.tree.changes == changes {
            self.memo.keep(question, (changes, *state));
        }
        Ok(pruned.gone)
    }

    /// Goes on where the tests are the same. Gives whether the level is done.
    fn prune_alike(&mut self, mut old: Id, new: Id, state: u8, pruned: &mut Pruned) -> Result<bool> {
        let ends = |leaf, bit| if leaf { bit } else { 0 };
        pruned.state |= MATCH | ONCE | ends(self.tree.is_leaf(new), NEW_ENDS) | ends(self.tree.is_leaf(old), OLD_ENDS);
        let leads = |side: &Side| side.action.is_some() || side.next.is_some();
        let both_end = has(pruned.state, NEW_ENDS | OLD_ENDS);
        for (was, is) in self.tree.nodes[old].sides.iter().zip(&self.tree.nodes[new].sides) {
            // There is more than the rule has, or something else.
            if leads(was) && !leads(is) || both_end && was.action != is.action {
                return Ok(true);
            }
        }
        for side in [YES, NO] {
            let Some(next) = self.tree.nodes[new].sides[side].next else { continue };
            let below = (self.tree.nodes[old].sides[side].next, next);
            let (found, held) = self.prune_held(old, below, state | MATCH | ONCE, pruned)?;
            if has(found, MATCH) {
                pruned.state |= found;
            }
            let Some(held) = held else { return Ok(false) };
            old = held;
        }
        let covers = has(pruned.state, MATCH | NEW_ENDS | OLD_BELOW);
        let covered = has(pruned.state, MATCH | OLD_ENDS | NEW_BELOW);
        if !(covers || covered) || !self.tree.all_do(Some(old), self.action)? {
            return Ok(false);
        }
        if covers {
            pruned.gone += self.tree.remove(old)?;
            return Ok(self.tree.top().next.is_none());
        }
        Ok(true)
    }

    /// Looks below, in the tree or in the rule. Gives whether the level is done.
    fn prune_below(&mut self, mut old: Id, new: Id, state: u8, pruned: &mut Pruned) -> Result<bool> {
        for side in [YES, NO] {
            let below = match has(state, OLD_BELOW) {
                true => self.tree.nodes[old].sides[side].next.map(|old| (old, new)),
                false => self.tree.nodes[new].sides[side].next.map(|new| (old, new)),
            };
            let Some((below, new)) = below else { continue };
            let (found, held) = self.prune_held(old, (Some(below), new), state & !MATCH, pruned)?;
            if has(found, MATCH) {
                pruned.state |= found;
                return Ok(true);
            }
            let Some(held) = held else { return Ok(false) };
            old = held;
        }
        Ok(false)
    }

    /// Prunes while a node is held; gives what was found, and the node or what is in its place.
    fn prune_held(
        &mut self,
        held: Id,
        (old, new): (Option<Id>, Id),
        mut state: u8,
        pruned: &mut Pruned,
    ) -> Result<(u8, Option<Id>)> {
        self.tree.nodes[held].holders += 1;
        pruned.gone += self.prune(old, Some(new), &mut state)?;
        let (gone, held) = self.tree.let_go(held)?;
        pruned.gone += gone;
        Ok((state, held))
    }
}
