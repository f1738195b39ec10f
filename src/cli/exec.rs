//! `ferrun exec`.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::Args;

use super::globals::Globals;
use super::{Command, descriptors, report};
use crate::bundle::exec_process::{check_process, replace_process};
use crate::bundle::process::{Capabilities, Process, User};
use crate::bundle::text::Text;
use crate::bundle::{Bundle, read_named, read_stream};
use crate::container::exec;
use crate::container::exec::Request;
use crate::container::id::Id;
use crate::error::{Context, Error, Result};
use crate::process::accounts;
use crate::rootfs::Rootfs;
use crate::types::capabilities::named;

/// Runs a further process in a container.
#[derive(Args, Debug)]
pub struct Exec {
    /// File with the process as config.json has it, or - for standard input; the flags that describe one then do nothing
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return as soon as the program runs
    #[arg(short, long)]
    detach: bool,
    /// File that gets the pid of the process
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Give it a terminal of its own
    #[arg(short, long)]
    tty: bool,
    /// Unix socket that gets the terminal of a detached process
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// User and group, as numbers or as names that the container knows
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<String>,
    /// Further groups
    #[arg(short = 'g', long, value_name = "GID", allow_hyphen_values = true)]
    additional_gids: Vec<String>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<OsString>,
    /// Entries for its environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// Capabilities that it has as well
    #[arg(short, long, value_name = "CAPABILITY")]
    cap: Vec<String>,
    /// Never let it gain privileges by an execution
    #[arg(long)]
    no_new_privs: bool,
    /// Its SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<OsString>,
    /// Its AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<OsString>,
    /// Pass that many descriptors after the standard streams to it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=65535))]
    preserve_fds: u32,
    /// Cgroup below the container's, which is there already; CONTROLLER:PATH in one hierarchy of cgroup v1
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Unix socket that gets the descriptor of the process (pidfd_open(2))
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Also in a paused container, where it waits until that is resumed
    #[arg(long)]
    ignore_paused: bool,
    /// The container's id, and behind it the program with its arguments
    // One list: as with runc, no flag behind the id is ferrun's.
    #[arg(value_name = "ID [PROGRAM ...]", required = true, trailing_var_arg = true)]
    words: Vec<OsString>,
}

impl Command for Exec {
    const NAME: &'static str = "exec";
    const ABOUT: &'static str = "Run a further process in a container";
    const SEALED: bool = true;
    // As runc's: no other than a program's own.
    const FAILED: i32 = 255;

    fn run(self, globals: &Globals) -> Result<i32> {
        let listening = descriptors::keep(self.preserve_fds)?;
        let (id, args) = self.words.split_first().ok_or_else(|| Error::new("exec needs a container's id"))?;
        let process = |bundle: &mut Bundle, rootfs: &Rootfs| match &self.process {
            Some(path) => {
                let name = path.display().to_string();
                let text = match path.to_str() {
                    Some("-") => read_stream(std::io::stdin()).what(|| "read standard input")?,
                    _ => read_named(path)?,
                };
                replace_process(bundle, &text, &name)
            }
            None => self.change(bundle, rootfs, args),
        };
        exec(&Request {
            root: &globals.root()?,
            id: Id::new(&id.to_string_lossy())?,
            process: &process,
            detach: self.detach,
            pid_file: self.pid_file.clone(),
            console_socket: self.console_socket.clone(),
            descriptors: [listening, self.preserve_fds],
            cgroup: self.cgroup.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            ignore_paused: self.ignore_paused,
            warn: &|warning| report::warning(warning, globals),
        })
    }
}

impl Exec {
    /// Makes the process of the container's own.
    fn change(&self, bundle: &mut Bundle, rootfs: &Rootfs, args: &[OsString]) -> Result<()> {
        if args.is_empty() {
            return Err(Error::new("args must not be empty").hint("give a program behind the id, or --process"));
        }
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
            become_user(&mut process.user, rootfs, user)?;
        }
        for gid in &self.additional_gids {
            process.user.additional_gids.push(number(gid, "group")?);
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
fn become_user(own: &mut User, rootfs: &Rootfs, text: &str) -> Result<()> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    match is_name(user) {
        true => {
            let account = accounts::user(rootfs, user)?;
            (own.uid, own.gid, own.additional_gids) = (account.uid, account.gid, account.groups);
        }
        false => own.uid = number(user, "user")?,
    }
    match group {
        Some(group) if is_name(group) => own.gid = accounts::group(rootfs, group)?,
        Some(group) => own.gid = number(group, "group")?,
        None => {}
    }
    Ok(())
}

/// Whether a text is to be looked up: names of users begin with a letter (useradd(8)).
fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
}

/// An id as the kernel has them: the largest number stands for none there.
fn number(text: &str, what: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|id| digits && *id != u32::MAX);
    id.ok_or_else(|| Error::new(format!("{text:?} is no {what} id: these are numbers up to {}", u32::MAX - 1)))
}

/// Adds capabilities to those of the container, but to none that a program of another user would keep.
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let sets = process.capabilities.get_or_insert_with(Capabilities::default);
    for name in names {
        let added = named(name).ok_or_else(|| Error::new(format!("unknown capability {name:?}")))?;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.mask |= added.bitmask();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn ids_are_strict() {
        assert_eq!((number("0", "user").ok(), number("4294967294", "user").ok()), (Some(0), Some(4_294_967_294)));
        for wrong in ["", "-1", "+1", " 1", "1x", "4294967295", "4294967296", "0x1", "root"] {
            assert!(number(wrong, "user").is_err(), "{wrong}");
        }
    }
}
