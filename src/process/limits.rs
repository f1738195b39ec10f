//! Resource limits of the process itself.

use std::fmt;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;

use crate::digits::Digits;
use crate::error::{Context, Result};
use crate::sys::file;

/// Sets one limit: setrlimit(2).
#[derive(Clone, Copy, PartialEq)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// What the process may use.
    pub soft: u64,
    /// How far it may raise that.
    pub hard: u64,
}

impl Rlimit {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        setrlimit(self.resource, self.soft, self.hard).what(|| format!("set {self}")).map_err(|error| {
            error.hint("raising a hard limit needs CAP_SYS_RESOURCE; ask for no more than ferrun's own hard limit")
        })
    }
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = format!("{:?}", self.resource);
        write!(f, "{} {}:{}", name.trim_start_matches("RLIMIT_").to_lowercase(), Amount(self.soft), Amount(self.hard))
    }
}

struct Amount(u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            u64::MAX => f.write_str("unlimited"),
            amount => write!(f, "{amount}"),
        }
    }
}

/// Sets how readily the kernel kills the process when memory runs out: proc(5), oom_score_adj.
#[derive(PartialEq)]
pub struct OomScoreAdj(pub i32);

impl OomScoreAdj {
    /// Runs the step, which comes before any file system of the container is mounted: /proc is the host's.
    pub fn run(&self) -> Result<()> {
        self.write("/proc/self/oom_score_adj")
    }

    /// Sets it from outside, for a process whose user namespace gives it no right to.
    pub fn run_for(&self, process: Pid) -> Result<()> {
        self.write(&format!("/proc/{process}/oom_score_adj"))
    }

    fn write(&self, path: &str) -> Result<()> {
        file::write(path, Digits::new(format_args!("{}", self.0)).as_c_str().to_bytes())
            .what(|| format!("write {} to {path}", self.0))
            .map_err(|error| error.hint("lowering the score needs CAP_SYS_RESOURCE"))
    }
}

impl fmt::Display for OomScoreAdj {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "oom_score_adj {}", self.0)
    }
}
