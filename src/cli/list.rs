//! `ferrun list`.

use clap::{Args, ValueEnum};

use super::Command;
use super::globals::Globals;
use super::report::{self, print_json, print_text};
use crate::container::list::list;
use crate::container::status::Report;
use crate::error::{Error, Result};
use crate::escape;

/// Lists containers.
#[derive(Args, Debug)]
pub struct List {
    /// How
    #[arg(short, long, value_enum, default_value = "table")]
    format: Format,
    /// Print the ids alone
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Command for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "List the containers";

    fn run(self, globals: &Globals) -> Result<i32> {
        let (containers, errors) = list(&globals.root()?)?;
        let text = match (self.quiet, self.format) {
            (true, _) => containers.iter().map(|container| format!("{}\n", container.id)).collect(),
            (false, Format::Table) => table(&containers),
            // Go writes an empty list as null, and that is what callers of runc parse.
            (false, Format::Json) if containers.is_empty() => "null\n".into(),
            (false, Format::Json) => {
                serde_json::to_string(&containers).map_err(|error| Error::new(error.to_string()))? + "\n"
            }
        };
        if self.format == Format::Json && !self.quiet { print_json(&text) } else { print_text(&text) }?;
        match incomplete(&errors) {
            None => Ok(0),
            Some(error) => {
                report::warnings(&errors[1..], globals);
                Err(error)
            }
        }
    }
}

/// The error for a list in which containers are missing: engines read only one.
fn incomplete(errors: &[Error]) -> Option<Error> {
    let (first, others) = errors.split_first()?;
    let error = first.clone();
    Some(match others.len() {
        0 => error,
        1 => error.note("the state of 1 other container cannot be read either".into()),
        more => error.note(format!("the states of {more} other containers cannot be read either")),
    })
}

/// The widest column: format strings take no more, and a state that was tampered with may have any text.
const WIDEST: usize = 8192;

/// runc's table: columns at least 12 wide, 3 apart.
fn table(containers: &[Report]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = containers.iter().map(|c| {
        let bundle = escape::part(&c.bundle.to_string_lossy()).into_owned();
        [
            c.id.clone(),
            c.pid.to_string(),
            c.status.to_string(),
            bundle,
            escape::part(&c.created).into_owned(),
            c.owner.clone(),
        ]
    });
    let lines: Vec<[String; 6]> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len() + 3).max().unwrap_or(0).clamp(12, WIDEST);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        line.iter().zip(&widths).for_each(|(cell, width)| text.push_str(&format!("{cell:width$}")));
        text.push_str(&line[5]);
        text.push('\n');
    }
    text
}
