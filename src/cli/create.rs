//! `ferrun create`, and what `run` shares with it.

use std::mem::ManuallyDrop;
use std::path::PathBuf;

use clap::Args;

use super::globals::{Container, Globals};
use super::{Command, report};
use crate::bundle;
use crate::container::create::{Created, Mode, Request, create, plan};
use crate::error::{Error, Result};
use crate::launch::fault::Fault;
use crate::launch::trace::Trace;
use crate::launch::{notify, self_exe};
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
    /// Reads and plans the bundle, and hands the request for its container to `go_on`.
    pub fn with_request<T>(self, globals: &Globals, mode: Mode, go_on: impl FnOnce(Request) -> Result<T>) -> Result<T> {
        let listening = listening_descriptors();
        check_descriptors(listening, self.preserve_fds)?;
        self_exe::close_others(listening + self.preserve_fds)?;
        let (root, id) = (globals.root()?, self.container.id()?);
        let options = Options {
            id: id.to_string(),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            manager: globals.manager()?,
            listening,
            preserved: self.preserve_fds,
        };
        let trace = self.trace.as_deref().map(Trace::begin).transpose()?;
        let begin = trace.as_ref().map_or(0, Trace::now);
        let ended = || trace.iter().for_each(|trace| drop(trace.end()));
        // Neither is taken apart at the end, which is that of the process: see `cli::main`.
        let mut bundle = ManuallyDrop::new(bundle::load(&self.bundle).inspect_err(|_| ended())?);
        report::warnings(&bundle.warnings, globals);
        let notify = notify::wanted();
        let added = notify.is_some();
        if added {
            notify::add_to(&mut bundle.spec, &root.of(&id))?;
        }
        let locate = |error| bundle.locate(if added { notify::disown(error, &bundle.spec) } else { error });
        let plan = plan(&bundle, &options).map_err(locate).inspect_err(|_| ended())?;
        let plan = ManuallyDrop::new(plan);
        report::warnings(&plan.warnings, globals);
        trace.iter().for_each(|trace| trace.phase("plan", begin));
        let (pid_file, console_socket, fault) = (self.pid_file, self.console_socket, self.fault);
        let trace = trace.as_ref();
        let request = Request {
            root: &root,
            id,
            bundle: &bundle,
            plan: &plan,
            pid_file,
            console_socket,
            mode,
            trace,
            fault,
            notify,
            warn: &|warning| report::warning(&locate(warning.clone()), globals),
        };
        let result = go_on(request).map_err(locate);
        if let Some(trace) = trace {
            trace.phase("all", begin);
            // The error that began it is the one that is reported.
            let ended = trace.end();
            return result.and_then(|done| ended.map(|()| done));
        }
        result
    }
}

/// How many sockets a service manager has opened for this process, after the standard streams:
/// sd_listen_fds(3).
fn listening_descriptors() -> u32 {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let ours = number("LISTEN_PID") == Some(std::process::id());
    number("LISTEN_FDS").filter(|count| ours && *count <= 65_535).unwrap_or(0)
}

/// The descriptors that the caller wants passed on must be there: those that are listened on, then those of
/// `--preserve-fds`. To be called before ferrun opens any of its own, which would take their numbers.
fn check_descriptors(listening: u32, preserved: u32) -> Result<()> {
    match (3..3 + listening + preserved).find(|number| !crate::sys::fd::is_open(*number as i32)) {
        Some(number) if number < 3 + listening => {
            Err(Error::new(format!("LISTEN_FDS: descriptor {number} is not open")))
        }
        Some(number) => Err(Error::new(format!("--preserve-fds: descriptor {number} is not open"))),
        None => Ok(()),
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
        self.flags.with_request(globals, Mode::Create, |request| create(&request, None).map(|Created { .. }| 0))
    }
}
