//! `ferrun update`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, FromArgMatches, value_parser};
use serde_json::{Map, Value};

use super::globals::{Container, Globals};
use super::{Command, report};
use crate::bundle::limits::{Flag, Kind, TABLE};
use crate::bundle::resources::Resources;
use crate::bundle::{is_config, read_named_or_input, read_resources, unknown_resources, within};
use crate::container::update;
use crate::error::{Error, Result};

/// Changes the limits of a container. Sizes may end in k, m, g or t.
#[derive(Args, Debug)]
pub struct Update {
    #[command(flatten)]
    container: Container,
    /// File with the limits as linux.resources has them, or - for standard input; most other flags then do nothing
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    /// Share of the L3 cache: a line for the schemata of the container's class
    #[arg(long, value_name = "LINE", default_value = "")]
    l3_cache_schema: String,
    /// Share of the memory bandwidth: another
    #[arg(long, value_name = "LINE", default_value = "")]
    mem_bw_schema: String,
}

impl Command for Update {
    const NAME: &'static str = "update";
    const ABOUT: &'static str = "Change the limits of a container";

    fn run(self, globals: &Globals) -> Result<i32> {
        let schemata = [&self.l3_cache_schema, &self.mem_bw_schema];
        let schemata: Vec<String> = schemata.into_iter().filter(|line| !line.is_empty()).cloned().collect();
        let (root, id) = (globals.root()?, self.container.id()?);
        let name = self.resources.as_ref().map_or_else(String::new, |path| path.display().to_string());
        let (text, resources) = self.wanted(&name)?;
        if text != NOTHING {
            if is_config(&text) {
                let name = if name == "-" { "standard input".into() } else { format!("{name:?}") };
                return Err(Error::new(format!("{name} holds a whole config.json")).hint("give linux.resources alone"));
            }
            report::warnings(&unknown_resources(&text, &name), globals);
        }
        let warnings = update(&root, &id, resources, &schemata)
            .map_err(|error| within("/linux/resources", error, &text, &name))?;
        report::warnings(&warnings, globals);
        Ok(0)
    }
}

/// The text of limits that came by flags.
const NOTHING: &[u8] = b"{}";

impl Update {
    /// The limits of the file, and its text; else those of the flags.
    fn wanted(self, name: &str) -> Result<(Vec<u8>, Resources)> {
        let Some(path) = self.resources else {
            // The command line has no lines.
            let limits = read_resources(self.limits.0.to_string().as_bytes(), name);
            return Ok((NOTHING.to_vec(), limits.map_err(|error| Error { place: None, ..error })?));
        };
        let text = read_named_or_input(&path)?;
        let resources = read_resources(&text, name)?;
        Ok((text, resources))
    }
}

/// The limits of the flags, as a file would have them.
#[derive(Debug)]
struct Limits(Value);

impl Args for Limits {
    fn augment_args(command: clap::Command) -> clap::Command {
        let flags = TABLE.iter().filter_map(|row| row.flag.as_ref());
        command.args(flags.map(|&Flag(kind, name, value, help)| {
            let arg = Arg::new(name).long(name).value_name(value).help(help).hide(help.is_empty());
            match kind {
                Kind::Size => arg.allow_hyphen_values(true).value_parser(size),
                Kind::Signed => arg.allow_hyphen_values(true).value_parser(value_parser!(i64)),
                Kind::Unsigned => arg.value_parser(value_parser!(u64)),
                Kind::Text => arg,
            }
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Limits::augment_args(command)
    }
}

impl FromArgMatches for Limits {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Limits, clap::Error> {
        let mut limits = Limits(Value::Object(Map::new()));
        limits.update_from_arg_matches(matches)?;
        Ok(limits)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        for row in TABLE {
            let Some(Flag(kind, flag, ..)) = row.flag else { continue };
            let value = match kind {
                Kind::Size | Kind::Signed => matches.get_one::<i64>(flag).map(|value| (*value).into()),
                Kind::Unsigned => matches.get_one::<u64>(flag).map(|value| (*value).into()),
                Kind::Text => matches.get_one::<String>(flag).map(|value| value.as_str().into()),
            };
            let mut path = row.from.rsplit('/');
            if let (Some(value), Some(name), Some(object)) = (value, path.next(), path.next()) {
                self.0[object][name] = value;
            }
        }
        Ok(())
    }
}

/// A size as engines and people write it: `512k`, `1.5g`, `10 MiB`; all units are powers of 1024.
fn size(text: &str) -> Result<i64> {
    let wrong = || Error::new(format!("{text:?} is no size like 4096, 512k or 1.5g"));
    if text == "-1" {
        return Ok(-1);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 0,
        "k" | "ki" => 10,
        "m" | "mi" => 20,
        "g" | "gi" => 30,
        "t" | "ti" => 40,
        "p" | "pi" => 50,
        _ => return Err(wrong()),
    };
    let too_large = || Error::new(format!("{text:?} is too large for a size"));
    // A whole number stays exact; 2^53 and more would not, as a fraction.
    if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) {
        let whole = number.parse::<i64>().ok().and_then(|whole| whole.checked_mul(1 << shift));
        return whole.ok_or_else(too_large);
    }
    let scaled = number.parse::<f64>().map_err(|_| wrong())? * f64::from(1 << 10).powi(shift / 10);
    // Of what is no `i64` a cast would make the largest, which the kernel reads as no limit.
    if scaled < i64::MAX as f64 { Ok(scaled as i64) } else { Err(too_large()) }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("-1", -1),
            ("0", 0),
            ("4096", 4096),
            ("512k", 512 << 10),
            ("1m", 1 << 20),
            ("1.5g", 3 << 29),
            ("10 MiB", 10 << 20),
            ("2KB", 2048),
            ("7b", 7),
            ("9223372036854771712", 9_223_372_036_854_771_712),
        ] {
            assert_eq!(size(text).ok(), Some(bytes), "{text}");
        }
        for wrong in ["", "-2", "k", "1x", "1mm", "1 2", "1.2.3", "1i", "1ii", "0x10", "9223372036854775807k", "."] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        for large in
            ["100000000000000000000", "9223372036854775808", "9223372036854775807.5", "8192p", "8192.0p", "1e30"]
        {
            crate::golden::compare(&size(large).unwrap_err().to_string());
        }
    }
}
