//! The process that opens the sources of binds for an init in a user namespace, each when its turn has come.

use std::fs::File;
use std::io::{Read, Write};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::unistd::{Pid, pipe2};

use super::channel::Channel;
use crate::error::{Context, Error, Result};
use crate::rootfs::source::OpenSources;
use crate::sys::clone::{Side, clone3};
use crate::sys::{pidfd, program};

const WHAT: &str = "open the sources of binds";

/// Runs the step in a process of its own, up to the last bind or to a failure of the init, and gives its error.
pub(super) fn open(step: &OpenSources, init: Pid, channel: &Channel) -> Result<()> {
    let (answer, said) = pipe2(OFlag::O_CLOEXEC).what(|| WHAT)?;
    let Side::Parent(_, process) = clone3(CloneFlags::empty(), None).what(|| WHAT)? else {
        drop(answer);
        let asked = || channel.is_asked_for_source();
        let opened = step.run(init, asked, |source| channel.source(&source).what(|| WHAT));
        let _ = File::from(said).write_all(&serde_json::to_vec(&opened).unwrap_or_default());
        program::exit(0)
    };
    drop(said);
    let mut told = Vec::new();
    let read = File::from(answer).read_to_end(&mut told);
    while pidfd::wait(&process) == Err(Errno::EINTR) {}
    read.what(|| WHAT)?;
    let told = serde_json::from_slice::<std::result::Result<(), Error>>(&told);
    told.map_err(|_| Error::new(format!("{WHAT}: the process that does it died")))?
}
