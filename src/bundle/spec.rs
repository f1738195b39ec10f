//! config.json as a whole.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::Deserializer;

use super::hooks::Hooks;
use super::linux::Linux;
use super::mount::Mount;
use super::path::clean;
use super::process::Process;
use super::text::{Text, object, object_or_default, objects, or_default, parsed};

/// A config.json whose every value has its final type. Unknown properties are ignored, as the spec
/// demands; known ones that ferrun cannot honour yet are refused.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The version of the specification that it follows: 1.x.
    #[serde(deserialize_with = "version")]
    pub oci_version: String,
    /// What runs.
    #[serde(default, deserialize_with = "object")]
    pub process: Option<Box<Process>>,
    /// The container's file tree.
    #[serde(default, deserialize_with = "object")]
    pub root: Option<Root>,
    /// Host name in the UTS namespace.
    #[serde(default, deserialize_with = "or_default")]
    pub hostname: Text,
    /// NIS domain name in the UTS namespace.
    #[serde(default, deserialize_with = "or_default")]
    pub domainname: Text,
    /// Mounts in the order in which they are made.
    #[serde(default, deserialize_with = "objects")]
    pub mounts: Vec<Mount>,
    /// Free text for whoever reads the state.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    #[serde(default, deserialize_with = "object_or_default")]
    pub linux: Box<Linux>,
    /// Programs that are run at points of the container's life.
    #[serde(default, deserialize_with = "object_or_default")]
    pub hooks: Hooks,
}

/// The root file system.
#[derive(Deserialize, Debug)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: Text,
    /// Whether the container may not write to it.
    #[serde(default, deserialize_with = "or_default")]
    pub readonly: bool,
}

impl Root {
    /// Its path on the host, clean as all paths of the config: without a slash at the end, which would make the kernel
    /// follow a link.
    pub fn on_host(&self, bundle: &Path) -> PathBuf {
        let path = bundle.join(OsStr::from_bytes(self.path.bytes())).into_os_string().into_vec();
        let path = clean(&CString::new(path).expect("a directory and a string without NUL"));
        OsString::from_vec(path.into_bytes()).into()
    }
}

fn version<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    parsed(from, |version| {
        let mut parts = version.splitn(3, '.');
        let one = parts.next() == Some("1");
        let minor = parts.next().is_some_and(|minor| minor.parse::<u32>().is_ok());
        let patch = parts.next().is_some_and(|patch| patch.starts_with(|c: char| c.is_ascii_digit()));
        if one && minor && patch {
            return Ok(version.to_owned());
        }
        Err(format!("ociVersion {version:?} is not supported; versions 1.0.0 to 1.x are"))
    })
}
