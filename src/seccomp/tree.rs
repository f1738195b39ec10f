//! The conditions of all rules on one call, as a tree of tests of 32-bit words.
//!
//! Rules can overlap, and the spec does not say which wins. libseccomp's answer depends on how it merges
//! them into a tree; so this is that tree, node for node (its `src/db.c`), and `merge.rs` is how a rule
//! comes in. Nodes stand in levels and are tried from first to last. Where a path through them ends
//! without an action, the next node of the nearest level above goes on.
//!
//! A rule's nodes can be reached on two ways (what follows "not equal" follows a high word that differs,
//! and a low one), so that a node can come to stand in two levels, whose links are then one another's. What
//! libseccomp makes of that is no good reading of a profile, but it is what programs get; hence the links
//! and the counts of holders, on which it depends what is removed.

use crate::sys::seccomp::LONGEST;
use crate::types::seccomp::profile::{Action, Condition, Operator};

/// How a word is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// All bits.
    #[default]
    Equal,
    /// The bits of the mask.
    Masked,
    /// Unsigned.
    Greater,
    /// Unsigned.
    GreaterOrEqual,
}

/// A test of one 32-bit word of the arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Test {
    /// Two for each argument, the low one first.
    pub word: u8,
    /// How.
    pub compare: Compare,
    /// The bits that count.
    pub mask: u32,
    /// With what.
    pub value: u32,
}

/// How many nodes a tree may have. A rule is compared with each: more of them would take long.
const MOST: usize = 2 * LONGEST;

/// A node, by its place in the tree's list of them.
pub type Id = usize;

/// The side of a node where its test holds.
pub const YES: usize = 0;
/// The other.
pub const NO: usize = 1;

/// What follows a test on one side: an action, or a level, or (neither) whatever comes after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side {
    /// The action.
    pub action: Option<Action>,
    /// A node of the level; not always its first.
    pub next: Option<Id>,
}

/// A test in its level, and what follows.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The test.
    pub test: Test,
    /// What follows.
    pub sides: [Side; 2],
    /// The operator that it is made from, as its order goes: 3 equalities, 2 "less", 1 "greater".
    pub(super) rank: u8,
    /// The whole value that it is made from.
    pub(super) whole: u64,
    /// Its neighbours.
    pub(super) before: Option<Id>,
    pub(super) after: Option<Id>,
    /// How many sides, neighbours and roots lead to it, as libseccomp counts.
    pub(super) holders: u32,
    /// The tree's, since somebody was here.
    pub(super) mark: u32,
}

/// What is wrong with rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The same case has two actions.
    Contradiction,
    /// A level leads to itself: libseccomp never ends then.
    Endless,
    /// There are more tests than the kernel takes instructions.
    Long,
}

/// Something, unless the rules are in trouble.
pub type Result<T> = std::result::Result<T, Trouble>;

/// The tree of a call. Nodes that are removed stay in the list; there are few. The first one has no test: the rules are
/// on its side [`YES`].
#[derive(Debug)]
pub struct Tree {
    pub(super) nodes: Vec<Node>,
    /// How many nodes there were when those that are in use were counted.
    counted: usize,
    /// How often something was removed.
    pub(super) changes: usize,
    /// Another one for each walk that goes nowhere twice.
    pub(super) mark: u32,
}

/// The node of which the first level hangs.
pub(super) const TOP: Id = 0;

/// A walk along a level that ends though the level may lead to itself.
pub(super) struct Walk {
    next: Option<Id>,
    left: usize,
}

impl Walk {
    /// The next node. What follows that one is found before anybody changes it.
    pub fn next(&mut self, tree: &Tree) -> Result<Option<Id>> {
        let Some(id) = self.next else { return Ok(None) };
        self.left = self.left.checked_sub(1).ok_or(Trouble::Endless)?;
        self.next = tree.nodes[id].after;
        Ok(Some(id))
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: vec![Node::default()], counted: 0, changes: 0, mark: 0 }
    }
}

/// Whether a condition decides anything.
pub fn decides(condition: &Condition, wide: bool) -> bool {
    let mask = if wide { condition.mask } else { condition.mask & u64::from(u32::MAX) };
    condition.operator != Operator::MaskedEqual || mask != 0
}

fn to(node: Id) -> Side {
    Side { action: None, next: Some(node) }
}

impl Tree {
    /// A node.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// Where the first level hangs.
    pub fn top(&self) -> &Side {
        &self.nodes[TOP].sides[YES]
    }

