//! The state directory: what is written down about a container, so that the next command finds it.
//!
//! `state.json` has a line on the container, written before anything of it exists, and a line on its
//! init, added (in one write) as soon as there is one. Until the container is created the file is
//! called `creating.json`: renaming it is the moment in which `create` succeeds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use nix::dir::Type;
use nix::errno::Errno;
use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};

use super::boot::{Boot, BootId};
use super::directory::{self, Purpose, StateDirectory};
use super::id::Id;
pub use super::init_identity::Init;
use super::kept_config;
use super::state_format;
use crate::cgroup::directory::Directory;
use crate::cgroup::layout::{self, Layout};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::launch::{exec_fifo, notify, start_page};
use crate::process::hook::Hook;
use crate::resctrl::own_directory::OwnDirectory;
use crate::systemd::Unit;

pub(super) const CREATING: &str = "creating.json";
pub(super) const CREATED: &str = "state.json";

/// The device rules that `update` has set.
pub const DEVICES: &str = "devices.json";

/// Everything that can be in a state directory.
pub const FILES: &[&str] = &[
    CREATED,
    CREATING,
    kept_config::FILE,
    DEVICES,
    exec_fifo::FIFO,
    start_page::FILE,
    FAILURE_OF_FORMAT_1,
    notify::SOCKET,
];

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
    /// The hooks that later commands run, poststart and poststop, and those that `start` watches, startContainer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Whether the seccomp profile does not allow the program to be executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub denies_execve: bool,
    /// Whether the config has no `process`: then there is nothing to start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_process: bool,
    /// The init, once there is one.
    #[serde(skip)]
    pub init: Option<Init>,
    /// Whether `create` has succeeded.
    #[serde(skip)]
    pub complete: bool,
    /// The file of this, open.
    #[serde(skip)]
    pub file: Option<Rc<File>>,
    /// Its directory, open.
    #[serde(skip)]
    pub directory: Option<Rc<StateDirectory>>,
    /// The hierarchies in which its cgroups were found to be, if it was read to act.
    #[serde(skip)]
    pub layout: Option<Rc<Layout>>,
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
pub struct Root {
    path: PathBuf,
    /// Whether the caller has named it.
    given: bool,
}

impl Root {
    /// The root that the caller names.
    pub fn given(path: PathBuf) -> Root {
        Root { path, given: true }
    }

    /// The root where none is named, which is created with the first container.
    pub fn default(path: PathBuf) -> Root {
        Root { path, given: false }
    }

    /// The path of a container's own directory.
    pub fn of(&self, id: &Id) -> PathBuf {
        self.path.join(id.as_str())
    }

    /// Opens a container's own directory. `None`: it, or the root, is missing.
    ///
    /// # Errors
    /// To act: a directory that others can write to.
    pub fn directory(&self, id: &Id, purpose: Purpose) -> Result<Option<StateDirectory>> {
        match directory::open_root(&self.path, purpose)? {
            Some(root) => StateDirectory::open(root, self.of(id), id, purpose),
            None => Ok(None),
        }
    }

    /// Reads a container's state.
    ///
    /// # Errors
    /// "does not exist", which engines match.
    pub fn load(&self, id: &Id, purpose: Purpose) -> Result<State> {
        self.find(id, purpose)?.ok_or_else(|| self.missing(id))
    }

    /// Reads a container's state, if it has one.
    ///
    /// # Errors
    /// One that cannot be read or understood: nobody knows what there is of the container. To act: one that others can
    /// have written.
    pub fn find(&self, id: &Id, purpose: Purpose) -> Result<Option<State>> {
        match self.directory(id, purpose)? {
            Some(directory) => State::read(Rc::new(directory), id, purpose),
            None => Ok(None),
        }
    }

    /// The error for a container that is not there.
    pub fn missing(&self, id: &Id) -> Error {
        let error = Error::new(format!("container does not exist: {id}")).of_kind(ErrorKind::NoContainer);
        match self.given && matches!(self.path.try_exists(), Ok(false)) {
            true => error.hint(format!("the state root {:?} does not exist", self.path)),
            false => error,
        }
    }

