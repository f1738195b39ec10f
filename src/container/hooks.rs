//! Hooks that belong to no step: those of a running container, and of one that is deleted. Both are kept
//! in its state, since what config.json says by then does not count.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::unistd::Pid;
use serde::Serialize;

use super::state::State;
use super::status::Status;
use crate::error::{Error, Result};
use crate::process::hook::Hook;
use crate::types::hooks::Kind;

/// Where warnings go: what is told without being a failure.
pub type Warn<'a> = &'a dyn Fn(&Error);

/// The state as hooks are given it: runtime.md of the OCI runtime spec, "State".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    annotations: &'a BTreeMap<String, String>,
}

/// What a hook of this kind reads on its standard input. A container that is gone has no pid: a hook that
/// sends a signal to pid 0 would hit itself.
pub fn state_for(state: &State, kind: Kind, pid: Option<Pid>) -> Vec<u8> {
    let status = match kind {
        Kind::Prestart | Kind::CreateRuntime | Kind::CreateContainer => Status::Creating,
        Kind::StartContainer => Status::Created,
        Kind::Poststart => Status::Running,
        Kind::Poststop => Status::Stopped,
    };
    let State { oci_version, id, bundle, annotations, .. } = state;
    let told = Told { oci_version, id, status, pid: pid.map(Pid::as_raw), bundle, annotations };
    serde_json::to_vec(&told).unwrap_or_default()
}

/// Runs the hooks that wait for the program to run.
///
/// # Errors
/// The first that fails, also because `interrupt` is readable; the container is then for the caller to destroy.
pub fn poststart(state: &State, interrupt: Option<BorrowedFd>) -> Result<()> {
    let pid = state.init.map(|init| Pid::from_raw(init.pid));
    of(state, Kind::Poststart).try_for_each(|hook| run(state, hook, pid, interrupt))
}

/// Runs the hooks that wait for the container's end. One that fails changes nothing for the rest.
pub fn poststop(state: &State, warn: Warn) {
    of(state, Kind::Poststop).filter_map(|hook| run(state, hook, None, None).err()).for_each(|error| warn(&error));
}

fn of(state: &State, kind: Kind) -> impl Iterator<Item = &Hook> {
    state.hooks.iter().filter(move |hook| hook.kind == kind)
}

fn run(state: &State, hook: &Hook, pid: Option<Pid>, interrupt: Option<BorrowedFd>) -> Result<()> {
    // A bundle may be gone before its container; what cleans up after that is run all the same.
    let directory = if state.bundle.is_dir() { &state.bundle } else { Path::new("/") };
    hook.run(&state_for(state, hook.kind, pid), Some(directory), interrupt)
}
