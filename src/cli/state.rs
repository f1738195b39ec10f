//! `ferrun state`.

use clap::Args;

use super::Command;
use super::globals::{Container, Globals};
use super::report::print_json;
use crate::container::state;
use crate::error::{Error, Result};

/// Prints a container's state.
#[derive(Args, Debug)]
pub struct State {
    #[command(flatten)]
    container: Container,
}

impl Command for State {
    const NAME: &'static str = "state";
    const ABOUT: &'static str = "Print the state of a container as JSON";

    fn run(self, globals: &Globals) -> Result<i32> {
        let report = state(&globals.root()?, &self.container.id()?)?;
        let json = serde_json::to_string_pretty(&report).map_err(|error| Error::new(error.to_string()))?;
        print_json(&(json + "\n"))?;
        Ok(0)
    }
}
