//! Annotations `org.systemd.property.NAME`: properties of the unit that the config has no other place for.

use std::collections::BTreeMap;

use crate::error::{self, Error};
use crate::pointer::of_name;
use crate::systemd::dbus::value::Value;
use crate::systemd::gvariant;
use crate::systemd::property::Property;

const PREFIX: &str = "org.systemd.property.";
/// Those that say which processes are the container's, and where its cgroup is.
const NOT_THEIRS: [&str; 3] = ["PIDs", "PIDFDs", "Slice"];
/// As people write them.
const FORMS: &str = "values are true, 5, uint64 5, 1.5, 'text', ['text', 'text'] or [('/dev/sda', uint64 5)]";
const MICRO: i128 = 1_000_000;

/// The properties that annotations ask for.
///
/// # Errors
/// A name or a value that is not understood, and what is not for a container to say; with its pointer.
pub fn properties(annotations: &BTreeMap<String, String>) -> error::Result<Vec<Property>> {
    let named = annotations.iter().filter_map(|(key, text)| Some((key, key.strip_prefix(PREFIX)?, text)));
    let read = |(key, name, text): (&String, &str, &String)| {
        let pointer = of_name("/annotations", key);
        property(name, text)
            .map(|property| Property { annotated: true, ..property.from(&pointer) })
            .map_err(|why| Error { message: format!("annotation {key}={text}: {}", why.message), ..why })
            .map_err(|error| error.from_property(&pointer))
    };
    named.map(read).collect()
}

fn property(name: &str, text: &str) -> error::Result<Property> {
    if name.len() < 3 || !name.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        let message = format!("{name:?} is no property: their names are three letters or more, and nothing else");
        return Err(Error::new(message));
    }
    if NOT_THEIRS.contains(&name) {
        return Err(Error::new(format!("{name} is for ferrun to set")));
    }
    let value = gvariant::parse(text).map_err(|why| Error::new(why).hint(FORMS))?;
    match name.strip_suffix("Sec") {
        // As in unit files; the bus knows `TimeoutStopUSec` only.
        Some(stem) if stem.ends_with(|letter: char| letter.is_ascii_lowercase()) => {
            Ok(Property::new(&format!("{stem}USec"), microseconds(&value).map_err(Error::new)?))
        }
        _ => Ok(Property::new(name, value)),
    }
}

fn microseconds(seconds: &Value) -> Result<Value, String> {
    let whole: i128 = match *seconds {
        Value::Byte(seconds) => seconds.into(),
        Value::I16(seconds) => seconds.into(),
        Value::U16(seconds) => seconds.into(),
        Value::I32(seconds) => seconds.into(),
        Value::U32(seconds) => seconds.into(),
        Value::I64(seconds) => seconds.into(),
        Value::U64(seconds) => seconds.into(),
        Value::Double(seconds) => return Ok(Value::U64(in_range((seconds * MICRO as f64).round() as i128)?)),
        _ => return Err("a time is a number of seconds".into()),
    };
    Ok(Value::U64(in_range(whole * MICRO)?))
}

fn in_range(microseconds: i128) -> Result<u64, String> {
    microseconds.try_into().map_err(|_| "there is no such time".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> error::Result<Vec<Property>> {
        properties(&BTreeMap::from([(name.to_owned(), text.to_owned())]))
    }

    #[test]
    fn properties_and_their_values() {
        for (name, text, property) in [
            ("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec=123456789"),
            ("TimeoutStopSec", "456", "TimeoutStopUSec=456000000"),
            ("TimeoutStopSec", "byte 234", "TimeoutStopUSec=234000000"),
            ("TimeoutStopSec", "uint64 234", "TimeoutStopUSec=234000000"),
            ("TimeoutStopSec", "234.789", "TimeoutStopUSec=234789000"),
            ("FOOSec", "123", "FOOSec=123"),
            ("Sec", "123", "Sec=123"),
            ("CollectMode", "'inactive'", "CollectMode=inactive"),
            ("After", "['a.service', 'b.service']", "After=a.service b.service"),
        ] {
            let read = read(&format!("org.systemd.property.{name}"), text).expect(text);
            assert_eq!(read[0].to_string(), property);
            assert_eq!(read[0].from.as_deref(), Some(&*format!("/annotations/org.systemd.property.{name}")));
        }
        assert!(read("some.other.annotation", "0").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (name, text) in [
            ("Xo", "1"),
            ("", "1"),
            ("Number1", "1"),
            ("A/b~c", "1"),
            ("ValidName", "invalid-value"),
            ("TimeoutStopSec", "false"),
            ("TimeoutStopSec", "'covfefe'"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "uint64 99999999999999999"),
            ("PIDs", "[uint32 1]"),
            ("PIDFDs", "[uint32 1]"),
            ("Slice", "'a.slice'"),
        ] {
            let error = read(&format!("org.systemd.property.{name}"), text).expect_err(name);
            let pointer = of_name("/annotations", &format!("org.systemd.property.{name}"));
            assert_eq!(error.pointer.as_deref(), Some(&*pointer));
        }
    }
}
