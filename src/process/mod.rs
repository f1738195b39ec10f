//! The steps that make a process what config.json says: namespaces, identity, limits, streams, program.

mod diagnose;
pub mod exec;
pub mod identity;
pub mod ids;
pub mod join;
pub mod limits;
pub mod namespaces;
pub mod net_device;
pub mod session;
pub mod stdio;
pub mod time_namespace;
pub mod user_namespace;
