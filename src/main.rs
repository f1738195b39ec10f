//! The binary: the allocator, and the command line.

#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use ferrun::sys::allocator::Allocator;

#[global_allocator]
#[allow(unsafe_code)]
// SAFETY: there is one thread but for the helper of src/sys/helper_thread.rs, which allocates nothing; clippy.toml forbids
// any other. No child that shares its memory (posix_spawn(3), until it executes) allocates.
static ALLOCATOR: Allocator = unsafe { Allocator::new() };

fn main() {
    let status = ferrun::cli::main();
    // What an exit does (signal stacks and the like) the kernel does as well; nothing is buffered.
    ferrun::sys::program::exit(status)
}
