//! Holding all processes of a container still, and letting them go on: freezer-subsystem.rst of v1,
//! `cgroup.freeze` of cgroup-v2.rst.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::directory::Directory;
use super::events::Events;
use super::view::View;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::file;

/// How long it may take: a process in the middle of disk or network I/O stops only after it.
const LONGEST: Duration = Duration::from_secs(10);

/// Stops every process of the container. When this returns, none runs.
///
/// # Errors
/// Processes that cannot be stopped: then all go on as before.
pub fn freeze(directories: &[Directory]) -> Result<()> {
    let frozen = match View::of(directories)? {
        View::V2(path) => freeze_v2(path),
        view => freeze_v1(directory(view)?),
    };
    frozen.inspect_err(|_| {
        let _ = thaw(directories);
    })
}

/// Lets the container's processes go on.
pub fn thaw(directories: &[Directory]) -> Result<()> {
    match View::of(directories)? {
        View::V2(path) => write(&format!("{path}/cgroup.freeze"), b"0"),
        view => write(&format!("{}/freezer.state", directory(view)?), b"THAWED"),
    }
}

/// Does something while no process of the container runs; where there is no freezer, all the same. What stood
/// still before still does so afterwards.
///
/// # Errors
/// Processes that cannot be stopped; those of what is done. Then, too, all go on.
pub fn while_frozen(directories: &[Directory], act: impl FnOnce() -> Result<()>) -> Result<()> {
    let freezes = View::of(directories)?.with("freezer").is_some();
    if !freezes || is_frozen(directories)? {
        return act();
    }
    freeze(directories)?;
    let done = act();
    let thawed = thaw(directories);
    done.and(thawed)
}

/// Whether the container itself has been told to stop (its parents may be, too): one small file. Where there
/// is no freezer nothing is ever frozen.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn is_frozen(directories: &[Directory]) -> Result<bool> {
    if directories.is_empty() {
        return Ok(false);
    }
    let file = match View::of(directories)? {
        View::V2(path) => format!("{path}/cgroup.freeze"),
        view => match view.with("freezer") {
            Some(path) => format!("{path}/freezer.self_freezing"),
            None => return Ok(false),
        },
    };
    Ok(read_if_there(&file)?.starts_with(b"1"))
}

/// Whether a process that enters this directory of one hierarchy stands still from then on: because of the cgroup
/// itself, or of one above it.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn stops_who_enters(path: &str) -> Result<bool> {
    let says = |file: &str, words: &[&str]| -> Result<bool> {
        let text = read_if_there(&format!("{path}/{file}"))?;
        Ok(String::from_utf8_lossy(&text).lines().any(|line| words.contains(&line)))
    };
    Ok(says("freezer.state", &["FROZEN", "FREEZING"])? || says("cgroup.events", &["frozen 1"])?)
}

/// Because of which cgroup a process in this directory stands still: the topmost of those that are frozen.
pub fn frozen_at(path: &str) -> Option<&str> {
    let mut all = path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]);
    // It is only an explanation.
    all.find(|path| stops_who_enters(path).unwrap_or(false))
}

/// The text of a file; of one that is missing, or of a cgroup that is gone, none.
fn read_if_there(path: &str) -> Result<Vec<u8>> {
    match file::read(path) {
        Err(Errno::ENOENT | Errno::ENODEV | Errno::ENOTDIR) => Ok(Vec::new()),
        text => text.what(|| format!("read {path}")),
    }
}

fn directory(view: View<'_>) -> Result<&str> {
    view.with("freezer").ok_or_else(|| Error::new("this host's cgroups have no freezer"))
}

fn write(path: &str, value: &[u8]) -> Result<()> {
    file::write(path, value).what(|| format!("write {} to {path}", String::from_utf8_lossy(value)))
}

fn freeze_v2(path: &str) -> Result<()> {
    let events = Events::open(path, "cgroup.events").what(|| format!("open {path}/cgroup.events"))?;
    write(&format!("{path}/cgroup.freeze"), b"1")?;
    match events.wait("frozen", 1, LONGEST).what(|| format!("wait for {path} to be frozen"))? {
        true => Ok(()),
        false => Err(unable(path)),
    }
}

/// Here the kernel tells no event, and may miss processes that appear meanwhile: it is asked again and again.
/// After a while all go on for a moment, as runc does it: what hindered one may be another that has stopped.
/// On a busy host it takes longer until each has had its turn to stop; so every try is longer than the last.
fn freeze_v1(path: &str) -> Result<()> {
    let state = format!("{path}/freezer.state");
    let begin = Instant::now();
    let mut patience = Duration::from_millis(100);
    while begin.elapsed() < LONGEST {
        let try_began = Instant::now();
        let mut pause = Duration::from_micros(20);
        while try_began.elapsed() < patience {
            write(&state, b"FROZEN")?;
            if file::read(state.as_str()).what(|| format!("read {state}"))?.starts_with(b"FROZEN") {
                return Ok(());
            }
            sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(2));
        }
        write(&state, b"THAWED")?;
        sleep(Duration::from_millis(10));
        patience *= 2;
    }
    Err(unable(path))
}

/// The error for a start that waits for a process of a frozen cgroup.
pub fn unexpectedly_frozen(path: &str) -> Error {
    let error = Error::new(format!("container's cgroup unexpectedly frozen: {path}")).of_kind(ErrorKind::Frozen);
    error.from_property("/linux/cgroupsPath")
}

fn unable(path: &str) -> Error {
    Error::os(format!("freeze {path}"), Errno::EBUSY).detail("a process in it does not stop")
}
