//! `linux.seccomp` → a classic BPF program that the kernel runs at each system call: seccomp(2).
//!
//! ```text
//! Profile ──calls──▶ an entry for each number ──graph──▶ ranges and tests ──code──▶ instructions
//! ```
//!
//! What a profile means is what libseccomp makes of it, since that is what engines have tested: which
//! rule wins where several fit ([`tree`]), which calls of 32-bit x86 are one call in disguise
//! ([`mux`]), what happens to a number that no rule names ([`ranges`]). The program is not libseccomp's:
//! the kernel runs it once for every number when it is installed, so that its cost is that of its
//! longest paths, and these are kept short.

// A number or a word of an argument that is cut off is another one.
#![deny(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap, clippy::cast_lossless)]

mod calls;
mod code;
mod compile;
pub mod evaluate;
mod graph;
pub mod listing;
mod memo;
mod merge;
mod mux;
pub mod own_calls;
mod prune;
mod ranges;
mod readings;
mod remove;
pub mod step;
mod tree;
pub mod verdict;

pub use compile::{Filter, compile};
