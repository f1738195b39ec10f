//! `kill`.

use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::directory::Purpose;
use super::id::Id;
use super::state::{Root, State};
use super::status::{Status, status, waits_for_start};
use crate::bundle::names::{nearest, question};
use crate::cgroup;
use crate::error::{Context, Error, Result};
use crate::sys::pidfd;

/// Highest signal number: signal(7), `SIGRTMAX`.
const LAST: i32 = 64;
/// First real-time signal that programs use: the C library keeps 32 and 33 (and musl 34).
const RTMIN: i32 = 34;

/// A signal by number or by name, with or without SIG, in any case; `RTMIN+N` and `RTMAX-N`, too.
///
/// # Errors
/// A text that is none of these.
pub fn parse_signal(text: &str) -> Result<i32> {
    let unknown = || {
        let bare = text.trim_start_matches('-');
        let known = || Signal::iterator().filter_map(|signal| signal.as_str().strip_prefix("SIG"));
        let meant = match bare != text && parse_signal(bare).is_ok() {
            true => Some(bare),
            false => nearest(text.strip_prefix("SIG").unwrap_or(text), known()),
        };
        meant.map(question).into_iter().fold(Error::new(format!("unknown signal {text:?}")), Error::hint)
    };
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=LAST).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text[1..].parse::<i32>().ok() };
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => offset(rest).map(|n| RTMIN + n),
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => offset(rest).map(|n| LAST - n),
        _ => return Signal::from_str(&format!("SIG{name}")).map(|signal| signal as i32).map_err(|_| unknown()),
    };
    real_time.filter(|number| (RTMIN..=LAST).contains(number)).ok_or_else(unknown)
}

/// Sends a signal to a container's init, or to all its processes.
///
/// # Errors
/// "container not running", which engines match.
pub fn kill(root: &Root, id: &Id, signal: i32, all: bool) -> Result<()> {
    let state = root.load(id, Purpose::Act)?;
    let (status, init) = status(&state)?;
    // Before its program runs, the init has no handlers, and as pid 1 would ignore what should end it.
    let not_started = match status {
        Status::Created => true,
        Status::Paused => waits_for_start(&state)?,
        _ => false,
    };
    let signal = if not_started && ends_a_process(signal) { libc::SIGKILL } else { signal };
    let everything = all || (signal == libc::SIGKILL && state.shared_pid_namespace);
    let is_there = init.is_some() || (all && state.owns_processes()?);
    if everything && !state.cgroup.is_empty() && is_there {
        cgroup::kill::signal_all(&state.cgroup, signal)?;
        thaw_for(signal, &state);
        return Ok(());
    }
    if init.is_none() && all {
        return Ok(());
    }
    let init = init.ok_or_else(|| Error::state(format!("container not running: {id}")))?;
    match pidfd::send_signal(init, signal) {
        Err(Errno::ESRCH) => Err(Error::state(format!("container not running: {id}"))),
        result => result.what(|| format!("kill container {id} with signal {signal}")),
    }?;
    thaw_for(signal, &state);
    Ok(())
}

/// Whether a signal's default action ends a process: signal(7).
fn ends_a_process(signal: i32) -> bool {
    const OTHERS: [i32; 9] = [
        0,
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGURG,
        libc::SIGWINCH,
    ];
    !OTHERS.contains(&signal)
}

/// A frozen container dies of SIGKILL only once it is thawed; engines stop paused containers so.
fn thaw_for(signal: i32, state: &State) {
    if signal == libc::SIGKILL {
        cgroup::kill::thaw(&state.cgroup);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("hup", 1),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("0", 0),
            ("64", 64),
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for bad in ["", "SIG", "FOO", "65", "-1", "RTMIN+31", "RTMIN-1", "9x", "SIGSIGKILL", "RTMAX+1"] {
            assert!(parse_signal(bad).is_err(), "{bad}");
        }
    }
}
