//! Limits of `linux.resources`: a table with a row for each that is a number or a list of CPUs.
//!
//! A new limit is a field in bundle/resources.rs and a row here; what walks the table knows none by name.

mod convert;
mod table;

use std::ops::RangeInclusive;

use super::resources::Resources;
use crate::types::limits::{File, OTHER};
pub use table::{HUGE_PAGES, NET_PRIORITY, NO_MARKS, RDMA, TABLE};

/// A limit: its names in config.json, on cgroup v1 and v2 and on the command line.
pub struct Row {
    /// The property's pointer; `#` is the index of a device.
    pub from: &'static str,
    /// What a config asks for.
    pub asked: Asked,
    /// The meaning of 0.
    pub zero: Zero,
    /// The values that it can have, and the message for any other.
    pub range: Option<(RangeInclusive<i128>, &'static str)>,
    /// Where it goes on v1.
    pub v1: On,
    /// Where it goes on v2.
    pub v2: On,
    /// The flag of `update`.
    pub flag: Option<Flag>,
}

/// Reads what a config asks for.
pub enum Asked {
    /// A number.
    Number(fn(&Resources) -> Option<i128>),
    /// A list of CPUs or memory nodes.
    Set(fn(&Resources) -> &str),
    /// A number for the device of an index.
    Device(fn(&Resources, usize) -> Option<OfDevice>),
}

/// What is asked for a device.
pub struct OfDevice {
    /// Its number.
    pub number: (u32, u32),
    /// The value.
    pub value: Option<i128>,
}

/// The meaning of 0, which engines write for "not set".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zero {
    /// Not set.
    Unset,
    /// A value that a new cgroup has anyway.
    Initial,
    /// A value like any other.
    Value,
}

/// Where a limit goes in a version of cgroups.
pub enum On {
    /// To a file.
    File(Place),
    /// Nowhere: an error.
    Refused(&'static str),
    /// Nowhere: a warning.
    Ignored(&'static str),
}

/// A file and how a value is written to it.
pub struct Place {
    /// The file.
    pub file: File,
    /// The value in the file's words.
    pub value: fn(i128, &Resources) -> Result<Value, &'static str>,
    /// The word between a device and the value.
    pub key: &'static str,
    /// The property before whose write this one is.
    pub before: &'static str,
    /// The property that is written first if the kernel finds the value invalid beside its old one.
    pub after: &'static str,
    /// Where it goes on a kernel without the file.
    pub instead: Option<&'static Place>,
}

/// A value as a file takes it.
pub enum Value {
    /// The value.
    Is(String),
    /// It is so anyway where there is no such file.
    IfThere(String),
    /// The same, and another property asks for it.
    Implied(&'static str, String),
    /// Another row writes it.
    Elsewhere,
}

impl Value {
    /// The text, if there is one.
    pub fn text(self) -> Option<String> {
        match self {
            Value::Is(text) | Value::IfThere(text) | Value::Implied(_, text) => Some(text),
            Value::Elsewhere => None,
        }
    }
}

/// A flag of `update`: the kind of its value, its name, the name of its value, and its purpose (empty: help leaves it
/// out).
pub struct Flag(pub Kind, pub &'static str, pub &'static str, pub &'static str);

/// The kind of a flag's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Size,
    Signed,
    Unsigned,
    Small,
    Text,
}

impl Row {
    /// The number that is asked for; `update`: of a cgroup in use, for which each is written.
    pub fn number(&self, resources: &Resources, update: bool) -> Option<i128> {
        let Asked::Number(asked) = self.asked else { return None };
        asked(resources).filter(|value| self.is_set(*value, update))
    }

    /// Whether a number is a value, and not "not set".
    fn is_set(&self, value: i128, update: bool) -> bool {
        value != 0 || self.zero == Zero::Value || (self.zero == Zero::Initial && update)
    }

    /// Calls for each number that is asked for, with the index and the number of its device.
    pub fn each<E>(
        &self,
        resources: &Resources,
        update: bool,
        mut call: impl FnMut(usize, Option<(u32, u32)>, i128) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut set = |index, device, value: Option<i128>| {
            value.filter(|value| self.is_set(*value, update)).map_or(Ok(()), |value| call(index, device, value))
        };
        match self.asked {
            Asked::Number(asked) => set(0, None, asked(resources)),
            Asked::Set(_) => Ok(()),
            Asked::Device(asked) => {
                let mut devices = (0..).map_while(|index| Some((index, asked(resources, index)?)));
                devices.try_for_each(|(index, device)| set(index, Some(device.number), device.value))
            }
        }
    }
}

/// The row of a property.
pub fn row(from: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.from == from)
}

/// The file of a name, which `unified` gives.
pub fn file(name: &str) -> &'static File {
    if name.starts_with("hugetlb.") {
        return &HUGE_PAGES;
    }
    let place = |on: &'static On| if let On::File(place) = on { Some(place) } else { None };
    let places = TABLE.iter().flat_map(|row| [place(&row.v1), place(&row.v2)]).flatten();
    let files = places.flat_map(|place| [Some(place), place.instead]).flatten().map(|place| &place.file);
    let mut files = files.chain(table::UNIFIED_ONLY).chain([&RDMA]);
    files.find(|file| file.name == name).unwrap_or(&OTHER)
}
