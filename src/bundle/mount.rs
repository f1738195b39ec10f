//! The `mounts` list.

use std::ffi::{CStr, CString};
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::text::{NotYet, Text};
use crate::rootfs::options::Options;

/// An entry of `mounts`.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)] // the `NotYet` fields are read only to be refused
pub struct Mount {
    /// Where, inside the container.
    pub destination: Text,
    /// The file system type; meaningless for a bind.
    #[serde(rename = "type")]
    pub kind: Option<Text>,
    /// A device, a name, or for a bind a path on the host.
    pub source: Option<Text>,
    /// The options, parsed.
    #[serde(default, deserialize_with = "options")]
    pub options: Options,
    #[serde(default)]
    uid_mappings: NotYet,
    #[serde(default)]
    gid_mappings: NotYet,
}

impl Mount {
    /// Whether it shows a part of the host's tree rather than a file system of its own.
    pub fn is_bind(&self) -> bool {
        self.options.bind.is_some() || self.kind().is_some_and(|kind| kind == c"bind")
    }

    /// The file system type, if one is named.
    pub fn kind(&self) -> Option<&CStr> {
        self.kind.as_deref().filter(|kind| !kind.is_empty())
    }

    /// The destination as an absolute path without `.`, `..` and doubled slashes; a relative one is
    /// taken from `/`, as runc does.
    pub fn clean_destination(&self) -> CString {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in self.destination.bytes().split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                _ => parts.push(part),
            }
        }
        let mut clean = vec![b'/'];
        clean.extend(parts.join(&b'/'));
        CString::new(clean).expect("cut from a string without NUL")
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
            assert_eq!(mount.clean_destination().to_str().unwrap(), clean);
        }
    }
}
