//! Reading and validation: config.json → [`Spec`]. Nothing above this module sees a raw string that
//! stands for a number, a flag or an enum.

mod check;
mod check_mounts;
pub mod check_resources;
pub mod collect_errors;
pub mod default;
pub mod demo;
pub mod device;
pub mod exec_process;
pub mod hooks;
mod idmap;
pub mod intel_rdt;
pub mod limits;
pub mod linux;
pub mod mount;
pub mod names;
mod namespaces;
pub mod path;
pub mod position;
pub mod problems;
pub mod process;
pub mod resources;
pub mod scheduling;
pub mod seccomp;
pub mod seccomp_names;
mod sentence;
pub mod spec;
pub mod sysctl;
pub mod text;
pub mod unknown;

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, fstat, stat};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fd::CWD;
use crate::sys::file;
use crate::sys::regular::{self, Unreadable};
pub use position::Positions;
pub use problems::Problems;
use sentence::Sentence;
pub use spec::Spec;

/// A bundle: a directory with a config.json, read and checked.
#[derive(Debug)]
pub struct Bundle {
    /// Its absolute path.
    pub dir: PathBuf,
    /// The text of config.json, for the lines of errors and `explain`.
    pub text: Vec<u8>,
    /// What errors call the text.
    pub name: Cow<'static, str>,
    /// What the text says.
    pub spec: Spec,
    /// What is odd but no reason to refuse it.
    pub warnings: Vec<Error>,
    /// Whether it has properties that the specification does not know.
    pub has_unknown: bool,
}

/// Reads and checks the config.json of a bundle.
///
/// # Errors
/// A bundle or config.json that is not there; a text that is not JSON (with line and column); a
/// property of the wrong type or value (with its pointer and line).
pub fn load(dir: &Path) -> Result<Bundle> {
    let (directory, absolute) = open(dir).what(|| format!("bundle {dir:?}"))?;
    let text = read_config(&directory, || absolute.join("config.json"))?;
    of_text(absolute, text)
}

/// The same of a text that was read before.
///
/// # Errors
/// Those of the text.
pub fn of_text(absolute: PathBuf, text: Vec<u8>) -> Result<Bundle> {
    text::start_noting();
    let spec = read(&text).map_err(Misread::into_error)?;
    let has_unknown = text::has_passed_over();
    let mut bundle = Bundle { text, has_unknown, ..Bundle::of_spec(absolute, spec) };
    let mut found = Problems::default();
    check::check(&bundle.spec, &mut found);
    match found.errors.into_iter().next() {
        None => {
            bundle.warnings = bundle.locate_all(found.warnings);
            Ok(bundle)
        }
        Some(first) => Err(bundle.locate(first)),
    }
}

/// The file of a bundle.
pub const CONFIG: &str = "config.json";
/// The longest config.json that is read, in bytes.
pub const LONGEST: usize = 16 << 20;

/// Reads the config.json of a bundle, which may be a link to one.
fn read_config(directory: impl AsFd, path: impl Fn() -> PathBuf) -> Result<Vec<u8>> {
    let read = regular::read(directory, c"config.json", OFlag::empty(), LONGEST).what(|| format!("open {:?}", path()));
    read.map(|regular| regular.text).map_err(|error| match error.code() {
        Errno::ENOENT => error.hint("ferrun spec writes one"),
        _ => error,
    })
}

/// The text of a bundle's config.json, whatever it says.
///
/// # Errors
/// A file that is missing, too long or no regular one.
pub fn read_text(dir: &Path) -> Result<Vec<u8>> {
    let what = || format!("open {:?}", dir.join("config.json"));
    let directory = openat(CWD, dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    read_config(directory.what(what)?, || dir.join("config.json"))
}

/// Reads a file that the caller names, such as a profile: any kind of file, a pipe as well, up to the length of a
/// config.json.
///
/// # Errors
/// A longer one.
pub fn read_named(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("open {path:?}");
    let file = openat(CWD, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).what(what)?;
    read_stream(file).what(what)
}

/// The same, where `-` names standard input.
///
/// # Errors
/// As [`read_named`].
pub fn read_named_or_input(path: &Path) -> Result<Vec<u8>> {
    match path.as_os_str() == "-" {
        true => read_stream(std::io::stdin()).what(|| "read standard input"),
        false => read_named(path),
    }
}

/// Reads an open file, up to the same length.
fn read_stream(file: impl AsFd) -> std::result::Result<Vec<u8>, Unreadable> {
    file::read_open(file, LONGEST)?.ok_or(Unreadable::LongerThan(LONGEST))
}

/// Opens a directory; gives its absolute path without links, too. As engines write it, that is the path that
/// was given. Of any other the kernel knows it, for which it makes entries of /proc; but where the mount is gone
/// only the part below that, which may be the path of another. Then, and without a /proc, it is looked for.
fn open(dir: &Path) -> std::io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if path::is_clean(dir.as_os_str().as_encoded_bytes()) {
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        if let Ok(directory) = openat2(CWD, dir, how) {
            return Ok((directory, dir.to_owned()));
        }
    }
    let directory = openat(CWD, dir, flags, Mode::empty())?;
    let known = std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let path = match known.map(|path| (stat(&path), path)) {
        Ok((Ok(there), path)) if same(&fstat(&directory)?, &there) => path,
        _ => std::fs::canonicalize(dir)?,
    };
    Ok((directory, path))
}

