//! [`Spec`] → [`Plan`]: pure compilation, without a look at the host but for [`Host`]. One file a
//! subject; what runs the steps is in launch/, what they do in rootfs/, process/ and cgroup/.

mod cgroups;
mod devices;
pub mod diff;
mod exec;
pub mod explain;
mod hooks;
pub mod host;
mod identity;
pub mod init_lane;
mod kernel;
mod mounts;
mod namespaces;
pub mod notify;
pub mod parent_lane;
mod paths;
mod resctrl;
pub mod resources;
mod sealing;
mod seccomp;
mod security;
pub mod step;
pub mod systemd;
mod tree_namespace;
mod user_namespace;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use exec::Target;
pub use host::Host;
pub use init_lane::InitAction;
pub use parent_lane::ParentAction;
pub use step::{Action, Step};

use crate::bundle::Bundle;
use crate::bundle::spec::Spec;
use crate::cgroup::Manager;
use crate::cgroup::directory::Directory;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::process::affinity::AllCpus;
use crate::process::exec::Program;
use crate::process::hook::Hook;
use crate::process::limits::Rlimit;
use crate::process::session::{Hide, Isolate, Keyring};
use crate::resctrl::own_directory::OwnDirectory;
use crate::rootfs::idmap::{Maps, UserNamespace};
use crate::rootfs::node_store::NodeStore;
use crate::seccomp::step::Install;
use crate::systemd::Unit;
use crate::types::seccomp::profile::Listener;
use step::{AwaitReady, Record, Release, Wait};

/// The program that starts a container: two processes run it side by side.
#[derive(Default)]
pub struct Plan {
    /// What ferrun does.
    pub parent: Vec<Step<ParentAction>>,
    /// What the init does, from its creation to the container's program.
    pub init: Vec<Step<InitAction>>,
    /// The hooks that run after both lanes: when the program runs, and when the container is gone.
    pub later: Vec<Hook>,
    /// The program, unless the container can only be created.
    pub program: Option<Rc<Program>>,
    /// The container's cgroup directories.
    pub cgroup: Vec<Directory>,
    /// The unit that they belong to, where systemd makes them.
    pub unit: Option<Unit>,
    /// The container's directory in resctrl.
    pub resctrl: Option<OwnDirectory>,
    /// What cannot be had here and is left out.
    pub warnings: Vec<Error>,
    /// What only `check` and `explain` say: configs that engines write have it.
    pub remarks: Vec<Error>,
    /// The hooks that the init runs just before the program.
    pub start_hooks: Vec<Hook>,
    /// The user of the host that the program, and these hooks, run as; `None`: ferrun's own.
    pub user_on_host: Option<u32>,
    /// Whether the init is in the pid namespace of others.
    pub joins_pid_namespace: bool,
    /// Whether the process is a further one of a container.
    pub is_further: bool,
    /// How many descriptors after the standard streams the program has of the caller's.
    pub preserved: i32,
    /// How many mounts are kept for what changes them later, at most.
    pub kept: usize,
    /// How many devices the config has.
    pub devices: usize,
    /// Who answers the calls that the filter asks about.
    pub listener: Option<Listener>,
    /// Whether there is a filter of system calls.
    pub has_filter: bool,
    /// Whether it does not allow the program to be executed.
    pub denies_execve: bool,
    /// Whether no_new_privs is set.
    pub no_new_privileges: bool,
    /// The limits that explain why a process died.
    pub deadly: DeadlyLimits,
    /// The maps of mounts, each once.
    pub maps: Vec<Rc<UserNamespace>>,
    /// The devices that the parent creates.
    pub nodes: Option<Rc<NodeStore>>,
    /// For the hints of errors: what the container has of a user namespace.
    mapped: Option<user_namespace::Mapped>,
}

/// The limits by which the kernel ends processes, each with the property that sets it.
#[derive(Default)]
pub struct DeadlyLimits {
    /// The limit on memory, in bytes. Of two the later counts.
    pub memory: Option<(u64, String)>,
    /// Those on CPU time, real time and the size of files.
    pub resources: Vec<(Pointer, Rlimit)>,
    /// Whether the init is created in its cgroup, where some kernels kill it (exit_reason.rs).
    pub created_in_cgroup: bool,
}

