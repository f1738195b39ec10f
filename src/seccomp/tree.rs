//! The conditions of all rules on one call, as a tree of tests of 32-bit words.
//!
//! Rules can overlap, and the spec does not say which wins; libseccomp's order does, and is kept here.
//! Tests stand in levels and are tried from first to last. In a level those of later arguments stand
//! first, of one argument the high word before the low, equalities before "less" before "greater", then
//! the larger value (of "less" the smaller). A test that is already there is not added again: what follows
//! it is added below. Where a path through the tests ends without an action, the next test of the nearest
//! level above goes on.

use super::profile::{Action, Condition, Operator};

/// How a word is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// All bits.
    Equal,
    /// The bits of the mask.
    Masked,
    /// Unsigned.
    Greater,
    /// Unsigned.
    GreaterOrEqual,
}

/// A test of one 32-bit word of the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A test in its level, and what follows.
#[derive(Clone, Debug)]
pub struct Node {
    /// The test.
    pub test: Test,
    /// Where it holds.
    pub yes: Branch,
    /// Where it does not.
    pub no: Branch,
    /// The operator that it is made from, as its order goes: 3 equalities, 2 "less", 1 "greater".
    rank: u8,
    /// The whole value that it is made from.
    whole: u64,
}

/// What follows a test: an action, or more tests, or (neither) whatever comes after.
#[derive(Clone, Debug, Default)]
pub struct Branch {
    /// The action.
    pub action: Option<Action>,
    /// The tests.
    pub level: Vec<Node>,
}

/// Two rules that ask for different things in the same case.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict;

impl Branch {
    fn go_on(node: Node) -> Branch {
        Branch { action: None, level: vec![node] }
    }

    fn is_end(&self) -> bool {
        self.level.is_empty()
    }
}

/// The path of one rule through tests: none where the conditions always hold.
pub fn path(conditions: &[Condition], action: Action, wide: bool) -> Option<Node> {
    let mut sorted: Vec<&Condition> = conditions.iter().filter(|condition| !always_holds(condition, wide)).collect();
    sorted.sort_by_key(|condition| condition.argument);
    let end = Branch { action: Some(action), level: Vec::new() };
    let first = sorted.iter().rev().fold(end, |then, condition| {
        Branch::go_on(if wide { wide_tests(condition, then) } else { narrow_test(condition, then) })
    });
    first.level.into_iter().next()
}

fn always_holds(condition: &Condition, wide: bool) -> bool {
    let mask = if wide { condition.mask } else { condition.mask & u64::from(u32::MAX) };
    condition.operator == Operator::MaskedEqual && mask == 0
}

fn rank(operator: Operator) -> u8 {
    match operator {
        Operator::Equal | Operator::NotEqual | Operator::MaskedEqual => 3,
        Operator::Less | Operator::LessOrEqual => 2,
        Operator::Greater | Operator::GreaterOrEqual => 1,
    }
}

/// A node for a word of an argument; `high` is 1 for the high word.
fn node(condition: &Condition, high: u8, compare: Compare, yes: Branch, no: Branch) -> Node {
    let mask = (condition.mask >> (32 * high)) as u32;
    let value = (condition.value >> (32 * high)) as u32 & mask;
    let test = Test { word: condition.argument * 2 + high, compare, mask, value };
    Node { test, yes, no, rank: rank(condition.operator), whole: condition.value }
}

/// The operators that are the contrary of another are that one with its branches exchanged.
fn narrow_test(condition: &Condition, then: Branch) -> Node {
    let (compare, contrary) = low_word(condition.operator);
    let (yes, no) = if contrary { (Branch::default(), then) } else { (then, Branch::default()) };
    node(condition, 0, compare, yes, no)
}