fn same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn read(text: &[u8]) -> std::result::Result<Spec, Misread> {
    read_object(text, "config.json")
}

/// Why a text could not be read.
#[derive(Debug)]
enum Misread {
    /// It is no JSON.
    NotJson(Error),
    /// It is not what is expected, in a property that the message does not name; perhaps one that an object lacks.
    Data { error: Error, missing: Option<Box<str>> },
}

impl Misread {
    /// The error, which names its property.
    fn into_error(self) -> Error {
        match self {
            Misread::NotJson(error) => error,
            Misread::Data { error, .. } => named(error),
        }
    }
}

impl From<Error> for Misread {
    fn from(error: Error) -> Misread {
        Misread::NotJson(error)
    }
}

/// Reads `linux.resources` alone, as `update` is given them; the pointers of errors begin there.
///
/// # Errors
/// As [`load`].
pub fn read_resources(text: &[u8], name: &str) -> Result<resources::Resources> {
    let resources = read_object(text, name).map_err(Misread::into_error)?;
    check_resources::check(&resources).map_err(|error| within("/linux/resources", error, text, name))?;
    Ok(resources)
}

/// Whether a text is a whole config.json: only that has a version.
pub fn is_config(text: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(text).is_ok_and(|value| value.get("ociVersion").is_some())
}

/// Warnings about the properties of such a text that have no meaning, with their lines.
pub fn unknown_resources(text: &[u8], name: &str) -> Vec<Error> {
    let Ok(value) = serde_json::from_slice(text) else { return Vec::new() };
    let positions = Positions::new(text);
    let located = |mut warning: Error| {
        let line = warning.pointer.as_deref().and_then(|pointer| positions.line(pointer));
        warning.place = line.map(|line| format!("{name}:{line}").into());
        named(warning)
    };
    unknown::resources(&value).into_iter().map(located).collect()
}

/// An error of a part of a config.json that stands by itself: its pointer without what is above, and its line.
pub fn within(above: &str, mut error: Error, text: &[u8], name: &str) -> Error {
    let pointer = error.pointer.as_deref().and_then(|pointer| pointer.strip_prefix(above));
    if let Some(pointer) = pointer.map(Box::<str>::from) {
        error.place = Positions::new(text).line(&pointer).map(|line| format!("{name}:{line}").into());
        error.pointer = Some(pointer);
    }
    error
}

fn read_object<T: serde::de::DeserializeOwned>(text: &[u8], name: &str) -> std::result::Result<T, Misread> {
    let read = serde_json::from_str(utf8(text, name)?);
    read.map(|text::Object(object)| object).map_err(|error| misread_as(&error, text, name))
}

/// A text of JSON, which is checked as a whole: string by string it took a seventh of the
/// instructions of all the reading.
///
/// # Errors
/// A byte that is not UTF-8, with its line and column.
pub fn utf8<'a>(text: &'a [u8], name: &str) -> Result<&'a str> {
    std::str::from_utf8(text).map_err(|error| {
        let before = &text[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len) + 1;
        let error = not_json(name, line, column, "a byte that is not UTF-8");
        Positions::new(text).pointer(line, column).into_iter().fold(error, Error::from_property)
    })
}

/// An error whose first line, which is all that engines show, begins with the property. Its pointer is final.
fn named(error: Error) -> Error {
    match &error.pointer {
        Some(pointer) => Error { message: format!("{pointer}: {}", error.message), ..error },
        None => error,
    }
}

/// What to say of a text that could not be read: the property and its line.
pub fn misread(error: &serde_json::Error, text: &[u8], name: &str) -> Error {
    misread_as(error, text, name).into_error()
}

fn misread_as(error: &serde_json::Error, text: &[u8], name: &str) -> Misread {
    let (line, column) = (error.line(), error.column());
    let said = sentence::without_position(&error.to_string()).to_owned();
    if !error.is_data() {
        return not_json(name, line, column, &said).into();
    }
    let sentence = Sentence::read(&said);
    let pointer = Positions::new(text).pointer(line, column);
    let place = Some(format!("{name}:{line}").into());
    let (pointer, hint) = (pointer.map(Box::from), sentence.hint().map(Box::from));
    let kind = match sentence {
        Sentence::Missing(_) => ErrorKind::Missing,
        Sentence::Repeated => ErrorKind::Repeated,
        _ => ErrorKind::Other,
    };
    let missing = if let Sentence::Missing(name) = sentence { Some(name.into()) } else { None };
    Misread::Data { error: Error { kind, pointer, place, hint, ..Error::new(said) }, missing }
}

