//! `ferrun delete`.

use clap::Args;

use super::globals::{Container, Globals};
use super::{Command, report};
use crate::container::delete;
use crate::error::{Error, Result};

/// Deletes a container.
#[derive(Args, Debug)]
pub struct Delete {
    #[command(flatten)]
    container: Container,
    /// Kill it first; one that is not there is no error
    #[arg(short, long)]
    force: bool,
}

impl Command for Delete {
    const NAME: &'static str = "delete";
    const ABOUT: &'static str = "Delete a stopped container";

    fn run(self, globals: &Globals) -> Result<i32> {
        let warn = |warning: &Error| report::warning(warning, globals);
        delete(&globals.root()?, &self.container.id()?, self.force, &warn).map(|()| 0)
    }
}
