//! The reason why a cgroup lacks the file that a limit needs. Looked for only when the file is missing.

use nix::errno::Errno;

use super::write::Write;
use crate::error::Error;
use crate::sys::file;
use crate::types::limits::Hint;

/// Adds to the error of a write that found no file (`ENOENT`) what is missing: the controller, which on
/// v2 each cgroup must enable for those below (cgroup.subtree_control), or only this file of it.
pub fn explain(directory: &str, write: &Write, error: Error) -> Error {
    // On v1 a hierarchy has its controllers in every directory.
    let Some(own) = controllers(directory) else { return without_file(write, error) };
    if own.split_ascii_whitespace().any(|name| name == write.controller()) {
        return without_file(write, error);
    }
    let (property, controller) = (write.property(), write.controller());
    match disabling(directory, controller) {
        Some(above) => Error::new(format!("{property}: controller {controller} is not enabled in {above}"))
            .hint(hint(above, controller)),
        None => Error::new(format!("{property}: controller {controller} is not available on this host"))
            .hint("the root's cgroup.controllers has those of the kernel that no v1 hierarchy has taken"),
    }
}

/// `cgroup.controllers`, which only v2 has.
fn controllers(directory: &str) -> Option<String> {
    let text = file::read(format!("{directory}/cgroup.controllers").as_str()).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The nearest cgroup above that has the controller and does not enable it for its children.
fn disabling<'a>(directory: &'a str, controller: &str) -> Option<&'a str> {
    let mut above = directory;
    loop {
        above = above.rsplit_once('/')?.0;
        if controllers(above)?.split_ascii_whitespace().any(|name| name == controller) {
            return Some(above);
        }
    }
}

fn hint(above: &str, controller: &str) -> String {
    let unit = above.split('/').find(|part| part.starts_with("user@") && part.ends_with(".service"));
    if let Some(unit) = unit {
        return format!("systemd hands it out with Delegate={controller} for {unit}");
    }
    let used = file::read(format!("{above}/cgroup.procs").as_str()).is_ok_and(|pids| !pids.is_empty());
    if used {
        return "a cgroup that has processes of its own hands no controllers down".to_owned();
    }
    format!("echo +{controller} > {above}/cgroup.subtree_control says why")
}

fn without_file(write: &Write, error: Error) -> Error {
    match write.file.hints.iter().find(|(when, _)| *when == Some(Errno::ENOENT)) {
        Some((_, Hint::Say(sentence))) => error.hint(*sentence),
        Some((_, Hint::PageSizes)) => error.hint(format!("this host has huge pages of {}", page_sizes().join(", "))),
        _ => error.hint("this kernel has no such limit, or is configured without it"),
    }
}

/// The sizes of huge pages as the files have them: `hugepages-2048kB` → `2MB`.
fn page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let kilobytes = names.filter_map(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok());
    let name = |size: u64| match size {
        0x10_0000.. => format!("{}GB", size >> 20),
        0x400.. => format!("{}MB", size >> 10),
        _ => format!("{size}KB"),
    };
    let mut sizes: Vec<u64> = kilobytes.collect();
    sizes.sort_unstable();
    sizes.into_iter().map(name).collect()
}
