//! The container's cgroup: its directories, its limits, its processes. Cgroup v1, v2 and both (hybrid).

pub mod change;
pub mod controllers;
pub mod cpu_sets;
pub mod current;
pub mod devices;
pub mod directory;
pub mod events;
pub mod existing;
pub mod freezer;
pub mod join;
pub mod kill;
pub mod layout;
pub mod limit;
pub mod members;
pub mod memory;
mod missing;
pub mod oom;
pub mod owner;
mod parents;
pub mod stats;
mod tree;
pub mod write;

/// The manager that creates the container's cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manager {
    /// Ferrun itself, in the cgroup file system.
    #[default]
    Cgroupfs,
    /// Systemd: the system's manager, or that of a user.
    Systemd {
        /// The user.
        user: Option<u32>,
    },
    /// Nobody: the container stays in ferrun's own.
    Disabled,
}
