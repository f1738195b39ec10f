//! `ferrun pause`.

use clap::Args;

use super::Command;
use super::globals::{Container, Globals};
use crate::container::pause;
use crate::error::Result;

/// Pauses a container.
#[derive(Args, Debug)]
pub struct Pause {
    #[command(flatten)]
    container: Container,
}

impl Command for Pause {
    const NAME: &'static str = "pause";
    const ABOUT: &'static str = "Hold all processes of a container still";

    fn run(self, globals: &Globals) -> Result<i32> {
        pause(&globals.root()?, &self.container.id()?).map(|()| 0)
    }
}
