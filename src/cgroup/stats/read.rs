//! Readers of the kernel's small files of numbers.

use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys::file;

/// The files of a directory. One that the kernel does not have, or has switched off, is None.
#[derive(Clone, Copy)]
pub struct Files<'a>(pub &'a str);

impl Files<'_> {
    /// The text of a file.
    pub fn text(self, name: &str) -> Result<Option<String>> {
        let path = format!("{}/{name}", self.0);
        match file::read(path.as_str()) {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(Errno::ENOENT | Errno::EOPNOTSUPP) => Ok(None),
            Err(errno) => Err(Error::os(format!("read {path}"), errno)),
        }
    }

    /// The one number of a file.
    pub fn number(self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        self.understood(name, text.trim(), number(text.trim())).map(Some)
    }

    /// A number, 0 where there is none.
    pub fn count(self, name: &str) -> Result<u64> {
        self.number(name).map(Option::unwrap_or_default)
    }

    /// The lines `key value` of a file.
    pub fn pairs(self, name: &str) -> Result<Option<BTreeMap<String, u64>>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let pair = |line: &str| {
            let pair = line.split_once(' ').and_then(|(key, value)| Some((key.to_owned(), number(value)?)));
            self.understood(name, line, pair)
        };
        text.lines().map(pair).collect::<Result<_>>().map(Some)
    }

    /// Names file and text of what was not as expected.
    pub fn understood<T>(self, name: &str, text: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| Error::new(format!("unable to parse {}/{name}: {text:?}", self.0)))
    }
}

/// A number as cgroups have it: `max` is the largest there is, and what the kernel counted below zero is 0.
pub fn number(text: &str) -> Option<u64> {
    match text {
        "max" => Some(u64::MAX),
        _ => text.parse().ok().or_else(|| text.parse::<i64>().ok().map(|_| 0)),
    }
}

/// `0-2,5`, as cpusets have it.
pub fn list(text: &str) -> Option<Vec<u16>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    let ranges: Option<Vec<_>> = text.split(',').filter(|part| !part.is_empty()).map(range).collect();
    Some(ranges?.into_iter().flatten().collect())
}

#[cfg(test)]
pub mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory in the place of a cgroup's.
    pub struct Fake(PathBuf);

    impl Fake {
        /// With these files.
        pub fn new(files: &[(&str, &str)]) -> Fake {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("ferrun-stats-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            for (file, text) in files {
                let file = path.join(file);
                std::fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).unwrap();
                std::fs::write(file, text).unwrap();
            }
            Fake(path)
        }

        /// Them.
        pub fn files(&self) -> Files<'_> {
            Files(self.0.to_str().unwrap())
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn numbers_and_lists() {
        for (text, value) in [("12", Some(12)), ("max", Some(u64::MAX)), ("-3", Some(0)), ("", None), ("1 2", None)] {
            assert_eq!(number(text), value, "{text}");
        }
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        assert_eq!(list("0-2,5,7-7"), Some(vec![0, 1, 2, 5, 7]));
        assert_eq!(list(""), Some(vec![]));
        assert_eq!((list("a"), list("1-"), list("70000")), (None, None, None));
    }
}
