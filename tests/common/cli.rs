//! What tests of the command line itself need.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Bundle, Done, ferrun_binary};

/// Runs the binary without a bundle.
pub fn ferrun(args: &[&str]) -> Done {
    Done::new(Command::new(ferrun_binary()).args(args).stdin(Stdio::null()).output().unwrap())
}

pub fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// A path in the bundle as text.
pub fn path(bundle: &Bundle, name: &str) -> String {
    bundle.dir.join(name).to_str().unwrap().to_owned()
}

pub fn names_in(dir: &Path) -> BTreeSet<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
