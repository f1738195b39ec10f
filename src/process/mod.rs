//! The steps that make a process what config.json says: namespaces, identity, limits, streams, program.

pub mod accounts;
pub mod affinity;
pub mod child;
mod diagnose;
pub mod exec;
pub mod home;
pub mod hook;
pub mod identity;
pub mod join;
pub mod label;
pub mod limits;
pub mod namespaces;
pub mod net_device;
pub mod procfs;
mod run_hook;
pub mod scheduling;
pub mod session;
pub mod start_hook;
pub mod stdio;
pub mod sysctl;
pub mod terminal;
pub mod time_namespace;
pub mod user_namespace;
