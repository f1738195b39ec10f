//! `ferrun events`.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::Command;
use super::duration;
use super::globals::{Container, Globals};
use crate::container::events::{Event, once, watch};
use crate::error::Result;

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
        let mut tell = |event: &Event| print(event).is_ok();
        match self.stats {
            true => once(&root, &id, &mut tell),
            false => watch(&root, &id, self.interval, &mut tell),
        }
        .map(|()| 0)
    }
}

/// A line in one write, at once: who reads waits for it.
fn print(event: &Event) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush())
}
