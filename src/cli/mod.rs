//! The command line. One file a command: flags in, one call, output and exit status; nothing else.
//!
//! A command lives for a millisecond, and building a parser for all of them would take a third of it:
//! the command word is found first, then the parser of that command alone is built. The whole tree is
//! built for help.

mod check;
mod cost;
mod create;
mod dashes;
mod delete;
mod demo;
mod descriptors;
mod duration;
mod events;
mod exec;
mod explain;
mod features;
mod globals;
mod kill;
mod list;
mod pause;
mod ps;
mod report;
mod resume;
mod run;
mod seccomp;
mod self_exe;
mod spec;
mod start;
mod state;
mod suggest;
mod switches;
mod update;
mod version;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command as Parser, FromArgMatches};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys::start::arguments;
use globals::Globals;

/// Exit status for a command line that cannot be understood, as runc's.
const USAGE: i32 = 1;
/// Exit status for a command that there is not, as runc's.
const NO_SUCH_COMMAND: i32 = 3;

/// A command: its flags are its fields.
trait Command: Args {
    /// The word that calls it.
    const NAME: &'static str;
    /// What it does, in a line.
    const ABOUT: &'static str;
    /// Whether a container can reach the binary while it runs, and must not be able to change it.
    const SEALED: bool = false;
    /// The exit status where it fails.
    const FAILED: i32 = 1;
    /// Does it; gives the exit status.
    fn run(self, globals: &Globals) -> Result<i32>;
}

/// What the table below holds of a command.
struct Entry {
    name: &'static str,
    sealed: bool,
    failed: i32,
    parser: fn() -> Parser,
    run: fn(clap::ArgMatches, &Globals) -> std::result::Result<Result<i32>, clap::Error>,
}

const fn entry<C: Command>() -> Entry {
    Entry {
        name: C::NAME,
        sealed: C::SEALED,
        failed: C::FAILED,
        parser: || C::augment_args(Parser::new(C::NAME)).about(C::ABOUT),
        run: |matches, globals| Ok(read::<C>(matches)?.run(globals)),
    }
}

/// Takes the values out of the matches, which by reference would be copied first, and drops what is left: the command has its
/// memory.
fn read<C: Command>(mut matches: clap::ArgMatches) -> std::result::Result<C, clap::Error> {
    C::from_arg_matches_mut(&mut matches)
}

const COMMANDS: &[Entry] = &[
    entry::<create::Create>(),
    entry::<start::Start>(),
    entry::<run::Run>(),
    entry::<exec::Exec>(),
    entry::<state::State>(),
    entry::<kill::Kill>(),
    entry::<delete::Delete>(),
    entry::<update::Update>(),
    entry::<list::List>(),
    entry::<pause::Pause>(),
    entry::<resume::Resume>(),
    entry::<ps::Ps>(),
    entry::<events::Events>(),
    entry::<spec::Spec>(),
    entry::<explain::Explain>(),
    entry::<check::Check>(),
    entry::<features::Features>(),
    entry::<seccomp::Seccomp>(),
    entry::<demo::Demo>(),
];

