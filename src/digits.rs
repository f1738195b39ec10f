//! Numbers as the text that the kernel takes. The init writes such text, which allocates nothing.

use std::ffi::CStr;
use std::fmt::Arguments;
use std::io::Write;

/// A number of 32 bits, decimal or octal.
pub struct Digits([u8; 12]);

impl Digits {
    /// The number as it is formatted: `format_args!("{:o}", mode)`.
    pub fn new(number: Arguments) -> Digits {
        let mut text = [0; 12];
        // Without the last byte, which ends the text.
        (&mut text[..11]).write_fmt(number).expect("at most 11 bytes");
        Digits(text)
    }

    /// Ended by NUL.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).expect("the last byte is NUL")
    }
}

#[cfg(test)]
mod tests {
    use super::Digits;

    #[test]
    fn the_longest_numbers_fit() {
        assert_eq!(Digits::new(format_args!("{}", i32::MIN)).as_c_str(), c"-2147483648");
        assert_eq!(Digits::new(format_args!("{:o}", u32::MAX)).as_c_str(), c"37777777777");
        assert_eq!(Digits::new(format_args!("{}", 0)).as_c_str(), c"0");
    }
}
