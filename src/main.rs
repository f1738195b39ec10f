//! The binary: the allocator, and the command line.

#![no_main]
#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use ferrun::sys::allocator::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

ferrun::main_function!(ferrun::cli::main);
