//! Processes as /proc of the host shows them: descriptors, capability sets, filter, dumpable.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The capability sets in the order of /proc/PID/status.
pub const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

/// The attributes of one thread that matter to whoever can trace it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// In the order of `SETS`.
    pub sets: [u64; 5],
    pub seccomp: u64,
    pub no_new_privileges: u64,
}

/// The value of a line of /proc/PID/status.
fn field(status: &str, key: &str) -> Option<String> {
    status.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}

impl Rights {
    /// Reads a text of the form of /proc/PID/status.
    pub fn parse(status: &str) -> Rights {
        let line = |key| field(status, key).unwrap_or_else(|| panic!("no {key} in {status}"));
        Rights {
            sets: SETS.map(|key| u64::from_str_radix(&line(key), 16).unwrap()),
            seccomp: line("Seccomp").parse().unwrap(),
            no_new_privileges: line("NoNewPrivs").parse().unwrap(),
        }
    }

    /// The rights of every thread of a process; two of them only where the threads differ. None: it is gone.
    pub fn of(pid: i64) -> Vec<Rights> {
        let mut found = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            // A thread that ends meanwhile is no matter.
            let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
            let rights = Rights::parse(&status);
            if !found.contains(&rights) {
                found.push(rights);
            }
        }
        found
    }
}

/// The pid of a process in the innermost pid namespace that it is in.
pub fn inner_pid(pid: i64) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    field(&status, "NSpid").unwrap().split_whitespace().last().unwrap().parse().unwrap()
}

/// The state of a process: S, T, Z; none: it is gone.
pub fn run_state(pid: i64) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(field(&status, "State")?.chars().take(1).collect())
}

/// The parent of a process; none: the process is gone.
pub fn parent(pid: i64) -> Option<i64> {
    field(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "PPid")?.parse().ok()
}

/// The open descriptors of a process with the files they refer to, by number.
pub fn descriptors(pid: i64) -> Vec<(u32, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        if let Ok(target) = std::fs::read_link(entry.path()) {
            found.push((number, target));
        }
    }
    found.sort();
    found
}

/// The first letter of `ls -l` for an open descriptor: `p` is a pipe or fifo, `s` a socket, `-` a file.
pub fn kind_of_descriptor(pid: i64, number: u32) -> char {
    let mode = std::fs::metadata(format!("/proc/{pid}/fd/{number}")).map_or(0, |meta| meta.mode());
    match mode & 0o170_000 {
        0o010_000 => 'p',
        0o140_000 => 's',
        0o100_000 => '-',
        0o040_000 => 'd',
        0o020_000 => 'c',
        _ => '?',
    }
}

/// Whether a process is dumpable. What is in its directory of /proc (but not the directory itself) belongs to
/// root if it is not: task_dump_owner(). Where all is root's anyway, the test is ptrace_may_access() by a root without CAP_SYS_PTRACE, which only works on a process
/// that does not have this capability.
pub fn is_dumpable(pid: i64) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let uid: u32 = field(&status, "Uid").unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    if uid != 0 {
        return std::fs::metadata(format!("/proc/{pid}/fd")).is_ok_and(|meta| meta.uid() == uid);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_ptrace", "readlink", &format!("/proc/{pid}/exe")]);
    command.output().unwrap().status.success()
}

/// Processes in the same mount namespace as another, with their command lines, without that one.
pub fn beside(pid: i64) -> Vec<(i64, String)> {
    let namespace = |pid: i64| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let Some(own) = namespace(pid) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(other) = entry.file_name().to_str().unwrap_or_default().parse::<i64>() else { continue };
        if other != pid && namespace(other).as_ref() == Some(&own) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((other, String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned()));
        }
    }
    found
}

/// The lines of a file, none if it does not exist.
pub fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
