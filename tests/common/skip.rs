//! Tests that are skipped say so loudly: unit tests (src/lib.rs) and those on real bundles share this.

use std::fs::{File, OpenOptions};
use std::io::Write;

/// Reports that a test is skipped and why, on the standard error of whoever runs the tests and in the file that
/// $FERRUN_SKIPS names; hack/test counts the lines there.
pub fn skip(why: &str) {
    // Not by a macro: libtest keeps what those print of a test that passes.
    let line = format!("SKIPPED: {why}\n");
    match outside_of_nextest() {
        Some(mut stream) => stream.write_all(line.as_bytes()),
        None => std::io::stderr().write_all(line.as_bytes()),
    }
    .unwrap();
    if let Some(path) = std::env::var_os("FERRUN_SKIPS") {
        append(path).unwrap().write_all(format!("{why}\n").as_bytes()).unwrap();
    }
}

/// The standard error of nextest, which keeps all that a test that passes prints.
fn outside_of_nextest() -> Option<File> {
    std::env::var_os("NEXTEST")?;
    append(format!("/proc/{}/fd/2", std::os::unix::process::parent_id())).ok()
}

fn append(path: impl AsRef<std::path::Path>) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
