//! `ferrun spec`.

use std::path::PathBuf;

use clap::Args;

use super::Command;
use super::globals::Globals;
use crate::bundle::default;
use crate::error::{Context, Error, Result};

/// Writes a config.json to begin with.
#[derive(Args, Debug)]
pub struct Spec {
    /// Directory that gets config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Make it for a user without root
    #[arg(long)]
    rootless: bool,
}

impl Command for Spec {
    const NAME: &'static str = "spec";
    const ABOUT: &'static str = "Write a config.json to begin with";

    fn run(self, _globals: &Globals) -> Result<i32> {
        let path = self.bundle.join("config.json");
        let config = match self.rootless {
            true => default::rootless(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            false => default::config(),
        };
        let file = std::fs::File::create_new(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::new(format!("file {path:?} exists; remove it first")),
            _ => Error::io(format!("make {path:?}"), &error),
        })?;
        default::write(&config, file).what(|| format!("write {path:?}")).map(|()| 0).inspect_err(|_| {
            // Half a config would be in the way of the next try.
            let _ = std::fs::remove_file(&path);
        })
    }
}