    /// The ids of all containers.
    ///
    /// # Errors
    /// A root that cannot be read; one that the caller has named and that is missing.
    pub fn ids(&self) -> Result<Vec<Id>> {
        let what = || format!("read the state root {:?}", self.path);
        let root = match directory::open_root(&self.path, Purpose::Look)? {
            Some(root) => root,
            None if self.given => return Err(Error::os(what(), Errno::ENOENT)),
            None => return Ok(Vec::new()),
        };
        let entries = directory::entries(&root).what(what)?;
        let directories = entries.into_iter().filter(|(_, kind)| kind.is_none_or(|kind| kind == Type::Directory));
        let mut ids: Vec<Id> = directories.filter_map(|(name, _)| Id::new(name.to_str().ok()?).ok()).collect();
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(ids)
    }
}

impl State {
    /// Reads the state in an open directory, if there is one.
    pub(super) fn read(directory: Rc<StateDirectory>, id: &Id, purpose: Purpose) -> Result<Option<State>> {
        // The second look is for the container that is completed between the first two.
        for (name, complete) in [(CREATED, true), (CREATING, false), (CREATED, true)] {
            let Some(regular) = directory.read(name)? else { continue };
            // Not even the first line is written yet.
            if !complete && !regular.text.contains(&b'\n') {
                continue;
            }
            let state = state_format::parse(&regular.text, complete);
            let state = state.ok_or_else(|| state_format::unreadable(id, directory.path(), &regular.text))?;
            let layout = state.check_cgroups(id, purpose)?.map(Rc::new);
            let file = Some(Rc::new(regular.file.into()));
            return Ok(Some(State { file, directory: Some(directory), layout, ..state }));
        }
        Ok(None)
    }

    /// Refuses directories that are no cgroups: what is in them would be read, killed or removed. Gives the hierarchies, if
    /// it had to look at them.
    fn check_cgroups(&self, id: &Id, purpose: Purpose) -> Result<Option<Layout>> {
        let wrong = |path: &str, reason: &str| {
            let error = Error::new(format!("read the state of container {id}: the cgroup {path:?} {reason}"));
            error.hint("somebody has changed the state: end the container's processes by hand, then remove it")
        };
        if self.cgroup.is_empty() {
            return Ok(None);
        }
        let layout = match purpose {
            Purpose::Act if self.which_boot()? != Boot::Other => Some(Layout::probe()?),
            _ => None,
        };
        self.cgroup.iter().try_for_each(|Directory { path, .. }| {
            let checked = match &layout {
                Some(layout) => layout.find(path).map(drop),
                None => layout::check_below_mount_point(path),
            };
            checked.map_err(|reason| wrong(path, reason))
        })?;
        Ok(layout)
    }
}

/// The state directory of a container that is being created.
pub struct Record {
    /// The directory.
    pub directory: Rc<StateDirectory>,
    /// The file of the state.
    pub file: Rc<File>,
}

impl Record {
    /// Creates the directory: the container's id is taken from now on.
    ///
    /// # Errors
    /// An id that is in use; a root that others can write to.
    pub fn begin(root: &Root, id: &Id) -> Result<Record> {
        let directory = StateDirectory::create(&root.path, id)?;
        match directory.create_file(CREATING) {
            Ok(file) => Ok(Record { directory: Rc::new(directory), file: Rc::new(file) }),
            Err(errno) => {
                let _ = directory.remove_itself();
                Err(errno).what(|| format!("write the state of container {id}"))
            }
        }
    }

    /// Gives the id back, before anything else is there.
    pub fn withdraw(&self) {
        let _ = self.directory.remove(kept_config::FILE);
        let _ = self.directory.remove(CREATING).and_then(|()| self.directory.remove_itself());
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
        self.directory.rename(CREATING, CREATED).what(|| "complete the container's state")
    }
}
