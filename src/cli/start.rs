//! `ferrun start`.

use std::path::PathBuf;

use clap::Args;

use super::globals::{Container, Globals};
use super::{Command, report};
use crate::container::start;
use crate::error::Result;
use crate::launch::notify;
use crate::launch::trace::{Moment, Trace};
use crate::plan::step::PARENT;

/// Starts a created container.
#[derive(Args, Debug)]
pub struct Start {
    #[command(flatten)]
    container: Container,
    /// Write the time that it takes as a Chrome trace; - prints a table
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

impl Command for Start {
    const NAME: &'static str = "start";
    const ABOUT: &'static str = "Let a created container execute its program";

    fn run(self, globals: &Globals) -> Result<i32> {
        let trace = self.trace.as_deref().map(Trace::begin).transpose()?;
        let begin = trace.as_ref().map_or_else(Moment::default, Trace::now);
        let (root, id, manager) = (globals.root()?, self.container.id()?, notify::wanted());
        let warn = |warning: &_| report::warning(warning, globals);
        let result = start(&root, &id, manager.as_deref(), trace.as_ref(), &warn);
        let ended = trace.map_or(Ok(()), |trace| {
            trace.phase(PARENT, "start", begin);
            trace.end()
        });
        result.and(ended).map(|()| 0)
    }
}
