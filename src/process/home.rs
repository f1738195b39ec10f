//! The home directory of the container's user, where the config names none.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use super::accounts;
use crate::rootfs::Rootfs;

/// Looks up HOME in the container's /etc/passwd (passwd(5)), as runc; a user who is not there has `/`.
#[derive(PartialEq)]
pub struct Home {
    /// The user.
    pub uid: u32,
}

impl Home {
    /// Runs the step: gives the entry of the environment. The file is the image's, so that nothing in it
    /// and nothing about it is a reason to fail.
    pub fn run(&self, rootfs: &Rootfs) -> CString {
        let home = match accounts::open(rootfs, accounts::PASSWD) {
            Ok(Some(file)) => find(BufReader::new(File::from(file).take(accounts::LONGEST)), self.uid),
            Ok(None) | Err(_) => None,
        };
        let entry = home.map(|home| [b"HOME=", home.as_slice()].concat());
        entry.and_then(|entry| CString::new(entry).ok()).unwrap_or_else(|| c"HOME=/".to_owned())
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "HOME of uid {} from /etc/passwd", self.uid)
    }
}

/// The sixth field of the first line with this uid.
fn find(mut file: impl BufRead, uid: u32) -> Option<Vec<u8>> {
    // One buffer for all lines.
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let mut fields = line.trim_ascii_end().split(|byte| *byte == b':');
        let number = fields.nth(2).and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
        if number == Some(uid) {
            return fields.nth(2).filter(|home| !home.is_empty()).map(<[u8]>::to_vec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_the_user_counts() {
        let text = "\n# users\nroot:x:0:0:root:/root:/bin/sh\nbroken:x:7\nx:::::/x:\na:x:7:7::/home/a:\n\
                    b:x:7:7::/home/b:\nnone:x:8:8:::\nlast:x:9:9::/l";
        let home = |uid| find(text.as_bytes(), uid).map(|home| String::from_utf8(home).unwrap());
        assert_eq!(home(0).as_deref(), Some("/root"));
        assert_eq!(home(7), None, "a line that is cut short names no home");
        assert_eq!(home(8), None);
        assert_eq!(home(9).as_deref(), Some("/l"));
        assert_eq!(home(1), None);
    }
}