/// What the command line says about how to start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// Move the root instead of pivot_root(2).
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Who makes the cgroups.
    pub manager: Manager,
    /// Move the process to its cgroup of v2, in which some kernels kill what is created (exit_reason.rs).
    pub moves: bool,
    /// How many sockets the program is to listen on, after the standard streams: sd_listen_fds(3).
    pub listening: u32,
    /// How many further descriptors it has of the caller's, after those.
    pub preserved: u32,
    /// The directory of the socket on which the program may tell a service manager that it is ready.
    pub notify: Option<PathBuf>,
}

/// Where the steps of one compilation come from and go to.
struct Compiler<'a> {
    spec: &'a Spec,
    bundle: &'a Path,
    host: &'a Host,
    options: &'a Options,
    plan: Plan,
    /// The unit's, where systemd makes the cgroups.
    names: Option<systemd::names::Names>,
    /// The container's cgroup directories, whoever makes them.
    directories: Vec<Directory>,
    /// The mounts that become read-only at the end.
    sealing: sealing::Sealing,
    /// The maps of mounts, to be found by themselves.
    maps: BTreeMap<Maps, Rc<UserNamespace>>,
    /// What this host cannot honour.
    errors: Vec<Error>,
    /// Whether the process goes on in another one, which is in the pid namespace of others.
    crosses: bool,
    /// How a mount namespace of the container's own begins.
    beginning: tree_namespace::Beginning,
    /// The filter, where that depends on it.
    filter: Option<Result<Option<Install>>>,
}

/// Compiles a bundle's spec for a host.
///
/// # Errors
/// A property that this host cannot honour, with its pointer.
pub fn compile(bundle: &Bundle, host: &Host, options: &Options) -> Result<Plan> {
    let (plan, errors) = compile_all(bundle, host, options);
    errors.into_iter().next().map_or(Ok(plan), Err)
}

/// The same with every property that this host cannot honour; the plan is without them.
pub fn compile_all(bundle: &Bundle, host: &Host, options: &Options) -> (Plan, Vec<Error>) {
    let mut compiler = Compiler::new(bundle, host, options);
    compiler.compile();
    (compiler.plan, compiler.errors)
}

/// Compiles a further process of a running container: that of the spec.
///
/// # Errors
/// As [`compile`].
pub fn compile_exec(bundle: &Bundle, host: &Host, options: &Options, target: &Target) -> Result<Plan> {
    let mut compiler = Compiler::new(bundle, host, options);
    compiler.compile_exec(target);
    compiler.errors.into_iter().next().map_or(Ok(compiler.plan), Err)
}

impl Plan {
    /// The first number above those of the descriptors that the program has: the streams, and what is preserved.
    pub fn handed_on(&self) -> u32 {
        (3 + self.preserved).unsigned_abs()
    }

    /// An error of the init with a hint, where its user namespace is in the way.
    pub fn explained(&self, error: Error, action: &InitAction) -> Error {
        match &self.mapped {
            Some(mapped) => mapped.explain(error, action),
            None => error,
        }
    }
}

