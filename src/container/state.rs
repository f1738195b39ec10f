//! The state directory: what is written down about a container, so that the next command finds it.
//!
//! `state.json` has a line on the container, written before anything of it exists, and a line on its
//! init, added (in one write) as soon as there is one. Until the container is created the file is
//! called `creating.json`: renaming it is the moment in which `create` succeeds.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};

use super::boot::{Boot, BootId};
use super::id::Id;
pub use super::init_identity::Init;
use super::state_format;
use crate::cgroup::directory::Directory;
use crate::cgroup::resctrl::OwnDirectory;
use crate::cgroup::systemd::Unit;
use crate::error::{Context, Error, Result};
use crate::launch::{exec_fifo, notify, start_page};
use crate::process::hook::Hook;
use crate::sys::fd::CWD;
use crate::sys::file;

pub(super) const CREATING: &str = "creating.json";
pub(super) const CREATED: &str = "state.json";

/// The device rules that `update` has set.
pub const DEVICES: &str = "devices.json";

/// Everything that can be in a state directory.
pub const FILES: &[&str] =
    &[CREATED, CREATING, DEVICES, exec_fifo::FIFO, start_page::FILE, FAILURE_OF_FORMAT_1, notify::SOCKET];

/// What format 1 has for the report of a program that could not be executed.
const FAILURE_OF_FORMAT_1: &str = "exec.error";

/// What is known of a container before it exists.
#[derive(Serialize, Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The format in which it is written: state_format.rs.
    #[serde(default = "state_format::unnamed")]
    pub format: u32,
    /// The boot that it is from, as far as ferrun's /proc shows it. Format 1 lacks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootId>,
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
    /// The boot that it is from, compared with the running one.
    ///
    /// # Errors
    /// A boot id that cannot be read.
    pub fn which_boot(&self) -> Result<Boot> {
        Boot::of(self.boot.as_ref())
    }

    /// The descriptor of its init, dead or alive. `None`: it is gone, or not on record.
    ///
    /// # Errors
    /// Those of [`Init::open`].
    pub fn open_init(&self) -> Result<Option<OwnedFd>> {
        let Some(init) = self.init else { return Ok(None) };
        init.open(self.which_boot()?, &self.cgroup)
    }

    /// Whether processes in its cgroups are the container's although its init does not live. One with a pid
    /// namespace of its own, whose init is on record and dead, has none: those in its cgroup are somebody else's.
    /// So is the cgroup itself after another boot.
    ///
    /// # Errors
    /// A boot id that cannot be read.
    pub fn owns_processes(&self) -> Result<bool> {
        Ok((self.shared_pid_namespace || self.init.is_none()) && self.which_boot()? != Boot::Other)
    }

    /// Whether the container is deleted since: then its id, and the names of its cgroups, may be another's.
    pub fn is_deleted(&self) -> bool {
        let links = self.file.as_ref().and_then(|file| fstat(file).ok()).map(|stat| stat.st_nlink);
        links == Some(0)
    }
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
                    let state = state_format::parse(&text, complete);
                    let state = state.ok_or_else(|| state_format::unreadable(id, &directory, &text))?;
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
