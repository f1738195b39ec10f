//! Hints for a word of the command line that ferrun does not know.

use clap::{Arg, Command as Parser};

use super::{COMMANDS, dashes, globals, top};
use crate::bundle::names::{nearest, question};
use crate::container::kill::parse_signal;
use crate::error::Error;

/// Commands that people know from elsewhere, and ferrun's.
const ELSEWHERE: &[(&str, &str)] = &[
    ("info", "features"),
    ("inspect", "state"),
    ("ls", "list"),
    ("remove", "delete"),
    ("rm", "delete"),
    ("stats", "events --stats"),
    ("stop", "kill"),
    ("top", "ps"),
    ("unpause", "resume"),
    ("version", "--version"),
];

/// Commands of other runtimes that ferrun does not have yet.
const NOT_YET: &[&str] = &["checkpoint", "restore"];

/// The error for a command that does not exist.
pub fn command(word: &str) -> Error {
    if NOT_YET.contains(&word) {
        return Error::new(format!("no such command: {word}: ferrun does not have it yet"));
    }
    let known = COMMANDS.iter().map(|entry| entry.name);
    let meant = ELSEWHERE.iter().find(|(other, _)| *other == word).map(|(_, own)| *own);
    let error = Error::new(format!("no such command: {word} (ferrun --help lists them)"));
    meant.or_else(|| nearest(word, known)).map(question).into_iter().fold(error, Error::hint)
}

/// The error for an option that neither ferrun nor the command of this parser has, in the parser's words.
pub fn option(written: &str, parser: &Parser) -> Error {
    let option = written.split_once('=').map_or(written, |(option, _)| option);
    let hint = dashes::name(option.as_ref()).and_then(|name| hint(option, name, parser));
    hint.into_iter().fold(Error::new(format!("unexpected argument '{option}' found")), Error::hint)
}

fn hint(written: &str, name: &str, parser: &Parser) -> Option<String> {
    let command = parser.get_name();
    let own = || parser.get_arguments();
    if command != top().get_name()
        && let Some(global) = top().get_arguments().find(|global| global.get_long() == Some(name))
    {
        let value = global.get_value_names().filter(|_| globals::TAKE_A_VALUE.contains(&name));
        let value = value.and_then(|names| names.first()).map_or_else(String::new, |value| format!(" {value}"));
        return Some(format!("--{name} comes before the command: ferrun --{name}{value} {command}"));
    }
    match (command, name) {
        ("kill", "s" | "signal") => return Some("the signal comes after the id: ferrun kill ID KILL".into()),
        ("kill", signal) if parse_signal(signal).is_ok() => {
            return Some(format!("the signal comes after the id: ferrun kill ID {signal}"));
        }
        ("create" | "run", "i" | "t" | "it" | "ti" | "tty") => {
            return Some("process.terminal in config.json asks for a terminal".into());
        }
        ("update", "cpus") => return Some("limit CPU time with --cpu-quota and --cpu-period".into()),
        _ => {}
    }
    if let Some(near) = nearest(name, own().filter_map(Arg::get_long)) {
        return Some(question(&format!("--{near}")));
    }
    let mut letters = own().filter_map(Arg::get_short);
    let letter = letters.find(|letter| name.len() == 1 && name.eq_ignore_ascii_case(&letter.to_string()));
    match letter {
        Some(letter) => Some(question(&format!("-{letter}"))),
        None if command == "ps" => Some(format!("options of ps(1) come after the id: ferrun ps ID {written}")),
        None => None,
    }
}
