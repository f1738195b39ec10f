//! Trees of tests as a graph in which every test names what follows it, equal tests are one, and tests
//! that decide nothing are gone.

use super::profile::Action;
use super::tree::{Compare, Id, NO, Result, Side, Test, Tree, YES};

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A level leads to itself.
    pub fn add(&mut self, tree: &Tree, otherwise: Action) -> Result<Target> {
        self.first = self.steps.len();
        self.level(tree, &tree.top()?, Target::Act(otherwise))
    }

    fn level(&mut self, tree: &Tree, level: &[Id], after: Target) -> Result<Target> {
        level.iter().rev().try_fold(after, |next, id| {
            let node = tree.node(*id);
            let yes = self.side(tree, &node.sides[YES], next)?;
            let no = self.side(tree, &node.sides[NO], next)?;
            Ok(self.insert(node.test, yes, no))
        })
    }

    fn side(&mut self, tree: &Tree, side: &Side, next: Target) -> Result<Target> {
        match *side {
            Side { next: Some(below), .. } => self.level(tree, &tree.level(below)?, next),
            Side { action: Some(action), .. } => Ok(Target::Act(action)),
            _ => Ok(next),
        }
    }

    fn insert(&mut self, mut test: Test, yes: Target, no: Target) -> Target {
        if yes == no || (test.compare == Compare::Masked && test.mask == 0) {
            return yes;
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
        Target::Test(number as u32)
    }
}
