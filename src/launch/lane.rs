//! What both lanes do around a step: time it, fail it for a test, name its property in its error.

use super::fault::Fault;
use super::trace::Trace;
use crate::error::Result;
use crate::plan::Step;

/// A lane while it runs.
pub struct Lane<'a> {
    /// Its name in the trace.
    pub name: &'static str,
    /// The number of its first step.
    pub first: usize,
    /// Where times go.
    pub trace: Option<&'a Trace>,
    /// The failure that a test asks for.
    pub fault: Option<Fault>,
}

impl Lane<'_> {
    /// Runs a step of this lane.
    pub fn timed(&self, index: usize, step: &Step, run: impl FnOnce() -> Result<()>) -> Result<()> {
        let number = self.first + index;
        if let Some(fault) = self.fault.filter(|fault| fault.step == number) {
            fault.strike(self.name, &step.action)?;
        }
        let begin = self.trace.map(|trace| trace.now());
        let result = run();
        if let (Some(trace), Some(begin)) = (self.trace, begin) {
            trace.step(self.name, number, step, begin);
        }
        result.map_err(|error| match &step.from {
            Some(pointer) => error.from_property(pointer),
            None => error,
        })
    }
}
