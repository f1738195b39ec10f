//! Mount options: one table of names and effects, for parsing, `features` and the option tests.

use std::ffi::{CStr, CString};

use crate::sys::mount::attr;

/// Effects of options in `mounts[].options`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Accepted without effect: what it asks for is so anyway, or is a hint to mount(8) alone.
    Nothing,
    /// Binds the source, with the mounts below it if true.
    Bind(bool),
    /// Sets attributes of the mount (bits of [`attr`]).
    Set(u64),
    /// Clears attributes of the mount.
    Clear(u64),
    /// Chooses the access-time mode: a value of the [`attr::ATIME`] field.
    Atime(u64),
    /// As [`Effect::Set`], for the mount and those below it.
    SetAll(u64),
    /// As [`Effect::Clear`], for the mount and those below it.
    ClearAll(u64),
    /// As [`Effect::Atime`], for the mount and those below it.
    AtimeAll(u64),
    /// A flag of the file system instance, by its fsconfig(2) name.
    Superblock(&'static CStr),
    /// Propagation (`MS_*`), for the mounts below too if true.
    Propagation(u64, bool),
    /// Changes the mount that is there already, in place of a new one.
    Remount,
    /// Shows the files with other owners, in the mounts below too if true.
    IdMap(bool),
    /// A new tmpfs begins with what its mount point holds.
    CopyUp,
}

use Effect::*;

const RELATIME: u64 = 0;

/// Every option that ferrun knows by name, sorted; any other is data for the file system.
pub const OPTIONS: &[(&str, Effect)] = &[
    ("async", Superblock(c"async")),
    ("atime", Atime(RELATIME)),
    ("bind", Bind(false)),
    ("defaults", Nothing),
    ("dev", Clear(attr::NODEV)),
    ("diratime", Clear(attr::NODIRATIME)),
    ("dirsync", Superblock(c"dirsync")),
    ("exec", Clear(attr::NOEXEC)),
    ("idmap", IdMap(false)),
    ("iversion", Nothing),
    ("lazytime", Superblock(c"lazytime")),
    ("loud", Nothing),
    ("mand", Superblock(c"mand")),
    ("noatime", Atime(attr::NOATIME)),
    ("nodev", Set(attr::NODEV)),
    ("nodiratime", Set(attr::NODIRATIME)),
    ("noexec", Set(attr::NOEXEC)),
    ("noiversion", Nothing),
    ("nolazytime", Superblock(c"nolazytime")),
    ("nomand", Superblock(c"nomand")),
    ("norelatime", Nothing),
    ("nostrictatime", Atime(RELATIME)),
    ("nosuid", Set(attr::NOSUID)),
    ("nosymfollow", Set(attr::NOSYMFOLLOW)),
    ("private", Propagation(libc::MS_PRIVATE, false)),
    ("ratime", AtimeAll(RELATIME)),
    ("rbind", Bind(true)),
    ("rdev", ClearAll(attr::NODEV)),
    ("rdiratime", ClearAll(attr::NODIRATIME)),
    ("relatime", Atime(RELATIME)),
    ("remount", Remount),
    ("rexec", ClearAll(attr::NOEXEC)),
    ("ridmap", IdMap(true)),
    ("rnoatime", AtimeAll(attr::NOATIME)),
    ("rnodev", SetAll(attr::NODEV)),
    ("rnodiratime", SetAll(attr::NODIRATIME)),
    ("rnoexec", SetAll(attr::NOEXEC)),
    ("rnorelatime", Nothing),
    ("rnostrictatime", AtimeAll(RELATIME)),
    ("rnosuid", SetAll(attr::NOSUID)),
    ("rnosymfollow", SetAll(attr::NOSYMFOLLOW)),
    ("ro", Set(attr::RDONLY)),
    ("rprivate", Propagation(libc::MS_PRIVATE, true)),
    ("rrelatime", AtimeAll(RELATIME)),
    ("rro", SetAll(attr::RDONLY)),
    ("rrw", ClearAll(attr::RDONLY)),
    ("rshared", Propagation(libc::MS_SHARED, true)),
    ("rslave", Propagation(libc::MS_SLAVE, true)),
    ("rstrictatime", AtimeAll(attr::STRICTATIME)),
    ("rsuid", ClearAll(attr::NOSUID)),
    ("rsymfollow", ClearAll(attr::NOSYMFOLLOW)),
    ("runbindable", Propagation(libc::MS_UNBINDABLE, true)),
    ("rw", Clear(attr::RDONLY)),
    ("shared", Propagation(libc::MS_SHARED, false)),
    ("silent", Nothing),
    ("slave", Propagation(libc::MS_SLAVE, false)),
    ("strictatime", Atime(attr::STRICTATIME)),
    ("suid", Clear(attr::NOSUID)),
    ("symfollow", Clear(attr::NOSYMFOLLOW)),
    ("sync", Superblock(c"sync")),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagation(libc::MS_UNBINDABLE, false)),
];

