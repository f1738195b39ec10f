//! The state directory: what is written down about a container, so that the next command finds it.
//!
//! `state.json` has a line on the container, written before anything of it exists, and a line on its
//! init, added (in one write) as soon as there is one. Until the container is created the file is
//! called `creating.json`: renaming it is the moment in which `create` succeeds.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::sys::statfs::FsType;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::id::Id;
use crate::cgroup::directory::Directory;
use crate::cgroup::resctrl::OwnDirectory;
use crate::cgroup::systemd::Unit;
use crate::error::{Context, Error, Result};
use crate::launch::{exec_fifo, notify, start_page};
use crate::process::hook::Hook;
use crate::sys::fd::CWD;
use crate::sys::{file, pidfd};

const CREATING: &str = "creating.json";
const CREATED: &str = "state.json";

/// The device rules that `update` has set.
pub const DEVICES: &str = "devices.json";

/// Everything that can be in a state directory.
pub const FILES: &[&str] =
    &[CREATED, CREATING, DEVICES, exec_fifo::FIFO, start_page::FILE, OLD_FAILURE, notify::SOCKET];

/// What older versions had for the report of a program that could not be executed.
const OLD_FAILURE: &str = "exec.error";

/// What is known of a container before it exists.
#[derive(Serialize, Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The version that its config.json names.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// The root file system's absolute path.
    pub rootfs: PathBuf,
    /// When `create` began: RFC 3339, UTC.
    pub created: String,
    /// The config's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its directories in the cgroup hierarchies.
    pub cgroup: Vec<Directory>,
    /// The unit of systemd that they belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Its directory in resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<OwnDirectory>,
    /// Whether its processes share the caller's pid namespace, so that they outlive the init.
    #[serde(default)]
    pub shared_pid_namespace: bool,
    /// The hooks that later commands run: poststart and poststop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Whether the seccomp profile does not allow the program to be executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub denies_execve: bool,
    /// The init, once there is one.
    #[serde(skip)]
    pub init: Option<Init>,
    /// Whether `create` has succeeded.
    #[serde(skip)]
    pub complete: bool,
    /// The file of this, open.
    #[serde(skip)]
    pub file: Option<Rc<File>>,
}

impl State {
    /// Whether the container is deleted since: then its id, and the names of its cgroups, may be another's.
    pub fn is_deleted(&self) -> bool {
        let links = self.file.as_ref().and_then(|file| fstat(file).ok()).map(|stat| stat.st_nlink);
        links == Some(0)
    }
}

/// Who the init is: a pid alone may have passed on to another process.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Init {
    /// Its pid.
    pub pid: i32,
    /// The inode of its pidfd, which no other process of this boot has (pidfs, Linux 6.9); before, 0.
    pub inode: u64,
    /// Where there is no pidfs: its start time in clock ticks since boot (proc(5)); else 0.
    pub start_time: u64,
}

impl Init {
    /// The identity of a process that is there now.
    pub fn of(pid: Pid, process: impl AsFd) -> Result<Init> {
        const PIDFS_MAGIC: FsType = FsType(0x5049_4446);
        let what = || "identify the container's process";
        let pidfs = nix::sys::statfs::fstatfs(process.as_fd()).is_ok_and(|fs| fs.filesystem_type() == PIDFS_MAGIC);
        let inode = if pidfs { fstat(process).what(what)?.st_ino } else { 0 };
        let start_time = if pidfs { 0 } else { start_time(pid).what(what)? };
        Ok(Init { pid: pid.as_raw(), inode, start_time })
    }

    /// Its descriptor, if it is still that process, dead or alive.
    pub fn open(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(self.pid);
        let process = pidfd::open(pid).ok()?;
        (Init::of(pid, &process).ok()? == *self).then_some(process)
    }
}

/// Field 22 of /proc/PID/stat; the second field may hold spaces and brackets.
fn start_time(pid: Pid) -> std::io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let field = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19));
    field.and_then(|field| field.parse().ok()).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// The directory of the state directories.
#[derive(Clone, Debug)]
pub struct Root(pub PathBuf);

impl Root {
    /// A container's own directory.
    pub fn of(&self, id: &Id) -> PathBuf {
        self.0.join(id.as_str())
    }

    /// Reads a container's state.
    ///
    /// # Errors
    /// "does not exist", which engines match.
    pub fn load(&self, id: &Id) -> Result<State> {
        self.find(id)?.ok_or_else(|| missing(id))
    }

