//! What types cannot say of `linux.resources`: ranges, names that become part of a line or of a path.

use super::problems::Problems;
use super::problems::wrong;
use super::resources::{Memory, Resources};
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
    check_memory(&resources.memory, found);
    let cpu = &resources.cpu;
    if cpu.idle.is_some_and(|idle| !(0..=1).contains(&idle)) {
        found.error(wrong("/linux/resources/cpu/idle", "idle is neither 0 nor 1"));
    }
    for (pointer, list) in [("/linux/resources/cpu/cpus", &cpu.cpus), ("/linux/resources/cpu/mems", &cpu.mems)] {
        if list.bytes().any(|byte| !byte.is_ascii_digit() && !b",-:/".contains(&byte)) {
            found.error(wrong(pointer, format!("{list:?} is no list of numbers like 0-3,7")));
        }
    }
    check_weights(resources, found);
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
            found.error(wrong(pointer, format!("{:?} is no name of a network link", link.name)));
        }
    }
    for name in resources.rdma.keys().filter(|name| !is_word(name)) {
        found.error(wrong("/linux/resources/rdma", format!("{name:?} is no name of an RDMA device")));
    }
    resources.unified.keys().for_each(|key| check_key(key, found));
}

fn check_memory(memory: &Memory, found: &mut Problems) {
    for (pointer, value) in [
        ("/linux/resources/memory/limit", memory.limit),
        ("/linux/resources/memory/reservation", memory.reservation),
        ("/linux/resources/memory/swap", memory.swap),
        ("/linux/resources/memory/kernelTCP", memory.kernel_tcp),
    ] {
        if value.is_some_and(|value| value < -1) {
            found.error(wrong(pointer, "memory is counted in bytes; -1 is without limit"));
        }
    }
    if memory.swappiness.is_some_and(|value| value > 100) {
        found.error(wrong("/linux/resources/memory/swappiness", "swappiness is not between 0 and 100"));
    }
    match (memory.limit, memory.swap) {
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            found.error(wrong("/linux/resources/memory/swap", "memory+swap limit should be >= memory limit"));
        }
        _ => {}
    }
}

/// 0 is "not set".
fn check_weights(resources: &Resources, found: &mut Problems) {
    let io = &resources.block_io;
    let devices = io.weight_device.iter().enumerate().flat_map(|(index, device)| {
        [
            (Pointer::at("/linux/resources/blockIO/weightDevice/#/weight", index), device.weight),
            (Pointer::at("/linux/resources/blockIO/weightDevice/#/leafWeight", index), device.leaf_weight),
        ]
    });
    let own = [
        (Pointer::new("/linux/resources/blockIO/weight"), io.weight),
        (Pointer::new("/linux/resources/blockIO/leafWeight"), io.leaf_weight),
    ];
    for (pointer, weight) in own.into_iter().chain(devices) {
        if weight.is_some_and(|weight| weight != 0 && !(10..=1000).contains(&weight)) {
            found.error(wrong(pointer, "a weight is not between 10 and 1000"));
        }
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
