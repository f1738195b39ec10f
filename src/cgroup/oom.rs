//! Notification of a container's running out of memory: by an eventfd on v1 (memory.rst, "OOM Control"), by a
//! change of memory.events on v2.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::controllers::Controllers;
use super::directory::Directory;
use super::events::Events;
use crate::error::{Context, Result};
use crate::sys::file;

/// A watch on a container's memory.
pub enum Oom {
    /// The kernel counts up the descriptor for every time, and once more when the cgroup is removed.
    V1 {
        /// It.
        told: EventFd,
        /// A file that is there as long as the cgroup.
        control: String,
    },
    /// The kernel counts the processes that it killed.
    V2 {
        /// The file with the count.
        events: Events,
        /// The count when it was last looked at.
        killed: u64,
    },
}

impl Oom {
    /// Begins to watch. Where the container's memory is not counted there is nothing to watch.
    pub fn watch(directories: &[Directory]) -> Result<Option<Oom>> {
        let controllers = Controllers::of(directories)?;
        let Some(path) = controllers.directory("memory") else { return Ok(None) };
        let what = |file: &str| format!("watch {path}/{file}");
        if let Controllers::V2(_) = controllers {
            return match Events::open(path, "memory.events") {
                Err(Errno::ENOENT) => Ok(None),
                Err(errno) => Err(errno).what(|| what("memory.events")),
                Ok(events) => {
                    let killed = events.value("oom_kill").what(|| what("memory.events"))?;
                    Ok(Some(Oom::V2 { events, killed }))
                }
            };
        }
        let told = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).what(|| "make an eventfd")?;
        let memory = File::open(format!("{path}/memory.oom_control")).what(|| what("memory.oom_control"))?;
        let control = format!("{path}/cgroup.event_control");
        let line = format!("{} {}", told.as_raw_fd(), memory.as_raw_fd());
        file::write(control.as_str(), line.as_bytes()).what(|| what("memory.oom_control"))?;
        Ok(Some(Oom::V1 { told, control }))
    }

    /// What the descriptor shows when there may be news.
    pub fn flags(&self) -> PollFlags {
        match self {
            Oom::V1 { .. } => PollFlags::POLLIN,
            Oom::V2 { .. } => PollFlags::POLLPRI,
        }
    }

    /// Whether the container ran out of memory since the last look. None: its cgroup is gone.
    pub fn happened(&mut self) -> Result<Option<bool>> {
        match self {
            Oom::V1 { told, control } => {
                let news = match told.read() {
                    Ok(_) => true,
                    Err(Errno::EAGAIN) => false,
                    Err(errno) => return Err(errno).what(|| "read the memory events"),
                };
                let exists = Path::new(control.as_str()).try_exists().what(|| format!("look for {control}"))?;
                Ok(exists.then_some(news))
            }
            Oom::V2 { events, killed } => match events.value("oom_kill") {
                Ok(now) => Ok(Some(now > std::mem::replace(killed, now))),
                Err(Errno::ENODEV) => Ok(None),
                Err(errno) => Err(errno).what(|| "read the memory events"),
            },
        }
    }
}

impl AsFd for Oom {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Oom::V1 { told, .. } => told.as_fd(),
            Oom::V2 { events, .. } => events.as_fd(),
        }
    }
}