    /// Reads a container's state, if it has one.
    ///
    /// # Errors
    /// One that cannot be read or understood: nobody knows what there is of the container.
    pub fn find(&self, id: &Id) -> Result<Option<State>> {
        let directory = self.of(id);
        // The second look is for the container that is completed between the first two.
        for (name, complete) in [(CREATED, true), (CREATING, false), (CREATED, true)] {
            match file::open_and_read_at(CWD, &directory.join(name)) {
                // Not even the first line is written yet.
                Ok((_, text)) if !complete && !text.contains(&b'\n') => {}
                Ok((file, text)) => {
                    let damaged = || {
                        Error::new(format!("the state of container {id} is damaged"))
                            .hint(format!("end its processes by hand, then remove {directory:?}"))
                    };
                    let state = parse(&text, complete).ok_or_else(damaged)?;
                    return Ok(Some(State { file: Some(Rc::new(file.into())), ..state }));
                }
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(Error::os(format!("read the state of container {id}"), errno)),
            }
        }
        Ok(None)
    }

    /// The ids of all containers.
    pub fn ids(&self) -> Vec<Id> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<Id> = names.filter_map(|name| Id::new(&name).ok()).collect();
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        ids
    }
}

/// The error for a container that is not there.
pub fn missing(id: &Id) -> Error {
    Error::new(format!("container does not exist: {id}"))
}

fn parse(text: &[u8], complete: bool) -> Option<State> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut state: State = serde_json::from_slice(lines.next()?).ok()?;
    state.init = lines.next().and_then(|line| serde_json::from_slice(line).ok());
    state.complete = complete;
    Some(state)
}

/// The state directory of a container that is being created.
pub struct Record {
    /// The directory.
    pub directory: PathBuf,
    /// The file of the state.
    pub file: Rc<File>,
}

impl Record {
    /// Makes the directory: the container's id is taken from now on.
    ///
    /// # Errors
    /// An id that is in use.
    pub fn begin(root: &Root, id: &Id) -> Result<Record> {
        let directory = root.of(id);
        match make_directory(&directory) {
            Err(Errno::ENOENT) => {
                // Whoever may write there may have containers deleted: root alone, whatever the umask.
                let made = DirBuilder::new().recursive(true).mode(0o700).create(&root.0);
                made.what(|| format!("make the state directory {:?}", root.0))?;
                make_directory(&directory)
            }
            result => result,
        }
        .map_err(|errno| match errno {
            Errno::EEXIST => Error::new(format!("container with given ID already exists: {id}")),
            _ => Error::os(format!("make the state directory {directory:?}"), errno),
        })?;
        match File::create_new(directory.join(CREATING)) {
            Ok(file) => Ok(Record { directory, file: Rc::new(file) }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&directory);
                Err(Error::io(format!("write the state of container {id}"), &error))
            }
        }
    }

    /// Writes the first line.
    pub fn state(&self, state: &State) -> Result<()> {
        let mut line = serde_json::to_vec(state).unwrap_or_default();
        line.push(b'\n');
        (&*self.file).write_all(&line).what(|| format!("write the state of container {}", state.id))
    }

    /// Adds the init.
    pub fn init(&self, init: &Init) -> Result<()> {
        let line = serde_json::to_vec(init).unwrap_or_default();
        (&*self.file).write_all(&line).what(|| "write the container's process to its state")
    }

    /// Marks the container as created.
    pub fn complete(&self) -> Result<()> {
        let rename = std::fs::rename(self.directory.join(CREATING), self.directory.join(CREATED));
        rename.what(|| "complete the container's state")
    }
}

fn make_directory(path: &Path) -> nix::Result<()> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_without_an_init_is_read() {
        let line = br#"{"ociVersion":"1.0.0","id":"a","bundle":"/b","rootfs":"/b/r","created":"x","cgroup":[]}"#;
        let state = parse(line, false).unwrap();
        assert!(state.init.is_none() && !state.complete);
        let both = [&line[..], b"\n{\"pid\":7,\"inode\":9,\"startTime\":0}"].concat();
        assert_eq!(parse(&both, true).unwrap().init, Some(Init { pid: 7, inode: 9, start_time: 0 }));
        let cut = [&line[..], b"\n{\"pid\":7,\"ino"].concat();
        assert!(parse(&cut, false).unwrap().init.is_none(), "a line that was not finished does not count");
        assert!(parse(&line[..20], false).is_none());
    }

    #[test]
    fn identities_do_not_pass_on() {
        let me = Init::of(nix::unistd::getpid(), pidfd::open(nix::unistd::getpid()).unwrap()).unwrap();
        assert!(me.open().is_some());
        assert!(Init { inode: me.inode + 1, ..me }.open().is_none());
        assert!(Init { start_time: me.start_time + 1, ..me }.open().is_none());
        assert!(Init { pid: i32::MAX, ..me }.open().is_none());
        assert!(start_time(nix::unistd::getpid()).unwrap() > 0);
    }
}
