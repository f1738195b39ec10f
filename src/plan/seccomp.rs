//! `linux.seccomp`: the filter, compiled before the init exists, and where in the init's lane it is.

use super::Compiler;
use super::step::Ready;
use crate::error::{Error, Result};
use crate::pointer::Pointer;
use crate::seccomp::step::Install;
use crate::seccomp::{Arch, compile};

impl Compiler<'_> {
    /// The step, if there is a profile.
    pub(super) fn compile_filter(&mut self) -> Result<Option<Install>> {
        let Some(profile) = &self.spec.linux.seccomp else { return Ok(None) };
        let pointer = Pointer::new("/linux/seccomp");
        let Some(native) = Arch::NATIVE else {
            return Err(Error::new("ferrun has no table of this architecture's system calls").from_property(pointer));
        };
        let filter = compile(profile, native)?;
        Ok(Some(Install::new(filter, profile.clone())))
    }

    /// The filter is the last thing before the program, so that no call of ferrun's own is under it. Where
    /// someone answers calls, that is arranged by `create`, since the container is still being made then.
    pub(super) fn ready(&mut self, filter: Option<Install>) {
        let from = Some(Pointer::new("/linux/seccomp"));
        match filter {
            Some(filter) if filter.listener.is_some() => {
                self.init(from, filter);
                self.init(None, Ready);
            }
            Some(filter) => {
                self.init(None, Ready);
                self.init(from, filter);
            }
            None => self.init(None, Ready),
        }
    }
}
