//! The step that sets a limit: it writes a value to a file of the cgroup.

use std::fmt;
use std::rc::Rc;

use nix::errno::Errno;

use super::missing;
use super::write::{Otherwise, Write};
use crate::error::{Error, Result};
use crate::sys::file;
use crate::types::limits::{File, Hint};

/// Writes a value to a file of the cgroup.
#[derive(PartialEq)]
pub struct Limit {
    /// The cgroup's directory.
    pub directory: Rc<str>,
    /// What is written.
    pub write: Write,
}

impl Limit {
    /// Runs the step.
    ///
    /// # Errors
    /// ENOENT: the controller is not enabled for this cgroup, or the kernel has no such file. Else the
    /// kernel does not take the value.
    pub fn run(&self) -> Result<()> {
        let Write { name, file, value, otherwise, .. } = &self.write;
        match (self.put(name, file, value), otherwise) {
            (Err(refused), Otherwise::Skip) if refused.errno == Errno::ENOENT => Ok(()),
            (Err(refused), Otherwise::Instead(file, value)) if refused.errno == Errno::ENOENT => {
                self.put(file.name, file, value)
            }
            (Err(refused), Otherwise::After(first, its_value)) if refused.errno == Errno::EINVAL => {
                self.put(first.name, first, its_value).and_then(|()| self.put(name, file, value))
            }
            (result, _) => result,
        }
        .map_err(|refused| self.explain(&refused).from_property(self.write.pointer()))
    }

    /// The files that may be written to, their names, and what with.
    pub fn files(&self) -> impl Iterator<Item = (&str, &'static File, &str)> {
        let other = match &self.write.otherwise {
            Otherwise::Instead(file, value) | Otherwise::After(file, value) => Some((file.name, *file, value.as_str())),
            Otherwise::Fail | Otherwise::Skip => None,
        };
        std::iter::once((&*self.write.name, self.write.file, self.write.value.as_str())).chain(other)
    }

    fn put<'a>(&self, name: &'a str, file: &'static File, value: &'a str) -> std::result::Result<(), Refused<'a>> {
        let path = format!("{}/{name}", self.directory);
        let line = |line: &'a str| {
            file::write(path.as_str(), line.as_bytes()).map_err(|errno| Refused { errno, name, file, line })
        };
        if value.contains('\n') { value.lines().try_for_each(line) } else { line(value) }
    }

    fn explain(&self, Refused { errno, name, file, line }: &Refused) -> Error {
        let error = Error::os(format!("write {line:?} to {}/{name}", self.directory), *errno);
        if *errno == Errno::ENOENT {
            return missing::explain(&self.directory, &self.write, error);
        }
        match file.hints.iter().find(|(when, _)| when.is_none_or(|when| when == *errno)) {
            Some((_, hint)) => self.hint(*hint, name, error),
            None if *errno == Errno::ENODEV => error.hint(file.no_device),
            None => error,
        }
    }

    fn hint(&self, hint: Hint, name: &str, error: Error) -> Error {
        let read = |path: &str| {
            let text = file::read(path).unwrap_or_default();
            String::from_utf8_lossy(text.trim_ascii()).into_owned()
        };
        let above = self.directory.rsplit_once('/').map_or("", |(above, _)| above);
        let own = |file: &str| read(&format!("{}/{file}", self.directory));
        match hint {
            Hint::Say(sentence) => error.hint(sentence),
            Hint::InUse(usage) => error.detail(format!("{} bytes are in use", own(usage))),
            Hint::BothLimits => error.hint(format!(
                "the limit of memory is {}, and may not exceed that of memory and swap together, which is {}",
                bytes(&own("memory.limit_in_bytes")),
                bytes(&own("memory.memsw.limit_in_bytes"))
            )),
            Hint::IfIdle if own("cpu.idle") == "1" => error.hint(format!("{name} cannot be set while cpu.idle is 1")),
            Hint::RealTimeAbove => {
                let of_parent = read(&format!("{above}/{name}"));
                error.hint(format!("{above} has {of_parent} to give: a cgroup has real-time only out of its parent's"))
            }
            Hint::SetAbove => {
                // What v2 has no value of its own for, it has from above.
                let set = |suffix: &str| Some(read(&format!("{above}/{name}{suffix}"))).filter(|set| !set.is_empty());
                error.hint(format!("{above} has {}", set("").or_else(|| set(".effective")).unwrap_or_default()))
            }
            Hint::IfIdle | Hint::PageSizes => error,
        }
    }
}

/// A write that the kernel refused.
struct Refused<'a> {
    errno: Errno,
    name: &'a str,
    file: &'static File,
    line: &'a str,
}

/// A limit of memory as v1 prints it: without one it is the largest number of whole pages.
fn bytes(limit: &str) -> String {
    const NONE: u64 = i64::MAX as u64 - (1 << 20);
    let is_none = limit.parse::<u64>().is_ok_and(|limit| limit >= NONE);
    if is_none { "unlimited".into() } else { format!("{limit} bytes") }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} = {}", self.write.name, self.write.value.replace('\n', "; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pointer::Pointer;
    use crate::types::limits::{FILE, OTHER};

    /// A directory in the place of a cgroup: a file takes anything, a directory refuses.
    fn directory(name: &str) -> String {
        let path = std::env::temp_dir().join(format!("ferrun-limit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    static THERE: File = File { name: "there", ..FILE };

    fn limit(directory: &str, name: &'static str, otherwise: Otherwise) -> Limit {
        let from = Pointer::new("/linux/resources/memory/limit");
        let write = Write { from, name: name.into(), file: &OTHER, value: "1".into(), otherwise };
        Limit { directory: directory.into(), write }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_skipped_or_replaced() {
        let place = directory("missing");
        std::fs::write(format!("{place}/there"), "").unwrap();
        let error = limit(&place, "gone", Otherwise::Fail).run().unwrap_err();
        assert_eq!((error.code(), error.pointer.as_deref()), (Errno::ENOENT, Some("/linux/resources/memory/limit")));
        limit(&place, "gone", Otherwise::Skip).run().unwrap();
        limit(&place, "gone", Otherwise::Instead(&THERE, "7".into())).run().unwrap();
        assert_eq!(std::fs::read(format!("{place}/there")).unwrap(), b"7");
        assert!(!std::path::Path::new(&format!("{place}/gone")).exists(), "no file is made");
        std::fs::remove_dir_all(place).unwrap();
    }
}
