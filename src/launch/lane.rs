//! What both lanes do around a step: time it, fail it for a test, name its property in its error.

use super::fault::Fault;
use super::trace::Trace;
use crate::error::Result;
use crate::plan::step::INIT;
use crate::plan::{Action, Step};

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
    /// Runs a step of this lane. `last`: the other side goes on, and nothing can be written afterwards, so that the
    /// event comes before the step.
    pub fn timed<A: Action>(
        &self,
        index: usize,
        step: &Step<A>,
        last: bool,
        run: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let number = self.first + index;
        if let Some(fault) = self.fault.filter(|fault| fault.step == number) {
            fault.strike(self.name == INIT, &step.action)?;
        }
        let result = match self.trace {
            Some(trace) if last => {
                trace.step(self.name, number, step, trace.now());
                trace.flush();
                run()
            }
            Some(trace) => {
                let begin = trace.now();
                let result = run();
                trace.step(self.name, number, step, begin);
                result
            }
            None => run(),
        };
        result.map_err(|error| match &step.from {
            Some(pointer) => error.from_property(pointer),
            None => error,
        })
    }
}
