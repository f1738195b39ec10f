//! The wording of errors and warnings: tests/data/sentences.txt has it for all tests, unit tests (src/lib.rs) as well,
//! each line with the name of its test.
//!
//! After a change of the wording that is meant: empty the file and run all tests with UPDATE_SENTENCES=1. In the guest,
//! whose kernel and cgroups have other words, nothing is compared.

use std::collections::BTreeSet;
use std::io::{Read, Seek, Write};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

/// Fails unless a sentence is written down for the running test; with $UPDATE_SENTENCES it is added.
///
/// A test of which the file has nothing was skipped where it was written.
#[track_caller]
pub fn compare(sentence: &str) {
    if std::env::var_os("FERRUN_IN_GUEST").is_some() {
        return;
    }
    let thread = std::thread::current();
    let test = format!("{}::{}: ", env!("CARGO_CRATE_NAME"), thread.name().expect("the thread of a test"));
    let line = format!("{test}{}", without_names(sentence));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sentences.txt");
    if std::env::var_os("UPDATE_SENTENCES").is_some() {
        return add(&path, &line);
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let own: Vec<&str> = text.lines().filter(|one| one.starts_with(&test)).collect();
    let is_known = own.is_empty() || own.contains(&line.as_str());
    assert!(is_known, "{} lacks\n{line}\nand has\n{}", path.display(), own.join("\n"));
}

/// Adds a line to a sorted file; other processes do so at the same time.
fn add(path: &Path, line: &str) {
    let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    let mut lines: BTreeSet<&str> = text.lines().collect();
    lines.insert(line);
    let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
    file.set_len(0).unwrap();
    file.rewind().unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A text without what differs from run to run and from host to host: the bundle's directory and id, cgroups, and
/// numbers of three digits and more, such as pids.
fn without_names(text: &str) -> String {
    let temporary = std::env::temp_dir().join("ferrun-test-");
    let mut text = text.replace(temporary.to_str().unwrap(), "BUNDLE-");
    let id = format!("t{}-", std::process::id());
    while let Some(at) = text.find(&id) {
        text.replace_range(at..at + id.len() + "0000".len(), "ID");
    }
    let mut text = text.replace("BUNDLE-ID", "BUNDLE");
    let mut from = 0;
    while let Some(at) = text[from..].find("/sys/fs/cgroup").map(|at| from + at) {
        let end = text[at..].find([' ', ':', '"', ',', ';', ')']).map_or(text.len(), |end| at + end);
        text.replace_range(at..end, "CGROUP");
        from = at + "CGROUP".len();
    }
    let is_digit = |letter: char| letter.is_ascii_digit();
    let mut shortened = String::new();
    for part in text.split_inclusive(|letter| !is_digit(letter)) {
        let digits = part.trim_end_matches(|letter| !is_digit(letter)).len();
        shortened.push_str(if digits < 3 { &part[..digits] } else { "N" });
        shortened.push_str(&part[digits..]);
    }
    match shortened.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &shortened[..end]),
        None => shortened,
    }
}
