//! `exec`: a further process of a running container. Two processes do it: the first enters all of the container but its pid
//! namespace, becomes the user and puts on the filter; only then a second one, which is the program's, is created in the
//! pid namespace. Whoever is there never sees one that has rights, or a descriptor of the host's.

use std::rc::Rc;

use nix::sched::CloneFlags;

use super::Compiler;
use super::kernel::{SCHEDULER, scheduler};
use super::namespaces;
use super::step::{AwaitCrossing, AwaitParent, AwaitReady, AwaitStart, Clone, Cross, Proceed, Record};
use crate::cgroup::directory::Directory;
use crate::cgroup::join::{Join, Move};
use crate::pointer::Pointer;
use crate::process::affinity::{AllCpus, Cpus};
use crate::process::join::EnterContainer;
use crate::process::limits::OomScoreAdj;
use crate::process::scheduling::Scheduler;
use crate::process::session::{Hide, Session};

/// The running container, as it is now.
pub struct Target {
    /// Its namespaces, all but those that ferrun is in as well.
    pub namespaces: CloneFlags,
    /// Its cgroups on this host: those that the process is to be in.
    pub cgroup: Vec<Directory>,
}

impl Compiler<'_> {
    pub(super) fn compile_exec(&mut self, target: &Target) {
        self.crosses = true;
        self.plan.mapped = self.mapped();
        self.plan.preserved = self.preserved();
        self.plan.user_on_host = self.user_on_host();
        (self.plan.joins_pid_namespace, self.plan.is_further) = (true, true);
        self.plan.cgroup.clone_from(&target.cgroup);
        let [unified, v1] = self.by_hierarchy(&target.cgroup);
        self.give_streams();
        let unified = unified.into_iter().next();
        let (cgroup, moved) = if self.options.moves { (None, unified) } else { (unified, None) };
        self.plan.deadly.created_in_cgroup = cgroup.is_some();
        let (flags, enter) = (CloneFlags::empty(), CloneFlags::empty());
        self.parent(None, Clone { flags, cgroup, enter, between: false, new_time: false, crosses: true });
        self.init(None, Hide);
        let process = self.spec.process.as_deref();
        if let Some(score) = process.and_then(|process| process.oom_score_adj) {
            self.init(Some(Pointer::new("/process/oomScoreAdj")), OomScoreAdj(score));
        }
        moved.into_iter().for_each(|path| self.init(None, Move(path)));
        self.cpus(&v1);
        // In a user namespace it could not make a procfs of its own.
        self.key_label();
        if let Some(process) = process {
            self.exec_labels(process);
        }
        self.init(None, EnterContainer(target.namespaces));
        if target.namespaces.contains(CloneFlags::CLONE_NEWUSER) {
            self.become_root();
        }
        self.keyring();
        self.terminal();
        self.working_directory();
        let filter = self.restrict();
        self.ready(filter);
        self.cross_in_parent(false);
        self.parent(None, AwaitReady);
        self.cross(false);
        self.execute();
    }

    /// Where others are in the pid namespace: the parent waits until the process is there, without rights and under the
    /// filter, and does for it what it has no right to. `created`: it is the init of a new container.
    pub(super) fn cross_in_parent(&mut self, created: bool) {
        self.parent(None, AwaitCrossing);
        if created {
            self.parent(None, Record);
        }
        self.scheduler_from_outside().into_iter().for_each(|step| self.parent(Some(SCHEDULER), step));
        if self.has_to_wait(created) {
            self.parent(None, Proceed);
        }
    }

    /// The same in the process.
    pub(super) fn cross(&mut self, created: bool) {
        self.init(created.then_some(namespaces::FROM), Cross);
        if self.has_to_wait(created) {
            self.init(None, AwaitParent);
        }
        let terminal = self.spec.process.as_deref().is_some_and(|process| process.terminal);
        self.init(None, Session { terminal });
        if created {
            self.init(None, AwaitStart);
        }
    }

    fn has_to_wait(&self, created: bool) -> bool {
        created || self.plan.listener.is_some() || self.scheduler_from_outside().is_some()
    }

    /// The scheduler, if it does not pass to the process that the first one goes on in.
    fn scheduler_from_outside(&self) -> Option<Scheduler> {
        let given = self.spec.process.as_deref().and_then(|process| process.scheduler.as_ref());
        given.map(scheduler).filter(Scheduler::stays_behind)
    }

    /// The paths in the v2 hierarchy, and those in hierarchies of v1.
    fn by_hierarchy(&self, cgroup: &[Directory]) -> [Vec<Rc<str>>; 2] {
        let layout = &self.host.cgroups;
        let is_v1 = |path: &str| layout.find(path).is_ok_and(|(found, _)| layout.v1.iter().any(|one| one == found));
        let (v1, unified) = cgroup.iter().map(|directory| directory.path.clone()).partition(|path| is_v1(path));
        [unified, v1]
    }

    /// The CPUs before the process is in the cgroups of v1, and after.
    fn cpus(&mut self, v1: &[Rc<str>]) {
        const FROM: Pointer = Pointer::new("/process/execCPUAffinity");
        let affinity = self.spec.process.as_deref().and_then(|process| process.exec_cpu_affinity.as_ref());
        if let Some(initial) = affinity.map(|affinity| &affinity.initial).filter(|cpus| !cpus.is_empty()) {
            self.init(Some(FROM), Cpus(initial.clone()));
        }
        if !v1.is_empty() {
            self.init(None, Join::new(v1.iter().map(|path| &**path)));
        }
        match affinity {
            None => self.init(None, AllCpus),
            Some(affinity) if !affinity.last.is_empty() => self.init(Some(FROM), Cpus(affinity.last.clone())),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sched::CloneFlags;
    use serde_json::json;

    use super::Target;
    use crate::bundle::{Bundle, default};
    use crate::cgroup::layout::Layout;
    use crate::plan::{Action, Host, Options, Step, compile_exec};

    fn verbs<A: Action>(steps: &[Step<A>]) -> Vec<&'static str> {
        steps.iter().map(|step| step.action.verb()).collect()
    }

    #[test]
    fn it_joins_and_is_restricted_and_creates_nothing() {
        let mut config = default::config();
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        let spec = serde_json::from_value(config).unwrap();
        let bundle = Bundle::of_spec("/bundle".into(), spec);
        let cgroups = Layout::default();
        let host = Host {
            cgroups,
            permitted: u64::MAX,
            apparmor: false,
            selinux: false,
            resctrl: None,
            proc_of_any_pid_namespace: false,
            tree_namespace: false,
        };
        let target = Target { namespaces: CloneFlags::CLONE_NEWPID, cgroup: Vec::new() };
        let plan = compile_exec(&bundle, &host, &Options::default(), &target).unwrap();
        assert_eq!(verbs(&plan.parent), ["clone", "wait", "wait"]);
        let init = [
            "session", "cpus", "join", "keyring", "terminal", "cwd", "stdio", "env", "limit", "caps", "user", "caps",
            "privs", "umask", "seccomp", "ready", "cross", "session", "exec",
        ];
        assert_eq!(verbs(&plan.init), init);
        assert!(plan.cgroup.is_empty() && plan.later.is_empty() && plan.start_hooks.is_empty());
    }
}
