//! `linux.resources.devices` as DevicePolicy and DeviceAllow. Systemd makes a filter of its own of them, and
//! makes it anew when it is reloaded: were it narrower than the config's rules, devices would be gone then.

use crate::bundle::limits::Version;
use crate::cgroup::devices::access::DeviceAccess;
use crate::systemd::dbus::value::Value;
use crate::systemd::property::Property;
use crate::types::device_rules::{Kind, Rule};

/// What systemd is told, and whether that is narrower than the rules.
///
/// Systemd knows a list of what is allowed, of single devices, all of a driver, and all of a kind. On v2
/// other rules are left to ferrun's own filter, which systemd does not touch: it is told to filter nothing.
/// On v1, where both write the same file, it is told what can be said of them, so that nothing more is
/// allowed when it writes.
pub fn properties(access: &DeviceAccess, version: Version) -> ([Property; 2], bool) {
    let allowed: Vec<Option<Value>> = access.exceptions.iter().map(entry).collect();
    let all = !access.allow_by_default && allowed.iter().all(Option::is_some);
    let anything = access.allow_by_default && access.exceptions.is_empty();
    let (policy, entries) = match (all, anything || version == Version::V2) {
        (false, true) => ("auto", Vec::new()),
        _ if access.allow_by_default => ("strict", Vec::new()),
        _ => ("strict", allowed.into_iter().flatten().collect()),
    };
    let list = Value::Array("(ss)".into(), entries);
    let properties = [Property::new("DevicePolicy", Value::text(policy)), Property::new("DeviceAllow", list)];
    (properties, policy == "strict" && !all)
}

/// A rule as an entry of DeviceAllow; none for a number of any driver's, and for a rule that denies.
fn entry(rule: &Rule) -> Option<Value> {
    let kind = match rule.kind {
        Kind::Char => "char",
        Kind::Block => "block",
        Kind::All => return None,
    };
    let name = match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => format!("{kind}-{major}"),
        (None, None) => format!("{kind}-*"),
        (None, Some(_)) => return None,
    };
    rule.allow.then(|| Value::Struct(vec![Value::Text(name), Value::text(rule.access.to_string())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::device_rules::Access;

    fn told(rules: &[Rule], version: Version) -> (String, bool) {
        let (properties, narrower) = properties(&DeviceAccess::from_rules(rules).unwrap(), version);
        (properties.map(|property| property.to_string()).join(" "), narrower)
    }

    fn rule(allow: bool, kind: Kind, major: Option<u32>, minor: Option<u32>) -> Rule {
        Rule { allow, kind, major, minor, access: Access::all() }
    }

    #[test]
    fn lists_that_systemd_knows() {
        let rules = [
            rule(false, Kind::All, None, None),
            Rule { access: Access::M, ..rule(true, Kind::Block, None, None) },
            rule(true, Kind::Char, Some(1), Some(3)),
            rule(true, Kind::Char, Some(136), None),
        ];
        let all = "DevicePolicy=strict DeviceAllow=/dev/char/1:3:rwm char-136:rwm block-*:m";
        for version in [Version::V2, Version::V1] {
            let (text, narrower) = told(&rules, version);
            let mut words: Vec<&str> = text.split(' ').collect();
            words[1] = words[1].trim_start_matches("DeviceAllow=");
            let mut expected: Vec<&str> = all.split(' ').collect();
            expected[1] = expected[1].trim_start_matches("DeviceAllow=");
            words.sort_unstable();
            expected.sort_unstable();
            assert_eq!((words, narrower), (expected, false));
        }
    }

    #[test]
    fn everything_is_allowed_without_a_list() {
        for version in [Version::V2, Version::V1] {
            let (text, narrower) = told(&[rule(true, Kind::All, None, None)], version);
            assert_eq!((&*text, narrower), ("DevicePolicy=auto DeviceAllow=", false));
        }
    }

    #[test]
    fn what_systemd_cannot_say_never_allows_more() {
        let but_one = [rule(true, Kind::All, None, None), rule(false, Kind::Block, Some(8), Some(0))];
        assert_eq!(told(&but_one, Version::V2), ("DevicePolicy=auto DeviceAllow=".into(), false));
        assert_eq!(told(&but_one, Version::V1), ("DevicePolicy=strict DeviceAllow=".into(), true));
        let of_any_driver = [rule(true, Kind::Char, None, Some(3)), rule(true, Kind::Char, Some(1), Some(5))];
        assert_eq!(told(&of_any_driver, Version::V2), ("DevicePolicy=auto DeviceAllow=".into(), false));
        let (text, narrower) = told(&of_any_driver, Version::V1);
        assert!(text.contains("DevicePolicy=strict") && text.contains("/dev/char/1:5:rwm") && narrower, "{text}");
        let hole = [rule(true, Kind::Char, Some(1), None), rule(false, Kind::Char, Some(1), Some(5))];
        assert_eq!(told(&hole, Version::V2), ("DevicePolicy=auto DeviceAllow=".into(), false));
    }
}
