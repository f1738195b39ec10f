//! The container's program: its working directory, finding it, becoming it.

use std::ffi::{CStr, CString};
use std::fmt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, stat, umask};
use nix::unistd::{AccessFlags, access, fchdir};

use super::diagnose;
use crate::error::{Context, Error, Result};
use crate::rootfs::Rootfs;
use crate::sys::file;
use crate::sys::program::{Strings, execve};

/// Where the search goes when the container's environment has no PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Creates the working directory if it is missing, as runc does: before anything becomes read-only. It is entered
/// only when everything is in its place, since what is read-only or masked by then must be so from there as well.
#[derive(PartialEq)]
pub struct MakeWorkingDirectory(pub CString);

impl MakeWorkingDirectory {
    /// Runs the step. Where ferrun itself may not do it, the user perhaps may: [`WorkingDirectory`] finds out.
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        match rootfs.make_directory(&self.0) {
            Err(Errno::EACCES) => Ok(()),
            made => made.map(drop).what(|| format!("cwd {:?}", self.0)),
        }
    }
}

impl fmt::Display for MakeWorkingDirectory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}, if it is missing", self.0.to_string_lossy())
    }
}

/// Enters the working directory.
#[derive(PartialEq)]
pub struct WorkingDirectory {
    /// Its path in the container.
    pub path: CString,
    /// Whether it is made if it is missing (as by runc): not in a container that runs already.
    pub make: bool,
}

impl WorkingDirectory {
    /// Runs the step. The path is resolved inside the root and through no magic link of /proc, so that
    /// it cannot lead to a directory of the host (CVE-2024-21626).
    pub fn run(&self, rootfs: &Rootfs) -> Result<()> {
        let path = self.path.as_c_str();
        let directory = match self.make {
            true => rootfs.make_directory(path).what(|| format!("cwd {path:?}")),
            false => rootfs.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY).what(|| format!("chdir to cwd {path:?}")),
        };
        fchdir(directory?).what(|| format!("chdir to cwd {path:?}"))?;
        match file::is_working_directory_reachable() {
            true => Ok(()),
            false => Err(Error::new(format!("cwd {path:?} is outside of the container's root"))),
        }
    }
}

impl fmt::Display for WorkingDirectory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.path.to_string_lossy())
    }
}

/// Sets the file mode creation mask.
#[derive(PartialEq)]
pub struct Umask(pub u32);

impl Umask {
    /// Runs the step.
    pub fn run(&self) -> Result<()> {
        umask(Mode::from_bits_truncate(self.0));
        Ok(())
    }
}

impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "umask {:04o}", self.0)
    }
}

/// The program with everything that execve(2) takes.
#[derive(PartialEq)]
pub struct Program {
    /// Its name and arguments.
    pub args: Vec<CString>,
    /// Its environment.
    pub env: Vec<CString>,
}

impl Program {
    fn name(&self) -> &CStr {
        &self.args[0]
    }

    /// The paths to try, in order.
    fn candidates(&self) -> Vec<CString> {
        let name = self.name();
        if name.to_bytes().contains(&b'/') {
            return vec![name.to_owned()];
        }
        let path = self.env.iter().rev().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
        let directories = path.unwrap_or(DEFAULT_PATH).split(|byte| *byte == b':');
        let absolute = directories.filter(|directory| directory.first() == Some(&b'/'));
        let joined = absolute.map(|directory| [directory, b"/", name.to_bytes()].concat());
        joined.map(|path| CString::new(path).expect("joined from strings without NUL")).collect()
    }

    /// Everything that execve(2) takes, with room for one more entry in the environment.
    pub fn prepare(&self) -> Prepared<'_> {
        Prepared {
            program: self,
            candidates: self.candidates(),
            found: None,
            args: Strings::new(&self.args),
            env: Strings::new(&self.env),
        }
    }

    fn is_path(&self) -> bool {
        self.name().to_bytes().contains(&b'/')
    }

    fn not_found(&self) -> Error {
        Error::new(format!("exec: {}: executable file not found in $PATH", diagnose::shown(self.name())))
    }
}

/// A program that can be executed without allocating anything.
pub struct Prepared<'a> {
    program: &'a Program,
    candidates: Vec<CString>,
    /// Which of these was found.
    found: Option<usize>,
    args: Strings<'a>,
    env: Strings<'a>,
}

