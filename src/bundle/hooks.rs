//! The `hooks` object.

use serde::Deserialize;

use super::problems::{Problems, wrong};
use super::text::{Text, objects, or_default};
use crate::types::hooks::Kind;

/// The hooks by their kind, each list in its order. Kinds that the spec does not have are ignored.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)] // config.json's own names
pub struct Hooks {
    #[serde(deserialize_with = "objects")]
    pub prestart: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub create_runtime: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub create_container: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub start_container: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub poststart: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub poststop: Vec<Hook>,
}

/// A program that is run at a point of the container's life.
#[derive(Deserialize, Debug)]
pub struct Hook {
    /// Its file: an absolute path.
    pub path: Text,
    /// Its arguments, its name among them; none: the path alone.
    #[serde(default, deserialize_with = "or_default")]
    pub args: Vec<Text>,
    /// Its environment; absent: that of whoever runs it, while an empty list is an empty environment.
    pub env: Option<Vec<Text>>,
    /// Seconds that it may take; absent: as many as it wants.
    pub timeout: Option<i64>,
}

impl Hooks {
    /// The list of a kind.
    pub fn of(&self, kind: Kind) -> &[Hook] {
        match kind {
            Kind::Prestart => &self.prestart,
            Kind::CreateRuntime => &self.create_runtime,
            Kind::CreateContainer => &self.create_container,
            Kind::StartContainer => &self.start_container,
            Kind::Poststart => &self.poststart,
            Kind::Poststop => &self.poststop,
        }
    }
}

/// Checks what the spec demands of each hook: an absolute path, and a timeout above 0.
pub(super) fn check(hooks: &Hooks, found: &mut Problems) {
    for kind in Kind::ALL {
        for (index, hook) in hooks.of(kind).iter().enumerate() {
            let mut refuse = |name: &str, message: String| {
                found.error(wrong(
                    format!("{}/{name}", kind.pointer(index)),
                    format!("{} hook {index}: {message}", kind.name()),
                ));
            };
            if hook.path.bytes().first() != Some(&b'/') {
                refuse("path", format!("path {:?} is not absolute", hook.path));
            }
            if let Some(timeout) = hook.timeout.filter(|timeout| *timeout <= 0) {
                refuse("timeout", format!("timeout {timeout} is not greater than zero"));
            }
        }
    }
}
