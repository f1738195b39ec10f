//! The steps that make a process what config.json says: namespaces, identity, limits, streams, program.

mod diagnose;
pub mod exec;
pub mod hook;
pub mod identity;
pub mod limits;
pub mod namespaces;
pub mod session;
mod spawn;
pub mod stdio;
