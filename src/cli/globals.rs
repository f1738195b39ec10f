//! The options that stand before the command word.

use std::path::PathBuf;

use clap::{Args, FromArgMatches, ValueEnum};

use super::{dashes, switches};
use crate::cgroup::Manager;
use crate::container::id::Id;
use crate::container::state::Root;
use crate::error::{Context, Error, Result};
use crate::sys::start::arguments;

/// Those that are followed by a value; the command word is looked for behind them.
pub const TAKE_A_VALUE: &[&str] = &["cgroup-manager", "log", "log-format", "root", "rootless"];
/// The others, with those of one letter.
pub const SWITCHES: &[&str] = &["debug", "h", "help", "systemd-cgroup", "v", "version"];

/// Options of every command.
#[derive(Args, Debug)]
pub struct Globals {
    /// Directory of the containers' states [default: /run/ferrun, or $XDG_RUNTIME_DIR/ferrun without root]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// File that errors are added to, besides standard error
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// How errors are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Write warnings to a JSON log as well; a text log always has them
    #[arg(long)]
    pub debug: bool,
    /// Let systemd make the cgroups: --cgroup-manager systemd
    #[arg(long)]
    systemd_cgroup: bool,
    /// Who makes the cgroups
    #[arg(long, value_name = "MANAGER", value_enum)]
    cgroup_manager: Option<CgroupManager>,
    /// Whether cgroups may be missing because ferrun does not run as root
    #[arg(long, value_name = "BOOL", value_enum, default_value = "auto")]
    #[allow(dead_code)] // accepted for engines; rootless containers are not supported yet
    rootless: Rootless,
    /// Print the version
    #[arg(long, short = 'v')]
    pub version: bool,
}

/// How errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A line of JSON for engines.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rootless {
    #[value(aliases = ["1", "t", "T", "TRUE", "True"])]
    True,
    #[value(aliases = ["0", "f", "F", "FALSE", "False"])]
    False,
    #[value(alias = "")]
    Auto,
}

impl Globals {
    /// Those of a command line that cannot be understood as a whole, as far as they can.
    pub fn of_this_process() -> Globals {
        let parser = Globals::augment_args(clap::Command::new("ferrun")).disable_version_flag(true).ignore_errors(true);
        let parser = switches::with_values(parser.args_override_self(true));
        let arguments = arguments();
        let arguments = dashes::doubled(arguments.clone(), &parser).unwrap_or(arguments);
        let read = |arguments: Vec<std::ffi::OsString>| {
            let matches = parser.clone().try_get_matches_from(arguments)?;
            Globals::from_arg_matches(&matches)
        };
        let globals = read(arguments).or_else(|_| read(vec!["ferrun".into()]));
        globals.expect("every option has a default")
    }

    /// Where states are kept.
    pub fn root(&self) -> Result<Root> {
        match &self.root {
            Some(root) => std::path::absolute(root).map(Root::given).what(|| format!("--root {root:?}")),
            None => Ok(Root::default(default_root())),
        }
    }

    /// Who makes the container's cgroups.
    ///
    /// # Errors
    /// Two at once.
    pub fn manager(&self) -> Result<Manager> {
        match (self.systemd_cgroup, self.cgroup_manager) {
            (true, None | Some(CgroupManager::Systemd)) | (false, Some(CgroupManager::Systemd)) => {
                let uid = nix::unistd::geteuid();
                Ok(Manager::Systemd { user: Some(uid.as_raw()).filter(|_| !uid.is_root()) })
            }
            (true, Some(_)) => Err(Error::new("--systemd-cgroup and --cgroup-manager name two managers of cgroups")),
            (false, Some(CgroupManager::Disabled)) => Ok(Manager::Disabled),
            (false, None | Some(CgroupManager::Cgroupfs)) => Ok(Manager::Cgroupfs),
        }
    }
}

fn default_root() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/run/ferrun".into();
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.unwrap_or_else(|| format!("/run/user/{}", nix::unistd::geteuid()).into()).join("ferrun")
}

/// The container that a command is about.
#[derive(Args, Debug)]
pub struct Container {
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
}

impl Container {
    /// The id, checked.
    pub fn id(&self) -> Result<Id> {
        Id::new(&self.id)
    }
}
