//! The formats of the state file: the newest, which is written, and the older ones, which are read as well.
//!
//! Format 1 has neither `format` nor `boot`. Format 2 has both. Every format begins with a JSON object in which
//! `format`, `boot` and `cgroup` have the same form: `delete --force` of an older ferrun relies on these.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::boot::BootId;
use super::id::Id;
use super::state::State;
use crate::cgroup::directory::Directory;
use crate::error::Error;
use crate::systemd::Unit;

/// The format that is written.
pub const FORMAT: u32 = 2;

/// The format of a state that does not name it.
pub fn unnamed() -> u32 {
    1
}

/// Reads a state of a known format: a line on the container, and one on its init once there is one.
pub fn parse(text: &[u8], complete: bool) -> Option<State> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut state: State = serde_json::from_slice(lines.next()?).ok()?;
    if !(1..=FORMAT).contains(&state.format) {
        return None;
    }
    state.init = lines.next().and_then(|line| serde_json::from_slice(line).ok());
    state.complete = complete;
    Some(state)
}

/// The error for a state that [`parse`] does not read.
pub fn unreadable(id: &Id, directory: &Path, text: &[u8]) -> Error {
    match Newer::parse(text) {
        Some(Newer { format, .. }) => Error::new(format!(
            "read the state of container {id}: it has format {format}, and this ferrun reads formats up to {FORMAT}"
        ))
        .hint("use the ferrun that created it, or delete it with --force"),
        None if is_of_runc(text) => Error::new(format!("container {id} is runc's: {directory:?} has its state"))
            .hint("use runc for it, or another --root for ferrun's containers"),
        None => Error::new(format!("the state of container {id} is damaged"))
            .hint(format!("end its processes by hand, then remove {directory:?}")),
    }
}

/// Whether a state was written by runc, which an engine may give the same root: Docker has one for all runtimes.
fn is_of_runc(text: &[u8]) -> bool {
    serde_json::from_slice::<Value>(text).is_ok_and(|state| !state["init_process_pid"].is_null())
}

/// The part of a state of a newer format by which its container can be deleted.
#[derive(Debug)]
pub struct Newer {
    /// Its format.
    pub format: u64,
    /// The boot that it is from, if it names one.
    pub boot: Option<BootId>,
    /// The container's directories in the cgroup hierarchies; `None` where they have another form.
    pub cgroup: Option<Vec<Directory>>,
    /// The container's unit of systemd.
    pub unit: Option<Unit>,
}

impl Newer {
    /// Reads a state of a newer format. `None`: it is none.
    pub fn parse(text: &[u8]) -> Option<Newer> {
        let state: Value = serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()?;
        let format = state["format"].as_u64().filter(|format| *format > u64::from(FORMAT))?;
        let (boot, cgroup, unit) = (&state["boot"], &state["cgroup"], &state["unit"]);
        Some(Newer {
            format,
            boot: Deserialize::deserialize(boot).ok(),
            cgroup: Deserialize::deserialize(cgroup).ok(),
            unit: Deserialize::deserialize(unit).ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::init_identity::Init;
    use super::*;

    const FIRST: &[u8] =
        br#"{"ociVersion":"1.0.0","id":"a","bundle":"/b","rootfs":"/b/r","created":"x","cgroup":[{"path":"/c"}]}"#;

    #[test]
    fn a_state_without_an_init_is_read() {
        let state = parse(FIRST, false).unwrap();
        assert!(state.init.is_none() && !state.complete);
        assert_eq!((state.format, state.boot), (1, None));
        let both = [FIRST, b"\n{\"pid\":7,\"inode\":9,\"startTime\":0}"].concat();
        let init = Init { pid: 7, inode: 9, start_time: 0, pid_namespace: None };
        assert_eq!(parse(&both, true).unwrap().init, Some(init));
        let cut = [FIRST, b"\n{\"pid\":7,\"ino"].concat();
        assert!(parse(&cut, false).unwrap().init.is_none(), "a line that was not finished does not count");
        assert!(parse(&FIRST[..20], false).is_none());
    }

    #[test]
    fn newer_formats_are_named_and_older_ones_read() {
        let with = |begin: &str| [begin.as_bytes(), &FIRST[1..]].concat();
        let boot = "00000000-1111-4222-8333-444444444444";
        let second = parse(&with(&format!(r#"{{"format":2,"boot":"{boot}","#)), true).unwrap();
        assert_eq!(second.boot.unwrap(), BootId::try_from(boot.to_owned()).unwrap());
        let id = Id::new("a").unwrap();
        let said = |text: &[u8]| unreadable(&id, Path::new("/s"), text).to_string();
        for newer in [&with(r#"{"format":3,"#)[..], b"{\n \"format\": 3, \"init\": [],\n \"boot\": 7\n}\n"] {
            assert!(parse(newer, true).is_none());
            crate::golden::compare(&said(newer));
        }
        for damaged in ["", r#"{"format":0,"#, r#"{"format":"x","#, r#"{"boot":"x","#] {
            assert!(parse(&with(damaged), true).is_none(), "{damaged}");
            crate::golden::compare(&said(&with(damaged)));
        }
        // Nobody is asked to end a container that another runtime manages.
        let of_runc = br#"{"id":"a","init_process_pid":7,"init_process_start":1,"created":"2026-11-30T18:00:00Z"}"#;
        assert!(parse(of_runc, true).is_none() && said(of_runc).contains("is runc's"));
        let newer = Newer::parse(&with(r#"{"format":3,"boot":"x","unit":{},"#)).unwrap();
        assert_eq!((newer.boot, newer.unit), (None, None));
        assert_eq!(&*newer.cgroup.unwrap()[0].path, "/c");
        assert_eq!(Newer::parse(br#"{"format":3,"cgroup":["/c"]}"#).unwrap().cgroup, None);
    }
}
