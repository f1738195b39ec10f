//! `ferrun resume`.

use clap::Args;

use super::Command;
use super::globals::{Container, Globals};
use crate::container::resume;
use crate::error::Result;

/// Resumes a paused container.
#[derive(Args, Debug)]
pub struct Resume {
    #[command(flatten)]
    container: Container,
}

impl Command for Resume {
    const NAME: &'static str = "resume";
    const ABOUT: &'static str = "Let the processes of a paused container go on";

    fn run(self, globals: &Globals) -> Result<i32> {
        resume(&globals.root()?, &self.container.id()?).map(|()| 0)
    }
}
