//! The process that opens the sources of binds for an init in a user namespace, each when its turn has come.

use nix::unistd::Pid;

use super::channel::Channel;
use crate::error::{Context, Error, Result};
use crate::process::child;
use crate::rootfs::source::OpenSources;
use crate::sys::child::Options;

const WHAT: &str = "open the sources of binds";

/// Runs the step in a process of its own, up to the last bind or to a failure of the init, and gives its error.
pub(super) fn open(step: &OpenSources, init: Pid, channel: &Channel) -> Result<()> {
    let who = format!("{WHAT}: the process that does it");
    let asked = || channel.is_asked_for_source();
    let give = |source| channel.source(&source).what(|| WHAT);
    child::run(&Options::default(), &who, |errno| Error::os(WHAT, errno), |_| step.run(init, asked, give))
}
