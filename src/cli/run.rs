//! `ferrun run`.

use clap::Args;

use super::Command;
use super::create::Flags;
use super::globals::Globals;
use crate::container::request::Mode;
use crate::container::run;
use crate::error::Result;

/// Runs a container.
#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    flags: Flags,
    /// Return as soon as the program runs
    #[arg(short, long)]
    detach: bool,
    /// Keep the container after its exit
    #[arg(long)]
    keep: bool,
    /// Accepted for engines: ferrun is never a subreaper
    #[arg(long)]
    no_subreaper: bool,
}

impl Command for Run {
    const NAME: &'static str = "run";
    const ABOUT: &'static str = "Create and start a container; wait for it and delete it";
    const SEALED: bool = true;

    fn run(self, globals: &Globals) -> Result<i32> {
        let mode = match (self.detach, self.keep) {
            (true, _) => Mode::Detach,
            (false, true) => Mode::Keep,
            (false, false) => Mode::Foreground,
        };
        self.flags.plan(globals, mode, run)
    }
}
