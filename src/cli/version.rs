//! `ferrun --version`, and writing to standard output.

use std::io::Write;

/// The version of the OCI runtime specification that ferrun follows.
const SPEC: &str = "1.3.0";

/// Prints the version in the lines that engines look for.
pub fn print() -> i32 {
    let commit = option_env!("FERRUN_COMMIT").unwrap_or("unknown");
    print_out(&format!("ferrun version {}\ncommit: {commit}\nspec: {SPEC}\n", env!("CARGO_PKG_VERSION")));
    0
}

/// Writes to standard output in one piece; a reader that is gone is no error.
pub fn print_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
