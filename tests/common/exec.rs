//! `ferrun exec` as its tests call it.

use super::{Bundle, Done};

/// A container that runs until it is killed.
pub fn running() -> Bundle {
    start(Bundle::new(&["sleep", "1000"]))
}

/// Starts it.
#[track_caller]
pub fn start(bundle: Bundle) -> Bundle {
    let done = bundle.run_detached();
    assert_eq!(done.status, 0, "{done:?}");
    bundle
}

/// `ferrun exec FLAGS ID WORDS`.
#[track_caller]
pub fn exec_with(bundle: &Bundle, flags: &[&str], words: &[&str]) -> Done {
    bundle.bounded(&[&["exec"], flags, &[&bundle.id], words].concat())
}

/// `ferrun exec ID WORDS`.
pub fn exec(bundle: &Bundle, words: &[&str]) -> Done {
    exec_with(bundle, &[], words)
}

/// What a script in the container prints.
#[track_caller]
pub fn says(bundle: &Bundle, flags: &[&str], script: &str) -> String {
    let done = exec_with(bundle, flags, &["sh", "-c", script]);
    assert_eq!(done.status, 0, "{done:?}");
    done.stdout
}

/// Deletes it, and looks whether anything is left.
#[track_caller]
pub fn end(bundle: &Bundle) {
    let done = bundle.delete_force();
    assert_eq!(done.status, 0, "{done:?}");
    bundle.assert_nothing_left("exec");
}
