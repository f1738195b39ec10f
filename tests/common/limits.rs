//! The files of a container's cgroup, whichever layout this host has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Bundle;

/// Whether this host has cgroup v2 alone.
pub fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Files and what they say.
pub type Files<'a> = &'a [(&'a str, &'a str)];

/// What is expected on v1 and on v2.
pub fn expected<'a>(v1: Files<'a>, v2: Files<'a>) -> Files<'a> {
    if is_v2() { v2 } else { v1 }
}

/// Whether this host has the controller of a file: `memory.max`.
pub fn has_controller(file: &str) -> bool {
    let controller = file.split('.').next().unwrap();
    if is_v2() {
        let all = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
        return controller == "cgroup" || all.split_whitespace().any(|one| one == controller);
    }
    Path::new("/sys/fs/cgroup").join(controller).join("tasks").exists()
}

/// The container's cgroup that has a file.
pub fn path_of(bundle: &Bundle, file: &str) -> PathBuf {
    let own = bundle.config["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/');
    let top = Path::new("/sys/fs/cgroup");
    match is_v2() {
        true => top.join(own).join(file),
        false => top.join(file.split('.').next().unwrap()).join(own).join(file),
    }
}

/// What a file of the container's cgroup says; none: there is no such file.
pub fn said(bundle: &Bundle, file: &str) -> Option<String> {
    std::fs::read_to_string(path_of(bundle, file)).ok().map(|text| text.trim().to_owned())
}

/// All limits of the container's cgroups; what the kernel counts or derives is left out.
pub fn all_limits(bundle: &Bundle) -> BTreeMap<String, String> {
    const COUNTED: &[&str] = &[
        "stat",
        "usage",
        "current",
        "peak",
        "events",
        "pressure",
        "failcnt",
        "io_service",
        "procs",
        "tasks",
        "threads",
        "effective",
        "weight.nice",
    ];
    let mut found = BTreeMap::new();
    for directory in bundle.cgroups() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path().to_str().unwrap().to_owned();
            let name = entry.file_name().into_string().unwrap();
            let counted = COUNTED.iter().any(|word| name.contains(word));
            if let (false, Ok(text)) = (counted, std::fs::read_to_string(&path)) {
                found.insert(path, text.trim().to_owned());
            }
        }
    }
    found
}

/// The names of the files in which two looks differ.
pub fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let differs = |path: &&String| before.get(*path) != after.get(*path);
    let name = |path: &String| path.rsplit('/').next().unwrap().to_owned();
    let mut names: Vec<String> = before.keys().filter(differs).map(name).collect();
    names.sort();
    names
}