/// Attributes to set and to clear: only those that were asked for, so that a bind keeps the rest of
/// its source's.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear first.
    pub clear: u64,
}

impl Attributes {
    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Attributes::default()
    }

    fn add(&mut self, bits: u64) {
        self.set |= bits;
        self.clear &= !bits;
    }

    fn remove(&mut self, bits: u64) {
        self.set &= !bits;
        self.clear |= bits;
    }

    fn atime(&mut self, mode: u64) {
        self.set = self.set & !attr::ATIME | mode;
        self.clear |= attr::ATIME;
    }
}

/// A parameter of the file system: `size=64k` or a bare word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The name.
    pub key: CString,
    /// The value after the `=`, if there is one.
    pub value: Option<CString>,
    /// Which of the config's options it is; none: it is ferrun's own.
    pub at: Option<usize>,
}

/// The options of a mount, each in the form that the kernel takes.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Options {
    /// A bind, and whether it takes the mounts below the source along.
    pub bind: Option<bool>,
    /// For the mount itself.
    pub here: Attributes,
    /// For the mount and those below it.
    pub all: Attributes,
    /// Flags of the file system instance.
    pub superblock: Vec<&'static CStr>,
    /// Propagation changes in order: `MS_*`, and whether for the mounts below too.
    pub propagation: Vec<(u64, bool)>,
    /// Options for the file system itself.
    pub data: Vec<Data>,
    /// An earlier mount is changed.
    pub remount: bool,
    /// Owners are mapped, and whether in the mounts below too.
    pub idmap: Option<bool>,
    /// A tmpfs begins with what its mount point holds.
    pub copy_up: bool,
    /// How many were added.
    count: usize,
}

impl Options {
    /// Adds an option; an empty one says nothing, as between two commas for mount(8).
    ///
    /// # Errors
    /// A sentence, for an option with a NUL byte.
    pub fn add(&mut self, option: &str) -> Result<(), String> {
        self.count += 1;
        let Ok(known) = OPTIONS.binary_search_by_key(&option, |(name, _)| name) else {
            return if option.is_empty() { Ok(()) } else { self.add_data(option) };
        };
        match OPTIONS[known].1 {
            Nothing => {}
            // Each is a flag of mount(2), and none takes another's away: recursive once is recursive.
            Bind(recursive) => self.bind = Some(recursive || self.bind == Some(true)),
            Set(bits) => self.here.add(bits),
            Clear(bits) => self.here.remove(bits),
            Atime(mode) => self.here.atime(mode),
            SetAll(bits) => self.all.add(bits),
            ClearAll(bits) => self.all.remove(bits),
            AtimeAll(mode) => self.all.atime(mode),
            Superblock(name) => self.superblock.push(name),
            Propagation(kind, recursive) => self.propagation.push((kind, recursive)),
            Remount => self.remount = true,
            IdMap(recursive) => self.idmap = Some(recursive),
            CopyUp => self.copy_up = true,
        }
        Ok(())
    }

    /// Adds data for the file system; as for mount(2), a comma begins the next.
    fn add_data(&mut self, option: &str) -> Result<(), String> {
        let nul = |_| format!("mount option {option:?} has a NUL byte");
        for part in split(option).filter(|part| !part.is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (part, None),
            };
            let key = CString::new(key).map_err(nul)?;
            let value = value.map(|value| CString::new(unquoted(&key, value))).transpose().map_err(nul)?;
            self.data.push(Data { key, value, at: Some(self.count - 1) });
        }
        Ok(())
    }

    /// Whether one of the config's options was split at a comma.
    pub fn is_split(&self) -> bool {
        self.data.windows(2).any(|pair| pair[0].at.is_some() && pair[0].at == pair[1].at)
    }

    /// Whether the mount is asked to be read-only; what holds for all mounts below is set last.
    pub fn read_only(&self) -> bool {
        let Attributes { set, clear } = self.all;
        (self.here.set & !clear | set) & attr::RDONLY != 0
    }

    /// The same without read-only, which is left for the end.
    pub fn writable(mut self) -> Options {
        self.here.set &= !attr::RDONLY;
        self.all.set &= !attr::RDONLY;
        self
    }

    /// Whether there is data of this name.
    pub fn has_data(&self, key: &CStr) -> bool {
        self.data.iter().any(|data| data.key.as_c_str() == key)
    }
}

