//! `ferrun exec`.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use super::globals::Globals;
use super::{Command, descriptors, report};
use crate::bundle::exec_process::{check_process, replace_process};
use crate::bundle::process::{Capabilities, Process, User};
use crate::bundle::text::Text;
use crate::bundle::{Bundle, read_named_or_input};
use crate::container::exec;
use crate::container::exec::Request;
use crate::container::id::Id;
use crate::error::{Context, Error, Result};
use crate::process::accounts;
use crate::rootfs::Rootfs;
use crate::types::capabilities::named;

/// Runs a further process in a container.
#[derive(Debug, Default)]
pub struct Exec {
    process: Option<OsString>,
    detach: bool,
    pid_file: Option<OsString>,
    tty: bool,
    console_socket: Option<OsString>,
    pidfd_socket: Option<OsString>,
    user: Option<OsString>,
    additional_gids: Vec<OsString>,
    cwd: Option<OsString>,
    env: Vec<OsString>,
    cap: Vec<OsString>,
    no_new_privs: bool,
    process_label: Option<OsString>,
    apparmor: Option<OsString>,
    preserve_fds: Option<OsString>,
    cgroup: Vec<OsString>,
    ignore_paused: bool,
    /// The container's id, and behind it the program with its arguments.
    words: Vec<OsString>,
}

