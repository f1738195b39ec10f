//! Reader of `linux.seccomp`: the profile of the system calls.

use std::rc::Rc;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::names;
use super::seccomp_names::{Architecture, Flag, Names, action, operator};
use super::text::{Object, object, objects, or_default};
use crate::types::seccomp::profile::{Condition, Flags, Listener, Operator, Rule};
use crate::types::seccomp::{Action, Profile};

/// The profile as the config spells it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spelled {
    #[serde(default, deserialize_with = "action")]
    default_action: Option<Action>,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "or_default")]
    architectures: Vec<Architecture>,
    /// Absent is not the same as none.
    #[serde(default)]
    flags: Option<Vec<Flag>>,
    #[serde(default, deserialize_with = "or_default")]
    listener_path: String,
    #[serde(default, deserialize_with = "or_default")]
    listener_metadata: String,
    #[serde(default, deserialize_with = "or_default")]
    syscalls: Vec<CheckedRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpelledRule {
    names: Names,
    #[serde(deserialize_with = "action")]
    action: Option<Action>,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "objects")]
    args: Vec<Argument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    #[serde(deserialize_with = "index")]
    index: u8,
    value: u64,
    #[serde(default, deserialize_with = "or_default")]
    value_two: u64,
    #[serde(deserialize_with = "operator")]
    op: Operator,
}

/// The properties of a profile.
pub(super) fn properties() -> &'static [&'static str] {
    names::properties::<Spelled>()
}

/// The properties of a rule.
pub(super) fn properties_of_a_rule() -> &'static [&'static str] {
    names::properties::<SpelledRule>()
}

/// The properties of a condition.
pub(super) fn properties_of_an_argument() -> &'static [&'static str] {
    names::properties::<Argument>()
}

/// Reads a profile; null, and one that neither has rules nor a default, is none.
pub fn profile<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Profile>, D::Error> {
    let Some(spelled) = object::<D, Spelled>(from)? else { return Ok(None) };
    let Some(default) = spelled.default_action else {
        return match spelled.syscalls.is_empty() {
            true => Ok(None),
            false => Err(de::Error::custom("seccomp has rules but no defaultAction")),
        };
    };
    let default = with_errno(default, spelled.default_errno_ret, "defaultErrnoRet").map_err(de::Error::custom)?;
    let architectures = spelled.architectures.into_iter().filter_map(|architecture| architecture.0).collect();
    let listener = match (spelled.listener_path, spelled.listener_metadata) {
        (path, metadata) if path.is_empty() && !metadata.is_empty() => {
            return Err(de::Error::custom("listenerMetadata is set, but not listenerPath"));
        }
        (path, _) if path.is_empty() => None,
        (path, metadata) => Some(Listener { path, metadata }),
    };
    let flags = match spelled.flags {
        Some(list) => list.into_iter().fold(Flags::default(), |flags, Flag(set)| set(flags)),
        // As runc: who says nothing does not want to pay for the kernel's mitigation.
        None => Flags { spec_allow: true, ..Flags::default() },
    };
    let rules = spelled.syscalls.into_iter().map(|rule| rule.0).collect();
    let mut profile = Profile { default, architectures, flags, listener, rules };
    match (profile.notifies(), &profile.listener) {
        (true, None) => return Err(de::Error::custom("SCMP_ACT_NOTIFY is used, but there is no listenerPath")),
        // The spec: it is ignored then.
        (false, _) => profile.listener = None,
        _ => {}
    }
    Ok(Some(profile))
}

/// The same for the spec, which shares it with the step that installs the filter.
pub(super) fn shared<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Rc<Profile>>, D::Error> {
    Ok(profile(from)?.map(Rc::new))
}

struct CheckedRule(Rule);

impl<'de> Deserialize<'de> for CheckedRule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<CheckedRule, D::Error> {
        let Object(SpelledRule { names, action, errno_ret, args }) = Object::deserialize(from)?;
        let action = action.ok_or_else(|| de::Error::custom("the rule has no action"))?;
        let action = with_errno(action, errno_ret, "errnoRet").map_err(de::Error::custom)?;
        let conditions = args.into_iter().map(Argument::condition).collect();
        Ok(CheckedRule(Rule { names: names.known, unknown: names.unknown, action, conditions }))
    }
}

impl Argument {
    fn condition(self) -> Condition {
        let Argument { index: argument, value, value_two, op: operator } = self;
        match operator {
            Operator::MaskedEqual => Condition { argument, operator, mask: value, value: value_two },
            _ => Condition { argument, operator, mask: u64::MAX, value },
        }
    }
}

/// The spec: EPERM unless told; and an errno for an action that takes none is an error.
fn with_errno(action: Action, errno: Option<u32>, property: &str) -> Result<Action, String> {
    /// The largest that the kernel takes for an errno (`MAX_ERRNO`); larger ones become this one.
    const LARGEST: u32 = 4095;
    let largest = match action {
        Action::ERRNO => LARGEST,
        Action::TRACE => u16::MAX.into(),
        _ if errno.is_some() => return Err(format!("{property} is set, but the action takes no errno")),
        _ => return Ok(action),
    };
    match errno.unwrap_or(nix::libc::EPERM as u32) {
        errno if errno > largest => Err(format!("{property} {errno} is above {largest}")),
        errno => Ok(action.with(errno as u16)),
    }
}

fn index<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    match u64::deserialize(from)? {
        index @ 0..=5 => Ok(index as u8),
        index => Err(de::Error::custom(format!("a system call has the arguments 0 to 5, not {index}"))),
    }
}

/// A profile by itself, as `ferrun seccomp --profile` takes it.
///
/// # Errors
/// As for a config.json.
pub fn read(text: &str) -> serde_json::Result<Option<Profile>> {
    profile(&mut serde_json::Deserializer::from_str(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(text).expect_err(text).to_string()
    }

    #[test]
    fn what_asks_for_nothing_is_no_profile() {
        for text in ["null", "{}", r#"{"defaultAction":"","syscalls":[]}"#, r#"{"syscalls":null}"#] {
            assert!(read(text).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn errnos() {
        let default = |text: &str| read(text).unwrap().unwrap().default;
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#), Action::ERRNO.with(1));
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38}"#), Action::ENOSYS);
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_TRACE","defaultErrnoRet":65535}"#).0, 0x7ff0_ffff);
        crate::golden::compare(&refused(r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#));
        crate::golden::compare(&refused(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let rule = |rule: &str| refused(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#));
        crate::golden::compare(&rule(r#"{"names":["read"]}"#));
        crate::golden::compare(&rule(r#"{"names":[""],"action":"SCMP_ACT_TRAP"}"#));
        crate::golden::compare(&rule(r#"{"names":["read"],"action":"SCMP_ACT_NOTIFY"}"#));
        let argument =
            r#"{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}"#;
        crate::golden::compare(&rule(argument));
        crate::golden::compare(&refused(r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#));
        crate::golden::compare(&refused(r#"{"syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP"}]}"#));
        for (property, value) in
            [("defaultAction", r#""ALLOW""#), ("flags", r#"["X"]"#), ("architectures", r#"["X86"]"#)]
        {
            crate::golden::compare(&refused(&format!(r#"{{"{property}":{value}}}"#)));
        }
    }

    #[test]
    fn flags() {
        let flags =
            |text: &str| read(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{text}}}"#)).unwrap().unwrap().flags;
        assert_eq!(flags(""), Flags { spec_allow: true, ..Flags::default() });
        assert_eq!(flags(r#","flags":[]"#), Flags::default());
        assert!(flags(r#","flags":["SECCOMP_FILTER_FLAG_LOG"]"#).log);
    }
}
