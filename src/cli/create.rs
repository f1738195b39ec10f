//! `ferrun create`, and what `run` shares with it.

use std::mem::ManuallyDrop;
use std::path::PathBuf;

use clap::Args;

use super::globals::{Container, Globals};
use super::{Command, descriptors, report};
use crate::container::create;
use crate::container::request::{Mode, Planned, Request};
use crate::error::Result;
use crate::launch::fault::Fault;
use crate::launch::notify;
use crate::plan::Options;

/// Flags of `create` and `run`.
#[derive(Args, Debug)]
pub struct Flags {
    #[command(flatten)]
    container: Container,
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Unix socket that gets the terminal (process.terminal) of a detached container
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Unix socket that gets the descriptor of the container's first process (pidfd_open(2))
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// File that gets the pid of the container's first process
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Move the root file system over the host's instead of pivot_root (for an initramfs)
    #[arg(long)]
    no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Pass that many descriptors after the standard streams to the container
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=65535))]
    preserve_fds: u32,
    /// Write the time of each step to a regular file as a Chrome trace; - prints a table
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Fail at a step (error@N, kill@N), to test what is left behind
    #[arg(long, value_name = "FAULT", hide = true)]
    fault: Option<Fault>,
}

impl Flags {
    /// The container that these flags ask for, planned and handed to `act`.
    pub fn plan<T>(self, globals: &Globals, mode: Mode, act: impl FnOnce(&Planned) -> Result<T>) -> Result<T> {
        let listening = descriptors::keep(self.preserve_fds, None)?;
        let root = globals.root()?;
        let options = Options {
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            manager: globals.manager()?,
            listening,
            preserved: self.preserve_fds,
            ..Options::default()
        };
        let request = Request {
            root: &root,
            id: self.container.id()?,
            bundle: &self.bundle,
            mode,
            options,
            pid_file: self.pid_file,
            console_socket: self.console_socket,
            pidfd_socket: self.pidfd_socket,
            trace: self.trace,
            fault: self.fault,
            notify: notify::wanted(),
            warn: &|warning| report::warning(warning, globals),
            hears_warnings: report::hears_warnings(globals),
        };
        // The process ends with the command: to free it all would only touch its pages once more.
        act(&ManuallyDrop::new(request.plan()?))
    }
}

/// Makes a container that waits for `start`.
#[derive(Args, Debug)]
pub struct Create {
    #[command(flatten)]
    flags: Flags,
}

impl Command for Create {
    const NAME: &'static str = "create";
    const ABOUT: &'static str = "Create a container; its program waits for start";
    const SEALED: bool = true;

    fn run(self, globals: &Globals) -> Result<i32> {
        self.flags.plan(globals, Mode::Create, create).map(|_| 0)
    }
}