impl Prepared<'_> {
    /// Adds an entry to the environment. Allocates nothing.
    pub fn add(&mut self, entry: CString) {
        self.env.push(entry);
    }

    /// The entry that was added.
    pub fn added(&self) -> Option<&CStr> {
        self.env.pushed()
    }

    /// Finds the program: what `create` reports, so that `start` need not.
    ///
    /// # Errors
    /// In the words that engines match: not found, a directory, not executable.
    pub fn look_up(&mut self) -> Result<()> {
        self.found = self.candidates.iter().position(|path| check(path).is_ok());
        match (self.found, self.program.is_path()) {
            (Some(_), _) => Ok(()),
            (None, true) => check(self.program.name()).map_err(|errno| diagnose::failed(self.program.name(), errno)),
            (None, false) => Err(self.program.not_found()),
        }
    }

    /// Becomes the program. Returns only the reason why that failed. If it was found, this makes no other call than
    /// execve(2).
    pub fn execute(&self) -> NotExecuted<'_> {
        let mut denied = None;
        for path in &self.candidates[self.found.unwrap_or(0)..] {
            match execve(path, &self.args, &self.env) {
                // In PATH, what is not there or may not be executed is passed over.
                Errno::ENOENT if self.found.is_none() && check(path).is_err() => {}
                Errno::ENOTDIR => {}
                Errno::EACCES => denied = denied.or(Some(path)),
                errno => return NotExecuted { program: self.program, path: Some(path), errno },
            }
        }
        match denied {
            Some(path) => NotExecuted { program: self.program, path: Some(path), errno: Errno::EACCES },
            None => NotExecuted { program: self.program, path: None, errno: Errno::ENOENT },
        }
    }
}

/// A program that could not be executed.
pub struct NotExecuted<'a> {
    program: &'a Program,
    /// The file that was tried last; `None` if there was none.
    path: Option<&'a CStr>,
    /// Why.
    pub errno: Errno,
}

impl NotExecuted<'_> {
    /// The error, without a look at anything.
    pub fn named(&self) -> Error {
        Error::os(format!("exec: {}", diagnose::shown(self.path.unwrap_or(self.program.name()))), self.errno)
    }

    /// The error with what a look at the file tells.
    pub fn explained(&self) -> Error {
        let name = self.program.name();
        match self.path {
            Some(_) if self.errno == Errno::EACCES && !self.program.is_path() => self.program.not_found(),
            Some(path) => diagnose::failed(path, self.errno),
            None if self.program.is_path() => diagnose::failed(name, check(name).err().unwrap_or(Errno::ENOENT)),
            None => self.program.not_found(),
        }
    }
}

/// Whether execve(2) could take this file, as far as that can be told without trying.
fn check(path: &CStr) -> nix::Result<()> {
    if stat(path)?.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    access(path, AccessFlags::X_OK)
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let words: Vec<_> = self.args.iter().map(|word| word.to_string_lossy()).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, env: &[&str]) -> Program {
        let text = |text: &str| CString::new(text).unwrap();
        Program { args: vec![text(name)], env: env.iter().map(|entry| text(entry)).collect() }
    }

    fn candidates(name: &str, env: &[&str]) -> Vec<String> {
        program(name, env).candidates().into_iter().map(|path| path.into_string().unwrap()).collect()
    }

    #[test]
    fn the_search_follows_the_containers_path() {
        assert_eq!(candidates("sh", &["PATH=/a:/b"]), ["/a/sh", "/b/sh"]);
        assert_eq!(candidates("sh", &["PATH=/a", "PATH=/b"]), ["/b/sh"], "the last entry counts");
        assert_eq!(candidates("sh", &["PATH=:.:rel:/a"]), ["/a/sh"], "never from the working directory");
        assert_eq!(candidates("sh", &[]).len(), 6, "the default path");
        assert_eq!(candidates("./sh", &["PATH=/a"]), ["./sh"]);
    }

    #[test]
    fn what_cannot_run_is_told_apart() {
        let said = |name: &str| program(name, &["PATH=/nowhere"]).prepare().look_up().unwrap_err().to_string();
        assert_eq!(said("sh"), "exec: \"sh\": executable file not found in $PATH");
        assert_eq!(said("/nowhere/sh"), "exec: \"/nowhere/sh\": no such file or directory");
        assert_eq!(said("/etc"), "exec: \"/etc\": is a directory: permission denied");
    }
}
