//! `ps`: the processes of a container.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::Command;

use super::boot::Boot;
use super::directory::Purpose;
use super::id::Id;
use super::state::Root;
use crate::cgroup::members::{Members, members};
use crate::error::{Error, Result};
use crate::sys::sigchld::KeptStatuses;

/// The processes in a container's cgroup and below.
///
/// # Errors
/// A container without cgroups; a boot id that cannot be read.
pub fn processes(root: &Root, id: &Id) -> Result<Members> {
    let state = root.load(id, Purpose::Look)?;
    if state.cgroup.is_empty() {
        return Err(Error::new(format!("container {id} has no cgroup, which would tell its processes")));
    }
    // After another boot, cgroups of these names are somebody else's.
    Ok(if state.which_boot()? == Boot::Other { Members::default() } else { members(&state.cgroup)? })
}

/// What ps(1) says of some processes: its header, and the lines with one of their pids.
///
/// # Errors
/// A ps that is missing, fails, or does not print pids.
pub fn table(pids: &[i32], arguments: &[OsString]) -> Result<String> {
    let _statuses = KeptStatuses::begin();
    let default = [OsString::from("-ef")];
    let arguments = if arguments.is_empty() { &default } else { arguments };
    let output = Command::new("ps").args(arguments).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::new("exec: \"ps\": executable file not found in $PATH")
            .hint("install it (Debian: procps), or ask for --format json"),
        _ => Error::io("run ps", &error),
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        let error = Error::new(format!("ps: {}: {}", output.status, said.trim()));
        let hint = arguments.iter().any(names_a_format).then_some("--format comes before the id");
        return Err(hint.into_iter().fold(error, Error::hint));
    }
    filter(&text, pids)
}

/// Whether an argument for ps(1) was meant for ferrun.
fn names_a_format(word: &OsString) -> bool {
    word.to_str().is_some_and(|word| matches!(word, "json" | "table") || word.starts_with("--format"))
}

fn filter(text: &str, pids: &[i32]) -> Result<String> {
    let header = text.lines().next().unwrap_or_default();
    let column = header.split_whitespace().position(|title| title == "PID");
    let column = column.ok_or_else(|| Error::new(format!("no column PID in what ps says: {header:?}")))?;
    let is_one = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let lines = std::iter::once(header).chain(text.lines().skip(1).filter(is_one));
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_the_column_of_the_pid() {
        let text = "UID   PID  PPID CMD\nroot    1     0 init\nroot   12     1 sleep 1\nroot    3    12 sleep 12\n";
        assert_eq!(filter(text, &[12, 99]).unwrap(), "UID   PID  PPID CMD\nroot   12     1 sleep 1\n");
        assert_eq!(filter(text, &[]).unwrap(), "UID   PID  PPID CMD\n");
        assert!(filter("USER COMMAND\nroot x\n", &[1]).unwrap_err().message.contains("PID"));
        assert!(filter("", &[1]).is_err());
    }
}
