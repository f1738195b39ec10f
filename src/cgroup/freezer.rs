//! Freezing and thawing all processes of a container: freezer-subsystem.rst of v1, `cgroup.freeze` of
//! cgroup-v2.rst.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::controllers::Controllers;
use super::directory::Directory;
use super::events::Events;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::file;

/// How long it may take: a process in the middle of disk or network I/O stops only after it.
const LONGEST: Duration = Duration::from_secs(10);

/// Freezes every process of the container. When this returns, none runs.
///
/// # Errors
/// Processes that cannot be frozen: then all are thawed.
pub fn freeze(directories: &[Directory]) -> Result<()> {
    let frozen = match Controllers::of(directories)? {
        Controllers::V2(path) => freeze_v2(path),
        controllers => freeze_v1(directory(controllers)?),
    };
    frozen.inspect_err(|_| {
        let _ = thaw(directories);
    })
}

/// Thaws the container's processes.
pub fn thaw(directories: &[Directory]) -> Result<()> {
    match Controllers::of(directories)? {
        Controllers::V2(path) => write(&format!("{path}/cgroup.freeze"), b"0"),
        controllers => write(&format!("{}/freezer.state", directory(controllers)?), b"THAWED"),
    }
}

/// Does something while the container is frozen; where there is no freezer, without. A container that was frozen
/// before still is afterwards.
///
/// # Errors
/// Processes that cannot be frozen; those of what is done. Then all are thawed as well.
pub fn while_frozen(directories: &[Directory], act: impl FnOnce() -> Result<()>) -> Result<()> {
    let freezes = Controllers::of(directories)?.directory("freezer").is_some();
    if !freezes || is_frozen(directories)? {
        return act();
    }
    freeze(directories)?;
    let done = act();
    let thawed = thaw(directories);
    done.and(thawed)
}

/// Whether the container itself is frozen or freezing (its parents may be as well): one small file. Where there
/// is no freezer nothing is ever frozen.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn is_frozen(directories: &[Directory]) -> Result<bool> {
    if directories.is_empty() {
        return Ok(false);
    }
    let file = match Controllers::of(directories)? {
        Controllers::V2(path) => format!("{path}/cgroup.freeze"),
        controllers => match controllers.directory("freezer") {
            Some(path) => format!("{path}/freezer.self_freezing"),
            None => return Ok(false),
        },
    };
    Ok(read_if_there(&file)?.starts_with(b"1"))
}

/// Whether a process that enters this directory of one hierarchy is frozen from then on: because of the cgroup
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

/// The cgroup because of which a process in this directory is frozen: the topmost of those that are frozen.
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

fn directory(controllers: Controllers<'_>) -> Result<&str> {
    controllers.directory("freezer").ok_or_else(|| Error::new("this host's cgroups have no freezer"))
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

/// Here the kernel reports no event, and may miss processes that appear meanwhile: it is asked again and again.
/// After a while all are thawed for a moment, as runc does it: what hindered one may be another that has stopped.
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

/// Fails where a process in these directories is frozen: for a start that waits for one.
pub fn refuse_frozen(directories: &[Directory]) -> Result<()> {
    let frozen = directories.iter().find_map(|directory| frozen_at(&directory.path));
    frozen.map_or(Ok(()), |path| Err(unexpectedly_frozen(path)))
}

/// The error for a start that waits for a process of a frozen cgroup.
pub fn unexpectedly_frozen(path: &str) -> Error {
    let error = Error::new(format!("container's cgroup unexpectedly frozen: {path}")).of_kind(ErrorKind::Frozen);
    error.from_property("/linux/cgroupsPath")
}

fn unable(path: &str) -> Error {
    Error::os(format!("freeze {path}"), Errno::EBUSY).detail("a process in it does not stop")
}
