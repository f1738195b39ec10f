//! `events`: what a container has used, and when it runs out of memory.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use serde::Serialize;

use super::directory::Purpose;
use super::id::Id;
use super::state::{Root, State};
use super::status::status;
use crate::cgroup::oom::Oom;
use crate::cgroup::stats::Stats;
use crate::error::{Context, Error, Result};

/// One line of runc's `events`.
#[derive(Serialize, Debug)]
pub struct Event<'a> {
    /// `stats` or `oom`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The container.
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

impl Event<'_> {
    fn stats(state: &State) -> Result<Event<'_>> {
        let init = Pid::from_raw(state.init.map_or(0, |init| init.pid));
        let data = Stats::read(&state.cgroup, init)?;
        Ok(Event { kind: "stats", id: &state.id, data: Some(data) })
    }

    fn oom(state: &State) -> Event<'_> {
        Event { kind: "oom", id: &state.id, data: None }
    }
}

/// Takes an event; false: nobody wants more.
pub type Tell<'a> = &'a mut dyn FnMut(&Event) -> bool;

/// Tells once what a container has used.
///
/// # Errors
/// A container that is stopped, or has no cgroup.
pub fn once(root: &Root, id: &Id, tell: Tell) -> Result<()> {
    let state = root.load(id, Purpose::Look)?;
    status(&state)?.1.ok_or_else(|| not_running(id))?;
    tell(&Event::stats(&state)?);
    Ok(())
}

/// Tells it every `interval`, and every time that the container runs out of memory, until it stops.
///
/// # Errors
/// As [`once`].
pub fn watch(root: &Root, id: &Id, interval: Duration, tell: Tell) -> Result<()> {
    let state = root.load(id, Purpose::Look)?;
    let init = status(&state)?.1.ok_or_else(|| not_running(id))?;
    let mut memory = Oom::watch(&state.cgroup)?;
    let mut next = Instant::now() + interval;
    loop {
        let mut wanted = vec![PollFd::new(init.as_fd(), PollFlags::POLLIN)];
        wanted.extend(memory.iter().map(|oom| PollFd::new(oom.as_fd(), oom.flags())));
        let left = next.saturating_duration_since(Instant::now());
        match ppoll(&mut wanted, Some(TimeSpec::from_duration(left)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).what(|| format!("wait for container {id}")),
        }
        let mut ready = wanted.iter().map(|one| one.any().unwrap_or(true));
        let ended = ready.next().unwrap_or(true);
        // The kernel may hold news back for some milliseconds, but not from who looks: so also at the end.
        if ready.next().unwrap_or(false) || ended {
            match memory.as_mut().map(Oom::happened).transpose()? {
                Some(Some(true)) if !tell(&Event::oom(&state)) => return Ok(()),
                Some(None) => memory = None,
                _ => {}
            }
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            next = (next + interval).max(Instant::now());
            match Event::stats(&state) {
                Ok(stats) if !tell(&stats) => return Ok(()),
                // Its cgroup goes with the container: the next round sees the end.
                Ok(_) | Err(Error { errno: libc::ENODEV, .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn not_running(id: &Id) -> Error {
    Error::state(format!("container with id {id} is not running"))
}
