//! `ferrun check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Command;
use super::globals::Globals;
use super::report::{print_json, print_text};
use crate::bundle::collect_errors::{self, original};
use crate::bundle::problems::Problems;
use crate::bundle::{self, Bundle};
use crate::container::request;
use crate::error::{Context, Error, Result};
use crate::escape;
use crate::plan::Options;

/// Checks a bundle.
#[derive(Args, Debug)]
pub struct Check {
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Fail for warnings, too
    #[arg(long)]
    strict: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Command for Check {
    const NAME: &'static str = "check";
    const ABOUT: &'static str = "Tell everything that is wrong with a bundle, on this host, at once";

    fn run(self, globals: &Globals) -> Result<i32> {
        let text = bundle::read_text(&self.bundle)?;
        let (mut found, rest) = collect_errors::all(&text);
        if let Some((spec, left_out)) = rest {
            // What this host makes of what is not wrong by itself.
            let options = Options { id: "ID".into(), manager: globals.manager()?, ..Options::default() };
            let dir = std::fs::canonicalize(&self.bundle).what(|| format!("bundle {:?}", self.bundle))?;
            let here = request::problems(&Bundle::of_spec(dir, spec), &options)?;
            found.errors.extend(here.errors.into_iter().map(|error| original(error, &left_out)));
            found.warnings.extend(here.warnings.into_iter().map(|warning| original(warning, &left_out)));
        }
        found.shorten();
        found.locate(&text);
        let failed = !found.errors.is_empty() || (self.strict && !found.warnings.is_empty());
        if self.json { print_json(&as_json(&found)) } else { print_text(&as_text(&found)) }?;
        Ok(i32::from(failed))
    }
}

/// The widest column: a name may be as long as a config.
const WIDEST: usize = 200;

/// A line each: how bad, where, which property, what, and what to do.
fn as_text(found: &Problems) -> String {
    let lines: Vec<[String; 4]> = all(found)
        .map(|(level, problem)| {
            let part = |part: &Option<Box<str>>| escape::part(part.as_deref().unwrap_or("-")).into_owned();
            let hint = problem.hint.as_deref().map_or_else(String::new, |hint| format!("; {hint}"));
            [
                level.to_owned(),
                part(&problem.place),
                part(&problem.pointer),
                escape::part(&format!("{problem}{hint}")).into_owned(),
            ]
        })
        .collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0).min(WIDEST);
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [level, place, pointer, problem] in &lines {
        text += &format!("{level:0$}  {place:1$}  {pointer:2$}  {problem}\n", widths[0], widths[1], widths[2]);
    }
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    text + &format!("{}, {}\n", count(found.errors.len(), "error"), count(found.warnings.len(), "warning"))
}

fn as_json(found: &Problems) -> String {
    let list: Vec<_> = all(found)
        .map(|(level, problem)| {
            let line = problem.place.as_deref().and_then(|place| place.rsplit_once(':')?.1.parse::<usize>().ok());
            json!({
                "level": level,
                "kind": problem.kind,
                "errno": problem.errno,
                "pointer": problem.pointer,
                "line": line,
                "message": problem.to_string(),
                "hint": problem.hint,
            })
        })
        .collect();
    format!("{}\n", json!({ "problems": list }))
}

fn all(found: &Problems) -> impl Iterator<Item = (&'static str, &Error)> {
    let errors = found.errors.iter().map(|error| ("error", error));
    errors.chain(found.warnings.iter().map(|warning| ("warning", warning)))
}
