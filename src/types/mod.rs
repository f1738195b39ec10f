//! Value types that the reader of config.json and the steps share: one file a subject, none of which does anything to the
//! host.

pub mod device_rules;
pub mod ids;
pub mod mount_options;
pub mod scheduling;
pub mod seccomp;
