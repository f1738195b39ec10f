//! Switches with a value, as Go's flags have them: `--debug=true`, `-d=0`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command as Parser};

/// Whether one of the arguments may be such a switch.
pub fn have_values(arguments: &[OsString]) -> bool {
    let is_switch = |argument: &OsString| {
        let (name, value) = argument.to_str()?.split_once('=')?;
        (name.starts_with('-') && boolean(value).is_ok()).then_some(())
    };
    arguments.iter().any(|argument| is_switch(argument).is_some())
}

/// A parser that takes them. The others do not, so that nobody else pays for it, and no help shows it.
pub fn with_values(parser: Parser) -> Parser {
    parser.mut_args(with_value).mut_subcommands(|command| command.mut_args(with_value))
}

fn with_value(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => {
            let arg = arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).value_parser(boolean);
            arg.default_value("false").default_missing_value("true")
        }
        _ => arg,
    }
}

/// What strconv.ParseBool of Go takes.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it is neither true nor false".into()),
    }
}
