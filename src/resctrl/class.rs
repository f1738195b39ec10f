//! The step that puts the init into a class of service.

use std::fmt;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, UnlinkatFlags, mkdir, unlinkat};

use super::is_there;
use super::own_directory::OwnDirectory;
use crate::error::{Context, Error, Result};
use crate::sys::fd::CWD;
use crate::sys::file;

/// Puts the init into a class of service, which is made and filled where the config says so: config-linux.md
/// of the specification, IntelRdt.
#[derive(PartialEq)]
pub struct Class {
    /// Where resctrl is mounted.
    pub root: String,
    /// The directory of the class.
    pub path: String,
    /// Whether the config names the class: it is then shared, and outlives the container.
    pub named: bool,
    /// `l3CacheSchema` and `memBwSchema`, with which a class that is there already must agree.
    pub own: Vec<String>,
    /// `schemata`.
    pub more: Vec<String>,
    /// The directory of the group that is counted by itself.
    pub monitor: Option<String>,
}

impl Class {
    /// Runs the step: the process is in no class before that has its shares.
    pub fn run(&self, init: Pid) -> Result<()> {
        let made = self.make()?;
        let rest = || {
            self.write_schemata(made)?;
            let pid = init.to_string();
            self.write(&format!("{}/tasks", self.path), &pid)?;
            let Some(monitor) = &self.monitor else { return Ok(()) };
            match mkdir(monitor.as_str(), MODE) {
                Ok(()) | Err(Errno::EEXIST) => self.write(&format!("{monitor}/tasks"), &pid),
                Err(errno) => Err(self.told(Error::os(format!("make {monitor}"), errno))),
            }
        };
        // A class that another container has joined meanwhile is not ours alone: but it has no shares.
        rest().inspect_err(|_| {
            if made {
                let _ = unlinkat(CWD, self.path.as_str(), UnlinkatFlags::RemoveDir);
            }
        })
    }

    /// Creates the class. False: it existed.
    fn make(&self) -> Result<bool> {
        let asks = !self.own.is_empty() || !self.more.is_empty();
        if self.named && !asks {
            return match is_there(&self.path)? {
                true => Ok(false),
                false => Err(Error::os(format!("class of service {}", self.path), Errno::ENOENT)
                    .hint("a class without l3CacheSchema, memBwSchema and schemata must have been made before")),
            };
        }
        match mkdir(self.path.as_str(), MODE) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(self.told(Error::os(format!("make {}", self.path), errno))),
        }
    }

    fn write_schemata(&self, made: bool) -> Result<()> {
        if self.own.is_empty() && self.more.is_empty() {
            return Ok(());
        }
        let path = format!("{}/schemata", self.path);
        if self.named && !made {
            let there = file::read(path.as_str()).what(|| format!("read {path}"))?;
            let there = String::from_utf8_lossy(&there);
            if let Some(other) = self.own.iter().find(|line| !agrees(line, &there)) {
                let message = format!("{path} does not agree with \"{other}\"");
                return Err(Error::new(message).hint("a class that exists is not changed: name another"));
            }
        }
        let lines = self.own.iter().chain(&self.more);
        self.write(&path, &lines.flat_map(|line| [line, "\n"]).collect::<String>())
    }

    fn write(&self, path: &str, value: &str) -> Result<()> {
        file::write(path, value.as_bytes())
            .what(|| format!("write {:?} to {path}", value.trim_end()))
            .map_err(|error| self.told(error))
    }

    /// Adds what the kernel says of the last failure.
    fn told(&self, error: Error) -> Error {
        let said = file::read(format!("{}/info/last_cmd_status", self.root).as_str()).unwrap_or_default();
        match String::from_utf8_lossy(&said).trim() {
            "" | "ok" => error,
            said => error.detail(said),
        }
    }

    /// The directory that goes with the container: the class of its own, or else the group that is counted.
    pub fn own_directory(&self) -> Option<OwnDirectory> {
        let path = if self.named { self.monitor.clone() } else { Some(self.path.clone()) };
        path.map(|path| OwnDirectory::new(path, self.named))
    }
}

const MODE: Mode = Mode::from_bits_truncate(0o755);

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let class = self.path[self.root.len()..].trim_start_matches('/');
        f.write_str(if class.is_empty() { "default class" } else { class })?;
        for line in self.own.iter().chain(&self.more) {
            write!(f, " {line}")?;
        }
        if self.monitor.is_some() { f.write_str(" counted by itself") } else { Ok(()) }
    }
}

/// `L3:0=7f0;1=1f` → `L3`, and the value of each cache. Capacities are masks in hex, bandwidths numbers.
fn schema(line: &str) -> Option<(&str, Vec<(u32, u64)>)> {
    let (resource, domains) = line.trim().split_once(':')?;
    let radix = if resource.starts_with("MB") { 10 } else { 16 };
    let domain = |domain: &str| {
        let (id, value) = domain.split_once('=')?;
        Some((id.trim().parse().ok()?, u64::from_str_radix(value.trim(), radix).ok()?))
    };
    Some((resource, domains.split(';').map(domain).collect::<Option<_>>()?))
}

