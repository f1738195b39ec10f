//! `ferrun demo`.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use clap::Args;

use super::globals::Globals;
use super::{Command, report, self_exe};
use crate::bundle;
use crate::container::id::Id;
use crate::container::request::{Mode, Request};
use crate::container::run;
use crate::error::{Context, Error, Result};

/// Runs a first container.
#[derive(Args, Debug)]
pub struct Demo {
    /// What to run in it, with arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Command for Demo {
    const NAME: &'static str = "demo";
    const ABOUT: &'static str = "Run a first container, made of the host's own /usr";
    const SEALED: bool = true;

    fn run(self, globals: &Globals) -> Result<i32> {
        self_exe::close_others(0, &[])?;
        let id = Id::new(&format!("demo-{}", std::process::id()))?;
        let directory = std::env::temp_dir().join(format!("ferrun-{id}"));
        // Others must not write to what is run as root, whatever the umask.
        DirBuilder::new().mode(0o700).create(&directory).what(|| format!("create {directory:?}"))?;
        let result = bundle::demo::write(&directory, &self.command).and_then(|()| run_bundle(id, &directory, globals));
        std::fs::remove_dir_all(&directory).what(|| format!("remove {directory:?}"))?;
        result
    }
}

fn run_bundle(id: Id, directory: &Path, globals: &Globals) -> Result<i32> {
    let root = globals.root()?;
    let warn = |warning: &Error| report::warning(warning, globals);
    let mut request = Request::new(&root, id, directory, Mode::Foreground, &warn);
    request.options.manager = globals.manager()?;
    request.hears_warnings = report::hears_warnings(globals);
    run(&request.plan()?)
}
