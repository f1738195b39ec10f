//! The binary: the short-lived allocator, and the command line.

#![deny(unsafe_code)]

/// Nothing that a command allocates is freed before it ends.
#[global_allocator]
static ALLOCATOR: ferrun::sys::bump::Bump = ferrun::sys::bump::Bump::new();

fn main() {
    std::process::exit(ferrun::cli::main())
}
