//! Files of `key value` lines whose changes can be polled for (POLLPRI): cgroup.events and memory.events of v2.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::sys::uio::pread;

use crate::sys::fd::CWD;

/// Such a file, open. A change is announced (POLLPRI) from the last read on, so none is missed between a
/// look and a wait.
pub struct Events(OwnedFd);

impl Events {
    /// Opens a file of a cgroup's directory.
    pub fn open(directory: &str, name: &str) -> nix::Result<Events> {
        let path = format!("{directory}/{name}");
        openat(CWD, path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map(Events)
    }

    /// The value of a key now; 0 if the kernel does not have it. ENODEV: the cgroup is gone.
    pub fn value(&self, key: &str) -> nix::Result<u64> {
        let mut text = [0; 1024];
        let length = pread(&self.0, &mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..length]);
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        Ok(lines.find(|(name, _)| *name == key).and_then(|(_, value)| value.parse().ok()).unwrap_or(0))
    }

    /// Waits until a key has a value. False: it has not yet, after all that time.
    pub fn wait(&self, key: &str, wanted: u64, bound: Duration) -> nix::Result<bool> {
        let deadline = Instant::now() + bound;
        loop {
            if self.value(key)? == wanted {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLPRI)], left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::cgroup::layout::Layout;
    use crate::skip::skip;

    #[test]
    fn the_end_of_the_last_process_is_an_event() {
        let Some(v2) = Layout::probe().unwrap().unified else { return skip("there is no cgroup v2") };
        let directory = format!("{}/ferrun-events-{}", v2.mount_point, std::process::id());
        if std::fs::create_dir(&directory).is_err() {
            return skip("this test needs to create a cgroup");
        }
        let events = Events::open(&directory, "cgroup.events").unwrap();
        assert_eq!((events.value("populated"), events.value("nonsense")), (Ok(0), Ok(0)));
        let script = format!("echo 0 >{directory}/cgroup.procs && echo && exec cat");
        let (mut shell, piped) = (Command::new("sh"), std::process::Stdio::piped);
        let mut child = shell.args(["-c", &script]).stdin(piped()).stdout(piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        assert_eq!(events.wait("populated", 0, Duration::from_millis(20)), Ok(false), "it is still there");
        drop(child.stdin.take());
        let begin = Instant::now();
        assert_eq!(events.wait("populated", 0, Duration::from_secs(60)), Ok(true));
        assert!(begin.elapsed() < Duration::from_secs(30), "the event ends the wait: {:?}", begin.elapsed());
        child.wait().unwrap();
        std::fs::remove_dir(&directory).unwrap();
        assert_eq!(events.value("populated"), Err(Errno::ENODEV));
    }
}
