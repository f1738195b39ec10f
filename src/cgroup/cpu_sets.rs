//! CPUs and memory nodes that a limit names and this host does not have: for `check`.

use std::path::Path;

use super::limit::Limit;
use crate::error::{Error, Result};
use crate::sys::file;
use crate::types::limits::Unit;

/// Checks a limit of cpuset against what the host lets a cgroup have; any other passes.
///
/// # Errors
/// Numbers that the kernel would refuse. (Whoever cannot read what there is does not know, and passes it.)
pub fn check(limit: &Limit) -> Result<()> {
    let write = &limit.write;
    let (short, possible) = match write.file.unit {
        Unit::Set("AllowedCPUs") => ("CPUs", "/sys/devices/system/cpu/possible"),
        Unit::Set(_) => ("memory nodes", "/sys/devices/system/node/possible"),
        _ => return Ok(()),
    };
    let Some(there) = above(&limit.directory, &write.name).or_else(|| read(possible)) else { return Ok(()) };
    match (ranges(&write.value), ranges(&there)) {
        (Some(wanted), Some(list)) if !are_within(&wanted, &list) => {
            let message = format!("{} = {}: there are only the {short} {there}", write.name, write.value);
            Err(Error::new(message).from_property(write.pointer()))
        }
        _ => Ok(()),
    }
}

/// The set of the next cgroup above that is there, of which a cgroup of v1 can only have a part. On v2 it may name any
/// that the host can have.
fn above(directory: &str, file: &str) -> Option<String> {
    let v1 = |above: &&Path| above.join("tasks").exists();
    let above = Path::new(directory).ancestors().skip(1).filter(v1);
    above.filter_map(|above| read(above.join(file).to_str()?)).next()
}

fn read(path: &str) -> Option<String> {
    let text = String::from_utf8(file::read(path).ok()?).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// `0-3,7` as ranges; `None` for what has another form, such as `0-7:1/2`.
fn ranges(list: &str) -> Option<Vec<(u64, u64)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    list.split(',').map(range).collect()
}

/// Whether each number of one list is in the other, which is in order.
fn are_within(wanted: &[(u64, u64)], list: &[(u64, u64)]) -> bool {
    wanted.iter().all(|(first, last)| {
        let mut next = *first;
        for (from, to) in list {
            if (*from..=*to).contains(&next) {
                next = to + 1;
            }
        }
        next > *last
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_within_lists() {
        let within = |one: &str, other: &str| are_within(&ranges(one).unwrap(), &ranges(other).unwrap());
        for (one, other, is_within) in [
            ("0", "0-1", true),
            ("0-1", "0-1", true),
            ("0-99", "0-1", false),
            ("2", "0-1", false),
            ("0-3", "0-1,2-3", true),
            ("0-3", "0-1,3", false),
            ("3,0", "0-1,3", true),
        ] {
            assert_eq!(within(one, other), is_within, "{one} in {other}");
        }
        assert_eq!((ranges("0-7:1/2"), ranges("")), (None, None));
    }
}
