//! The `mounts` list.

use std::ffi::{CStr, CString};
use std::fmt;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::idmap::mappings;
use super::path::{clean, is_clean};
use super::text::Text;
use crate::types::ids::Mappings;
use crate::types::mount_options::Options;

/// An entry of `mounts`.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Where, inside the container.
    pub destination: Destination,
    /// The file system type; meaningless for a bind.
    #[serde(rename = "type")]
    pub kind: Option<Text>,
    /// A device, a name, or for a bind a path on the host.
    pub source: Option<Text>,
    /// The options, parsed.
    #[serde(default, deserialize_with = "options")]
    pub options: Options,
    /// How the owners of the source appear.
    #[serde(default, deserialize_with = "mappings")]
    pub uid_mappings: Mappings,
    /// How its groups appear.
    #[serde(default, deserialize_with = "mappings")]
    pub gid_mappings: Mappings,
}

impl Mount {
    /// Whether it shows a part of the host's tree rather than a file system of its own.
    pub fn is_bind(&self) -> bool {
        self.options.bind.is_some() || self.kind().is_some_and(|kind| kind == c"bind")
    }

    /// Whether it shows the cgroups.
    pub fn is_cgroup(&self) -> bool {
        !self.is_bind()
            && !self.options.remount
            && matches!(self.kind().map(CStr::to_bytes), Some(b"cgroup" | b"cgroup2"))
    }

    /// Whether it makes a file system in memory, which is empty and nobody else's.
    pub fn is_in_memory(&self) -> bool {
        !self.is_bind() && matches!(self.kind().map(CStr::to_bytes), Some(b"tmpfs" | b"ramfs"))
    }

    /// Whether its owners are mapped: asked for by an option, or by mappings alone, as for runc.
    pub fn is_mapped(&self) -> bool {
        self.options.idmap.is_some() || !self.uid_mappings.is_empty() || !self.gid_mappings.is_empty()
    }

    /// The file system type, if one is named.
    pub fn kind(&self) -> Option<&CStr> {
        self.kind.as_deref().filter(|kind| !kind.is_empty())
    }
}

/// Where a mount is made: an absolute path without `.`, `..` and doubled slashes; a relative one is taken from
/// `/`, as runc does.
#[derive(Debug)]
pub struct Destination {
    clean: CString,
    /// As the config has it, where that is not the same.
    written: Option<Text>,
}

impl Destination {
    /// The path as the config has it.
    pub fn written(&self) -> &CStr {
        self.written.as_deref().unwrap_or(&self.clean)
    }
}

impl Deref for Destination {
    type Target = CStr;
    fn deref(&self) -> &CStr {
        &self.clean
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Destination, D::Error> {
        let text = Text::deserialize(from)?;
        if is_clean(text.bytes()) {
            return Ok(Destination { clean: text.0, written: None });
        }
        Ok(Destination { clean: clean(&text), written: Some(text) })
    }
}

/// Reads the option list straight into its parsed form; an error points at the option.
fn options<'de, D: Deserializer<'de>>(from: D) -> Result<Options, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Options;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a list of mount options")
        }
        fn visit_unit<E>(self) -> Result<Options, E> {
            Ok(Options::default())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Options, A::Error> {
            let mut options = Options::default();
            while list.next_element_seed(One(&mut options))?.is_some() {}
            Ok(options)
        }
    }
    struct One<'a>(&'a mut Options);
    impl<'de> DeserializeSeed<'de> for One<'_> {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
            from.deserialize_str(self)
        }
    }
    impl Visitor<'_> for One<'_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a mount option")
        }
        fn visit_str<E: de::Error>(self, option: &str) -> Result<(), E> {
            self.0.add(option).map_err(E::custom)
        }
    }
    from.deserialize_any(List)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_cleaned_as_paths_from_the_root() {
        for (written, clean) in
            [("/proc", "/proc"), ("dev/", "/dev"), ("/a//b/./c/../d", "/a/b/d"), ("/../..", "/"), ("", "/")]
        {
            let mount: Mount = serde_json::from_value(serde_json::json!({ "destination": written })).unwrap();
            assert_eq!(mount.destination.to_str().unwrap(), clean);
        }
    }
}
