//! Options with one dash, as Go's flags have them: `-root DIR`, `-systemd-cgroup`.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command as Parser};

use super::suggest;
use crate::bundle::names::nearest;
use crate::error::Error;

/// The name of an option, with one dash or two; `None`: it is a value.
pub fn name(argument: &OsStr) -> Option<&str> {
    let text = argument.to_str()?.strip_prefix('-')?;
    let text = text.strip_prefix('-').unwrap_or(text);
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    (!name.is_empty()).then_some(name)
}

/// Whether one of the arguments may be such an option.
pub fn are_single(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| is_single(argument))
}

/// One dash, and more than the one letter of a short option.
fn is_single(argument: &OsStr) -> bool {
    argument.as_encoded_bytes().get(1) != Some(&b'-') && name(argument).is_some_and(|name| name.len() > 1)
}

/// The arguments with `--name` for each `-name`, so that the parser understands them. Values, and what a command passes on,
/// stay as they are.
///
/// # Errors
/// An option that there is not, which the parser would read as several of one letter.
pub fn doubled(mut arguments: Vec<OsString>, parser: &Parser) -> Result<Vec<OsString>, Error> {
    let mut parser = parser;
    let mut rest = arguments.iter_mut().skip(1);
    while let Some(argument) = rest.next() {
        if argument == "--" {
            break;
        }
        let (single, written) = (is_single(argument), argument.clone());
        let Some(name) = name(&written) else {
            match parser.find_subcommand(&*argument) {
                Some(command) => parser = command,
                None if passes_on(parser) => break,
                None => {}
            }
            continue;
        };
        let letter = if single || name.len() == 1 { name.chars().next() } else { None };
        let long = parser.get_arguments().find(|arg| arg.get_long() == Some(name));
        let short = parser.get_arguments().find(|arg| letter.is_some() && arg.get_short() == letter);
        match (long, short) {
            (Some(_), _) if single => *argument = [OsStr::new("-"), &*written].into_iter().collect(),
            // The parser takes a value that adheres to a letter, which is no misspelled name; Go does not, and has values
            // after `=`.
            (None, _) if single && name != "help" && !takes_hyphens(parser) => {
                let known = || parser.get_arguments().filter_map(Arg::get_long);
                let has_value = short.is_some_and(takes_values) && !has_equals(&written);
                if short.is_none() || (!has_value && nearest(name, known()).is_some()) {
                    return Err(suggest::option(&written.to_string_lossy(), parser));
                }
            }
            _ => {}
        }
        let whole = long.or(short.filter(|_| name.len() == 1));
        if whole.is_some_and(takes_values) && !has_equals(&written) {
            rest.next();
        }
    }
    Ok(arguments)
}

fn takes_values(option: &Arg) -> bool {
    option.get_action().takes_values()
}

fn has_equals(argument: &OsStr) -> bool {
    argument.as_encoded_bytes().contains(&b'=')
}

/// Whether what follows the first value is somebody else's to read: a program's arguments, or a command's.
fn passes_on(parser: &Parser) -> bool {
    let mut values = parser.get_positionals().peekable();
    values.peek().is_none() || values.any(Arg::is_trailing_var_arg_set)
}

/// Whether something that begins with a dash may be a value without an option.
fn takes_hyphens(parser: &Parser) -> bool {
    parser.get_positionals().any(Arg::is_allow_hyphen_values_set)
}
