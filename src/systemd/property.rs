//! Properties of systemd's units.

use std::fmt;

use super::dbus::value::Value;

/// A property of a unit, as systemd's bus interface knows it: org.freedesktop.systemd1(5).
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name there: `CPUQuotaPerSecUSec`, where a unit file says `CPUQuota=`.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// The JSON pointer of what asks for it.
    pub from: Option<Box<str>>,
    /// Whether an annotation gives it, and with it the type of the value.
    pub annotated: bool,
    /// Whether older versions of systemd do not take it, and the unit is good without.
    pub recent: bool,
}

impl Property {
    /// A property that ferrun sets by itself.
    pub fn new(name: &str, value: Value) -> Property {
        Property { name: name.into(), value, from: None, annotated: false, recent: false }
    }

    /// Names what asks for it.
    pub fn from(self, pointer: impl fmt::Display) -> Property {
        Property { from: Some(pointer.to_string().into()), ..self }
    }

    /// The name and the value, as a call has them.
    pub(super) fn to_value(&self) -> Value {
        Value::Struct(vec![Value::text(&self.name), Value::Variant(self.value.clone().into())])
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}
