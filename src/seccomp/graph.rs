//! Trees of tests as a graph in which every test names what follows it, equal tests are one, and tests
//! that decide nothing are gone.

use super::memo::Memo;
use super::tree::{Compare, Id, NO, Result, Side, Test, Tree, Trouble, YES};
use crate::sys::seccomp::LONGEST;
use crate::types::seccomp::profile::Action;

/// How many tests are looked at. More would make too long a program, unless few of them are ever reached.
const MOST: usize = 4 * LONGEST;

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// An action.
    Act(Action),
    /// A test of the graph.
    Test(u32),
}

/// A test and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The test.
    pub test: Test,
    /// Where it holds.
    pub yes: Target,
    /// Where it does not.
    pub no: Target,
}

/// The tests of all calls; each comes after those that follow it.
#[derive(Default)]
pub struct Graph {
    steps: Vec<Step>,
    /// Where the tests of the call begin that is being added.
    first: usize,
}

/// The tree of a call on its way into the graph.
struct Adding<'a> {
    tree: &'a Tree,
    graph: &'a mut Graph,
    /// What a level has become, by a node of it and what comes after: many ways lead to the same.
    memo: Memo<(Id, Target), Target>,
}

impl Graph {
    /// How many tests there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// A test.
    pub fn step(&self, number: u32) -> &Step {
        &self.steps[number as usize]
    }

    /// Adds the tree of a call; `otherwise` is for what no rule fits.
    ///
    /// # Errors
    /// A level leads to itself; more tests than a program can have.
    pub fn add(&mut self, tree: &Tree, otherwise: Action) -> Result<Target> {
        self.first = self.steps.len();
        Adding { tree, graph: self, memo: Memo::new() }.side(tree.top(), Target::Act(otherwise))
    }

    fn insert(&mut self, mut test: Test, yes: Target, no: Target) -> Result<Target> {
        if yes == no || (test.compare == Compare::Masked && test.mask == 0) {
            return Ok(yes);
        }
        if test.mask == u32::MAX && test.compare == Compare::Masked {
            test.compare = Compare::Equal;
        }
        let step = Step { test, yes, no };
        let known = self.steps[self.first..].iter().position(|one| *one == step);
        let number = known.map_or(self.steps.len(), |at| self.first + at);
        if known.is_none() {
            self.steps.push(step);
        }
        u32::try_from(number).ok().filter(|_| number < MOST).map(Target::Test).ok_or(Trouble::Long)
    }
}

impl Adding<'_> {
    fn level(&mut self, of: Id, after: Target) -> Result<Target> {
        if let Some(target) = self.memo.get(&(of, after)) {
            return Ok(target);
        }
        let target = self.tree.level(of)?.iter().rev().try_fold(after, |next, id| {
            let node = self.tree.node(*id);
            let [yes, no] = [self.side(&node.sides[YES], next)?, self.side(&node.sides[NO], next)?];
            self.graph.insert(node.test, yes, no)
        })?;
        self.memo.keep((of, after), target);
        Ok(target)
    }

    fn side(&mut self, side: &Side, next: Target) -> Result<Target> {
        match *side {
            Side { next: Some(below), .. } => self.level(below, next),
            Side { action: Some(action), .. } => Ok(Target::Act(action)),
            _ => Ok(next),
        }
    }
}
