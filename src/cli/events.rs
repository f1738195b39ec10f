//! `ferrun events`.

use std::time::Duration;

use clap::Args;
use nix::errno::Errno;

use super::Command;
use super::duration;
use super::globals::{Container, Globals};
use super::report::write_out;
use crate::container::events::{Event, once, watch};
use crate::error::{Context, Error, Result};

/// Tells what a container uses.
#[derive(Args, Debug)]
pub struct Events {
    #[command(flatten)]
    container: Container,
    /// Time between two looks: 5s, 100ms, 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse, allow_hyphen_values = true)]
    interval: Duration,
    /// Look once
    #[arg(long)]
    stats: bool,
}

impl Command for Events {
    const NAME: &'static str = "events";
    const ABOUT: &'static str = "Tell what a container uses, and when it runs out of memory, as lines of JSON";

    fn run(self, globals: &Globals) -> Result<i32> {
        let (root, id) = (globals.root()?, self.container.id()?);
        let mut failed = None;
        let mut tell = |event: &Event| match print(event) {
            Ok(wanted) => wanted,
            Err(error) => {
                failed = Some(error);
                false
            }
        };
        match self.stats {
            true => once(&root, &id, &mut tell),
            false => watch(&root, &id, self.interval, &mut tell),
        }?;
        failed.map_or(Ok(0), Err)
    }
}

/// Writes a line at once: who reads waits for it. False: the reader is gone.
fn print(event: &Event) -> Result<bool> {
    let mut line = serde_json::to_vec(event).map_err(|error| Error::new(error.to_string()))?;
    line.push(b'\n');
    match write_out(&line) {
        Ok(()) => Ok(true),
        Err(Errno::EPIPE) => Ok(false),
        Err(errno) => Err(errno).what(|| "write to standard output"),
    }
}