fn low_word(operator: Operator) -> (Compare, bool) {
    match operator {
        Operator::Equal => (Compare::Equal, false),
        Operator::NotEqual => (Compare::Equal, true),
        Operator::MaskedEqual => (Compare::Masked, false),
        Operator::Greater => (Compare::Greater, false),
        Operator::LessOrEqual => (Compare::Greater, true),
        Operator::GreaterOrEqual => (Compare::GreaterOrEqual, false),
        Operator::Less => (Compare::GreaterOrEqual, true),
    }
}

/// The high word decides unless it is equal; then the low word does.
fn wide_tests(condition: &Condition, then: Branch) -> Node {
    let low = Branch::go_on(narrow_test(condition, then.clone()));
    let none = Branch::default;
    match condition.operator {
        Operator::Equal => node(condition, 1, Compare::Equal, low, none()),
        Operator::MaskedEqual => node(condition, 1, Compare::Masked, low, none()),
        Operator::NotEqual => node(condition, 1, Compare::Equal, low, then),
        Operator::Greater | Operator::GreaterOrEqual => {
            let equal = node(condition, 1, Compare::Equal, low, none());
            node(condition, 1, Compare::Greater, then, Branch::go_on(equal))
        }
        Operator::Less | Operator::LessOrEqual => {
            let equal = node(condition, 1, Compare::Equal, low, then);
            node(condition, 1, Compare::Greater, none(), Branch::go_on(equal))
        }
    }
}

/// Adds a rule's path to a level.
///
/// # Errors
/// The same case has another action already.
pub fn add(level: &mut Vec<Node>, new: Node) -> Result<(), Conflict> {
    for at in 0..level.len() {
        if level[at].test == new.test {
            return merge(&mut level[at], new);
        }
        if stands_behind(&level[at], &new) {
            level.insert(at, new);
            return Ok(());
        }
    }
    level.push(new);
    Ok(())
}

/// Whether a node of a level stands behind another.
fn stands_behind(node: &Node, other: &Node) -> bool {
    let order = (node.test.word, node.rank).cmp(&(other.test.word, other.rank));
    let values = match node.rank {
        2 => other.test.value.cmp(&node.test.value),
        _ => node.test.value.cmp(&other.test.value),
    };
    order.then(values).is_lt()
}

fn merge(old: &mut Node, new: Node) -> Result<(), Conflict> {
    let ends = (old.yes.is_end() && old.no.is_end()) || (new.yes.is_end() && new.no.is_end());
    let high = new.test.word % 2 == 1;
    // Of two "greater" with one high word, what lies above both is the larger one's; of two "less", what
    // lies below both the smaller one's.
    act(&mut old.yes, new.yes.action, high && new.whole > old.whole, ends)?;
    act(&mut old.no, new.no.action, high && new.whole < old.whole, ends)?;
    go_on(&mut old.yes, new.yes.level)?;
    go_on(&mut old.no, new.no.level)
}

fn act(old: &mut Branch, new: Option<Action>, wins: bool, ends: bool) -> Result<(), Conflict> {
    match (old.action, new) {
        (_, None) => Ok(()),
        (None, Some(action)) => {
            // The new rule covers what is below; it may do so if that says the same.
            if !all_do(&old.level, action) {
                return Err(Conflict);
            }
            *old = Branch { action: new, level: Vec::new() };
            Ok(())
        }
        (Some(before), Some(action)) if before == action => Ok(()),
        _ => {
            if wins {
                old.action = new;
            }
            if ends { Err(Conflict) } else { Ok(()) }
        }
    }
}

fn go_on(old: &mut Branch, new: Vec<Node>) -> Result<(), Conflict> {
    for node in new {
        if !old.level.is_empty() {
            add(&mut old.level, node)?;
        } else if old.action.is_none() {
            old.level.push(node);
        }
    }
    Ok(())
}

fn all_do(level: &[Node], action: Action) -> bool {
    let same = |branch: &Branch| branch.action.is_none_or(|one| one == action) && all_do(&branch.level, action);
    level.iter().all(|node| same(&node.yes) && same(&node.no))
}
