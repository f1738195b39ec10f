//! The facts about this host that a plan depends on.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, stat};
use nix::sys::statfs::{FsType, statfs};
use nix::sys::statvfs::FsFlags;
use serde::{Deserialize, Serialize};

use crate::bundle::Spec;
use crate::cgroup::layout::Layout;
use crate::error::{Context, Result};
use crate::resctrl;
use crate::sys::fd::CWD;
use crate::sys::release::is_at_least;
use crate::sys::{capability, file, mount, namespace};
use crate::types::namespaces::NamespaceKind;

/// What differs from one host to the next. It can be written down, so that a plan for one machine can
/// be made on another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its cgroup hierarchies.
    pub cgroups: Layout,
    /// The capabilities that ferrun has to give.
    pub permitted: u64,
    /// Whether AppArmor is enabled.
    #[serde(default)]
    pub apparmor: bool,
    /// Whether SELinux is.
    #[serde(default)]
    pub selinux: bool,
    /// Where resctrl is mounted.
    #[serde(default)]
    pub resctrl: Option<String>,
    /// Whether a procfs can be told which pid namespace it shows: the option `pidns` (Linux 6.18).
    #[serde(default)]
    pub proc_of_any_pid_namespace: bool,
    /// Whether a mount namespace can begin with one tree, and with none of the mounts here (Linux 7.0).
    #[serde(default)]
    pub tree_namespace: bool,
}

impl Host {
    /// Looks at the host that this runs on.
    ///
    /// # Errors
    /// A host without /proc.
    pub fn probe() -> Result<Host> {
        Host::with_cgroups(Layout::probe()?)
    }

    /// Looks at the host, whose cgroup hierarchies are known.
    ///
    /// # Errors
    /// Capabilities that cannot be read.
    pub fn with_cgroups(cgroups: Layout) -> Result<Host> {
        let permitted = capability::get().what(|| "read ferrun's own capabilities")?.permitted;
        let (apparmor, selinux, resctrl, proc_of_any_pid_namespace, tree_namespace) = Default::default();
        Ok(Host { cgroups, permitted, apparmor, selinux, resctrl, proc_of_any_pid_namespace, tree_namespace })
    }

    /// The host, as far as a spec asks about it.
    ///
    /// # Errors
    /// A host that cannot be looked at.
    pub fn for_spec(spec: &Spec) -> Result<Host> {
        Host::probe()?.with_facts_for(spec)
    }

    /// Adds the facts that only some specs ask for.
    ///
    /// # Errors
    /// A question that the host does not answer.
    pub fn with_facts_for(self, spec: &Spec) -> Result<Host> {
        let process = spec.process.as_ref();
        let labels = process.is_some_and(|process| !process.selinux_label.is_empty());
        Ok(Host {
            apparmor: process.is_some_and(|process| !process.apparmor_profile.is_empty()) && has_apparmor()?,
            selinux: (labels || !spec.linux.mount_label.is_empty()) && has_selinux()?,
            resctrl: spec.linux.intel_rdt.as_ref().map_or(Ok(None), |_| resctrl::mount_point())?,
            proc_of_any_pid_namespace: joins_pid_namespace(spec) && has_proc_of_any_pid_namespace()?,
            tree_namespace: has_new_mount_namespace(spec) && has_tree_namespace(),
            ..self
        })
    }

    /// Adds all facts.
    ///
    /// # Errors
    /// The same.
    pub fn with_all_facts(self) -> Result<Host> {
        Ok(Host {
            apparmor: has_apparmor()?,
            selinux: has_selinux()?,
            resctrl: resctrl::mount_point()?,
            proc_of_any_pid_namespace: has_proc_of_any_pid_namespace()?,
            tree_namespace: has_tree_namespace(),
            ..self
        })
    }
}

fn joins_pid_namespace(spec: &Spec) -> bool {
    spec.linux.namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Pid && namespace.path().is_some())
}

fn has_new_mount_namespace(spec: &Spec) -> bool {
    spec.linux.namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Mount && namespace.path().is_none())
}

/// For tests: `never` copies the host's mounts where that is not needed, `always` asks a kernel that is too old.
const TREE_NAMESPACE: &str = "FERRUN_TREE_NAMESPACE";

/// Whether the kernel has `OPEN_TREE_NAMESPACE`, and ferrun is in no user namespace: there a procfs can be mounted only in a
/// mount namespace that has one already. Its mount namespace must not belong to another user namespace either: then the copy
/// follows rules of its own, and Linux 7.2.9 shows what unbindable mounts cover.
fn has_tree_namespace() -> bool {
    let forced = std::env::var_os(TREE_NAMESPACE);
    let is = |wanted| forced.as_deref().is_some_and(|forced| forced == wanted);
    !is("never") && (is("always") || is_at_least(7, 0) == Some(true)) && has_initial_namespaces()
}

/// Whether this process is in the initial user namespace, and so is the owner of its mount namespace.
fn has_initial_namespaces() -> bool {
    // The inode that the kernel has given it ever since 3.8: `USER_NS_INIT_INO` of linux/nsfs.h.
    let is_initial = |found: nix::Result<FileStat>| found.is_ok_and(|found| found.st_ino == 0xEFFF_FFFD);
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let owner = || openat(CWD, "/proc/self/ns/mnt", flags, Mode::empty()).and_then(namespace::owner);
    is_initial(stat("/proc/self/ns/user")) && is_initial(owner().and_then(fstat))
}

/// Asked of a file system that is not made. Who may make none, as `explain` and `check` without root, has none.
fn has_proc_of_any_pid_namespace() -> Result<bool> {
    let asked = mount::fsopen(c"proc").and_then(|context| mount::fsconfig_string(&context, PIDNS, OWN_CHILDREN));
    match asked {
        Ok(()) => Ok(true),
        Err(Errno::EINVAL | Errno::EPERM) => Ok(false),
        Err(errno) => Err(errno).what(|| "ask for the options of procfs"),
    }
}

/// The option of procfs, and the pid namespace in which this process creates children.
pub(super) const PIDNS: &CStr = c"pidns";
pub(super) const OWN_CHILDREN: &CStr = c"/proc/self/ns/pid_for_children";

/// The parameter of the kernel's module, as apparmor's own library asks.
fn has_apparmor() -> Result<bool> {
    const FILE: &str = "/sys/module/apparmor/parameters/enabled";
    match file::read(FILE) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
        value => Ok(value.what(|| format!("read {FILE}"))?.first() == Some(&b'Y')),
    }
}

/// Its file system, as selinux's own library asks: without a policy it is not mounted, and in a container,
/// where nothing of it is to be used, read-only.
fn has_selinux() -> Result<bool> {
    const SELINUX_MAGIC: FsType = FsType(0xf97c_ff8c);
    const DIRECTORY: &str = "/sys/fs/selinux";
    match statfs(DIRECTORY) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
        found => {
            let found = found.what(|| format!("statfs {DIRECTORY}"))?;
            Ok(found.filesystem_type() == SELINUX_MAGIC && !found.flags().contains(FsFlags::ST_RDONLY))
        }
    }
}
