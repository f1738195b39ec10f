//! Steps that limit the devices of a cgroup: the v1 controller, the device filter of v2.

pub mod access;
pub mod filter;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::fcntl::OFlag;
use nix::unistd;

use crate::error::{Context, Error, Result};
use crate::sys::bpf::Insn;
use crate::sys::file;
use access::DeviceAccess;
use filter::Replaced;

/// Which devices the container may use, by the v1 controller.
#[derive(PartialEq)]
pub struct DevicesV1 {
    /// The cgroup's directory in the hierarchy of `devices`.
    pub directory: Rc<str>,
    /// What the rules come to: one that v1 can express.
    pub access: DeviceAccess,
}

/// The file that allows or denies.
fn file_that(allows: bool) -> &'static str {
    if allows { "devices.allow" } else { "devices.deny" }
}

impl DevicesV1 {
    /// Runs the step. The kernel takes one rule a write.
    pub fn run(&self) -> Result<()> {
        let DeviceAccess { allow_by_default, exceptions, .. } = &self.access;
        let mut open = self.open(*allow_by_default)?;
        self.write(&open, "a")?;
        let mut line = String::with_capacity(32);
        for rule in exceptions {
            if rule.allow != open.0 {
                open = self.open(rule.allow)?;
            }
            line.clear();
            let _ = write!(line, "{rule}");
            self.write(&open, &line)?;
        }
        Ok(())
    }

    fn open(&self, allows: bool) -> Result<(bool, OwnedFd)> {
        let path = format!("{}/{}", self.directory, file_that(allows));
        Ok((allows, file::open(path.as_str(), OFlag::O_WRONLY).what(|| format!("open {path}"))?))
    }

    fn write(&self, (allows, file): &(bool, OwnedFd), line: &str) -> Result<()> {
        let name = file_that(*allows);
        unistd::write(file, line.as_bytes()).map(drop).what(|| format!("write \"{line}\" to {}/{name}", self.directory))
    }

    /// The step that makes a cgroup's list what it is now. None: it allows everything, and what it denies all the
    /// same cannot be read.
    pub fn now(directory: &Rc<str>) -> Result<Option<DevicesV1>> {
        let access = DeviceAccess::of_list(&list(directory)?);
        Ok(access.map(|access| DevicesV1 { directory: directory.clone(), access }))
    }

    /// As [`DevicesV1::run`], on a cgroup in use: what both lists allow is allowed throughout.
    ///
    /// # Errors
    /// A line that is refused: then those before it are taken back, unless a list allows everything.
    pub fn change(&self) -> Result<()> {
        let now = list(&self.directory)?;
        // Exceptions of a cgroup that allows everything cannot be read.
        if self.access.allow_by_default || now.starts_with('a') {
            return self.run();
        }
        let wanted: Vec<String> = self.access.exceptions.iter().map(ToString::to_string).collect();
        let (wanted, now) = (letters(wanted.iter().map(String::as_str)), letters(now.lines()));
        let more = surplus(&wanted, &now).into_iter().map(|line| (true, line));
        let less = surplus(&now, &wanted).into_iter().map(|line| (false, line));
        let mut done = Vec::new();
        for (allow, line) in more.chain(less) {
            let path = format!("{}/{}", self.directory, file_that(allow));
            if let Err(error) =
                file::write(path.as_str(), line.as_bytes()).what(|| format!("write \"{line}\" to {path}"))
            {
                for (allowed, line) in done.iter().rev() {
                    let _ = std::fs::write(format!("{}/{}", self.directory, file_that(!allowed)), line);
                }
                return Err(error);
            }
            done.push((allow, line));
        }
        Ok(())
    }
}

/// What a cgroup allows, a device a line.
fn list(directory: &str) -> Result<String> {
    let path = format!("{directory}/devices.list");
    std::fs::read_to_string(&path).what(|| format!("read {path}"))
}

/// `c 1:3 rwm` → what may be done with `c 1:3`. The kernel has each device once.
fn letters<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, &'a str> {
    lines.filter_map(|line| line.rsplit_once(' ')).collect()
}

/// What the first allows and the second does not.
fn surplus(first: &BTreeMap<&str, &str>, second: &BTreeMap<&str, &str>) -> Vec<String> {
    let line = |(device, letters): (&&str, &&str)| {
        let there = second.get(device).copied().unwrap_or_default();
        let more: String = letters.chars().filter(|letter| !there.contains(*letter)).collect();
        (!more.is_empty()).then(|| format!("{device} {more}"))
    };
    first.iter().filter_map(line).collect()
}

impl fmt::Display for DevicesV1 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let all = if self.access.allow_by_default { "allow all" } else { "deny all" };
        write!(f, "devices: {all} but {}", self.access.exceptions.len())
    }
}

/// Which devices the container may use, by a program on the v2 cgroup.
#[derive(PartialEq)]
pub struct DevicesV2 {
    /// The cgroup's directory.
    pub directory: Rc<str>,
    /// The rules as a program.
    pub program: Vec<Insn>,
}

impl DevicesV2 {
    /// Runs the step. What is given can take it back.
    pub fn run(&self) -> Result<Replaced> {
        filter::attach(self.open()?.as_fd(), &self.program)
            .map_err(|failure| Error::new(format!("attach the device filter to {}: {failure}", self.directory)))
    }

    /// Takes it back.
    pub fn put_back(&self, replaced: &Replaced) -> Result<()> {
        let put_back = replaced.put_back(self.open()?.as_fd());
        put_back.what(|| format!("attach the old device filter to {}", self.directory))
    }

    fn open(&self) -> Result<OwnedFd> {
        file::open(&*self.directory, OFlag::O_RDONLY).what(|| format!("open {}", self.directory))
    }
}

impl fmt::Display for DevicesV2 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "device filter of {} instructions", self.program.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_difference_of_two_lists_is_written() {
        let old = letters("c 1:3 rwm\nc 10:229 rw\nb 8:* r".lines());
        let new = letters("c 1:3 rwm\nc 10:229 r\nc 10:200 rwm\nb 8:* rw".lines());
        assert_eq!(surplus(&new, &old), ["b 8:* w", "c 10:200 rwm"]);
        assert_eq!(surplus(&old, &new), ["c 10:229 w"]);
        assert!(surplus(&old, &old).is_empty());
    }
}
