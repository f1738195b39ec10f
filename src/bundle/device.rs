//! `linux.devices`: device nodes; `linux.resources.devices`: the device rules of the cgroup.

use nix::sys::stat::SFlag;
use serde::Deserialize;
use serde::de::Deserializer;

use super::text::{Object, Text, parsed};
use crate::types::device_rules::{Access, Kind, Rule};

/// An entry of `linux.devices`.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Where, inside the container.
    pub path: Text,
    /// A character or block device, or a named pipe.
    #[serde(rename = "type", deserialize_with = "node_kind")]
    pub kind: SFlag,
    /// Absent for a pipe.
    #[serde(default, deserialize_with = "number")]
    pub major: Option<u32>,
    /// The same.
    #[serde(default, deserialize_with = "number")]
    pub minor: Option<u32>,
    /// Permissions; engines copy the bits of the type along.
    pub file_mode: Option<u32>,
    /// The owner.
    pub uid: Option<u32>,
    /// The owner's group.
    pub gid: Option<u32>,
}

impl Device {
    /// The number as the kernel has it; none for a pipe.
    pub fn number(&self) -> Option<u64> {
        match (self.kind, self.major, self.minor) {
            (SFlag::S_IFIFO, ..) => Some(0),
            (_, Some(major), Some(minor)) => Some(nix::sys::stat::makedev(major.into(), minor.into())),
            _ => None,
        }
    }
}

fn node_kind<'de, D: Deserializer<'de>>(from: D) -> Result<SFlag, D::Error> {
    parsed(from, |text| match text {
        "c" | "u" => Ok(SFlag::S_IFCHR),
        "b" => Ok(SFlag::S_IFBLK),
        "p" => Ok(SFlag::S_IFIFO),
        other => Err(format!("device type {other:?} is none of c, b, u, p")),
    })
}

/// The properties of a rule.
pub(super) fn properties_of_a_rule() -> &'static [&'static str] {
    super::names::properties::<Spelled>()
}

/// A rule as the config spells it.
#[derive(Deserialize)]
struct Spelled {
    allow: bool,
    #[serde(rename = "type", default = "all_kinds", deserialize_with = "kind")]
    kind: Kind,
    #[serde(default, deserialize_with = "number")]
    major: Option<u32>,
    #[serde(default, deserialize_with = "number")]
    minor: Option<u32>,
    #[serde(default = "Access::all", deserialize_with = "access")]
    access: Access,
}

/// Reads the list; null is an empty one.
pub fn rules<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Rule>, D::Error> {
    let spelled: Option<Vec<CheckedRule>> = Option::deserialize(from)?;
    Ok(spelled.unwrap_or_default().into_iter().map(|rule| rule.0).collect())
}

struct CheckedRule(Rule);

impl<'de> Deserialize<'de> for CheckedRule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<CheckedRule, D::Error> {
        let Object(Spelled { allow, kind, major, minor, access }) = Object::deserialize(from)?;
        Ok(CheckedRule(Rule { allow, kind, major, minor, access }))
    }
}

fn all_kinds() -> Kind {
    Kind::All
}

fn kind<'de, D: Deserializer<'de>>(from: D) -> Result<Kind, D::Error> {
    parsed(from, |text| match text {
        "" | "a" => Ok(Kind::All),
        "c" | "u" => Ok(Kind::Char),
        "b" => Ok(Kind::Block),
        other => Err(format!("device type {other:?} is none of a, b, c, u")),
    })
}

fn access<'de, D: Deserializer<'de>>(from: D) -> Result<Access, D::Error> {
    parsed(from, |letters| match letters {
        "" => Ok(Access::all()),
        letters => {
            Access::parse(letters).ok_or_else(|| format!("device access {letters:?} has other letters than r, w, m"))
        }
    })
}

/// -1 is how engines that copy runc's own structure write "any".
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    struct Number;
    impl serde::de::Visitor<'_> for Number {
        type Value = Option<u32>;
        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a device number or -1")
        }
        fn visit_unit<E>(self) -> Result<Option<u32>, E> {
            Ok(None)
        }
        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Option<u32>, E> {
            if number == -1 { Ok(None) } else { Err(E::custom(format!("{number} is no device number"))) }
        }
        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Option<u32>, E> {
            u32::try_from(number).map(Some).map_err(|_| E::custom(format!("{number} is no device number")))
        }
    }
    from.deserialize_any(Number)
}
