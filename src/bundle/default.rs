//! The config.json that `ferrun spec` writes: runc's, but with a cgroup namespace on every kind of
//! host.

use std::io::Write;

use serde::Serialize;
use serde_json::{Value, json};

/// For root.
pub fn config() -> Value {
    serde_json::from_str(include_str!("default.json")).expect("the text is part of ferrun and tested")
}

/// For a user without root: as [`config`], with a user namespace in which that user is root, and
/// without what such a user may not do.
pub fn rootless(uid: u32, gid: u32) -> Value {
    let mut config = config();
    let mapping = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    let linux = &mut config["linux"];
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({ "type": "user" }));
    }
    linux["uidMappings"] = mapping(uid);
    linux["gidMappings"] = mapping(gid);
    // Limits need a cgroup that was handed over to the user.
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" {
            // A new sysfs needs a network namespace of the same user namespace.
            *mount = json!({
                "destination": "/sys",
                "type": "none",
                "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
            });
        }
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| {
                !option.as_str().is_some_and(|text| text.starts_with("gid=") || text.starts_with("uid="))
            });
        }
    }
    config
}

/// Writes a config as runc does: indented by tabs, with a newline at the end.
pub fn write(config: &Value, mut to: impl Write) -> std::io::Result<()> {
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    config.serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs))?;
    text.push(b'\n');
    to.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_accepted() {
        let text = serde_json::to_vec(&config()).unwrap();
        let spec: crate::bundle::Spec = serde_json::from_slice(&text).unwrap();
        assert_eq!(spec.mounts.len(), 7);
    }

    #[test]
    fn a_rootless_config_maps_the_user() {
        let config = rootless(1000, 1001);
        assert_eq!(config["linux"]["uidMappings"][0]["hostID"], 1000);
        assert_eq!(config["linux"]["gidMappings"][0]["hostID"], 1001);
        assert!(!config.to_string().contains("gid=5"));
        assert!(!config["linux"]["namespaces"].to_string().contains("network"));
    }
}
