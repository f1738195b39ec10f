//! `ferrun seccomp`.

use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;

use super::Command;
use super::globals::Globals;
use super::report::print_text;
use crate::bundle::{self, seccomp};
use crate::error::{Context, Error, Result};
use crate::seccomp::{Filter, compile, listing};
use crate::sys::regular;
use crate::types::seccomp::{Arch, Profile};

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
        let native = Arch::NATIVE.ok_or_else(|| Error::new("ferrun has no table of this architecture's calls"))?;
        let (profile, filter) = self.compiled(native)?;
        if let Some(path) = &self.bpf {
            let what = || format!("write {path:?}");
            regular::create(path).what(what)?.write_all(&listing::bytes(&filter)).what(what)?;
        }
        print_text(&listing::text(&filter, &profile))?;
        if self.disassemble {
            print_text(&listing::instructions(&filter))?;
        }
        Ok(0)
    }
}

impl Seccomp {
    fn compiled(&self, native: Arch) -> Result<(Rc<Profile>, Filter)> {
        let none = || Error::new("there is no seccomp profile: every call may be made");
        let Some(path) = &self.profile else {
            let bundle = bundle::load(&self.bundle)?;
            let filter = compile(bundle.spec.linux.seccomp.as_ref().ok_or_else(none)?, native);
            let filter = filter.map_err(|error| bundle.locate(error))?;
            return Ok((bundle.spec.linux.seccomp.ok_or_else(none)?, filter));
        };
        let text = bundle::read_named(path)?;
        let name = path.to_string_lossy();
        let profile = seccomp::read(bundle::utf8(&text, &name)?)
            .map_err(|error| bundle::misread(&error, &text, &name))?
            .ok_or_else(|| {
                let error = Error::new(format!("{path:?} is not a seccomp profile: defaultAction is missing"));
                error.hint("use --bundle for the profile of a config.json")
            })?;
        let filter = compile(&profile, native);
        let filter = filter.map_err(|error| bundle::within("/linux/seccomp", error, &text, &name))?;
        Ok((profile.into(), filter))
    }
}
