//! Where in config.json a thing comes from: an RFC 6901 JSON pointer that costs nothing to carry.

use std::borrow::Cow;
use std::fmt;

/// A pattern such as `/mounts/#/options/#` and the numbers that stand in it, so that a step can
/// remember its origin without an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pointer {
    pattern: &'static str,
    index: [u32; 2],
}

impl Pointer {
    /// A pointer without an index.
    pub const fn new(pattern: &'static str) -> Pointer {
        Pointer { pattern, index: [0; 2] }
    }

    /// `/mounts/#` and 3 → `/mounts/3`.
    pub const fn at(pattern: &'static str, index: usize) -> Pointer {
        Pointer { pattern, index: [index as u32, 0] }
    }

    /// `/mounts/#/options/#`, 3 and 2 → `/mounts/3/options/2`.
    pub const fn at2(pattern: &'static str, first: usize, second: usize) -> Pointer {
        Pointer { pattern, index: [first as u32, second as u32] }
    }
}

/// A name as part of a pointer: RFC 6901 escapes `~` and `/`.
pub fn escaped(name: &str) -> Cow<'_, str> {
    match name.contains(['~', '/']) {
        true => name.replace('~', "~0").replace('/', "~1").into(),
        false => name.into(),
    }
}

/// The pointer of what an object has under a name that the config chose.
pub fn of_name(object: &str, name: &str) -> String {
    format!("{object}/{}", escaped(name))
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut index = self.index.iter();
        for part in self.pattern.split_inclusive('#') {
            match part.strip_suffix('#') {
                Some(before) => write!(f, "{before}{}", index.next().unwrap_or(&0))?,
                None => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_stand_where_the_pattern_has_them() {
        assert_eq!(Pointer::new("/process/args").to_string(), "/process/args");
        assert_eq!(Pointer::at("/mounts/#", 12).to_string(), "/mounts/12");
        assert_eq!(Pointer::at2("/mounts/#/options/#", 3, 2).to_string(), "/mounts/3/options/2");
    }
}
