//! A container's life: its id, its state directory, and what each command does to it.

pub mod create;
pub mod delete;
pub mod hooks;
pub mod id;
pub mod kill;
pub mod list;
mod listener;
pub mod run;
pub mod start;
pub mod state;
pub mod status;
