//! `ferrun create`, and what `run` shares with it.

use std::path::PathBuf;

use clap::Args;

use super::globals::{Container, Globals};
use super::{Command, report};
use crate::bundle;
use crate::container::create::{Created, Request, check_descriptors, create, plan};
use crate::error::{Error, Result};
use crate::launch::fault::Fault;
use crate::launch::trace::Trace;
use crate::launch::{seal, signals};
use crate::plan::Options;

/// Flags of `create` and `run`.
#[derive(Args, Debug)]
pub struct Flags {
    #[command(flatten)]
    container: Container,
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Socket that gets the terminal (terminals are not supported yet)
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
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
    /// Write the time of each step as a Chrome trace; - prints a table
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Fail at a step (error@N, kill@N), to test what is left behind
    #[arg(long, value_name = "FAULT", hide = true)]
    fault: Option<Fault>,
}

impl Flags {
    /// Reads and plans the bundle, and hands the request for its container to `go_on`.
    pub fn with_request<T>(
        self,
        globals: &Globals,
        wait_for_start: bool,
        go_on: impl FnOnce(Request) -> Result<T>,
    ) -> Result<T> {
        check_descriptors(self.preserve_fds)?;
        seal::seal(self.preserve_fds)?;
        let (root, id) = (globals.root()?, self.container.id()?);
        let options = Options {
            id: id.to_string(),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            no_cgroup: globals.cgroups_disabled()?,
        };
        if self.console_socket.is_some() {
            return Err(Error::new("--console-socket: terminals are not supported by this version of ferrun"));
        }
        let trace = self.trace.as_deref().map(Trace::begin).transpose()?;
        let begin = trace.as_ref().map_or(0, Trace::now);
        let ended = || trace.iter().for_each(|trace| drop(trace.end()));
        let bundle = bundle::load(&self.bundle).inspect_err(|_| ended())?;
        report::warnings(&bundle.warnings, globals);
        let plan = plan(&bundle, &options).map_err(|error| bundle.locate(error)).inspect_err(|_| ended())?;
        report::warnings(&plan.warnings, globals);
        trace.iter().for_each(|trace| trace.phase("plan", begin));
        let (pid_file, fault) = (self.pid_file, self.fault);
        let signal_mask = signals::current_mask()?;
        let trace = trace.as_ref();
        let request = Request {
            root: &root,
            id,
            bundle: &bundle,
            plan: &plan,
            pid_file,
            wait_for_start,
            signal_mask,
            trace,
            fault,
            warn: &|warning| report::warning(warning, globals),
        };
        let result = go_on(request).map_err(|error| bundle.locate(error));
        if let Some(trace) = trace {
            trace.phase("all", begin);
            trace.end()?;
        }
        result
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

    fn run(self, globals: &Globals) -> Result<i32> {
        self.flags.with_request(globals, true, |request| create(&request).map(|Created { .. }| 0))
    }
}