/// Runs ferrun with the arguments of this process; gives the exit status.
pub fn main() -> i32 {
    crate::sys::program::end_on_panic();
    crate::sys::program::ignore_file_size_signal();
    let arguments = arguments();
    if arguments.get(1).is_some_and(|first| first == "--version" || first == "-v") {
        return done(version::print(), &Globals::of_this_process());
    }
    let word = match command_word(&arguments[1..]) {
        Ok(word) => word,
        Err(error) => return report::failure(&error, &Globals::of_this_process()),
    };
    let known = word.and_then(|word| COMMANDS.iter().find(|entry| word == entry.name));
    // Before anything else, since all before it is done twice where the entry (sys/entry.rs) has not done it.
    match known {
        Some(entry) if entry.sealed => {
            if let Err(error) = self_exe::protect() {
                return report::failure(&error, &Globals::of_this_process());
            }
        }
        _ => self_exe::leave_copy(),
    }
    let parser = match (known, word.and_then(|word| word.to_str())) {
        (Some(entry), _) => top().subcommand((entry.parser)()).disable_help_subcommand(true),
        (None, None | Some("help")) => COMMANDS.iter().fold(top(), |parser, entry| parser.subcommand((entry.parser)())),
        (None, Some(word)) => {
            report::failure(&suggest::command(word), &Globals::of_this_process());
            return NO_SUCH_COMMAND;
        }
    };
    let doubled = dashes::are_single(&arguments).then(|| dashes::doubled(arguments.clone(), &parser));
    let arguments = match doubled.unwrap_or(Ok(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => return report::failure(&error, &Globals::of_this_process()),
    };
    let parser = if switches::have_values(&arguments) { switches::with_values(parser) } else { parser };
    match parser.try_get_matches_from(arguments) {
        Ok(matches) => dispatch(known, matches),
        Err(error) => usage(&error, known),
    }
}

fn top() -> Parser {
    let about = "A low-level OCI container runtime: runs the bundle that an engine or you prepared";
    Globals::augment_args(Parser::new("ferrun"))
        .about(about)
        .disable_version_flag(true)
        .arg_required_else_help(true)
        .args_override_self(true)
}

fn dispatch(known: Option<&Entry>, mut matches: clap::ArgMatches) -> i32 {
    let globals = match Globals::from_arg_matches_mut(&mut matches) {
        Ok(globals) => globals,
        Err(error) => return usage(&error, known),
    };
    if globals.version {
        return done(version::print(), &globals);
    }
    let (Some(entry), Some((_, own))) = (known, matches.remove_subcommand()) else {
        return report::failure(&Error::new("no command is given (ferrun --help lists them)"), &globals);
    };
    drop(matches);
    match (entry.run)(own, &globals) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            report::failure(&needing_root(error), &globals);
            entry.failed
        }
        Err(error) => usage(&error, known),
    }
}

/// An error that comes of not being root says so.
fn needing_root(error: Error) -> Error {
    match error.code() {
        Errno::EPERM | Errno::EACCES if !nix::unistd::geteuid().is_root() => error.hint("ferrun needs root for now"),
        _ => error,
    }
}

/// The exit status of a command that only prints.
fn done(printed: Result<()>, globals: &Globals) -> i32 {
    printed.map_or_else(|error| report::failure(&error, globals), |()| 0)
}

fn usage(error: &clap::Error, command: Option<&Entry>) -> i32 {
    match error.kind() {
        ErrorKind::DisplayHelp => {
            return done(report::print_out(&error.render().to_string()), &Globals::of_this_process());
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
        }
        _ => {
            let text = error.render().to_string();
            let (first, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
            let first = first.strip_prefix("error: ").unwrap_or(first);
            let words: Vec<&str> = first.split_whitespace().collect();
            let unknown = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(written)) if error.kind() == ErrorKind::UnknownArgument => Some(written),
                _ => None,
            };
            let parser = || command.map_or_else(top, |entry| (entry.parser)());
            let told = unknown.map_or_else(|| Error::new(words.join(" ")), |option| suggest::option(option, &parser()));
            // The parser's own tip is how to make a value of it, which helps nobody.
            let rest =
                if rest.starts_with("  tip: ") { rest.split_once("\n\n").map_or("", |(_, rest)| rest) } else { rest };
            let globals = Globals::of_this_process();
            report::failure(&told, &globals);
            if report::is_for_people(&globals) {
                report::print_error(&crate::escape::lines(rest));
            }
        }
    }
    USAGE
}

