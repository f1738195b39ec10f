//! Durations as Go's flags have them: `5s`, `100ms`, `1m30s`, `1.5h`.

use std::time::Duration;

/// The units, in nanoseconds; of two that begin alike the longer one first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1000),
    ("µs", 1000), // U+00B5
    ("μs", 1000), // U+03BC
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads one that is longer than nothing.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" || text.starts_with('-') {
        return Err("it must be greater than 0".into());
    }
    match nanoseconds(text.strip_prefix('+').unwrap_or(text)) {
        Some(0) => Err("it must be greater than 0".into()),
        Some(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
        None => Err("a duration is a number with a unit (ns, us, ms, s, m, h), or several: 1m30s".into()),
    }
}

/// None, too, for what does not fit into Go's 63 bits.
fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() || text.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let (name, unit) = UNITS.iter().find(|(name, _)| behind.starts_with(name))?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && part.is_empty() || part.contains('.') {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part = if part.is_empty() { 0.0 } else { format!("0.{part}").parse::<f64>().ok()? };
        total = total.checked_add(whole.checked_mul(*unit)?)?.checked_add((part * *unit as f64) as u64)?;
        rest = &behind[name.len()..];
    }
    Some(total).filter(|total| *total <= i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("+.5s", 500),
            ("2.s", 2000),
            ("1h1m1s1ms", 3_661_001),
            ("2000us", 2),
            ("2000µs", 2),
            ("3000000ns", 3),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in
            ["", "5", "s", "5 s", "1d", ".s", "1..5s", "1.2.3s", "5sx", "9999999h", "99999999999999999999s", "+-1s"]
        {
            crate::golden::compare(&parse(bad).unwrap_err());
        }
        for not_positive in ["0", "0s", "-5s", "0.0ms"] {
            crate::golden::compare(&parse(not_positive).unwrap_err());
        }
    }
}
