//! The facts about this host that a plan depends on.

use serde::{Deserialize, Serialize};

use crate::cgroup::layout::Layout;
use crate::error::{Context, Result};
use crate::sys::capability;

/// What differs from one host to the next. It can be written down, so that a plan for one machine can
/// be made on another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its cgroup hierarchies.
    pub cgroups: Layout,
    /// The capabilities that ferrun has to give.
    pub permitted: u64,
}

impl Host {
    /// Looks at the host that this runs on.
    ///
    /// # Errors
    /// A host without /proc.
    pub fn probe() -> Result<Host> {
        let permitted = capability::get().what(|| "read ferrun's own capabilities")?.permitted;
        Ok(Host { cgroups: Layout::probe()?, permitted })
    }
}