    /// The nodes of a level, of which one is given, from first to last.
    pub fn level(&self, of: Id) -> Result<Vec<Id>> {
        let (mut level, mut walk) = (Vec::new(), self.walk(self.first(of)?));
        while let Some(id) = walk.next(self)? {
            level.push(id);
        }
        Ok(level)
    }

    /// A walk from a node to the last of its level.
    pub(super) fn walk(&self, from: Id) -> Walk {
        Walk { next: Some(from), left: self.nodes.len() }
    }

    /// The first node of a level.
    pub(super) fn first(&self, mut of: Id) -> Result<Id> {
        for _ in 0..=self.nodes.len() {
            match self.nodes[of].before {
                Some(before) => of = before,
                None => return Ok(of),
            }
        }
        Err(Trouble::Endless)
    }

    /// Refuses a tree of which hardly anything can come that is short enough: libseccomp makes an instruction or more of
    /// each node, and here few are left out.
    pub(super) fn refuse_too_large(&mut self) -> Result<()> {
        if self.nodes.len() < self.counted + MOST {
            return Ok(());
        }
        self.counted = self.nodes.len();
        match self.nodes.iter().filter(|node| node.holders > 0).count() {
            MOST.. => Err(Trouble::Long),
            _ => Ok(()),
        }
    }

    /// Whether nothing but actions follows.
    pub(super) fn is_leaf(&self, id: Id) -> bool {
        self.nodes[id].sides.iter().all(|side| side.next.is_none())
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

    /// The nodes of one rule, whose conditions must all hold; gives the first. One that decides is needed.
    pub(super) fn path(&mut self, conditions: &[Condition], action: Action, wide: bool) -> Option<Id> {
        let mut sorted: Vec<&Condition> = conditions.iter().filter(|condition| decides(condition, wide)).collect();
        sorted.sort_by_key(|condition| condition.argument);
        let end = Side { action: Some(action), next: None };
        let first = sorted.iter().rev().fold(end, |then, condition| {
            to(if wide { self.wide(condition, then) } else { self.narrow(condition, then) })
        });
        first.next
    }

    /// The high word decides unless it is equal; then the low word does.
    fn wide(&mut self, condition: &Condition, then: Side) -> Id {
        let low = to(self.narrow(condition, then));
        let none = Side::default();
        match condition.operator {
            Operator::Equal => self.insert(condition, 1, Compare::Equal, [low, none]),
            Operator::MaskedEqual => self.insert(condition, 1, Compare::Masked, [low, none]),
            Operator::NotEqual => self.insert(condition, 1, Compare::Equal, [low, then]),
            Operator::Greater | Operator::GreaterOrEqual => {
                let equal = to(self.insert(condition, 1, Compare::Equal, [low, none]));
                self.insert(condition, 1, Compare::Greater, [then, equal])
            }
            Operator::Less | Operator::LessOrEqual => {
                let equal = to(self.insert(condition, 1, Compare::Equal, [low, then]));
                self.insert(condition, 1, Compare::Greater, [none, equal])
            }
        }
    }

    /// The low word alone. An operator that is the contrary of another is that one with its sides exchanged.
    fn narrow(&mut self, condition: &Condition, then: Side) -> Id {
        let (compare, side) = match condition.operator {
            Operator::Equal => (Compare::Equal, YES),
            Operator::NotEqual => (Compare::Equal, NO),
            Operator::MaskedEqual => (Compare::Masked, YES),
            Operator::Greater => (Compare::Greater, YES),
            Operator::LessOrEqual => (Compare::Greater, NO),
            Operator::GreaterOrEqual => (Compare::GreaterOrEqual, YES),
            Operator::Less => (Compare::GreaterOrEqual, NO),
        };
        let mut sides = [Side::default(); 2];
        sides[side] = then;
        self.insert(condition, 0, compare, sides)
    }

    /// A node for a word of an argument; `high` is 1 for the high word.
    fn insert(&mut self, condition: &Condition, high: u8, compare: Compare, sides: [Side; 2]) -> Id {
        let half = |whole: u64| (whole >> (32 * high) & 0xffff_ffff) as u32;
        let mask = half(condition.mask);
        let value = half(condition.value) & mask;
        let test = Test { word: condition.argument * 2 + high, compare, mask, value };
        let rank = match condition.operator {
            Operator::Equal | Operator::NotEqual | Operator::MaskedEqual => 3,
            Operator::Less | Operator::LessOrEqual => 2,
            Operator::Greater | Operator::GreaterOrEqual => 1,
        };
        for next in sides.iter().filter_map(|side| side.next) {
            self.nodes[next].holders += 1;
        }
        self.nodes.push(Node { test, sides, rank, whole: condition.value, ..Node::default() });
        self.nodes.len() - 1
    }
}
