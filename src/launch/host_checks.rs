//! What this host would refuse of a plan, as far as it tells without anything being made: for `check`. A
//! start does not ask: it does, and is told.

use std::ffi::{CStr, CString};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sched::CloneFlags;
use nix::sys::resource::getrlimit;
use nix::sys::stat::Mode;

use crate::bundle::Problems;
use crate::bundle::names::{nearest, question};
use crate::cgroup::{cpu_sets, memory};
use crate::error::{Context, Error, Result};
use crate::plan::{InitAction, ParentAction, Plan, Step, is_in, path_of};
use crate::pointer::Pointer;
use crate::process::hook::Hook;
use crate::process::limits::Rlimit;
use crate::process::net_device::MoveLink;
use crate::process::scheduling::MemoryPolicy;
use crate::process::sysctl::Setting;
use crate::rootfs::enter_tree::EnterTree;
use crate::rootfs::file_system::label_refused;
use crate::rootfs::mount::{Mount, Source};
use crate::rootfs::root::BindRoot;
use crate::seccomp::own_calls::{Denied, EXECVE, Start, denied};
use crate::sys::capability;
use crate::sys::fd::CWD;
use crate::sys::netlink::Route;
use crate::types::mount_options::OPTIONS;
use crate::types::namespaces::NamespaceKind;
use crate::types::net_devices::pointer;

/// Asks the host about each step.
pub fn check(plan: &Plan, found: &mut Problems) {
    for &Step { from, ref action } in &plan.parent {
        if found.is_full() {
            return;
        }
        let asked = match action {
            ParentAction::Clone(clone) => namespaces(clone.flags),
            ParentAction::NewTime(_) => namespaces(crate::sys::namespace::NEWTIME),
            ParentAction::Open(open) => open.run().map(drop),
            ParentAction::MoveLink(link) => self::link(link),
            // Only the kernel knows how far down it lets ferrun go; this process does nothing else.
            ParentAction::OomScoreAdj(score) => score.run(),
            ParentAction::Hook(hook) => self::hook(hook),
            ParentAction::Limit(limit) => {
                found.warnings.extend(memory::too_small(&limit.write));
                cpu_sets::check(limit)
            }
            _ => Ok(()),
        };
        report(asked, from, found);
    }
    let (mut root, mut is_first) = (None, true);
    for &Step { from, ref action } in &plan.init {
        if found.is_full() {
            return;
        }
        let asked = match action {
            InitAction::BindRoot(BindRoot { path, .. })
            | InitAction::EnterTree(EnterTree { otherwise: BindRoot { path, .. }, .. }) => {
                root = Some(path);
                Ok(())
            }
            InitAction::Unshare(unshare) => namespaces(unshare.0),
            InitAction::Rlimit(limit) => self::limit(limit),
            InitAction::OomScoreAdj(score) => score.run(),
            InitAction::MemoryPolicy(policy) => memory_policy(policy),
            InitAction::ExecLabel(label) => label.probe(),
            InitAction::Mount(mount) => {
                self::mount(mount, from, root.filter(|_| !is_first), found);
                is_first = false;
                Ok(())
            }
            InitAction::Sysctl(sysctl) => {
                parameters(&sysctl.0, found);
                Ok(())
            }
            InitAction::Seccomp(filter) => {
                let (never, sometimes): (Vec<Denied>, Vec<Denied>) =
                    denied(filter, start(plan)).into_iter().partition(|denied| denied.call == &EXECVE);
                found.errors.extend(never.iter().filter_map(Denied::problem));
                found.warnings.extend(sometimes.iter().filter_map(Denied::problem));
                found.warnings.extend(filter.differences());
                filter.probe()
            }
            _ => Ok(()),
        };
        report(asked, from, found);
    }
    for hook in &plan.later {
        if found.is_full() {
            return;
        }
        report(self::hook(hook), Some(hook.kind.pointer(hook.index)), found);
    }
}

fn report(asked: Result<()>, from: Option<Pointer>, found: &mut Problems) {
    let from = from.unwrap_or(Pointer::new("/linux"));
    found.errors.extend(asked.err().map(|error| error.from_property(from)));
}

/// A start by `create`, which has all the calls of one by `run`.
fn start(plan: &Plan) -> Start {
    let no_new_privileges = plan.no_new_privileges;
    Start { create: true, no_new_privileges, hooks: !plan.start_hooks.is_empty(), ..Start::default() }
}

/// A question that fails is no answer.
fn exists(path: &Path) -> Result<bool> {
    path.try_exists().what(|| format!("look for {path:?}"))
}

fn namespaces(kinds: CloneFlags) -> Result<()> {
    for kind in NamespaceKind::of(kinds) {
        if !exists(Path::new(&kind.file("self")))? {
            return Err(Error::new(format!("this kernel has no {} namespaces", kind.proc_name())));
        }
    }
    Ok(())
}

