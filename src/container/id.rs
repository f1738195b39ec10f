//! Container ids.

use std::fmt;

use crate::error::{Error, Result};

/// An id that is safe as the name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(String);

impl Id {
    /// Checks an id: letters, digits and `_ + - .`, but not `.` or `..`.
    ///
    /// # Errors
    /// Any other text.
    pub fn new(text: &str) -> Result<Id> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        match text {
            "" => Err(Error::new("container id cannot be empty")),
            "." | ".." => Err(Error::new(format!("invalid container ID format: {text:?}"))),
            _ if text.len() > 255 || !text.chars().all(allowed) => {
                Err(Error::new(format!("invalid container ID format: {text:?}"))
                    .hint("ids are made of letters, digits and _ + - ."))
            }
            _ => Ok(Id(text.to_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["a", "A-1_+.x", "...", "-"] {
            assert!(Id::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "/", "a b", "ä", "a\n", "a\0", &"a".repeat(256)] {
            assert!(Id::new(bad).is_err(), "{bad:?}");
        }
    }
}
