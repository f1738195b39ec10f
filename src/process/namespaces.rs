//! The steps on new namespaces: unshare(2), the loopback interface, the names of host and domain.

use std::ffi::CString;
use std::fmt;

use nix::sched::{CloneFlags, unshare};

use crate::error::{Context, Result};
use crate::sys;
use crate::types::namespaces::names;

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

/// Sets the loopback interface up, which is down in a new network namespace.
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