/// One that ferrun runs; those of the init may have files of the container.
fn hook(hook: &Hook) -> Result<()> {
    nix::sys::stat::stat(hook.path.as_c_str()).map(drop).what(|| format!("hook {:?}", hook.path))
}

/// A source that is not there; a file system, or an option of it, that the kernel does not know. `changed` is the root, if
/// earlier mounts have changed what is below it by then.
fn mount(mount: &Mount, from: Option<Pointer>, changed: Option<&CString>, found: &mut Problems) {
    let from = from.unwrap_or(Pointer::new("/mounts"));
    match &mount.source {
        Source::Bind(path) => {
            // It need not be one that ferrun may look at.
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
            let there = openat(CWD, path.as_c_str(), flags, Mode::empty()).what(|| format!("bind source {path:?}"));
            let Err(error) = there.map_err(|error| error.from_property(format!("{from}/source"))) else { return };
            // Those of a user namespace are opened before any mount is made.
            match !mount.handed && changed.is_some_and(|root| is_in(path_of(path), path_of(root))) {
                true => found.warning(error.hint("a mount before this one may bring it: it is in the rootfs")),
                false => found.error(error),
            }
        }
        Source::FileSystem { kind, .. } => file_system(mount, kind, from, found),
    }
}

fn file_system(mount: &Mount, kind: &CStr, from: Pointer, found: &mut Problems) {
    let refused = match mount.options.refused_by(kind) {
        Ok(refused) => refused,
        // Whoever may not ask is not told.
        Err(Errno::EPERM) => return,
        Err(errno) => {
            let error = Error::os(format!("mount {mount}"), errno);
            let error = if errno == Errno::ENODEV {
                error.hint(format!("this kernel has no file system {kind:?}"))
            } else {
                error
            };
            return found.error(error.from_property(format!("{from}/type")));
        }
    };
    for (data, error) in refused {
        // One that is not the mount's own is the label of all mounts, which is told once.
        let Some(at) = data.at else {
            let error = label_refused(error);
            if !found.errors.iter().any(|told| told.pointer == error.pointer) {
                found.error(error);
            }
            continue;
        };
        let pointer = format!("{from}/options/{at}");
        let near = nearest(&data.key.to_string_lossy(), OPTIONS.iter().map(|(name, _)| *name)).map(question);
        found.error(near.into_iter().fold(error, Error::hint).from_property(pointer));
    }
}

fn link(link: &MoveLink) -> Result<()> {
    let name = &link.name;
    let found = Route::open().and_then(|route| route.link(name)).map(drop);
    found.what(|| format!("find network device {name:?}")).map_err(|error| error.from_property(pointer(name)))
}

fn parameters(settings: &[Setting], found: &mut Problems) {
    for setting in settings {
        if found.is_full() {
            return;
        }
        let error = parameter(&setting.file).err();
        found.errors.extend(error.map(|error| error.from_property(&setting.pointer)));
    }
}

/// The parameter's file, in ferrun's own namespaces: those of the container have the same, except for what
/// each network link has.
fn parameter(file: &CStr) -> Result<()> {
    let file = file.to_string_lossy();
    let of_a_link = file.contains("/conf/") || file.contains("/neigh/");
    match of_a_link || exists(&Path::new("/proc").join(&*file))? {
        true => Ok(()),
        false => Err(Error::new(format!("this kernel has no parameter /proc/{file}"))),
    }
}

/// A hard limit above ferrun's own.
fn limit(limit: &Rlimit) -> Result<()> {
    const SYS_RESOURCE: u64 = 1 << 24;
    let own = getrlimit(limit.resource).what(|| format!("read ferrun's own limit {:?}", limit.resource))?.1;
    let may_raise = capability::get().what(|| "read ferrun's own capabilities")?.effective & SYS_RESOURCE != 0;
    match limit.hard > own && !may_raise {
        true => Err(Error::new(format!("{limit} is above ferrun's own hard limit, {own}"))
            .hint("raising a hard limit needs CAP_SYS_RESOURCE, which ferrun does not have")),
        false => Ok(()),
    }
}

/// None of the nodes is there.
fn memory_policy(policy: &MemoryPolicy) -> Result<()> {
    let bits = libc::c_ulong::BITS as usize;
    let wanted = (0..policy.nodes.len() * bits).filter(|node| policy.nodes[node / bits] & (1 << (node % bits)) != 0);
    let there = |node: usize| exists(Path::new(&format!("/sys/devices/system/node/node{node}")));
    if policy.nodes.iter().all(|word| *word == 0) || !there(0)? {
        return Ok(());
    }
    for node in wanted {
        if there(node)? {
            return Ok(());
        }
    }
    Err(Error::new("this machine has none of the memory nodes").from_property("/linux/memoryPolicy/nodes"))
}
