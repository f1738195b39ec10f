//! The process of `exec`: from a file, or the container's own with some changes.

use super::problems::Problems;
use super::process::Process;
use super::{Bundle, Misread, check, read_object, spec::Spec};
use crate::error::Result;

/// Puts the process that a text describes in the place of the container's. Where it is silent, it has what that one has, as
/// by runc: labels, capabilities, limits, scores and priorities, and the file mode mask.
///
/// # Errors
/// A text that is no process, or one that the container could not have.
pub fn replace_process(bundle: &mut Bundle, text: &[u8], name: &str) -> Result<()> {
    // As a part of a config it is read by what reads those, and its lines and pointers are right.
    bundle.text = [b"{\"ociVersion\":\"1.0.0\",\"process\":", text, b"}"].concat();
    bundle.name = name.to_owned().into();
    let spec: Spec = read_object(&bundle.text, name).map_err(Misread::into_error)?;
    let mut process = spec.process.map_or_else(Process::default, |process| *process);
    let own = bundle.spec.process.take().map_or_else(Process::default, |own| *own);
    process.capabilities = process.capabilities.or(own.capabilities);
    // An empty list of limits is none, while one that is absent says nothing.
    process.rlimits = process.rlimits.or(own.rlimits);
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
    check_process(bundle)
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
