//! `hooks`: which lane runs them, and where the lanes wait for each other because of them.

use super::Compiler;
use super::step::{AwaitMounts, Mounted, Release, Wait};
use crate::bundle::text::Text;
use crate::process::hook::Hook;
use crate::types::hooks::Kind;

impl Compiler<'_> {
    fn hooks_of(&self, kind: Kind) -> Vec<Hook> {
        let strings = |list: &[Text]| list.iter().map(|text| text.0.clone()).collect();
        let hooks = self.spec.hooks.of(kind).iter().enumerate().map(|(index, hook)| {
            let args = if hook.args.is_empty() { vec![hook.path.0.clone()] } else { strings(&hook.args) };
            let timeout = hook.timeout.map(i64::unsigned_abs);
            Hook { kind, index, path: hook.path.0.clone(), args, env: hook.env.as_deref().map(strings), timeout }
        });
        hooks.collect()
    }

    /// Whether the init has to wait for hooks before it leaves the host's tree.
    fn has_runtime_hooks(&self) -> bool {
        !self.spec.hooks.prestart.is_empty() || !self.spec.hooks.create_runtime.is_empty()
    }

    /// The parent's hooks, between the mounts and the new root, while the init waits.
    pub(super) fn runtime_hooks(&mut self) {
        if !self.has_runtime_hooks() {
            return;
        }
        self.parent(None, AwaitMounts);
        for hook in [self.hooks_of(Kind::Prestart), self.hooks_of(Kind::CreateRuntime)].concat() {
            self.parent(Some(hook.kind.pointer(hook.index)), Box::new(hook));
        }
        self.parent(None, Release);
    }

    /// The init's side of that; then those hooks that run in its namespaces, but see the host's tree.
    pub(super) fn create_hooks(&mut self) {
        if self.has_runtime_hooks() {
            self.init(None, Mounted);
            self.init(None, Wait);
        }
        for hook in self.hooks_of(Kind::CreateContainer) {
            self.init(Some(hook.kind.pointer(hook.index)), Box::new(hook));
        }
    }

    /// Those in the container, just before its program.
    pub(super) fn start_hooks(&mut self) {
        let hooks = self.hooks_of(Kind::StartContainer);
        self.plan.start_hooks.clone_from(&hooks);
        for hook in hooks {
            self.init(Some(hook.kind.pointer(hook.index)), Box::new(hook));
        }
    }

    /// Those that are run when both lanes are over.
    pub(super) fn later_hooks(&mut self) {
        self.plan.later = [self.hooks_of(Kind::Poststart), self.hooks_of(Kind::Poststop)].concat();
    }
}
