//! `ferrun ps`.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use super::Command;
use super::globals::Globals;
use super::report::{self, print_out, print_text};
use crate::cgroup::members::HIDDEN;
use crate::container::id::Id;
use crate::container::processes::{processes, table};
use crate::error::{Error, Result};

/// Lists a container's processes.
#[derive(Args, Debug)]
pub struct Ps {
    /// How
    #[arg(short, long, value_enum, default_value = "table")]
    format: Format,
    /// The container's id, and behind it what ps(1) is called with [default: -ef]
    // One list: as with runc, no flag behind the id is ferrun's.
    #[arg(value_name = "ID [PS ARGUMENTS]", required = true, trailing_var_arg = true)]
    words: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Command for Ps {
    const NAME: &'static str = "ps";
    const ABOUT: &'static str = "List the processes of a container";

    fn run(self, globals: &Globals) -> Result<i32> {
        let (id, arguments) = self.words.split_first().ok_or_else(|| Error::new("ps needs a container's id"))?;
        let id = Id::new(&id.to_string_lossy())?;
        let found = processes(&globals.root()?, &id)?;
        if found.hidden_in.is_some() {
            report::warning(&Error::new(format!("list the processes of container {id}: {HIDDEN}")), globals);
        }
        let pids = found.pids;
        match self.format {
            Format::Table => print_text(&table(&pids, arguments)?)?,
            // As `list`: Go writes an empty list as null.
            Format::Json if pids.is_empty() => print_out("null\n")?,
            Format::Json => {
                let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
                print_out(&format!("[{}]\n", pids.join(",")))?;
            }
        }
        Ok(0)
    }
}
