//! Verdicts: the action of a compiled filter for one call, and the rule of the profile that decides it.

use std::fmt;

use nix::errno::Errno;

use super::evaluate::{Data, evaluate};
use super::listing::rules_on;
use crate::pointer::Pointer;
use crate::sys::seccomp::Insn;
use crate::types::seccomp::profile::{Action, Profile};
use crate::types::seccomp::{Arch, syscalls};

/// The action for a call, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The action.
    pub action: Action,
    /// `/linux/seccomp/syscalls/N`, or `/linux/seccomp/defaultAction`.
    pub rule: Pointer,
    /// Whether the call gets ENOSYS because its number is above all that the profile names.
    pub newer: bool,
}

impl Verdict {
    /// Whether the call fails, or ends the process. An agent that is asked may allow it.
    pub fn denies(&self) -> bool {
        !self.action.allows() && self.action.kind() != Action::NOTIFY
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.action.kind() {
            Action::ERRNO => {
                let number = self.action.data();
                write!(f, "errno {number}, {:?}", Errno::from_raw(number.into()))?;
                f.write_str(if self.newer { "; newer than any call of the profile" } else { "" })
            }
            _ => self.action.fmt(f),
        }
    }
}

/// The verdict on a call by name on the machine's own architecture, under the program that the profile is compiled
/// to. `None` if the architecture has no such call.
///
/// The rule is the first with the outcome's action whose conditions hold. Where rules overlap, libseccomp's tree can
/// decide otherwise than any of them; then it is the first with this action at all.
pub fn verdict(profile: &Profile, program: &[Insn], name: &str, arguments: [u64; 6]) -> Option<Verdict> {
    let (arch, call) = (Arch::NATIVE?, syscalls::named(name)?);
    let action = evaluate(program, &Data::native(name, arguments)?);
    let same: Vec<usize> = rules_on(profile, call, arch).filter(|rule| profile.rules[*rule].action == action).collect();
    let fitting = same.iter().find(|rule| profile.rules[**rule].fits(&arguments));
    // A rule with the default action is not compiled: it cannot be behind this unless it says so itself.
    let rule = fitting.or(same.first().filter(|_| action != profile.default));
    let pointer = rule.map(|rule| Pointer::at("/linux/seccomp/syscalls/#", *rule));
    let default = Pointer::new("/linux/seccomp/defaultAction");
    let newer = rule.is_none() && action != profile.default;
    Some(Verdict { action, rule: pointer.unwrap_or(default), newer })
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::step::Install;
    use super::*;
    use crate::bundle::seccomp::read;

    fn verdict(profile: &str, name: &str, arguments: [u64; 6]) -> Option<(String, String)> {
        let profile = Rc::new(read(profile).unwrap().unwrap());
        let filter = super::super::compile(&profile, Arch::NATIVE.unwrap()).unwrap();
        let verdict = Install::new(filter, profile).verdict(name, arguments)?;
        Some((verdict.to_string(), verdict.rule.to_string()))
    }

    fn assert_verdict(profile: &str, (name, first): (&str, u64), action: &str, rule: &str) {
        let found = verdict(profile, name, [first, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(found, (action.to_owned(), format!("/linux/seccomp/{rule}")), "{name} {first}");
    }

    const RULES: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["read","process_mrelease"],"action":"SCMP_ACT_ALLOW"},
        {"names":["clone"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
        {"names":["clone"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]},
        {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":17,"op":"SCMP_CMP_EQ"},
                                                             {"index":0,"value":18,"op":"SCMP_CMP_EQ"}]},
        {"names":["write","clone"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":7,"op":"SCMP_CMP_EQ"}]}]}"#;

    #[test]
    fn the_rule_is_the_one_whose_conditions_hold() {
        assert_verdict(RULES, ("read", 0), "allow", "syscalls/0");
        assert_verdict(RULES, ("clone", 1), "trap", "syscalls/1");
        assert_verdict(RULES, ("clone", 2), "trap", "syscalls/2");
        assert_verdict(RULES, ("clone", 18), "allow", "syscalls/3");
        assert_verdict(RULES, ("clone", 7), "errno 1, EPERM", "syscalls/4");
        assert_verdict(RULES, ("clone", 8), "errno 1, EPERM", "defaultAction");
        assert_verdict(RULES, ("write", 8), "errno 1, EPERM", "defaultAction");
        assert_eq!(verdict(RULES, "no_such_call", [0; 6]), None);
    }

    #[test]
    fn a_rule_without_conditions_covers_those_with_some() {
        let rules = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["chmod","fchmod"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
            {"names":["fchmod"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#;
        assert_verdict(rules, ("fchmod", 1), "kill the process", "syscalls/1");
        assert_verdict(rules, ("read", 1), "allow", "defaultAction");
    }

    #[test]
    fn a_call_that_is_newer_than_the_profile_gets_enosys() {
        let newer = "errno 38, ENOSYS; newer than any call of the profile";
        assert_verdict(RULES, ("futex_wait", 0), newer, "defaultAction");
        let enosys = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[
            {"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        assert_verdict(enosys, ("futex_wait", 0), "errno 38, ENOSYS", "defaultAction");
    }
}
