//! A container's life: its id, its state directory, and what each command does to it.

pub use self::create::create;
pub use self::delete::delete;
pub use self::kill::kill;
pub use self::pause::{pause, resume};
pub use self::processes::processes as ps;
pub use self::run::run;
pub use self::start::start;
pub use self::status::state;
pub use self::update::update;

pub mod boot;
mod console;
pub mod create;
pub mod delete;
pub mod directory;
pub mod events;
pub mod hooks;
pub mod id;
pub mod init_identity;
pub mod kill;
pub mod list;
mod newer_format;
pub mod pause;
mod pid_file;
pub mod processes;
mod program;
pub mod request;
pub mod run;
mod seccomp_agent;
pub mod start;
pub mod state;
pub mod state_format;
pub mod status;
pub mod update;
mod update_devices;
mod update_resctrl;
mod update_unit;
