//! Writes of limits: a value for a file of a controller, and the fallback if the kernel has no such file or refuses the
//! value.

use std::borrow::Cow;

use crate::pointer::Pointer;
use crate::types::limits::File;

/// The location of `linux.resources.unified`, whose keys are the names of files.
pub const UNIFIED: Pointer = Pointer::new("/linux/resources/unified");

/// What is written for a property. The hierarchy is v1's that has the controller, or v2's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The property.
    pub from: Pointer,
    /// The file's name.
    pub name: Cow<'static, str>,
    /// What is known of the file.
    pub file: &'static File,
    /// What is written; of several lines, each by itself.
    pub value: String,
    /// What is done if that is refused.
    pub otherwise: Otherwise,
}

/// What is done if the kernel refuses a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// It is an error.
    Fail,
    /// Where there is no such file, nothing is missing: it would say what is so anyway.
    Skip,
    /// Where there is no such file, the kernel has this one, with this value.
    Instead(&'static File, String),
    /// Where it is not valid (EINVAL) beside an old value of this file, which will be changed anyway,
    /// that file is written before.
    After(&'static File, String),
}

impl Write {
    /// The controller that has the file.
    pub fn controller(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// The property in words: `memory limit`.
    pub fn property(&self) -> String {
        property(self.from)
    }

    /// The pointer, down to the key of `unified`.
    pub fn pointer(&self) -> String {
        if self.from == UNIFIED { format!("{UNIFIED}/{}", self.name) } else { self.from.to_string() }
    }
}

/// A property of `linux.resources` in words.
pub fn property(from: Pointer) -> String {
    let pointer = from.to_string();
    let path = pointer.strip_prefix("/linux/resources/").unwrap_or(&pointer);
    let names: Vec<&str> = path.split('/').filter(|part| part.parse::<u32>().is_err()).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_in_words() {
        assert_eq!(property(Pointer::new("/linux/resources/memory/limit")), "memory limit");
        let device = Pointer::at("/linux/resources/blockIO/weightDevice/#/weight", 3);
        assert_eq!(property(device), "blockIO weightDevice weight");
    }
}
