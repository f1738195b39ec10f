//! `uidMappings` and `gidMappings`.

use serde::Deserialize;
use serde::de::Deserializer;

use super::text::objects;
use crate::types::ids::{Mappings, Range};

/// A range as config.json has it: every part must be there.
#[derive(Deserialize)]
struct Mapping {
    #[serde(rename = "containerID")]
    inside: u32,
    #[serde(rename = "hostID")]
    outside: u32,
    size: u32,
}

/// The properties of a range.
pub(super) fn properties() -> &'static [&'static str] {
    super::names::properties::<Mapping>()
}

/// Reads a list of ranges; null is an empty one.
pub fn mappings<'de, D: Deserializer<'de>>(from: D) -> Result<Mappings, D::Error> {
    let list: Vec<Mapping> = objects(from)?;
    Ok(Mappings(list.into_iter().map(|Mapping { inside, outside, size }| Range { inside, outside, size }).collect()))
}
