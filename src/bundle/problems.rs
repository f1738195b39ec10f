//! What the checks of a config.json find.

use super::{CONFIG, Positions};
use crate::error::Error;

/// After so many errors, or warnings, `check` does not report the rest.
pub(super) const MOST: usize = 200;

/// Errors and warnings, each with its pointer, and its line where it has one.
#[derive(Default, Debug)]
pub struct Problems {
    /// What keeps the bundle from running.
    pub errors: Vec<Error>,
    /// What is odd, or is left out.
    pub warnings: Vec<Error>,
}

impl Problems {
    /// Adds what keeps the bundle from running.
    pub fn error(&mut self, error: Error) {
        self.errors.push(error);
    }

    /// Adds what does not.
    pub fn warning(&mut self, warning: Error) {
        self.warnings.push(warning);
    }

    /// Whether there are more errors than `check` reports, so that none needs to be looked for.
    pub fn is_full(&self) -> bool {
        self.errors.len() > MOST
    }

    /// Removes what nobody would read, and reports that there was more.
    pub fn shorten(&mut self) {
        for (list, what) in [(&mut self.warnings, "warnings"), (&mut self.errors, "errors")] {
            if list.len() > MOST {
                list.truncate(MOST);
                list.push(more_than(MOST, what));
            }
        }
    }

    /// Finds the line of each in the text and puts them into its order.
    pub fn locate(&mut self, text: &[u8]) {
        let positions = Positions::new(text);
        for problems in [&mut self.errors, &mut self.warnings] {
            problems.iter_mut().for_each(|problem| super::locate(problem, &positions, CONFIG));
            let offset = |problem: &Error| problem.pointer.as_deref().and_then(|pointer| positions.offset(pointer));
            problems.sort_by_cached_key(offset);
        }
    }
}

/// An error of a property.
pub(super) fn wrong(pointer: impl std::fmt::Display, message: impl Into<String>) -> Error {
    Error::new(message).from_property(pointer)
}

/// That a list ends here.
pub(super) fn more_than(number: usize, what: &str) -> Error {
    Error::new(format!("there are more than {number} {what}; the rest is not looked at"))
}