/// The first argument that is no global option and no value of one.
///
/// # Errors
/// An option that there is not: what follows it may be its value or the command word.
fn command_word(arguments: &[OsString]) -> Result<Option<&OsString>> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            return Ok(rest.next());
        }
        let Some(name) = dashes::name(argument) else { return Ok(Some(argument)) };
        let is = |known: &[&str]| known.contains(&name);
        if !is(globals::TAKE_A_VALUE) && !is(globals::SWITCHES) {
            return Err(suggest::option(&argument.to_string_lossy(), &top()));
        }
        if is(globals::TAKE_A_VALUE) && !argument.as_encoded_bytes().contains(&b'=') {
            rest.next();
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_word_is_found_behind_the_global_options() {
        let word = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            command_word(&arguments).unwrap().map(|word| word.to_str().unwrap().to_owned())
        };
        assert_eq!(word("--root /r --log=/l --debug state c1").as_deref(), Some("state"));
        assert_eq!(word("--log-format json --systemd-cgroup --rootless true create").as_deref(), Some("create"));
        assert_eq!(word("-root /r -log=/l -debug state c1").as_deref(), Some("state"));
        assert_eq!(word("--help"), None);
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn the_entry_knows_the_commands_that_are_sealed() {
        for entry in COMMANDS {
            assert_eq!(crate::sys::entry::seals(entry.name), entry.sealed, "{}", entry.name);
        }
    }

    #[test]
    fn a_switch_may_have_a_value() {
        let read = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(switches::have_values(&arguments), line.contains('='), "{line}");
            let parser = switches::with_values(top().subcommand((entry::<run::Run>().parser)()));
            let mut matches = parser.try_get_matches_from(arguments)?;
            let globals = Globals::from_arg_matches_mut(&mut matches)?;
            let (_, run) = matches.remove_subcommand().unwrap();
            Ok::<_, clap::Error>([globals.debug, run.get_flag("detach"), run.get_flag("keep")])
        };
        for (line, wanted) in [
            ("ferrun --debug=true run -d=1 --keep=T c", [true, true, true]),
            ("ferrun --debug=false run -d=0 --keep=f c", [false, false, false]),
            ("ferrun --debug run -d --keep=False c", [true, true, false]),
            ("ferrun run --detach c", [false, true, false]),
            ("ferrun --rootless=T run c", [false; 3]),
        ] {
            assert_eq!(read(line).unwrap(), wanted, "{line}");
        }
        for line in ["ferrun --debug=true run -d=yes c", "ferrun --debug=1 run --keep= c", "ferrun run --debug=1 c"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn every_option_with_a_value_is_skipped_with_it() {
        let with_value = |argument: &clap::Arg| argument.get_action().takes_values();
        let parser = top();
        let named = parser.get_arguments().filter(|argument| with_value(argument)).filter_map(clap::Arg::get_long);
        let mut names: Vec<&str> = named.collect();
        names.sort_unstable();
        assert_eq!(names, globals::TAKE_A_VALUE);
        let switches = parser.get_arguments().filter(|argument| !with_value(argument));
        let mut names: Vec<String> = switches
            .flat_map(|switch| [switch.get_long().map(str::to_owned), switch.get_short().map(String::from)])
            .flatten()
            .chain(["h".to_owned(), "help".to_owned()])
            .collect();
        names.sort();
        assert_eq!(names, globals::SWITCHES);
    }

    #[test]
    fn every_option_may_be_given_twice_with_either_number_of_dashes() {
        let conflicts = |before: &[&str], parser: Parser, option: &str| {
            let words = before.iter().copied().chain([option, option]).map(OsString::from).collect();
            let words = dashes::doubled(words, &parser).unwrap();
            // What else is wrong (a value, an id that is missing) does not count here.
            let error = parser.try_get_matches_from(words).err().map(|error| (error.kind(), error.to_string()));
            assert!(
                !error
                    .as_ref()
                    .is_some_and(|(kind, _)| matches!(kind, ErrorKind::ArgumentConflict | ErrorKind::UnknownArgument)),
                "{before:?} {option}: {error:?}"
            );
        };
        let spelled = |argument: &clap::Arg| {
            let value = if argument.get_action().takes_values() { "=1" } else { "" };
            let long = argument.get_long().into_iter();
            let long = long.flat_map(move |name| [format!("--{name}{value}"), format!("-{name}{value}")]);
            long.chain(argument.get_short().map(|letter| format!("-{letter}{value}"))).collect::<Vec<_>>()
        };
        for option in top().get_arguments().flat_map(spelled) {
            conflicts(&["ferrun"], top(), &option);
        }
        for entry in COMMANDS {
            for option in (entry.parser)().get_arguments().flat_map(spelled) {
                conflicts(&["ferrun", entry.name], top().subcommand((entry.parser)()), &option);
            }
        }
    }

    #[test]
    fn the_parsers_are_sound() {
        COMMANDS.iter().fold(top(), |parser, entry| parser.subcommand((entry.parser)())).debug_assert();
    }
}