impl<'a> Compiler<'a> {
    fn new(bundle: &'a Bundle, host: &'a Host, options: &'a Options) -> Compiler<'a> {
        let (names, directories, sealing, maps, errors) = Default::default();
        // Room that is not used costs nothing, and a list that grows is copied to pages that were not touched yet.
        let plan = Plan { parent: Vec::with_capacity(32), init: Vec::with_capacity(96), ..Plan::default() };
        let (spec, bundle) = (&bundle.spec, &*bundle.dir);
        let (crosses, beginning, filter) = Default::default();
        Compiler {
            spec,
            bundle,
            host,
            options,
            plan,
            names,
            directories,
            sealing,
            maps,
            errors,
            crosses,
            beginning,
            filter,
        }
    }

    fn compile(&mut self) {
        let label = self.check_mount_label();
        self.note(label);
        self.plan.mapped = self.mapped();
        let names = self.names_of_unit();
        self.names = self.note(names).flatten();
        self.directories = self.directories();
        self.sealing = self.sealing();
        self.plan.kept = self.sealing.kept.len();
        self.plan.preserved = self.preserved();
        self.plan.user_on_host = self.user_on_host();
        self.crosses = self.can_cross() && self.filter_allows_crossing();
        self.beginning = self.choose_beginning();
        self.parent_lane();
        match self.crosses {
            true => self.init(None, Hide),
            false => self.init(None, Isolate),
        }
        match self.has_user_namespace() {
            true => self.begin_in_user_namespace(),
            false => self.begin(),
        }
        self.devices();
        self.create_hooks();
        let entered = self.enter_root();
        self.note(entered);
        self.terminal();
        self.sysctl();
        self.paths();
        let filter = self.restrict();
        self.ready(filter);
        if self.crosses {
            self.cross(true);
        }
        self.start_hooks();
        self.execute();
        self.later_hooks();
    }

    /// How many descriptors after the standard streams the program gets.
    fn preserved(&self) -> i32 {
        i32::try_from(self.options.listening + self.options.preserved).unwrap_or(i32::MAX - 3)
    }

    /// Who the program is, and what it may do and use; returns the filter that is still to be installed.
    fn restrict(&mut self) -> Option<Install> {
        let filter = self.filter.take().unwrap_or_else(|| self.compile_filter());
        let filter = self.note(filter).flatten();
        self.identity(filter.is_some());
        filter
    }

    /// Goes on after what cannot be honoured, to find all of it.
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    /// The init's first steps, up to the last mount.
    fn begin(&mut self) {
        self.keyring();
        self.oom_score_adj();
        self.enter();
        self.unshare();
        let [early, late] = self.mounts_by_time();
        if self.joins_mount_namespace() {
            // The cgroups may not be mounted there.
            self.init(None, Wait);
            self.join_cgroup();
            self.enter_mount();
            self.root();
            self.mounts(early);
        } else {
            self.root();
            self.mounts(early);
            // What the parent prepares meanwhile is waited for as late as possible.
            self.init(None, Wait);
            self.join_cgroup();
        }
        self.init(None, AllCpus);
        self.mounts(late);
        self.notify_mount();
    }

    /// The same in a user namespace. When its ids are mapped, and until it changes its own, the init is the host's root to
    /// the host's files and has all capabilities over the container's: it finds the rootfs below directories of either,
    /// and may enter the cgroups. Before, whether it has these capabilities would depend on how far the parent is. What
    /// belongs to the container is made by the container's root.
    fn begin_in_user_namespace(&mut self) {
        self.unshare_mount();
        self.init(None, Wait);
        self.root();
        self.check_maps();
        self.join_cgroup();
        self.init(None, AllCpus);
        self.become_root();
        self.keyring();
        self.unshare();
        self.mounts_by_time().into_iter().for_each(|mounts| self.mounts(mounts));
        self.notify_mount();
    }

    fn keyring(&mut self) {
        if !self.options.no_new_keyring {
            if !self.plan.is_further {
                self.key_label();
            }
            self.init(None, Keyring);
        }
    }

    /// What can be done before the init exists is done before only where the init needs it at birth.
    fn parent_lane(&mut self) {
        self.open_namespaces();
        let cgroup = self.cgroup_at_clone();
        self.note(cgroup);
        self.new_time();
        self.mapped_mounts();
        self.create_nodes();
        self.clone();
        if !self.crosses {
            self.parent(None, Record);
        }
        let mapped = self.user_namespace();
        self.note(mapped);
        let cgroups = self.cgroup_meanwhile();
        self.note(cgroups);
        self.net_devices();
        let resctrl = self.resctrl();
        self.note(resctrl);
        self.parent(None, Release);
        self.open_sources();
        self.runtime_hooks();
        if self.crosses {
            self.cross_in_parent(true);
        }
        self.parent(None, AwaitReady);
    }

    fn parent(&mut self, from: Option<Pointer>, action: impl Into<ParentAction>) {
        self.plan.parent.push(Step { from, action: action.into() });
    }

    fn init(&mut self, from: Option<Pointer>, action: impl Into<InitAction>) {
        self.plan.init.push(Step { from, action: action.into() });
    }

    fn warn(&mut self, from: Pointer, message: String) {
        self.plan.warnings.push(Error::new(message).from_property(from));
    }

    /// A path of the config on the host: relative ones start at the bundle.
    fn on_host(&self, path: &std::ffi::CStr) -> PathBuf {
        self.bundle.join(path_of(path))
    }
}

/// Whether a path is a directory or in it, by their names.
pub fn is_in(path: &Path, directory: &Path) -> bool {
    path.starts_with(directory) && !path.components().any(|part| part == std::path::Component::ParentDir)
}

/// The path that a string of the kernel's is.
pub fn path_of(path: &std::ffi::CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()))
}

/// A path for the kernel.
fn c_path(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).expect("joined from strings without NUL")
}