/// What an option is followed by.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    /// A value with this name.
    One(&'static str),
    /// The same; the option may be given several times.
    Many(&'static str),
}

/// The options: name, letter, value, help. As a table they make the binary 12 KB smaller than derived code does.
const OPTIONS: &[(&str, Option<char>, Takes, &str)] = &[
    (
        "process",
        Some('p'),
        Takes::One("FILE"),
        "File with the process as config.json has it, or - for standard input; flags that describe one then do nothing",
    ),
    ("detach", Some('d'), Takes::Nothing, "Return as soon as the program runs"),
    ("pid-file", None, Takes::One("FILE"), "File that gets the pid of the process"),
    ("tty", Some('t'), Takes::Nothing, "Give it a terminal of its own"),
    ("console-socket", None, Takes::One("SOCKET"), "Unix socket that gets the terminal of a detached process"),
    ("pidfd-socket", None, Takes::One("SOCKET"), "Unix socket that gets the descriptor of the process (pidfd_open(2))"),
    ("user", Some('u'), Takes::One("USER[:GROUP]"), "User and group, as numbers or as names that the container knows"),
    ("additional-gids", Some('g'), Takes::Many("GID"), "Further groups"),
    ("cwd", None, Takes::One("DIR"), "Working directory in the container"),
    ("env", Some('e'), Takes::Many("NAME=VALUE"), "Entries for its environment"),
    ("cap", Some('c'), Takes::Many("CAPABILITY"), "Capabilities that it has as well"),
    ("no-new-privs", None, Takes::Nothing, "Never let it gain privileges by an execution"),
    ("process-label", None, Takes::One("LABEL"), "Its SELinux label"),
    ("apparmor", None, Takes::One("PROFILE"), "Its AppArmor profile"),
    ("preserve-fds", None, Takes::One("N"), "Pass that many descriptors after the standard streams to it"),
    (
        "cgroup",
        None,
        Takes::Many("PATH"),
        "Cgroup below the container's, which is there already; CONTROLLER:PATH in one hierarchy of cgroup v1",
    ),
    ("ignore-paused", None, Takes::Nothing, "Also in a paused container, where it waits until that is resumed"),
];

impl Args for Exec {
    fn augment_args(command: clap::Command) -> clap::Command {
        let option = |&(name, letter, takes, help): &(&'static str, _, _, &'static str)| {
            let option = Arg::new(name).long(name).short(letter).help(help);
            match takes {
                Takes::Nothing => option.action(ArgAction::SetTrue),
                Takes::One(value) => option.action(ArgAction::Set).value_name(value).allow_hyphen_values(true),
                Takes::Many(value) => option.action(ArgAction::Append).value_name(value).allow_hyphen_values(true),
            }
            .value_parser(if matches!(takes, Takes::Nothing) {
                ValueParser::bool()
            } else {
                ValueParser::os_string()
            })
        };
        // One list: as with runc, no flag behind the id is ferrun's.
        let words = Arg::new("words").value_name("ID [PROGRAM ...]").required(true).trailing_var_arg(true);
        let words = words.help("The container's id, and behind it the program with its arguments");
        let words = words.action(ArgAction::Append).num_args(1..).value_parser(ValueParser::os_string());
        command.args(OPTIONS.iter().map(option)).arg(words)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Exec::augment_args(command)
    }
}

impl FromArgMatches for Exec {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Exec, clap::Error> {
        let mut exec = Exec::default();
        exec.update_from_arg_matches(matches)?;
        Ok(exec)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        let number = |name| matches.get_one::<OsString>(name).cloned();
        // As with runc, an empty value is none.
        let one = |name| number(name).filter(|value| !value.is_empty());
        let many = |name| matches.get_many::<OsString>(name).unwrap_or_default().cloned().collect();
        let is_given = |name| matches.get_flag(name);
        *self = Exec {
            process: one("process"),
            detach: is_given("detach"),
            pid_file: one("pid-file"),
            tty: is_given("tty"),
            console_socket: one("console-socket"),
            pidfd_socket: one("pidfd-socket"),
            user: one("user"),
            additional_gids: many("additional-gids"),
            cwd: one("cwd"),
            env: many("env"),
            cap: many("cap"),
            no_new_privs: is_given("no-new-privs"),
            process_label: one("process-label"),
            apparmor: one("apparmor"),
            preserve_fds: number("preserve-fds"),
            cgroup: many("cgroup"),
            ignore_paused: is_given("ignore-paused"),
            words: many("words"),
        };
        Ok(())
    }
}

/// How many descriptors may be passed on.
const MOST_DESCRIPTORS: u32 = 65_535;

impl Command for Exec {
    const NAME: &'static str = "exec";
    const ABOUT: &'static str = "Run a further process in a container";
    const SEALED: bool = true;
    // As runc's: no other than a program's own.
    const FAILED: i32 = 255;

    fn run(self, globals: &Globals) -> Result<i32> {
        let preserved = match &self.preserve_fds {
            Some(text) => number(text, "number of descriptors", MOST_DESCRIPTORS)?,
            None => 0,
        };
        let listening = descriptors::keep(preserved, self.process.as_deref())?;
        let (id, args) = self.words.split_first().ok_or_else(|| Error::new("exec needs a container's id"))?;
        let args = args.strip_prefix(&[OsString::from("--")]).unwrap_or(args);
        let process = |bundle: &mut Bundle, root: &OwnedFd| match &self.process {
            Some(path) => {
                let name = path.to_string_lossy().into_owned();
                replace_process(bundle, &read_named_or_input(path.as_ref())?, &name)
            }
            None => self.change(bundle, root, args),
        };
        exec(&Request {
            root: &globals.root()?,
            id: Id::new(&id.to_string_lossy())?,
            process: &process,
            detach: self.detach,
            pid_file: self.pid_file.clone().map(PathBuf::from),
            console_socket: self.console_socket.clone().map(PathBuf::from),
            descriptors: [listening, preserved],
            cgroup: self.cgroup.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            pidfd_socket: self.pidfd_socket.clone().map(PathBuf::from),
            ignore_paused: self.ignore_paused,
            warn: &|warning| report::warning(warning, globals),
        })
    }
}

impl Exec {
    /// Makes the process of the container's own.
    fn change(&self, bundle: &mut Bundle, root: &OwnedFd, args: &[OsString]) -> Result<()> {
        if args.is_empty() {
            return Err(Error::new("args must not be empty").hint("give a program behind the id, or --process"));
        }
        // The command line has no lines.
        bundle.text.clear();
        let process = bundle
            .spec
            .process
            .get_or_insert_with(|| Box::new(Process { cwd: Text(c"/".into()), ..Process::default() }));
        process.args = args.iter().map(text).collect::<Result<_>>()?;
        process.terminal = self.tty;
        process.no_new_privileges |= self.no_new_privs;
        for entry in &self.env {
            process.env.push(text(entry)?);
        }
        for (flag, property) in [
            (&self.cwd, &mut process.cwd),
            (&self.process_label, &mut process.selinux_label),
            (&self.apparmor, &mut process.apparmor_profile),
        ] {
            if let Some(value) = flag {
                *property = text(value)?;
            }
        }
        if let Some(user) = &self.user {
            become_user(&mut process.user, root, &user.to_string_lossy())?;
        }
        for gid in &self.additional_gids {
            process.user.additional_gids.push(number(gid, "group id", LARGEST)?);
        }
        add_capabilities(process, &self.cap)?;
        check_process(bundle)
    }
}

fn text(word: &OsString) -> Result<Text> {
    let bytes = word.clone().into_vec();
    CString::new(bytes).map(Text).map_err(|_| Error::new(format!("{word:?} has a byte that is zero")))
}

/// `USER` or `USER:GROUP`. Without a group a number leaves that as it is, while a name comes with all its groups.
fn become_user(own: &mut User, root: &OwnedFd, text: &str) -> Result<()> {
    let rootfs = || root.try_clone().map(Rootfs::new).what(|| "copy the handle of the container's root");
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    match is_name(user) {
        true => {
            let account = accounts::user(&rootfs()?, user)?;
            (own.uid, own.gid, own.additional_gids) = (account.uid, account.gid, account.groups);
        }
        false => own.uid = number(user.as_ref(), "user id", LARGEST)?,
    }
    match group {
        Some(group) if is_name(group) => own.gid = accounts::group(&rootfs()?, group)?,
        Some(group) => own.gid = number(group.as_ref(), "group id", LARGEST)?,
        None => {}
    }
    Ok(())
}

/// Whether a text is to be looked up: names of users begin with a letter (useradd(8)).
fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
}

/// The largest id: the number above stands for none in the kernel.
const LARGEST: u32 = u32::MAX - 1;

/// A number in digits alone.
fn number(text: &OsStr, what: &str, largest: u32) -> Result<u32> {
    let digits = text.to_str().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| *number <= largest);
    number.ok_or_else(|| Error::new(format!("{text:?} is no {what}: that is a number up to {largest}")))
}

/// Adds capabilities to those of the container, but to none that a program of another user would keep.
fn add_capabilities(process: &mut Process, names: &[OsString]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let sets = process.capabilities.get_or_insert_with(Capabilities::default);
    for name in names {
        let added = name.to_str().and_then(named).ok_or_else(|| Error::new(format!("unknown capability {name:?}")))?;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.mask |= added.bitmask();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{LARGEST, number};

    #[test]
    fn ids_are_strict() {
        let id = |text: &str| number(text.as_ref(), "user id", LARGEST);
        assert_eq!((id("0").ok(), id("4294967294").ok()), (Some(0), Some(4_294_967_294)));
        for wrong in ["", "-1", "+1", " 1", "1x", "4294967295", "4294967296", "0x1", "root"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }
}
