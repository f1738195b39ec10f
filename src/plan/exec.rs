//! `exec`: a further process of a running container. It joins what the init created: the steps are those of a start
//! without namespaces, mounts and hooks of its own.

use super::Compiler;
use super::step::{AwaitReady, Release, Wait};
use crate::process::affinity::AllCpus;
use crate::process::session::Isolate;

impl Compiler<'_> {
    pub(super) fn compile_exec(&mut self) {
        self.plan.mapped = self.mapped();
        self.plan.preserved = i32::try_from(self.options.preserved).unwrap_or(i32::MAX - 3);
        self.plan.user_on_host = self.user_on_host();
        self.directories = self.directories();
        self.open_namespaces();
        self.clone();
        self.parent(None, Release);
        self.parent(None, AwaitReady);
        self.init(None, Isolate);
        self.oom_score_adj();
        self.init(None, Wait);
        self.join_cgroup();
        self.init(None, AllCpus);
        if !self.has_user_namespace() {
            // Else it is created in all of them.
            self.enter();
            self.enter_mount();
        }
        self.working_directory();
        let filter = self.restrict();
        self.ready(filter);
        self.execute();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::bundle::{Bundle, default};
    use crate::cgroup::layout::Layout;
    use crate::plan::{Action, Host, Options, Step, compile_exec};

    fn verbs<A: Action>(steps: &[Step<A>]) -> Vec<&'static str> {
        steps.iter().map(|step| step.action.verb()).collect()
    }

    #[test]
    fn it_joins_and_is_restricted_and_creates_nothing() {
        let mut config = default::config();
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            namespace["path"] = json!("/proc/1/ns/pid");
        }
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        let spec = serde_json::from_value(config).unwrap();
        let bundle = Bundle { dir: "/bundle".into(), text: Vec::new(), spec, warnings: Vec::new(), has_unknown: false };
        let cgroups = Layout::default();
        let host = Host { cgroups, permitted: u64::MAX, apparmor: false, selinux: false, resctrl: None };
        let plan = compile_exec(&bundle, &host, &Options::default()).unwrap();
        let mut parent = vec!["open"; bundle.spec.linux.namespaces.len()];
        parent.extend(["clone", "release", "wait"]);
        assert_eq!(verbs(&plan.parent), parent);
        let init = [
            "session", "wait", "cpus", "join", "join", "cwd", "stdio", "env", "limit", "caps", "user", "caps", "privs",
            "umask", "seccomp", "ready", "exec",
        ];
        assert_eq!(verbs(&plan.init), init);
        assert!(plan.cgroup.is_empty() && plan.later.is_empty() && plan.start_hooks.is_empty());
    }
}
