//! Limits of `linux.resources`: a table with a row for each that is a number or a list of CPUs.
//!
//! A new limit is a field in bundle/resources.rs and a row here; the plan knows none by name.

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
    /// The value that a config asks for.
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

/// Reads the value that a config asks for.
pub enum Asked {
    /// A number.
    Number(fn(&Resources) -> Option<i128>),
    /// A list of CPUs or memory nodes.
    Set(fn(&Resources) -> &str),
    /// The device of an index, and a number for it.
    Device(fn(&Resources, usize) -> Option<OfDevice>),
}

/// The number of a device.
pub type Device = (u32, u32);

/// A device, and what is asked for it.
pub type OfDevice = (Device, Option<i128>);

/// A value in a file's words; `None`: another row writes it.
pub type Converted = Result<Option<String>, &'static str>;

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

/// The version of cgroups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One for all: Documentation/admin-guide/cgroup-v2.rst of the kernel.
    V2,
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
#[derive(Clone, Copy)]
pub struct Place {
    /// The file.
    pub file: File,
    /// The value in the file's words.
    pub value: fn(i128, &Resources) -> Converted,
    /// Whether a kernel without the file does the same anyway.
    pub optional: fn(&Resources) -> bool,
    /// The word between a device and the value.
    pub key: &'static str,
    /// The property before whose write this one is.
    pub before: &'static str,
    /// The property that is written first if the kernel finds the value invalid beside its old one.
    pub after: &'static str,
    /// Where it goes on a kernel without the file.
    pub instead: Option<&'static Place>,
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
    Text,
}

impl Row {
    /// Where it goes.
    pub fn on(&self, version: Version) -> &On {
        match version {
            Version::V1 => &self.v1,
            Version::V2 => &self.v2,
        }
    }

    /// The numbers that a config asks for, with the index and the number of their device; `update`: of a cgroup in use,
    /// for which each is written.
    pub fn values(&self, resources: &Resources, update: bool) -> impl Iterator<Item = (usize, Option<Device>, i128)> {
        let all = (0..).map_while(move |index| match self.asked {
            Asked::Number(asked) => (index == 0).then(|| (index, None, asked(resources))),
            Asked::Device(asked) => asked(resources, index).map(|(device, value)| (index, Some(device), value)),
            Asked::Set(_) => None,
        });
        let is_set = move |value: &i128| match self.zero {
            Zero::Value => true,
            Zero::Initial if update => true,
            Zero::Initial | Zero::Unset => *value != 0,
        };
        all.filter_map(move |(index, device, value)| Some((index, device, value.filter(is_set)?)))
    }
}

/// The row of a property.
pub fn row_of(from: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.from == from)
}

/// The file of a name, which `unified` gives.
pub fn file_named(name: &str) -> &'static File {
    if name.starts_with("hugetlb.") {
        return &HUGE_PAGES;
    }
    let place = |on: &'static On| if let On::File(place) = on { Some(place) } else { None };
    let places = TABLE.iter().flat_map(|row| [place(&row.v1), place(&row.v2)]).flatten();
    let files = places.flat_map(|place| [Some(place), place.instead]).flatten().map(|place| &place.file);
    let mut files = files.chain(table::UNIFIED_ONLY).chain([&RDMA, &NET_PRIORITY]);
    files.find(|file| file.name == name).unwrap_or(&OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_and_name_rows() {
        let count = |from: &str| TABLE.iter().filter(|row| row.from == from).count();
        for Row { from, asked, range, v1, v2, flag, .. } in TABLE {
            assert_eq!(count(from), 1, "{from}");
            assert!(range.as_ref().is_none_or(|(_, message)| !message.is_empty()), "{from}");
            assert!(flag.is_none() || !matches!(asked, Asked::Device(_)), "{from}");
            for on in [v1, v2] {
                match on {
                    On::File(Place { before, after, .. }) => {
                        assert!([before, after].iter().all(|other| other.is_empty() || count(other) == 1), "{from}");
                    }
                    On::Refused(message) | On::Ignored(message) => assert!(!message.is_empty(), "{from}"),
                }
            }
        }
    }
}
