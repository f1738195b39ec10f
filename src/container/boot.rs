//! The boot that a state is from. Pids, inodes of pidfds, cgroups, units of systemd and classes of resctrl are
//! unique within a boot: the next one gives their names and numbers to others.

use std::sync::OnceLock;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::sys::file;

/// The id of the running boot: random(4). A clock could be set back.
const FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Length of a UUID as text.
const LENGTH: usize = 36;

/// The id of a boot.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct BootId(String);

impl TryFrom<String> for BootId {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<BootId, &'static str> {
        let is_uuid = text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_uuid { Ok(BootId(text)) } else { Err("expected a boot id") }
    }
}

impl BootId {
    /// The id of the running boot, read once. `None` where ferrun's /proc does not show it.
    ///
    /// # Errors
    /// A read that fails for another reason, such as too many open files.
    pub fn current() -> Result<Option<BootId>> {
        static CURRENT: OnceLock<Option<BootId>> = OnceLock::new();
        if let Some(id) = CURRENT.get() {
            return Ok(id.clone());
        }
        let id = parse(file::read(FILE)).what(|| format!("read {FILE}"))?;
        Ok(CURRENT.get_or_init(|| id).clone())
    }
}

/// An empty file in the place of the kernel's hides the id as well as none.
fn parse(text: nix::Result<Vec<u8>>) -> nix::Result<Option<BootId>> {
    match text {
        Ok(text) => Ok(String::from_utf8(text.trim_ascii().to_vec()).ok().and_then(|text| text.try_into().ok())),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::EPERM) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The boot that a state is from, compared with the running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The running one.
    This,
    /// Another one: its processes, cgroups and units are gone.
    Other,
    /// The state does not name it, or /proc does not show the running one.
    Unknown,
}

impl Boot {
    /// Compares a recorded id with that of the running boot.
    ///
    /// # Errors
    /// Those of [`BootId::current`].
    pub fn of(recorded: Option<&BootId>) -> Result<Boot> {
        let Some(recorded) = recorded else { return Ok(Boot::Unknown) };
        Ok(match BootId::current()? {
            None => Boot::Unknown,
            Some(current) if current == *recorded => Boot::This,
            Some(_) => Boot::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_known_by_its_id() {
        let current = BootId::current().unwrap().expect("a boot id");
        assert_eq!(Boot::of(Some(&current)).unwrap(), Boot::This);
        assert_eq!(Boot::of(None).unwrap(), Boot::Unknown);
        let other = BootId::try_from("00000000-1111-4222-8333-444444444444".to_owned()).unwrap();
        assert_eq!(Boot::of(Some(&other)).unwrap(), Boot::Other);
    }

    #[test]
    fn an_id_that_is_hidden_is_unknown_and_one_that_cannot_be_read_an_error() {
        let text = "00000000-1111-4222-8333-444444444444";
        assert_eq!(parse(Ok(format!("{text}\n").into_bytes())).unwrap(), Some(BootId(text.into())));
        for hidden in [Ok(vec![]), Ok(b"unknown\n".to_vec()), Ok(vec![0xff; LENGTH]), Err(Errno::ENOENT)] {
            assert_eq!(parse(hidden.clone()), Ok(None), "{hidden:?}");
        }
        assert_eq!(parse(Err(Errno::EMFILE)), Err(Errno::EMFILE));
    }
}
