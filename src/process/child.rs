//! Work that is done in a process of its own, for its namespaces or its descriptors: its result comes back.

use nix::errno::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::child::{Exit, InChild, Options, Reporter};

/// Does `work` in a child, waits for it, and gives what `work` returned.
///
/// # Errors
/// Those of `work`; a child that cannot be created, as `failed` explains it; one that died: `who` names it.
pub fn run<T: Serialize + DeserializeOwned>(
    options: &Options,
    who: &str,
    failed: impl Fn(Errno) -> Error,
    work: impl FnOnce(InChild) -> Result<T>,
) -> Result<T> {
    let child = Reporter::create(options, |own| serde_json::to_vec(&work(own)).unwrap_or_default());
    let (report, exit) = child.and_then(Reporter::finish).map_err(failed)?;
    let result = serde_json::from_slice::<std::result::Result<T, Error>>(&report);
    result.unwrap_or_else(|_| {
        let is_born_in_cgroup = options.cgroup.is_some();
        let kind = if exit == Err(libc::SIGKILL) && is_born_in_cgroup { ErrorKind::Killed } else { ErrorKind::Died };
        Err(died(who, &report, exit).of_kind(kind))
    })
}

/// The error for a child that has reported no result.
fn died(who: &str, last_words: &[u8], exit: Exit) -> Error {
    let end = match exit {
        Ok(status) => format!("exit status {status}"),
        Err(signal) => format!("killed by signal {signal}"),
    };
    let error = Error::new(format!("{who} died")).detail(end);
    match String::from_utf8_lossy(last_words).trim() {
        "" => error,
        words => error.note(words.into()),
    }
}
