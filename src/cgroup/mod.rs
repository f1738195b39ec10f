//! The container's cgroup: where it is, what limits it, who is in it. Cgroup v1, v2 and both (hybrid).

pub mod device_filter;
pub mod device_rules;
pub mod directory;
pub mod join;
pub mod kill;
pub mod layout;
pub mod limits;
pub mod resctrl;
mod tree;