/// Whether the schemata of a class have what a line asks for; other caches may be there, too.
fn agrees(line: &str, schemata: &str) -> bool {
    let Some((resource, wanted)) = schema(line) else { return false };
    let mut there = schemata.lines().filter_map(schema);
    there.any(|(name, domains)| name == resource && wanted.iter().all(|domain| domains.contains(domain)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A directory in the place of resctrl; what the kernel makes in a new class is missing.
    struct Fake(String);

    impl Fake {
        fn new(name: &str) -> Fake {
            let root = std::env::temp_dir().join(format!("ferrun-resctrl-{name}-{}", std::process::id()));
            let fake = Fake(root.to_str().unwrap().to_owned());
            fake.class("guaranteed", "L3:0=7ff;1=0ff\nMB:0= 20;1=70\n");
            std::fs::create_dir(root.join("info")).unwrap();
            fake
        }

        fn class(&self, name: &str, schemata: &str) {
            let path = format!("{}/{name}", self.0);
            std::fs::create_dir_all(format!("{path}/mon_groups/c1")).unwrap();
            for (file, text) in [("tasks", ""), ("schemata", schemata), ("mon_groups/c1/tasks", "")] {
                std::fs::write(format!("{path}/{file}"), text).unwrap();
            }
        }

        fn step(&self, name: &str, own: &[&str], more: &[&str]) -> Class {
            let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
            let path = format!("{}/{name}", self.0);
            Class { root: self.0.clone(), path, named: true, own: lines(own), more: lines(more), monitor: None }
        }

        fn read(&self, file: &str) -> String {
            std::fs::read_to_string(format!("{}/{file}", self.0)).unwrap()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const INIT: Pid = Pid::from_raw(4711);

    #[test]
    fn a_class_that_exists_is_joined_and_must_agree() {
        let fake = Fake::new("joined");
        fake.step("guaranteed", &[], &[]).run(INIT).unwrap();
        assert_eq!(fake.read("guaranteed/tasks"), "4711");
        let before = fake.read("guaranteed/schemata");
        let other = fake.step("guaranteed", &["L3:0=7fe"], &[]).run(INIT).unwrap_err();
        assert!(other.message.contains("\"L3:0=7fe\""), "{other}");
        assert_eq!(fake.read("guaranteed/schemata"), before);
        fake.step("guaranteed", &["L3:1=ff", "MB:0=20"], &["L2:0=f"]).run(INIT).unwrap();
        assert!(fake.read("guaranteed/schemata").starts_with("L3:1=ff\nMB:0=20\nL2:0=f\n"), "in this order");
        let missing = fake.step("missing", &[], &[]).run(INIT).unwrap_err();
        assert_eq!(missing.code(), Errno::ENOENT);
        assert!(!Path::new(&fake.step("missing", &[], &[]).path).exists(), "it is not made");
    }

    #[test]
    fn a_class_that_cannot_be_filled_is_removed_and_the_kernels_words_are_told() {
        let fake = Fake::new("removed");
        std::fs::write(format!("{}/info/last_cmd_status", fake.0), "unknown resource\n").unwrap();
        // Here it fails since a new directory of an ordinary file system has no schemata.
        let step = fake.step("new", &["L3:0=1"], &[]);
        let error = step.run(INIT).unwrap_err();
        assert_eq!(error.detail.as_deref(), Some("unknown resource"));
        assert!(!Path::new(&step.path).exists());
    }

    #[test]
    fn only_what_is_the_containers_own_is_removed() {
        let fake = Fake::new("own");
        let named = fake.step("guaranteed", &[], &[]);
        assert_eq!(named.own_directory(), None);
        let counted = Class { monitor: Some(format!("{}/mon_groups/c1", named.path)), ..named };
        counted.run(INIT).unwrap();
        assert_eq!(fake.read("guaranteed/mon_groups/c1/tasks"), "4711");
        let mut group = counted.own_directory().unwrap();
        group.probe().unwrap();
        assert!(group.has_tasks());
        std::fs::remove_file(format!("{}/tasks", group.path)).unwrap();
        group.remove().unwrap();
        assert!(!Path::new(&group.path).exists() && Path::new(&counted.path).exists());
        group.remove().expect("once more");

        let unnamed = Class { named: false, ..fake.step("c1", &[], &[]) };
        let mut own = unnamed.own_directory().unwrap();
        own.probe().unwrap();
        std::fs::create_dir(&own.path).unwrap();
        assert!(!own.has_tasks());
        own.remove().unwrap();
        assert!(!Path::new(&own.path).exists());
        std::fs::create_dir(&own.path).unwrap();
        own.probe().unwrap();
        own.remove().unwrap();
        assert!(Path::new(&own.path).exists(), "it was there before");
    }

    #[test]
    fn schemata_are_compared_by_what_they_say() {
        for (line, there, same) in [
            ("L3:0=7f0;1=1f", "    L3:1=01f;0=7F0\n", true),
            ("L3:0=7f0", "L3:0=7f0;1=1f", true),
            ("L3:2=1", "L3:0=1;1=1", false),
            ("MB:0=20", "MB:0= 20;1= 70", true),
            ("MB:0=20", "L3:0=20", false),
            ("nonsense", "nonsense", false),
        ] {
            assert_eq!(agrees(line, there), same, "{line} {there}");
        }
    }
}
