//! `ferrun seccomp`.

use std::path::PathBuf;

use clap::Args;

use super::Command;
use super::globals::Globals;
use super::version::print_out;
use crate::bundle::{self, seccomp};
use crate::error::{Context, Error, Result};
use crate::seccomp::{Arch, Profile, compile, listing};

/// Prints the filter that a profile becomes.
#[derive(Args, Debug)]
pub struct Seccomp {
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".", conflicts_with = "profile")]
    bundle: PathBuf,
    /// File with a profile alone: what linux.seccomp holds
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Write the program as the kernel takes it (struct sock_filter)
    #[arg(long, value_name = "FILE")]
    bpf: Option<PathBuf>,
    /// Print each instruction
    #[arg(long)]
    disassemble: bool,
}

impl Command for Seccomp {
    const NAME: &'static str = "seccomp";
    const ABOUT: &'static str = "Print the filter of system calls that a profile becomes, and which rule decides what";

    fn run(self, _globals: &Globals) -> Result<i32> {
        let profile = self.read()?.ok_or_else(|| Error::new("there is no seccomp profile: every call may be made"))?;
        let native = Arch::NATIVE.ok_or_else(|| Error::new("ferrun has no table of this architecture's calls"))?;
        let filter = compile(&profile, native)?;
        if let Some(path) = &self.bpf {
            std::fs::write(path, listing::bytes(&filter)).what(|| format!("write {path:?}"))?;
        }
        print_out(&listing::text(&filter, &profile));
        if self.disassemble {
            print_out(&listing::instructions(&filter));
        }
        Ok(0)
    }
}

impl Seccomp {
    fn read(&self) -> Result<Option<Profile>> {
        let Some(path) = &self.profile else { return Ok(bundle::load(&self.bundle)?.spec.linux.seccomp) };
        let text = std::fs::read(path).what(|| format!("open {path:?}"))?;
        seccomp::read(&text).map_err(|error| Error::new(format!("{path:?}: {error}")))
    }
}
