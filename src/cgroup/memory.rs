//! What the kernel tells of a cgroup's memory.

/// Whether the kernel killed a process of this cgroup for want of memory: memory.oom_control of v1,
/// memory.events of v2.
pub fn was_out_of_memory(directory: &str) -> bool {
    let files =
        ["memory.oom_control", "memory.events"].map(|name| std::fs::read_to_string(format!("{directory}/{name}")));
    let mut lines = files.iter().flatten().flat_map(|text| text.lines());
    lines.any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
}
