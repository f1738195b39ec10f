//! Numbers as Go's encoding/json writes them, for readers of runc's `events`.

use serde::Serializer;

/// Whether Go's `omitempty` leaves a value out.
pub fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Writes a whole number without `.0`.
pub fn as_go_does<S: Serializer>(value: &f64, to: S) -> std::result::Result<S::Ok, S::Error> {
    if value.fract() == 0.0 { to.serialize_u64(*value as u64) } else { to.serialize_f64(*value) }
}
