//! A procfs of ferrun's own: what is written to /proc must reach the kernel, and the container's /proc may
//! be anything (an image's directory, a bind, covered by masks; CVE-2025-52881).

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::error::{Context, Error, Result};
use crate::sys::fd::CWD;
use crate::sys::mount::{self, attr};

/// A new instance of procfs that is mounted nowhere, and gone when this is dropped.
pub struct Procfs(OwnedFd);

impl Procfs {
    /// An instance for this pid namespace, with all that procfs has.
    pub fn new() -> Result<Procfs> {
        Procfs::make(None)
    }

    /// An instance that shows processes alone: proc(5), `subset=pid`.
    pub fn of_processes() -> Result<Procfs> {
        Procfs::make(Some(c"pid"))
    }

    /// An instance to read what the kernel says of this process: one of ferrun's own, or where a user namespace does not
    /// permit that, the one on /proc. Wherever that comes from, what is read in it is the kernel's.
    pub fn to_read() -> Result<Procfs> {
        match Procfs::of_processes() {
            Err(error) if error.code() == Errno::EPERM => {
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let mounted = openat(CWD, c"/proc", flags, Mode::empty()).what(|| "open /proc")?;
                verify(&mounted).map_err(|_| error)?;
                Ok(Procfs(mounted))
            }
            result => result,
        }
    }

    fn make(subset: Option<&CStr>) -> Result<Procfs> {
        let make = || {
            let context = mount::fsopen(c"proc")?;
            if let Some(subset) = subset {
                mount::fsconfig_string(&context, c"subset", subset)?;
            }
            mount::fsconfig_create(&context)?;
            mount::fsmount(&context, attr::NOSUID | attr::NODEV | attr::NOEXEC)
        };
        let procfs = make().what(|| "make a procfs of ferrun's own").map_err(|error| match error.code() {
            Errno::EPERM => error.hint("in a user namespace that needs a /proc of which nothing is covered"),
            _ => error,
        })?;
        verify(&procfs)?;
        Ok(Procfs(procfs))
    }

    /// Opens a file in it; nothing leads out.
    pub fn open(&self, path: &CStr, flags: OFlag) -> Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        let file = openat2(&self.0, path, how).what(|| format!("open /proc/{}", path.to_string_lossy()))?;
        verify(&file)?;
        Ok(file)
    }

    /// Reads a file in it.
    pub fn read(&self, path: &CStr) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut file = File::from(self.open(path, OFlag::O_RDONLY)?);
        file.read_to_end(&mut text).what(|| format!("read /proc/{}", path.to_string_lossy()))?;
        Ok(text)
    }

    /// Writes a value to a file in it in one piece.
    pub fn write(&self, path: &CStr, value: &[u8]) -> Result<()> {
        let file = self.open(path, OFlag::O_WRONLY)?;
        let what = || format!("write {:?} to /proc/{}", String::from_utf8_lossy(value), path.to_string_lossy());
        match nix::unistd::write(file, value).what(what)? {
            all if all == value.len() => Ok(()),
            _ => Err(Error::os(what(), Errno::EIO)),
        }
    }
}

fn verify(file: &OwnedFd) -> Result<()> {
    match fstatfs(file).what(|| "look at a file of /proc")?.filesystem_type() {
        PROC_SUPER_MAGIC => Ok(()),
        other => Err(Error::new(format!("what should be procfs is another file system: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_it() {
        if !nix::unistd::geteuid().is_root() {
            return crate::skip::skip("this test needs root");
        }
        let (all, processes) = (Procfs::new().unwrap(), Procfs::of_processes().unwrap());
        assert!(all.open(c"sys/kernel/ostype", OFlag::O_RDONLY).is_ok());
        assert_eq!(processes.open(c"sys/kernel/ostype", OFlag::O_RDONLY).unwrap_err().code(), Errno::ENOENT);
        for procfs in [&all, &processes] {
            assert!(procfs.open(c"thread-self/attr", OFlag::O_RDONLY).is_ok(), "where security modules listen");
            assert!(procfs.read(c"thread-self/mountinfo").unwrap().ends_with(b"\n"));
            assert_eq!(procfs.open(c"self/root/etc", OFlag::O_RDONLY).unwrap_err().code(), Errno::ELOOP);
            assert_eq!(procfs.open(c"../etc", OFlag::O_RDONLY).unwrap_err().code(), Errno::EXDEV);
            assert_eq!(procfs.open(c"/etc", OFlag::O_RDONLY).unwrap_err().code(), Errno::EXDEV);
        }
    }
}
