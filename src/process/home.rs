//! The home directory of the container's user, where the config names none.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;

use super::accounts;
use crate::rootfs::Rootfs;

/// Bytes in which the lines of nearly all users fit.
pub const ROOM: usize = 256;

/// Looks up HOME in the container's /etc/passwd (passwd(5)), as runc; a user who is not there has `/`.
#[derive(PartialEq)]
pub struct Home {
    /// The user.
    pub uid: u32,
}

impl Home {
    /// Runs the step: gives the entry of the environment, in `room`. The file is the image's, so that nothing in it
    /// and nothing about it is a reason to fail.
    pub fn run(&self, rootfs: &Rootfs, mut room: Vec<u8>) -> CString {
        let home = match accounts::open(rootfs, accounts::PASSWD) {
            Ok(Some(file)) => find(File::from(file).take(accounts::LONGEST), self.uid, &mut room),
            Ok(None) | Err(_) => None,
        };
        match home {
            Some(home) => {
                room.truncate(home.end);
                drop(room.splice(..home.start, *b"HOME="));
            }
            None => {
                room.clear();
                room.extend_from_slice(b"HOME=/");
            }
        }
        CString::new(room).expect("looked at for NUL")
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "HOME of uid {} from /etc/passwd", self.uid)
    }
}

/// Reads up to the first line with this uid, and gives where its home is in `line`. Allocates for longer lines alone than
/// `line` has room for.
fn find(mut file: impl Read, uid: u32, line: &mut Vec<u8>) -> Option<Range<usize>> {
    let mut buffer = [0; 1024];
    loop {
        let length = match file.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            length => length.ok()?,
        };
        for piece in buffer[..length].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                if user(line) == Some(uid) {
                    return home(line);
                }
                line.clear();
            }
        }
        if length == 0 {
            return home(line).filter(|_| user(line) == Some(uid));
        }
    }
}

fn user(line: &[u8]) -> Option<u32> {
    let number = line.trim_ascii_end().split(|byte| *byte == b':').nth(2)?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Where the sixth field is, if it is a path.
fn home(line: &[u8]) -> Option<Range<usize>> {
    let mut fields = line.trim_ascii_end().split(|byte| *byte == b':');
    let before: usize = fields.by_ref().take(5).map(|field| field.len() + 1).sum();
    let home = fields.next().filter(|home| !home.is_empty() && !home.contains(&0))?;
    Some(before..before + home.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home_in(file: impl Read, uid: u32) -> Option<String> {
        let mut line = Vec::new();
        let home = find(file, uid, &mut line)?;
        Some(String::from_utf8(line[home].to_vec()).unwrap())
    }

    #[test]
    fn lines_of_any_length_are_found() {
        let name = "n".repeat(3000);
        let text = format!("{name}:x:1:1::/home/{name}:/bin/sh\n{name}:x:2:2::/two:/bin/sh\na:x:3:3::/t\0hree:\n");
        assert_eq!(home_in(text.as_bytes(), 1), Some(format!("/home/{name}")));
        assert_eq!(home_in(text.as_bytes(), 2).as_deref(), Some("/two"));
        assert_eq!(home_in(text.as_bytes(), 3), None, "no path has NUL");
    }

    #[test]
    fn the_first_line_of_the_user_counts() {
        let text = "\n# users\nroot:x:0:0:root:/root:/bin/sh\nbroken:x:7\nx:::::/x:\na:x:7:7::/home/a:\n\
                    b:x:7:7::/home/b:\nnone:x:8:8:::\nlast:x:9:9::/l";
        let home = |uid| home_in(text.as_bytes(), uid);
        assert_eq!(home(0).as_deref(), Some("/root"));
        assert_eq!(home(7), None, "a line that is cut short names no home");
        assert_eq!(home(8), None);
        assert_eq!(home(9).as_deref(), Some("/l"));
        assert_eq!(home(1), None);
    }
}
