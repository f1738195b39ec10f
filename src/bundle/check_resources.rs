//! What types cannot say of `linux.resources`: ranges, names that become part of a line or of a path.

use super::limits::{self, Asked, Row};
use super::problems::Problems;
use super::problems::wrong;
use super::resources::Resources;
use crate::error::Result;
use crate::pointer::{Pointer, of_name};

/// Files of a cgroup that are no limits: they move or stop processes, or change what the cgroup is for.
const NO_LIMITS: [&str; 6] =
    ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.type", "cgroup.subtree_control"];

/// Checks resources that `update` is given.
///
/// # Errors
/// The first value that cannot be honoured, with its pointer.
pub fn check(resources: &Resources) -> Result<()> {
    let mut found = Problems::default();
    find(resources, &mut found);
    found.errors.into_iter().next().map_or(Ok(()), Err)
}

/// Finds every value that cannot be honoured.
pub(super) fn find(resources: &Resources, found: &mut Problems) {
    limits::TABLE.iter().for_each(|row| check_row(row, resources, found));
    match (resources.memory.limit, resources.memory.swap) {
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            found.error(wrong("/linux/resources/memory/swap", "memory+swap limit should be >= memory limit"));
        }
        _ => {}
    }
    for (index, huge) in resources.hugepage_limits.iter().enumerate() {
        let size = &huge.page_size;
        let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
        if !number.is_some_and(|number| number.parse::<u32>().is_ok() && !number.starts_with(['+', '0'])) {
            let pointer = Pointer::at("/linux/resources/hugepageLimits/#/pageSize", index);
            found.error(wrong(pointer, format!("{size:?} is no page size like 64KB, 2MB or 1GB")));
        }
    }
    let is_word =
        |name: &str| !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter == '\0');
    for (index, link) in resources.network.priorities.iter().enumerate() {
        if !is_word(&link.name) {
            let pointer = Pointer::at("/linux/resources/network/priorities/#/name", index);
            found.error(wrong(pointer, format!("{:?} is no name of a network interface", link.name)));
        }
    }
    for name in resources.rdma.keys().filter(|name| !is_word(name)) {
        found.error(wrong("/linux/resources/rdma", format!("{name:?} is no name of an RDMA device")));
    }
    resources.unified.keys().for_each(|key| check_key(key, found));
}

fn check_row(row: &Row, resources: &Resources, found: &mut Problems) {
    if let Asked::Set(asked) = row.asked {
        let list = asked(resources);
        if list.bytes().any(|byte| !byte.is_ascii_digit() && !b",-:/".contains(&byte)) {
            found.error(wrong(row.from, format!("{list:?} is no list of numbers like 0-3,7")));
        }
    }
    let Some((range, message)) = &row.range else { return };
    for (index, ..) in row.values(resources, true).filter(|(.., value)| !range.contains(value)) {
        found.error(wrong(Pointer::at(row.from, index), *message));
    }
}

/// A key of `unified` is the name of a file.
fn check_key(key: &str, found: &mut Problems) {
    let what = if key.contains(['/', '\0']) {
        "must be a file name (no slashes)"
    } else if !key.contains('.') || key.starts_with('.') {
        "must be in the form CONTROLLER.PARAMETER"
    } else if NO_LIMITS.contains(&key) {
        "is no limit"
    } else {
        return;
    };
    let pointer = of_name("/linux/resources/unified", key);
    found.error(wrong(pointer, format!("unified resource {key:?} {what}")));
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_no_kernel_would_take_is_refused_by_its_pointer() {
        for (text, pointer) in [
            (r#"{"memory":{"limit":-2}}"#, "memory/limit"),
            (r#"{"memory":{"swappiness":101}}"#, "memory/swappiness"),
            (r#"{"memory":{"limit":100,"swap":99}}"#, "memory/swap"),
            (r#"{"cpu":{"idle":2}}"#, "cpu/idle"),
            (r#"{"cpu":{"cpus":"0\n1"}}"#, "cpu/cpus"),
            (r#"{"cpu":{"mems":"all"}}"#, "cpu/mems"),
            (r#"{"blockIO":{"weight":9}}"#, "blockIO/weight"),
            (
                r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":1001}]}}"#,
                "blockIO/weightDevice/0/leafWeight",
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0},{"pageSize":"../2MB","limit":0}]}"#,
                "hugepageLimits/1/pageSize",
            ),
            (r#"{"hugepageLimits":[{"pageSize":"2M","limit":0}]}"#, "hugepageLimits/0/pageSize"),
            (r#"{"network":{"priorities":[{"name":"a b","priority":0}]}}"#, "network/priorities/0/name"),
            (r#"{"rdma":{"":{}}}"#, "rdma"),
            (r#"{"unified":{"../memory.max":"1"}}"#, "unified/..~1memory.max"),
            (r#"{"unified":{"memory":"1"}}"#, "unified/memory"),
            (r#"{"unified":{"cgroup.procs":"0"}}"#, "unified/cgroup.procs"),
        ] {
            let error = super::check(&serde_json::from_str(text).unwrap()).expect_err(text);
            assert_eq!(error.pointer.as_deref(), Some(&*format!("/linux/resources/{pointer}")), "{text}");
        }
        let good = r#"{"memory":{"limit":100,"swap":-1,"reservation":0,"swappiness":100},"cpu":{"cpus":"0-3:1/2,7"},
            "hugepageLimits":[{"pageSize":"1GB","limit":0}],"unified":{"cgroup.max.depth":"2"},"blockIO":{"weight":0}}"#;
        super::check(&serde_json::from_str(good).unwrap()).unwrap();
    }
}
