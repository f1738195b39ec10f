//! `ferrun --version`.

use super::report::print_out;
use crate::error::Result;

/// The version of the OCI runtime specification that ferrun follows.
pub const SPEC: &str = "1.3.0";

/// The state of the source that it was built from; none: nobody said.
pub const COMMIT: Option<&str> = option_env!("FERRUN_COMMIT");

/// Prints the version in the lines that engines look for.
///
/// # Errors
/// Output that cannot be written.
pub fn print() -> Result<()> {
    let commit = COMMIT.unwrap_or("unknown");
    print_out(&format!("ferrun version {}\ncommit: {commit}\nspec: {SPEC}\n", env!("CARGO_PKG_VERSION")))
}
