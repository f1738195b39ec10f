//! `ferrun kill`.

use clap::Args;

use super::Command;
use super::globals::{Container, Globals};
use crate::container::kill;
use crate::container::kill::parse_signal;
use crate::error::Result;

/// Sends a signal to a container.
#[derive(Args, Debug)]
pub struct Kill {
    #[command(flatten)]
    container: Container,
    /// Number or name, with or without SIG
    #[arg(value_name = "SIGNAL", default_value = "TERM", allow_hyphen_values = true)]
    signal: String,
    /// Send it to all processes of the container
    #[arg(short, long)]
    all: bool,
}

impl Command for Kill {
    const NAME: &'static str = "kill";
    const ABOUT: &'static str = "Send a signal to a container's first process, or to all";

    fn run(self, globals: &Globals) -> Result<i32> {
        let signal = parse_signal(&self.signal)?;
        kill(&globals.root()?, &self.container.id()?, signal, self.all).map(|()| 0)
    }
}
