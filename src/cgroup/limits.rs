//! The steps that set limits on a cgroup.

use std::ffi::CString;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;

use super::device_filter;
use crate::error::{Context, Error, Result};
use crate::sys::bpf::Insn;
use crate::sys::file;

/// Writes one value to one file of the cgroup.
pub struct Limit {
    /// The file.
    pub file: CString,
    /// What is written.
    pub value: String,
}

impl Limit {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        let file = self.file.to_string_lossy();
        file::write(self.file.as_c_str(), self.value.as_bytes())
            .what(|| format!("write {} to {file}", self.value))
            .map_err(|error| match error.code() {
                nix::errno::Errno::ENOENT => {
                    error.hint("the controller is not enabled in this cgroup's parent (cgroup.subtree_control)")
                }
                _ => error,
            })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let file = self.file.to_string_lossy();
        write!(f, "{} = {}", file.rsplit('/').next().unwrap_or_default(), self.value)
    }
}

/// Which devices the container may use, by the v1 controller.
pub struct DevicesV1 {
    /// The cgroup's directory in the hierarchy of `devices`.
    pub directory: String,
    /// File and line of each write, in order.
    pub writes: Vec<(&'static str, String)>,
}

impl DevicesV1 {
    /// Runs the step. The kernel takes one rule a write.
    pub fn run(&self) -> Result<()> {
        let mut open = None::<(&str, std::fs::File)>;
        for (name, line) in &self.writes {
            if open.as_ref().is_none_or(|(opened, _)| opened != name) {
                let path = format!("{}/{name}", self.directory);
                open = Some((name, OpenOptions::new().write(true).open(&path).what(|| format!("open {path}"))?));
            }
            let (_, file) = open.as_mut().expect("opened above");
            file.write_all(line.as_bytes()).what(|| format!("write \"{line}\" to {}/{name}", self.directory))?;
        }
        Ok(())
    }
}

impl fmt::Display for DevicesV1 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let all =
            self.writes.first().map_or("", |(file, _)| if *file == "devices.deny" { "deny all" } else { "allow all" });
        write!(f, "devices: {all} but {}", self.writes.len().saturating_sub(1))
    }
}

/// Which devices the container may use, by a program on the v2 cgroup.
pub struct DevicesV2 {
    /// The cgroup's directory.
    pub directory: String,
    /// The rules as a program.
    pub program: Vec<Insn>,
}

impl DevicesV2 {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        let directory = std::fs::File::open(&self.directory).what(|| format!("open {}", self.directory))?;
        device_filter::attach(directory.as_fd(), &self.program)
            .map_err(|failure| Error::new(format!("attach the device filter to {}: {failure}", self.directory)))
    }
}

impl fmt::Display for DevicesV2 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "device filter of {} instructions", self.program.len())
    }
}

/// Whether the kernel killed a process of this cgroup for want of memory: memory.oom_control of v1,
/// memory.events of v2.
pub fn was_out_of_memory(directory: &str) -> bool {
    let files =
        ["memory.oom_control", "memory.events"].map(|name| std::fs::read_to_string(format!("{directory}/{name}")));
    let mut lines = files.iter().flatten().flat_map(|text| text.lines());
    lines.any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
}

/// `cpu.shares` of v1 as `cpu.weight` of v2: 2 → 1, 1024 → 100, 262144 → 10000, and between them the
/// curve that runc, crun and systemd agreed on in 2025.
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (512, 59), (4096, 303)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }
}