fn not_json(name: &str, line: usize, column: usize, said: &str) -> Error {
    let message = format!("{name} is not valid JSON: line {line}, column {column}: {said}");
    Error { place: Some(format!("{name}:{line}").into()), ..Error::new(message) }
}

/// Adds the line, if it is not known.
fn locate(error: &mut Error, positions: &Positions, name: &str) {
    if let (Some(pointer), None) = (&error.pointer, &error.place) {
        error.place = positions.line(pointer).map(|line| format!("{name}:{line}").into());
    }
}

impl Bundle {
    /// A bundle of a spec alone, whose text nobody looks at.
    pub fn of_spec(dir: PathBuf, spec: Spec) -> Bundle {
        Bundle { dir, text: Vec::new(), name: CONFIG.into(), spec, warnings: Vec::new(), has_unknown: false }
    }

    /// Adds to an error the line on which its property stands.
    pub fn locate(&self, mut error: Error) -> Error {
        if error.pointer.is_some() && error.place.is_none() {
            locate(&mut error, &Positions::new(&self.text), &self.name);
        }
        error
    }

    /// Warnings about its properties that no platform knows, with their lines. The text is read again if it has any.
    pub fn unknown(&self) -> Vec<Error> {
        let value = if self.has_unknown { serde_json::from_slice(&self.text).ok() } else { None };
        let found = value.map_or_else(Vec::new, |value| unknown::properties(&value));
        let meant_here = |warning: &Error| !warning.pointer.as_deref().is_some_and(unknown::is_for_another_platform);
        self.locate_all(found.into_iter().filter(meant_here).map(named).collect())
    }

    /// The same for all of a list, with one walk through the text.
    pub fn locate_all(&self, mut errors: Vec<Error>) -> Vec<Error> {
        if !errors.is_empty() {
            let positions = Positions::new(&self.text);
            errors.iter_mut().for_each(|error| locate(error, &positions, &self.name));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Error {
        read(text.as_bytes()).expect_err(text).into_error()
    }

    #[test]
    fn text_that_is_not_json_is_told_by_line_and_column() {
        let error = refused("{\n  \"ociVersion\": \"1.0.0\",,\n}");
        assert!(error.message.contains("line 2, column 25"), "{error}");
        assert_eq!(error.place.as_deref(), Some("config.json:2"));
    }

    #[test]
    fn what_is_not_utf8_is_told_by_line_and_pointer() {
        let error =
            read(b"{\"ociVersion\":\"1.0.0\",\n\"process\":{\"args\":[\"a\",\"b\xff\"]}}").unwrap_err().into_error();
        crate::golden::compare(&error.message);
        assert_eq!(
            (error.pointer.as_deref(), error.place.as_deref()),
            (Some("/process/args/1"), Some("config.json:2"))
        );
    }

    #[test]
    fn a_wrong_type_is_told_by_pointer() {
        let error = refused("{\"ociVersion\":\"1.0.0\",\n\"process\":{\"args\":[\"a\",\n7]}}");
        assert_eq!(error.pointer.as_deref(), Some("/process/args/1"), "{error}");
        assert_eq!(error.place.as_deref(), Some("config.json:3"));
        crate::golden::compare(&error.message);
    }

    #[test]
    fn a_property_that_is_passed_over_is_noted_wherever_it_is() {
        let passed_over = |text: &str| {
            text::start_noting();
            read(text.as_bytes()).expect(text);
            text::has_passed_over()
        };
        let known = include_bytes!("../../tests/data/configs/docker-default.json");
        let known = std::str::from_utf8(known).unwrap();
        assert!(!passed_over(known));
        let mut value: serde_json::Value = serde_json::from_str(known).unwrap();
        for (pointer, ..) in [
            ("",),
            ("/root",),
            ("/process",),
            ("/process/user",),
            ("/process/capabilities",),
            ("/mounts/0",),
            ("/linux",),
            ("/linux/resources",),
            ("/linux/resources/devices/0",),
            ("/linux/namespaces/0",),
            ("/linux/seccomp",),
            ("/linux/seccomp/syscalls/0",),
        ] {
            let object = value.pointer_mut(pointer).and_then(serde_json::Value::as_object_mut).expect(pointer);
            object.insert("readOnly".into(), serde_json::json!({ "deep": [1] }));
            let text = serde_json::to_string(&value).unwrap();
            assert!(passed_over(&text), "{pointer}");
            value.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove("readOnly");
        }
        assert!(!passed_over(&value.to_string()));
    }

    #[test]
    fn versions() {
        let read = |version: &str| read(format!("{{\"ociVersion\":{version:?}}}").as_bytes());
        for good in ["1.0.0", "1.0.2-dev", "1.3.0", "1.10.0+build"] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in ["", "1", "1.0", "2.0.0", "0.9.0", "foo", "1.x.0", "1.0.x"] {
            assert_eq!(read(bad).unwrap_err().into_error().pointer.as_deref(), Some("/ociVersion"), "{bad}");
        }
        assert_eq!(refused("{}").kind, ErrorKind::Missing);
    }
}
