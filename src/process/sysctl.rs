//! Kernel parameters of the container's own namespaces: sysctl(8), files below /proc/sys.

use std::ffi::CString;
use std::fmt;

use nix::errno::Errno;

use super::procfs::Procfs;
use crate::error::Result;

/// One parameter.
#[derive(PartialEq)]
pub struct Setting {
    /// The property that asked for it, as a JSON pointer.
    pub pointer: String,
    /// Its file, relative to /proc: `sys/net/ipv4/ip_forward`.
    pub file: CString,
    /// What is written.
    pub value: CString,
}

/// Writes the parameters, through a procfs of ferrun's own, in the order of their names.
#[derive(PartialEq)]
pub struct Sysctl(pub Vec<Setting>);

impl Sysctl {
    /// Runs the step: in the namespaces, since a file of /proc/sys is that of the namespace of who opens it.
    pub fn run(&self) -> Result<()> {
        let procfs = Procfs::new()?;
        self.0.iter().try_for_each(|Setting { pointer, file, value }| {
            procfs.write(file, value.to_bytes()).map_err(|error| {
                let error = match error.code() {
                    Errno::ENOENT => error.hint("this kernel has no such parameter, or not in a namespace of its own"),
                    Errno::EINVAL | Errno::ERANGE => error.hint("the kernel does not take this value"),
                    _ => error,
                };
                error.from_property(pointer)
            })
        })
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = |setting: &Setting| setting.file.to_string_lossy().trim_start_matches("sys/").to_owned();
        let told = |setting: &Setting| format!("{} = {}", name(setting), setting.value.to_string_lossy());
        f.write_str(&self.0.iter().map(told).collect::<Vec<_>>().join("; "))
    }
}
