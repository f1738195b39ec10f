//! The mounts of this process's mount namespace: /proc/PID/mountinfo, proc(5), as far as they are asked for.

use crate::error::{Error, Result};
use crate::process::procfs::Procfs;

/// A mount.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    /// Its id, as statx(2) has it.
    pub id: u64,
    /// The id of the mount that it is mounted on.
    pub parent: u64,
    /// The directory or file of the file system that is its root.
    pub root: Vec<u8>,
    /// Where it is mounted, from this process's root directory.
    pub point: Vec<u8>,
    /// It or its file system is read-only.
    pub read_only: bool,
    /// It is in a peer group.
    pub shared: bool,
    /// The type of its file system.
    pub kind: Vec<u8>,
}

/// All mounts that can be reached from the root directory if nothing covers them, the newest last.
pub(super) struct MountTable(pub Vec<Entry>);

impl MountTable {
    /// Reads the table, which no mount on /proc can fake.
    pub(super) fn read() -> Result<MountTable> {
        MountTable::parse(&Procfs::to_read()?.read(c"thread-self/mountinfo")?)
    }

    fn parse(text: &[u8]) -> Result<MountTable> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map(|line| {
            let wrong = || Error::new(format!("read mountinfo {:?}: malformed", String::from_utf8_lossy(line)));
            Entry::parse(line).ok_or_else(wrong)
        });
        entries.collect::<Result<_>>().map(MountTable)
    }

    /// The mount of an id.
    pub(super) fn get(&self, id: u64) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.id == id)
    }

    /// Whether a mount is another one or mounted on it, or on one that is.
    pub(super) fn is_within(&self, entry: &Entry, top: u64) -> bool {
        let mut at = Some(entry);
        // Longer ways are circles, which the kernel does not have.
        for _ in 0..=self.0.len() {
            match at {
                Some(entry) if entry.id == top => return true,
                Some(entry) => at = self.get(entry.parent),
                None => return false,
            }
        }
        false
    }
}

impl Entry {
    fn parse(line: &[u8]) -> Option<Entry> {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = |field: Option<&[u8]>| std::str::from_utf8(field?).ok()?.parse().ok();
        let (id, parent) = (number(fields.next())?, number(fields.next())?);
        let (root, point, options) = (fields.nth(1)?, fields.next()?, fields.next()?);
        // Any number of further fields, up to one that separates.
        let shared = fields.by_ref().take_while(|field| *field != b"-").filter(|field| field.starts_with(b"shared:"));
        let shared = shared.count() > 0;
        let (kind, superblock) = (fields.next()?, fields.nth(1)?);
        let has_ro = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"ro");
        Some(Entry {
            id,
            parent,
            root: unescaped(root),
            point: unescaped(point),
            read_only: has_ro(options) || has_ro(superblock),
            shared,
            kind: kind.to_vec(),
        })
    }
}

/// A path in which some bytes are written as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                path.push(byte);
                rest = &after[3..];
            }
            None => {
                path.push(*first);
                rest = after;
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_any_number_of_optional_fields() {
        let text = b"22 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw\n\
                     23 22 0:21 /sys /a\\040b\\134 ro,nosuid - proc proc rw\n\
                     24 23 0:22 / /a\\040b\\134/x rw shared:7 - sysfs none ro,seclabel\n";
        let table = MountTable::parse(text).unwrap();
        let [root, proc, sysfs] = &table.0[..] else { panic!() };
        assert_eq!((root.id, root.parent, root.shared, root.read_only), (22, 1, true, false));
        assert_eq!((&proc.root[..], &proc.point[..], &proc.kind[..]), (&b"/sys"[..], &b"/a b\\"[..], &b"proc"[..]));
        assert!(proc.read_only && !proc.shared && sysfs.read_only && sysfs.shared);
        assert!(table.is_within(sysfs, 22) && table.is_within(proc, 23) && !table.is_within(proc, 24));
        assert!(MountTable::parse(b"22 1 8:1 / / rw\n").is_err());
    }
}
