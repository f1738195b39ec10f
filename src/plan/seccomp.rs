//! `linux.seccomp`: the filter, compiled before the init exists, and where in the init's lane it is.

use super::Compiler;
use super::step::Ready;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::seccomp::compile;
use crate::seccomp::own_calls::{EXECVE, allow_crossing_of_init};
use crate::seccomp::step::Install;
use crate::types::seccomp::Arch;

impl Compiler<'_> {
    /// The step, if there is a profile.
    pub(super) fn compile_filter(&self) -> Result<Option<Install>> {
        let Some(profile) = &self.spec.linux.seccomp else { return Ok(None) };
        let pointer = Pointer::new("/linux/seccomp");
        let Some(native) = Arch::NATIVE else {
            return Err(Error::new("ferrun has no table of this architecture's system calls").from_property(pointer));
        };
        let filter = compile(profile, native)?;
        Ok(Some(Install::new(filter, profile.clone())))
    }

    /// Whether the init can go on in another process under its filter.
    pub(super) fn filter_allows_crossing(&mut self) -> bool {
        let filter = self.compile_filter();
        let filter = self.filter.insert(filter);
        filter.as_ref().is_ok_and(|filter| filter.as_ref().is_none_or(allow_crossing_of_init))
    }

    /// The filter, which is installed before the init waits for `start` or code of the image can run; where neither is the
    /// case, as the last thing before the program.
    pub(super) fn ready(&mut self, filter: Option<Install>) {
        if let Some(filter) = filter {
            self.plan.listener.clone_from(&filter.listener);
            self.plan.has_filter = true;
            self.plan.denies_execve = EXECVE.usable(Some(&filter)).is_none();
            self.init(Some(Pointer::new("/linux/seccomp")), Box::new(filter));
        }
        self.init(None, Ready);
    }
}
