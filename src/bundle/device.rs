//! `linux.resources.devices`: the device rules of the cgroup.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::cgroup::device_rules::{Access, Kind, Rule};

/// A rule as the config spells it.
#[derive(Deserialize)]
struct Spelled {
    allow: bool,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    access: Option<String>,
}

/// Reads the list; null is an empty one.
pub fn rules<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Rule>, D::Error> {
    let spelled: Option<Vec<CheckedRule>> = Option::deserialize(from)?;
    Ok(spelled.unwrap_or_default().into_iter().map(|rule| rule.0).collect())
}

struct CheckedRule(Rule);

impl<'de> Deserialize<'de> for CheckedRule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<CheckedRule, D::Error> {
        let spelled = Spelled::deserialize(from)?;
        let number = |name: &str, number: Option<i64>| match number {
            // -1 is how engines that copy runc's own structure write "any".
            None | Some(-1) => Ok(None),
            Some(n) => {
                u32::try_from(n).map(Some).map_err(|_| D::Error::custom(format!("{name} {n} is no device number")))
            }
        };
        let kind = match spelled.kind.as_deref() {
            None | Some("" | "a") => Kind::All,
            Some("c" | "u") => Kind::Char,
            Some("b") => Kind::Block,
            Some(other) => return Err(D::Error::custom(format!("device type {other:?} is none of a, b, c, u"))),
        };
        let access = match spelled.access.as_deref() {
            None | Some("") => Access::all(),
            Some(letters) => Access::parse(letters)
                .ok_or_else(|| D::Error::custom(format!("device access {letters:?} has other letters than r, w, m")))?,
        };
        let (major, minor) = (number("major", spelled.major)?, number("minor", spelled.minor)?);
        Ok(CheckedRule(Rule { allow: spelled.allow, kind, major, minor, access }))
    }
}
