//! ferrun, an OCI container runtime. A container start is a short program for the kernel: ferrun
//! compiles config.json into that program, an ordered list of steps that each remember the property
//! they came from, and runs it in the new process.
//!
//! ```text
//! bundle ──read, validate──▶ Spec ──compile──▶ Plan (steps) ──run──▶ process ──record──▶ state
//!           bundle/                   plan/              launch/            container/
//! ```
//!
//! The modules, from the top down; calls go downward, never up:
//!
//! - [`cli`]: one file a command: flags in, call, print, exit status.
//! - [`container`]: id, state directory, lifecycle.
//! - [`launch`]: the clone, the channel between parent and init, the runner of the steps.
//! - [`plan`]: Spec → Plan, one file a subject; `plan/parent_lane.rs` and `plan/init_lane.rs` list the steps.
//! - [`bundle`]: config.json → Spec, with the line of every property.
//! - [`rootfs`]: the steps on the file tree, all by descriptor.
//! - [`process`]: the steps on the process itself: namespaces, identity, limits, streams, program.
//! - [`systemd`]: the client of systemd's D-Bus interface, for cgroups that it creates; D-Bus below it.
//! - [`cgroup`]: the steps on cgroups; killing and removing them. `cgroup/devices/` has the device rules, `cgroup/stats/`
//!   the statistics.
//! - [`resctrl`]: the step that joins a class of caches and memory bandwidth.
//! - [`seccomp`]: profiles → BPF.
//! - [`types`]: the value types that `bundle` and the steps share, and their tables of names.
//! - [`sys`]: the only module with `unsafe`.
//!
//! [`error`], [`escape`], [`pointer`] and `digits` are used by all.

#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod container;
mod digits;
pub mod error;
pub mod escape;
pub mod launch;
pub mod plan;
pub mod pointer;
pub mod process;
pub mod resctrl;
pub mod rootfs;
pub mod seccomp;
pub mod sys;
pub mod systemd;
pub mod types;

#[cfg(test)]
#[path = "../tests/common/golden.rs"]
mod golden;
#[cfg(test)]
#[path = "../tests/common/skip.rs"]
mod skip;
