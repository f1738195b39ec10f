//! The binary: the allocator, and the command line.

#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use ferrun::sys::allocator::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

fn main() {
    let status = ferrun::cli::main();
    // What an exit does (signal stacks and the like) the kernel does as well; nothing is buffered.
    ferrun::sys::program::exit(status)
}
