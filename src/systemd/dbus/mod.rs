//! D-Bus, as far as systemd's manager is called by it. docs/decisions.md says why this is no library.

pub mod bus;
mod message;
pub mod value;
