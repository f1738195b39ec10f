//! User, groups and capabilities of the process, and no_new_privs.

use std::fmt;

use nix::errno::Errno;
use nix::sys::prctl;

use crate::error::{Context, Result};
use crate::sys::capability::{self, Sets};
use crate::sys::ids;
use crate::types::capabilities::{Names, name};

/// Takes everything outside the mask out of the capability bounding set.
#[derive(PartialEq)]
pub struct BoundingSet(pub u64);

impl BoundingSet {
    /// Runs the step. Needs CAP_SETPCAP, so it comes before the capabilities are set.
    pub fn run(&self) -> Result<()> {
        for number in (0..64).filter(|number| self.0 & (1 << number) == 0) {
            match capability::drop_bounding(number) {
                // This kernel has no capability of this number, and none above.
                Err(Errno::EINVAL) => break,
                result => result.what(|| format!("drop {} from the bounding set", name(number)))?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for BoundingSet {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "bounding {}", Names(self.0))
    }
}

/// Changes to the user and groups of the process.
#[derive(PartialEq)]
pub struct User {
    /// User id inside the container.
    pub uid: u32,
    /// Group id inside the container.
    pub gid: u32,
    /// The supplementary groups, all of them.
    pub groups: Vec<u32>,
    /// Whether the groups stay as they are where the user namespace denies setgroups(2), if none are asked
    /// for: whoever made the namespace to be joined has decided that (as runc).
    pub may_keep_groups: bool,
    /// Whether the permitted capabilities survive the change, so that [`Capabilities`] can choose of them.
    pub keep_capabilities: bool,
}

impl User {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        let User { uid, gid, .. } = *self;
        if self.keep_capabilities {
            prctl::set_keepcaps(true).what(|| "keep capabilities over the change of user")?;
        }
        match ids::set_groups(&self.groups) {
            Err(Errno::EPERM) if self.may_keep_groups && self.groups.is_empty() => {}
            result => result.what(|| "set the supplementary groups")?,
        }
        ids::set_group(gid).what(|| format!("set gid {gid}"))?;
        ids::set_user(uid).what(|| format!("set uid {uid}"))?;
        // A change of ids makes a process dumpable where the host says so (fs.suid_dumpable).
        prctl::set_dumpable(false).what(|| "make the init undumpable")
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "uid {} gid {}", self.uid, self.gid)?;
        if !self.groups.is_empty() {
            let groups: Vec<String> = self.groups.iter().map(ToString::to_string).collect();
            write!(f, " groups {}", groups.join(" "))?;
        }
        Ok(())
    }
}

/// Sets the effective, permitted, inheritable and ambient capabilities.
#[derive(PartialEq)]
pub struct Capabilities {
    /// The first three.
    pub sets: Sets,
    /// Kept over execve(2) of a program without file capabilities.
    pub ambient: u64,
    /// What stays permitted and effective as well until the seccomp filter is installed.
    pub keep: u64,
}

impl Capabilities {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        let Sets { effective, permitted, inheritable } = self.sets;
        let sets = Sets { effective: effective | self.keep, permitted: permitted | self.keep, inheritable };
        capability::set(sets).what(|| "set capabilities")?;
        capability::clear_ambient().what(|| "clear the ambient capabilities")?;
        for number in (0..64).filter(|number| self.ambient & (1 << number) != 0) {
            capability::raise_ambient(number).what(|| format!("raise ambient capability {}", name(number)))?;
        }
        Ok(())
    }

    /// Whether anything is kept.
    pub fn keeps(&self) -> bool {
        self.keep & !(self.sets.permitted & self.sets.effective) != 0
    }

    /// Drops what was kept.
    pub fn drop_kept(&self) -> Result<()> {
        if self.keeps() { capability::set(self.sets).what(|| "drop CAP_SYS_ADMIN") } else { Ok(()) }
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Sets { effective, permitted, inheritable } = self.sets;
        let sets = [
            ("effective", effective),
            ("permitted", permitted),
            ("inheritable", inheritable),
            ("ambient", self.ambient),
        ];
        let mut first = true;
        for (index, (_, mask)) in sets.iter().enumerate() {
            // Sets that hold the same are told once.
            if sets[..index].iter().any(|(_, earlier)| earlier == mask) {
                continue;
            }
            let same: Vec<&str> = sets.iter().filter(|(_, other)| other == mask).map(|(name, _)| *name).collect();
            write!(f, "{}{} {}", if first { "" } else { "; " }, same.join(", "), Names(*mask))?;
            first = false;
        }
        if self.keeps() {
            write!(f, "; {} until the filter is on", Names(self.keep))?;
        }
        Ok(())
    }
}

/// Sets no_new_privs: from now on execve(2) grants nothing.
#[derive(PartialEq)]
pub struct NoNewPrivileges;

impl NoNewPrivileges {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        prctl::set_no_new_privs().what(|| "set no_new_privs")
    }
}

impl fmt::Display for NoNewPrivileges {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("no_new_privs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_told_once() {
        let kill = 1 << 5;
        let sets = Sets { effective: kill, permitted: kill, inheritable: 0 };
        assert_eq!(
            Capabilities { sets, ambient: 0, keep: 0 }.to_string(),
            "effective, permitted KILL; inheritable, ambient none"
        );
    }
}
