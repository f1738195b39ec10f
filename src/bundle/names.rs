//! Names that config.json may have, as its readers list them, and suggestions for unknown ones.

use std::cell::Cell;

use serde::de::{self, Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The names of an enum's variants.
pub fn variants<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    known::<T>()
}

/// The names of a struct's properties.
pub fn properties<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    known::<T>()
}

fn known<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let names = Cell::default();
    let _ = T::deserialize(Asked(&names));
    names.get()
}

/// Writes down what a derived reader asks for, and gives it nothing.
struct Asked<'a>(&'a Cell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("nothing is here"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.set(variants);
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.set(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// Looks a name up in a table of names and what they stand for.
///
/// # Errors
/// A sentence that lists the names.
pub fn one_of<T: Copy>(what: &str, table: &[(&str, T)], name: &str) -> Result<T, String> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = table.iter().map(|(known, _)| format!("`{known}`")).collect();
        format!("{what} {name:?} is none that the specification has, expected one of {}", names.join(", "))
    })
}

/// The name that is nearest to one that nobody knows, if any is near: two letters may be wrong, in a short
/// name one.
pub fn nearest<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = if name.len() < 5 { 1 } else { 2 };
    // More letters than that cannot be put in, and a long name would be compared for long.
    let near = |known: &&str| known.len().abs_diff(name.len()) <= limit;
    let distances = among.into_iter().filter(near).map(|known| (distance(name, known), known));
    distances
        .filter(|(distance, _)| (1..=limit).contains(distance))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// How many letters must be put in, left out or changed, or neighbours exchanged; capitals count as small
/// letters, unless they are all that differs.
fn distance(one: &str, other: &str) -> usize {
    if one != other && one.eq_ignore_ascii_case(other) {
        return 1;
    }
    let (one, other) = (one.to_ascii_lowercase().into_bytes(), other.to_ascii_lowercase().into_bytes());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for (i, a) in one.iter().enumerate() {
        let above = &rows[i];
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let changed = above[j] + usize::from(a != b);
            let mut least = changed.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

/// How a suggestion is put.
pub fn question(name: &str) -> String {
    format!("did you mean {name}?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::process::Process;
    use crate::types::namespaces::NamespaceKind;

    #[test]
    fn readers_tell_their_names() {
        assert_eq!(variants::<NamespaceKind>(), ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]);
        assert!(properties::<Process>().contains(&"noNewPrivileges"));
        assert!(variants::<String>().is_empty());
    }

    #[test]
    fn near_names() {
        let names = ["rlimits", "ro", "rro", "network", "nodev", "SCMP_ACT_ALLOW"];
        for (name, known) in [
            ("rlimts", Some("rlimits")),
            ("Rlimits", Some("rlimits")),
            ("nodevv", Some("nodev")),
            ("netowrk", Some("network")),
            ("SCMP_ACT_ALOW", Some("SCMP_ACT_ALLOW")),
            ("size", None),
            ("xyz", None),
            ("nodev", None),
        ] {
            assert_eq!(nearest(name, names), known, "{name}");
        }
    }
}
