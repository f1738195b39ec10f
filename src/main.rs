//! The binary: the allocator, and the command line.

#![deny(unsafe_code)]

/// Nothing that a command allocates is freed before it ends, but by those that last.
#[global_allocator]
static ALLOCATOR: ferrun::sys::allocator::Allocator = ferrun::sys::allocator::Allocator::new();

fn main() {
    let status = ferrun::cli::main();
    // What an exit does (signal stacks and the like) the kernel does as well; nothing is buffered.
    ferrun::sys::program::exit(status)
}
