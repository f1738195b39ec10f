//! The configs that engines wrote (tests/data/configs), for bundles of this machine.

use std::os::unix::fs::chown;
use std::path::Path;

use serde_json::{Value, json};

use super::Bundle;

/// A recorded config with what is the recording machine's swapped for something of this one. It executes `true`.
pub fn localized(bundle: &Bundle, mut config: Value) -> Value {
    config["root"]["path"] = json!("rootfs");
    config["linux"]["cgroupsPath"] = json!(format!("/ferrun-{}", bundle.id));
    config.as_object_mut().unwrap().remove("hooks");
    config["process"]["args"] = json!(["/bin/true"]);
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        namespace.as_object_mut().unwrap().remove("path");
    }
    if !Path::new("/sys/module/apparmor").exists() {
        config["process"].as_object_mut().unwrap().remove("apparmorProfile");
    }
    let owner = config["linux"]["uidMappings"][0]["hostID"].as_u64().unwrap_or(0) as u32;
    for (index, mount) in config["mounts"].as_array_mut().unwrap().iter_mut().enumerate() {
        localize_bind(bundle, index, mount, owner);
    }
    if let Some(rates) = config.pointer_mut("/linux/resources/blockIO/throttleReadBpsDevice") {
        *rates =
            json!(a_disk().map(|(major, minor)| json!({ "major": major, "minor": minor, "rate": 1 << 20 })).as_slice());
    }
    // The container's root makes the mount points.
    for dir in ["", "etc", "dev", "run", "var"].map(|name| bundle.rootfs().join(name)) {
        std::fs::create_dir_all(&dir).unwrap();
        chown(&dir, Some(owner), Some(owner)).unwrap();
    }
    config
}

/// The source of a bind that the engine made becomes a directory or a file with a line of its own.
fn localize_bind(bundle: &Bundle, index: usize, mount: &mut Value, owner: u32) {
    let source = mount["source"].as_str().unwrap_or_default().to_owned();
    let is_bind = mount["options"].to_string().contains("bind\"");
    if !is_bind || ["/dev", "/sys", "/proc"].contains(&source.as_str()) {
        return;
    }
    let local = bundle.dir.join(format!("source-{index}"));
    let directories = ["shm", "volume", "_data"];
    match directories.iter().any(|name| source.ends_with(name)) {
        true => std::fs::create_dir(&local).unwrap(),
        false => std::fs::write(&local, format!("source-{index}\n")).unwrap(),
    }
    chown(&local, Some(owner), Some(owner)).unwrap();
    mount["source"] = json!(local);
}

/// A block device of this machine.
fn a_disk() -> Option<(u64, u64)> {
    let number = |disk: std::fs::DirEntry| {
        let text = std::fs::read_to_string(disk.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    std::fs::read_dir("/sys/block").ok()?.flatten().find_map(number)
}