/// Commas in SELinux's quotes are none, nor those after a backslash, which overlay takes for its layers' names.
fn split(option: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    option.split(move |letter| {
        let ends = letter == ',' && !quoted && !escaped;
        quoted ^= letter == '"';
        escaped = letter == '\\' && !escaped;
        ends
    })
}

/// SELinux's options may have quotes, for mount(2), where a comma would end the value. fsconfig(2) takes the
/// value as it is.
fn unquoted<'a>(key: &CStr, value: &'a str) -> &'a str {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    inner.filter(|_| takes_quotes(key)).unwrap_or(value)
}

/// Whether it is an option of SELinux.
pub fn takes_quotes(key: &CStr) -> bool {
    matches!(key.to_bytes(), b"context" | b"defcontext" | b"fscontext" | b"rootcontext")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[&str]) -> Options {
        let mut options = Options::default();
        list.iter().for_each(|option| options.add(option).unwrap());
        options
    }

    #[test]
    fn the_table_is_sorted_for_the_binary_search() {
        assert!(OPTIONS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn later_options_win_and_only_what_was_given_changes() {
        let o = options(&["nosuid", "ro", "suid", "rw", "nodev"]);
        assert_eq!(o.here, Attributes { set: attr::NODEV, clear: attr::NOSUID | attr::RDONLY });
        assert!(o.all.is_empty() && o.bind.is_none() && o.data.is_empty());
    }

    #[test]
    fn a_bind_is_recursive_wherever_rbind_is_among_its_options() {
        for (list, bind) in [
            (&["bind"][..], Some(false)),
            (&["rbind", "bind"], Some(true)),
            (&["bind", "ro", "rbind"], Some(true)),
            (&["ro"], None),
        ] {
            assert_eq!(options(list).bind, bind, "{list:?}");
        }
    }

    #[test]
    fn the_access_time_modes_exclude_each_other() {
        let o = options(&["noatime", "strictatime"]);
        assert_eq!(o.here, Attributes { set: attr::STRICTATIME, clear: attr::ATIME });
        assert_eq!(options(&["rrelatime"]).all, Attributes { set: 0, clear: attr::ATIME });
    }

    #[test]
    fn what_holds_for_all_mounts_is_set_last() {
        for (list, read_only) in [
            (&["ro"][..], true),
            (&["rro"], true),
            (&["ro", "rrw"], false),
            (&["rro", "rw"], true),
            (&["ro", "rw"], false),
        ] {
            assert_eq!(options(list).read_only(), read_only, "{list:?}");
        }
    }

    #[test]
    fn unknown_options_are_data() {
        let o = options(&["mode=755", "newinstance", "context=\"a:b,c\"", "other=\"a=b\""]);
        let text = |d: &Data| (d.key.clone().into_string().unwrap(), d.value.clone().map(|v| v.into_string().unwrap()));
        assert_eq!(text(&o.data[0]), ("mode".into(), Some("755".into())));
        assert_eq!(text(&o.data[1]), ("newinstance".into(), None));
        assert_eq!(text(&o.data[2]), ("context".into(), Some("a:b,c".into())));
        assert_eq!(text(&o.data[3]), ("other".into(), Some("\"a=b\"".into())));
        assert_eq!(options(&["", "mode=755"]).data[0].at, Some(1), "empty ones say nothing, and are counted");
        assert!(Options::default().add("a\0").is_err());
        assert!(o.has_data(c"mode") && !o.has_data(c"size"));
    }

    #[test]
    fn a_comma_begins_the_next() {
        let text = |d: &Data| (d.key.clone().into_string().unwrap(), d.value.clone().map(|v| v.into_string().unwrap()));
        let o = options(&["size=64k,mode=700,,huge", "lowerdir=a\\,b:c\\\\,ro", "context=\"a,b\",c"]);
        let all: Vec<_> = o.data.iter().map(text).collect();
        let part = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()).filter(|value| !value.is_empty()));
        let parts = [("size", "64k"), ("mode", "700"), ("huge", ""), ("lowerdir", "a\\,b:c\\\\"), ("ro", "")];
        let context = [("context", "a,b"), ("c", "")];
        assert_eq!(all, parts.into_iter().chain(context).map(|(key, value)| part(key, value)).collect::<Vec<_>>());
        assert_eq!(o.data.iter().map(|data| data.at).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 2, 2].map(Some));
    }
}
