//! The binary: the allocator, and the command line.

#![deny(unsafe_code)]

use std::io::Write;

/// Nothing that a command allocates is freed before it ends, but by those that last.
#[global_allocator]
static ALLOCATOR: ferrun::sys::allocator::Allocator = ferrun::sys::allocator::Allocator::new();

fn main() {
    let status = ferrun::cli::main();
    // The rest of what an exit does (signal stacks and the like) the kernel does as well.
    let _ = std::io::stdout().flush();
    ferrun::sys::program::exit(status)
}
