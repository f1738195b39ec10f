//! The process of `exec`: from a file, or the container's own with some changes.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::problems::Problems;
use super::process::Process;
use super::{Bundle, check, read_object, within};
use crate::error::Result;

/// The lists of a process that mean something else when they are absent than when they are empty.
#[derive(Deserialize)]
struct Given {
    rlimits: Option<IgnoredAny>,
}

/// Puts the process that a text describes in the place of the container's. Where it is silent, it has what that one has, as
/// by runc: labels, capabilities, limits, scores and priorities, and the file mode mask.
///
/// # Errors
/// A text that is no process, or one that the container could not have; pointers begin at the process.
pub fn replace_process(bundle: &mut Bundle, text: &[u8], name: &str) -> Result<()> {
    let mut process: Process = read_object(text, name).map_err(super::Misread::into_error)?;
    let given: Given = serde_json::from_slice(text).unwrap_or(Given { rlimits: None });
    let own = bundle.spec.process.take().map_or_else(Process::default, |own| *own);
    process.capabilities = process.capabilities.or(own.capabilities);
    if given.rlimits.is_none() {
        process.rlimits = own.rlimits;
    }
    for (label, own) in
        [(&mut process.apparmor_profile, own.apparmor_profile), (&mut process.selinux_label, own.selinux_label)]
    {
        if label.is_empty() {
            *label = own;
        }
    }
    process.oom_score_adj = process.oom_score_adj.or(own.oom_score_adj);
    process.scheduler = process.scheduler.or(own.scheduler);
    process.io_priority = process.io_priority.or(own.io_priority);
    process.exec_cpu_affinity = process.exec_cpu_affinity.or(own.exec_cpu_affinity);
    process.user.umask = process.user.umask.or(own.user.umask);
    bundle.spec.process = Some(Box::new(process));
    check_process(bundle).map_err(|error| within("/process", error, text, name))
}

/// Checks the process, once it is changed.
///
/// # Errors
/// The first that is wrong with it.
pub fn check_process(bundle: &Bundle) -> Result<()> {
    let mut found = Problems::default();
    check::check(&bundle.spec, &mut found);
    found.errors.into_iter().next().map_or(Ok(()), Err)
}
