//! Value types that the reader of config.json and the steps share: one file a subject, none of which does anything
//! to the host.

pub mod capabilities;
pub mod cpu_list;
pub mod default_devices;
pub mod device_rules;
pub mod hooks;
pub mod ids;
pub mod limits;
pub mod mount_options;
pub mod namespaces;
pub mod net_devices;
pub mod proc_mounts;
pub mod propagation;
pub mod rlimits;
pub mod scheduling;
pub mod seccomp;
