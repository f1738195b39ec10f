//! config.json → [`Spec`]: reading and validation. Nothing above this room sees a raw string that
//! stands for a number, a flag or an enum.

mod check;
mod check_mounts;
pub mod default;
pub mod demo;
mod device;
pub mod hooks;
mod idmap;
pub mod intel_rdt;
pub mod linux;
pub mod mount;
mod namespaces;
pub mod numbers;
pub mod position;
pub mod problems;
pub mod process;
pub mod scheduling;
pub mod seccomp;
pub mod spec;
pub mod sysctl;
pub mod text;

use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::sys::file;
pub use position::Positions;
pub use spec::Spec;

/// A bundle: a directory with a config.json, read and checked.
#[derive(Debug)]
pub struct Bundle {
    /// Its absolute path.
    pub dir: PathBuf,
    /// The text of config.json, for the lines of errors and `explain`.
    pub text: Vec<u8>,
    /// What the text says.
    pub spec: Spec,
    /// What is odd but no reason to refuse it.
    pub warnings: Vec<Error>,
}

/// Reads and checks the config.json of a bundle.
///
/// # Errors
/// A bundle or config.json that is not there; a text that is not JSON (with line and column); a
/// property of the wrong type or value (with its pointer and line).
pub fn load(dir: &Path) -> Result<Bundle> {
    let absolute = std::fs::canonicalize(dir).what(|| format!("bundle {dir:?}"))?;
    let config = absolute.join("config.json");
    let text = file::read(&config).what(|| format!("open {config:?}"))?;
    let spec = read(&text)?;
    let mut bundle = Bundle { dir: absolute, text, spec, warnings: Vec::new() };
    let mut warnings = Vec::new();
    match check::check(&bundle.spec, &mut warnings) {
        Ok(()) => {
            bundle.warnings = warnings.into_iter().map(|warning| bundle.locate(warning)).collect();
            Ok(bundle)
        }
        Err(error) => Err(bundle.locate(error)),
    }
}

fn read(text: &[u8]) -> Result<Spec> {
    serde_json::from_slice(text).map(|text::Object(spec)| spec).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        let place = format!("config.json:{line}");
        if error.is_data() {
            // Engines show the first line alone, so that has the property's name, too.
            let positions = Positions::new(text);
            let pointer = positions.pointer(line, column);
            let message = pointer.map_or_else(|| said.to_owned(), |pointer| format!("{pointer}: {said}"));
            let pointer = pointer.map(Box::from);
            return Error { pointer, place: Some(place.into()), ..Error::new(message) };
        }
        let message = format!("config.json is not valid JSON: line {line}, column {column}: {said}");
        Error { place: Some(place.into()), ..Error::new(message) }
    })
}

impl Bundle {
    /// Adds to an error the line on which its property stands.
    pub fn locate(&self, mut error: Error) -> Error {
        if let (Some(pointer), None) = (&error.pointer, &error.place) {
            error.place = Positions::new(&self.text).line(pointer).map(|line| format!("config.json:{line}").into());
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Error {
        read(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn text_that_is_not_json_is_told_by_line_and_column() {
        let error = refused("{\n  \"ociVersion\": \"1.0.0\",,\n}");
        assert!(error.message.contains("line 2, column 25"), "{error}");
        assert_eq!(error.place.as_deref(), Some("config.json:2"));
    }

    #[test]
    fn a_wrong_type_is_told_by_pointer() {
        let error = refused("{\"ociVersion\":\"1.0.0\",\n\"process\":{\"args\":[\"a\",\n7]}}");
        assert_eq!(error.pointer.as_deref(), Some("/process/args/1"), "{error}");
        assert_eq!(error.place.as_deref(), Some("config.json:3"));
        assert_eq!(error.message, "/process/args/1: invalid type: integer `7`, expected a string");
    }

    #[test]
    fn what_is_not_supported_yet_is_refused_with_its_pointer() {
        let error = refused("{\"ociVersion\":\"1.0.0\",\"linux\":{\"resources\":{\"memory\":{\"limit\":1}}}}");
        assert!(error.pointer.as_deref().unwrap().starts_with("/linux/resources/memory"), "{error:?}");
        assert!(error.message.contains("not supported"), "{error}");
    }

    #[test]
    fn versions() {
        let read = |version: &str| read(format!("{{\"ociVersion\":{version:?}}}").as_bytes());
        for good in ["1.0.0", "1.0.2-dev", "1.3.0", "1.10.0+build"] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in ["", "1", "1.0", "2.0.0", "0.9.0", "foo", "1.x.0", "1.0.x"] {
            assert_eq!(read(bad).unwrap_err().pointer.as_deref(), Some("/ociVersion"), "{bad}");
        }
        assert!(refused("{}").message.contains("missing field `ociVersion`"));
    }
}
