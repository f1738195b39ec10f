//! `linux.seccomp`: the profile of the system calls.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::text::{Object, object, objects, or_default, parsed};
use crate::seccomp::profile::{Condition, Flags, Listener, Operator, Rule};
use crate::seccomp::syscalls::{self, Call};
use crate::seccomp::{Action, Arch, Profile};

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

fn action<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Action>, D::Error> {
    parsed(from, |text| {
        Ok(Some(match text {
            "" => return Ok(None),
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KILL_THREAD,
            "SCMP_ACT_KILL_PROCESS" => Action::KILL_PROCESS,
            "SCMP_ACT_TRAP" => Action::TRAP,
            "SCMP_ACT_ERRNO" => Action::ERRNO,
            "SCMP_ACT_TRACE" => Action::TRACE,
            "SCMP_ACT_ALLOW" => Action::ALLOW,
            "SCMP_ACT_LOG" => Action::LOG,
            "SCMP_ACT_NOTIFY" => Action::NOTIFY,
            other => return Err(format!("seccomp action {other:?} is none that the specification has")),
        }))
    })
}

fn operator<'de, D: Deserializer<'de>>(from: D) -> Result<Operator, D::Error> {
    parsed(from, |text| match text {
        "SCMP_CMP_NE" => Ok(Operator::NotEqual),
        "SCMP_CMP_LT" => Ok(Operator::Less),
        "SCMP_CMP_LE" => Ok(Operator::LessOrEqual),
        "SCMP_CMP_EQ" => Ok(Operator::Equal),
        "SCMP_CMP_GE" => Ok(Operator::GreaterOrEqual),
        "SCMP_CMP_GT" => Ok(Operator::Greater),
        "SCMP_CMP_MASKED_EQ" => Ok(Operator::MaskedEqual),
        other => Err(format!("seccomp operator {other:?} is none that the specification has")),
    })
}

fn index<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    match u64::deserialize(from)? {
        index @ 0..=5 => Ok(index as u8),
        index => Err(de::Error::custom(format!("a system call has the arguments 0 to 5, not {index}"))),
    }
}

/// An architecture; none: one whose calls this kind of machine cannot make, so that nothing is to be done.
struct Architecture(Option<Arch>);

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Architecture, D::Error> {
        /// What else the spec has.
        const OTHERS: &[&str] = &[
            "MIPS",
            "MIPS64",
            "MIPS64N32",
            "MIPSEL",
            "MIPSEL64",
            "MIPSEL64N32",
            "PPC",
            "PPC64",
            "PPC64LE",
            "S390",
            "S390X",
            "PARISC",
            "PARISC64",
            "LOONGARCH64",
            "M68K",
            "SH",
            "SHEB",
        ];
        parsed(from, |text| {
            let name = text.strip_prefix("SCMP_ARCH_").unwrap_or_default();
            match Arch::ALL.into_iter().find(|arch| arch.name() == name) {
                None if !OTHERS.contains(&name) => {
                    Err(format!("seccomp architecture {text:?} is none that the specification has"))
                }
                known => Ok(Architecture(known)),
            }
        })
    }
}

struct Flag(fn(Flags) -> Flags);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Flag, D::Error> {
        parsed(from, |text| match text {
            "SECCOMP_FILTER_FLAG_TSYNC" => Ok(Flag(|flags| Flags { tsync: true, ..flags })),
            "SECCOMP_FILTER_FLAG_LOG" => Ok(Flag(|flags| Flags { log: true, ..flags })),
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(Flag(|flags| Flags { spec_allow: true, ..flags })),
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Ok(Flag(|flags| Flags { wait_killable: true, ..flags })),
            other => Err(format!("seccomp flag {other:?} is none that the specification has")),
        })
    }
}

/// Names of calls. The spec does not say what an unknown one means; every runtime passes over it, since
/// profiles are written for kernels older and newer than this one.
#[derive(Default)]
struct Names {
    known: Vec<Call>,
    unknown: Vec<(usize, String)>,
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Names, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of names of system calls")
            }
            fn visit_unit<E>(self) -> Result<Names, E> {
                Ok(Names::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Names::default();
                let mut index = 0;
                while let Some(Name(name)) = list.next_element()? {
                    match name {
                        Ok(call) => names.known.push(call),
                        Err(unknown) => names.unknown.push((index, unknown)),
                    }
                    index += 1;
                }
                Ok(names)
            }
        }
        from.deserialize_any(NamesVisitor)
    }
}

struct Name(Result<Call, String>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
        parsed(from, |name| match syscalls::named(name) {
            _ if name.is_empty() => Err("an empty string is no name of a system call".to_owned()),
            Some(call) => Ok(Name(Ok(call))),
            None => Ok(Name(Err(name.to_owned()))),
        })
    }
}

/// A profile by itself, as `ferrun seccomp --profile` takes it.
///
/// # Errors
/// As for a config.json.
pub fn read(text: &[u8]) -> serde_json::Result<Option<Profile>> {
    profile(&mut serde_json::Deserializer::from_slice(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn what_asks_for_nothing_is_no_profile() {
        for text in ["null", "{}", r#"{"defaultAction":"","syscalls":[]}"#, r#"{"syscalls":null}"#] {
            assert!(read(text.as_bytes()).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn errnos() {
        let default = |text: &str| read(text.as_bytes()).unwrap().unwrap().default;
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#), Action::ERRNO.with(1));
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38}"#), Action::ENOSYS);
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_TRACE","defaultErrnoRet":65535}"#).0, 0x7ff0_ffff);
        assert!(refused(r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#).contains("takes no errno"));
        assert!(refused(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#).contains("above 4095"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let rule = |rule: &str| refused(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#));
        assert!(rule(r#"{"names":["read"]}"#).contains("missing field `action`"));
        assert!(rule(r#"{"names":[""],"action":"SCMP_ACT_TRAP"}"#).contains("empty string"));
        assert!(rule(r#"{"names":["read"],"action":"SCMP_ACT_NOTIFY"}"#).contains("no listenerPath"));
        let argument =
            r#"{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}"#;
        assert!(rule(argument).contains("not 6"));
        assert!(refused(r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#).contains("not listenerPath"));
        assert!(refused(r#"{"syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP"}]}"#).contains("no defaultAction"));
        for (property, value) in
            [("defaultAction", r#""ALLOW""#), ("flags", r#"["X"]"#), ("architectures", r#"["X86"]"#)]
        {
            assert!(
                refused(&format!(r#"{{"{property}":{value}}}"#)).contains("none that the specification"),
                "{value}"
            );
        }
    }

    #[test]
    fn flags() {
        let flags = |text: &str| {
            read(format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{text}}}"#).as_bytes()).unwrap().unwrap().flags
        };
        assert_eq!(flags(""), Flags { spec_allow: true, ..Flags::default() });
        assert_eq!(flags(r#","flags":[]"#), Flags::default());
        assert!(flags(r#","flags":["SECCOMP_FILTER_FLAG_LOG"]"#).log);
    }
}
