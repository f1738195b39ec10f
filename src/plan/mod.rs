//! [`Spec`] → [`Plan`]: pure compilation, without a look at the host but for [`Host`]. One file a
//! subject; what runs the steps is in launch/, what they do in rootfs/, process/ and cgroup/.

mod cgroups;
mod devices;
pub mod diff;
pub mod explain;
mod hooks;
pub mod host;
mod identity;
mod kernel;
mod mounts;
mod namespaces;
mod resctrl;
mod seccomp;
mod security;
pub mod step;
mod user_namespace;

use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use host::Host;
pub use step::{Action, Step};

use crate::bundle::Bundle;
use crate::bundle::spec::Spec;
use crate::cgroup::directory::Directory;
use crate::cgroup::resctrl::OwnDirectory;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::process::session::{Isolate, Keyring};
use crate::rootfs::idmap::UserNamespace;
use step::{AwaitReady, Record, Release, Wait};

/// The program that starts a container: two processes run it side by side.
#[derive(Default)]
pub struct Plan {
    /// What ferrun does.
    pub parent: Vec<Step>,
    /// What the init does, from its birth to the container's program.
    pub init: Vec<Step>,
    /// What ferrun does when the program runs, and when the container is gone: the hooks of then.
    pub later: Vec<Step>,
    /// The container's cgroup directories.
    pub cgroup: Vec<Directory>,
    /// The container's directory in resctrl.
    pub resctrl: Option<OwnDirectory>,
    /// What cannot be had here and is left out.
    pub warnings: Vec<Error>,
    /// For the hints of errors: what the container has of a user namespace.
    mapped: Option<user_namespace::Mapped>,
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
    /// Leave cgroups alone.
    pub no_cgroup: bool,
}

/// Where the steps of one compilation come from and go to.
struct Compiler<'a> {
    spec: &'a Spec,
    bundle: &'a Path,
    host: &'a Host,
    options: &'a Options,
    plan: Plan,
    /// The maps of mounts, each once.
    maps: Vec<Rc<UserNamespace>>,
}

/// Compiles a bundle's spec for a host.
///
/// # Errors
/// A property that this host cannot honour, with its pointer.
pub fn compile(bundle: &Bundle, host: &Host, options: &Options) -> Result<Plan> {
    let plan = Plan::default();
    let mut compiler = Compiler { spec: &bundle.spec, bundle: &bundle.dir, host, options, plan, maps: Vec::new() };
    compiler.compile()?;
    Ok(compiler.plan)
}

impl Plan {
    /// An error of the init with a hint, where it is a user namespace that is in the way.
    pub fn explained(&self, error: Error, action: &Action) -> Error {
        match &self.mapped {
            Some(mapped) => mapped.explain(error, action),
            None => error,
        }
    }
}

impl Compiler<'_> {
    fn compile(&mut self) -> Result<()> {
        self.check_mount_label()?;
        self.plan.mapped = self.mapped();
        self.parent_lane()?;
        self.init(None, Isolate);
        match self.has_user_namespace() {
            true => self.begin_in_user_namespace()?,
            false => self.begin()?,
        }
        self.devices();
        self.create_hooks();
        self.enter_root()?;
        self.sysctl();
        self.paths();
        let filter = self.compile_filter()?;
        self.identity(filter.is_some())?;
        self.ready(filter);
        self.start_hooks();
        self.execute();
        self.later_hooks();
        Ok(())
    }

    /// The init's first steps, up to the last mount.
    fn begin(&mut self) -> Result<()> {
        self.keyring();
        self.oom_score_adj();
        self.enter();
        self.unshare();
        self.root();
        self.mounts(false);
        // What the parent prepares meanwhile is waited for as late as possible.
        self.init(None, Wait);
        self.join_cgroup();
        self.mounts(true);
        Ok(())
    }

    /// The same in a user namespace. Until its ids are mapped the init is the host's root without any
    /// rights there: it finds the rootfs, and may enter the cgroups. What belongs to the container is made
    /// by the container's root.
    fn begin_in_user_namespace(&mut self) -> Result<()> {
        self.unshare_mount();
        self.root();
        self.init(None, Wait);
        self.check_maps();
        self.join_cgroup();
        self.become_root();
        self.keyring();
        self.unshare();
        self.mounts(false);
        self.mounts(true);
        Ok(())
    }

    fn keyring(&mut self) {
        if !self.options.no_new_keyring {
            self.init(None, Keyring);
        }
    }

    /// What can be done before the init exists is done before only where the init needs it at birth.
    fn parent_lane(&mut self) -> Result<()> {
        self.open_namespaces();
        self.cgroup_at_birth()?;
        self.new_time();
        self.mapped_mounts();
        self.clone();
        self.parent(None, Record);
        self.user_namespace()?;
        self.cgroup_meanwhile()?;
        self.net_devices();
        self.resctrl()?;
        self.parent(None, Release);
        self.runtime_hooks();
        self.parent(None, AwaitReady);
        Ok(())
    }

    fn parent(&mut self, from: Option<Pointer>, action: impl Into<Action>) {
        self.plan.parent.push(Step { from, action: action.into() });
    }

    fn init(&mut self, from: Option<Pointer>, action: impl Into<Action>) {
        self.plan.init.push(Step { from, action: action.into() });
    }

    fn warn(&mut self, from: Pointer, message: String) {
        self.plan.warnings.push(Error::new(message).from_property(from));
    }

    /// A path of the config on the host: relative ones start at the bundle.
    fn on_host(&self, path: &std::ffi::CStr) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.bundle.join(std::ffi::OsStr::from_bytes(path.to_bytes()))
    }
}

/// A path for the kernel.
fn c_path(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).expect("joined from strings without NUL")
}
