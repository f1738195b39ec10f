//! [`Spec`] → [`Plan`]: pure compilation, without a look at the host but for [`Host`]. One file a
//! subject; what runs the steps is in launch/, what they do in rootfs/, process/ and cgroup/.

mod cgroups;
pub mod explain;
pub mod host;
mod identity;
mod mounts;
mod namespaces;
mod seccomp;
pub mod step;

use std::path::{Path, PathBuf};

pub use host::Host;
pub use step::{Action, Step};

use crate::bundle::Bundle;
use crate::bundle::spec::Spec;
use crate::cgroup::directory::Directory;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::process::session::{Isolate, Keyring};
use step::{AwaitReady, Record, Release, Wait};

/// The program that starts a container: two processes run it side by side.
#[derive(Default)]
pub struct Plan {
    /// What ferrun does.
    pub parent: Vec<Step>,
    /// What the init does, from its birth to the container's program.
    pub init: Vec<Step>,
    /// The container's cgroup directories.
    pub cgroup: Vec<Directory>,
    /// What cannot be had here and is left out.
    pub warnings: Vec<Error>,
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
    /// How many descriptors after the standard ones the container gets.
    pub preserve_fds: u32,
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
}

/// Compiles a bundle's spec for a host.
///
/// # Errors
/// A property that this host cannot honour, with its pointer.
pub fn compile(bundle: &Bundle, host: &Host, options: &Options) -> Result<Plan> {
    let mut compiler = Compiler { spec: &bundle.spec, bundle: &bundle.dir, host, options, plan: Plan::default() };
    compiler.compile()?;
    Ok(compiler.plan)
}

impl Compiler<'_> {
    fn compile(&mut self) -> Result<()> {
        self.parent_lane()?;
        self.init(None, Isolate);
        if !self.options.no_new_keyring {
            let name = format!("_ses.{}", self.options.id);
            let name = std::ffi::CString::new(name).map_err(|_| Error::new("the container's id has a NUL byte"))?;
            self.init(None, Keyring(name));
        }
        self.oom_score_adj();
        self.unshare();
        self.root();
        self.mounts(false);
        // What the parent prepares meanwhile is waited for as late as possible.
        self.init(None, Wait);
        self.join_cgroup();
        self.mounts(true);
        self.devices();
        self.enter_root();
        self.paths();
        let filter = self.compile_filter()?;
        self.identity(filter.is_some());
        self.ready(filter);
        self.execute();
        Ok(())
    }

    /// What can be done before the init exists is done before only where the init needs it at birth.
    fn parent_lane(&mut self) -> Result<()> {
        self.cgroup_at_birth()?;
        self.clone();
        self.parent(None, Record);
        self.cgroup_meanwhile()?;
        self.parent(None, Release);
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
