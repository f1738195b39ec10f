//! Namespaces: leaving the caller's, and what makes a new one usable.

use std::ffi::CString;
use std::fmt;

use nix::sched::{CloneFlags, unshare};

use crate::error::{Context, Result};
use crate::sys;

/// Leaves the caller's namespaces of these kinds for new ones: unshare(2).
#[derive(PartialEq)]
pub struct Unshare(pub CloneFlags);

impl Unshare {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        unshare(self.0).what(|| format!("unshare {self}"))
    }
}

impl fmt::Display for Unshare {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&names(self.0))
    }
}

/// The namespaces of clone flags, in the words of the config.
pub fn names(flags: CloneFlags) -> String {
    let all = [
        (CloneFlags::CLONE_NEWPID, "pid"),
        (CloneFlags::CLONE_NEWNET, "network"),
        (CloneFlags::CLONE_NEWIPC, "ipc"),
        (CloneFlags::CLONE_NEWUTS, "uts"),
        (CloneFlags::CLONE_NEWNS, "mount"),
        (CloneFlags::CLONE_NEWCGROUP, "cgroup"),
        (CloneFlags::CLONE_NEWUSER, "user"),
        (sys::namespace::NEWTIME, "time"),
    ];
    let named: Vec<&str> = all.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect();
    named.join(" ")
}

/// Sets the loopback link up, which is down in a new network namespace.
#[derive(PartialEq)]
pub struct Loopback;

impl Loopback {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        sys::link::loopback_up().what(|| "set link \"lo\" up")
    }
}

impl fmt::Display for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("lo up")
    }
}

/// Names the host: sethostname(2).
#[derive(PartialEq)]
pub struct Hostname(pub CString);

impl Hostname {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(self.0.as_bytes());
        nix::unistd::sethostname(name).what(|| format!("set hostname {self}"))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

/// Names the NIS domain: setdomainname(2).
#[derive(PartialEq)]
pub struct DomainName(pub CString);

impl DomainName {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        sys::sched::set_domain_name(&self.0).what(|| format!("set {self}"))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "domainname {}", self.0.to_string_lossy())
    }
}
