//! Device rules reduced to a default and the fewest exceptions, the later rule winning: for the device filter of cgroup
//! v2 and the `devices.allow` and `devices.deny` of v1.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use crate::types::device_rules::{Access, Kind, Pattern, Rule};

/// The most patterns that are distinguished. The kernel walks v1's exceptions one by one at each open, and
/// a jump in a v2 filter reaches 32767 instructions; no real list has a hundredth of this.
const MAX_PATTERNS: usize = 4096;

/// A rule that cannot be kept to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its index in the list.
    pub index: usize,
    /// The rule.
    pub rule: Rule,
    /// Why.
    pub reason: Reason,
}

/// Why a rule cannot be kept to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It takes back a part of this wider one, and v1 knows no exceptions from exceptions.
    Hole(Rule),
    /// The list is too long; the rule is its last.
    TooMany,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let verb = |rule: &Rule| if rule.allow { "allow" } else { "deny" };
        write!(f, "device rule {} ({} {})", self.index, verb(&self.rule), self.rule)?;
        match self.reason {
            Reason::Hole(wide) => {
                write!(f, " takes back a part of \"{} {wide}\", which cgroup v1 cannot express", verb(&wide))
            }
            Reason::TooMany => write!(f, " is one too many: the list has more than {MAX_PATTERNS} patterns"),
        }
    }
}

impl std::error::Error for Conflict {}

/// What a list of rules comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAccess {
    /// What holds for a device of which no exception speaks.
    pub allow_by_default: bool,
    /// The fewest rules that lead from the default to what the list says, about `Kind::Char` or `Kind::Block`. All say the
    /// opposite of the default, and are in the list's order, unless there is a hole: then wide before narrow.
    pub exceptions: Vec<Rule>,
    /// The first rule that v1 could not keep to.
    pub hole: Option<Conflict>,
}

impl DeviceAccess {
    /// Applies the rules in order, the later winning, to a container that may use nothing.
    pub fn from_rules(rules: &[Rule]) -> Result<DeviceAccess, Conflict> {
        // What stands before the last rule about everything no longer matters.
        let start = rules.iter().rposition(Rule::is_everything);
        let allow_by_default = start.is_some_and(|at| rules[at].allow);
        let patterns = told_apart(&rules[start.unwrap_or(0)..]);
        if patterns.len() > MAX_PATTERNS {
            let index = rules.len() - 1;
            return Err(Conflict { index, rule: rules[index], reason: Reason::TooMany });
        }
        let set = &RuleSet::of(rules);
        let mut access = DeviceAccess::summary(allow_by_default, &patterns, set);
        if access.hole.is_some() {
            // "All but these" may have been said as "some, and not these", or the other way round.
            let opposite = DeviceAccess::summary(!allow_by_default, &patterns, set);
            if opposite.hole.is_some() {
                return Ok(access);
            }
            access = opposite;
        }
        // All say the same now, in any order. The kernel lists them in that in which they are written; the rules' own is what
        // whoever compares `devices.list` with the config looks for.
        let mut first = BTreeMap::new();
        for (index, rule) in rules.iter().enumerate().skip(start.map_or(0, |at| at + 1)) {
            for pattern in rule.patterns() {
                first.entry(pattern).or_insert(index);
            }
        }
        access.exceptions.sort_by_key(|exception| {
            first.get(&(exception.kind, exception.major, exception.minor)).copied().unwrap_or(usize::MAX)
        });
        Ok(access)
    }

    /// What the kernel's `devices.list` says. None: everything is allowed, perhaps with exceptions, which are not
    /// in it.
    pub fn of_list(text: &str) -> Option<DeviceAccess> {
        let exceptions = text.lines().map(Rule::of_list).collect::<Option<_>>()?;
        Some(DeviceAccess { allow_by_default: false, exceptions, hole: None })
    }

    /// The same for a cgroup of v1.
    pub fn for_v1(mut self) -> Result<DeviceAccess, Conflict> {
        // The kernel reads this number as `*`; no device has it.
        self.exceptions.retain(|rule| rule.major != Some(u32::MAX) && rule.minor != Some(u32::MAX));
        self.hole.map_or(Ok(self), Err)
    }

    /// What is allowed, in full, for the narrowest pattern that fits a device, which decides alone:
    /// where `8:*` and `*:1` both stand, so does `8:1`. Wide before narrow, `Kind::Char` before
    /// `Kind::Block`; the first of each kind is `*:*`. `access` may be empty.
    pub fn patterns(&self) -> Vec<Rule> {
        let patterns = told_apart(&self.exceptions);
        let exceptions = RuleSet::of(&self.exceptions);
        let allowed = |pattern| exceptions.outcome(pattern, self.allow_by_default);
        patterns.iter().map(|at| Rule::allow(at.0, at.1, at.2, allowed(at))).collect()
    }

    fn summary(allow_by_default: bool, patterns: &[Pattern], rules: &RuleSet) -> DeviceAccess {
        let mut access = DeviceAccess { allow_by_default, exceptions: Vec::new(), hole: None };
        let mut wider = RuleSet::default();
        for pattern in patterns {
            for exception in missing(allow_by_default, &wider, pattern, rules) {
                if exception.allow == allow_by_default && access.hole.is_none() {
                    access.hole = hole_made_by(&wider, &exception, pattern, rules);
                }
                wider.0.push((*pattern, access.exceptions.len(), exception));
                access.exceptions.push(exception);
            }
        }
        access
    }
}

/// The exceptions to add, after all wider ones, for what the rules say about a pattern: at most one
/// that allows and one that denies.
fn missing(
    allow_by_default: bool,
    wider: &RuleSet,
    pattern: &Pattern,
    rules: &RuleSet,
) -> impl Iterator<Item = Rule> + use<> {
    let allowed = rules.outcome(pattern, false);
    let given = wider.outcome(pattern, allow_by_default);
    let (mut more, less) = (allowed.without(given), given.without(allowed));
    // An open for reading and writing must find both in one exception of v1.
    let open = allowed.without(Access::M);
    let in_one = |(_, wide): (usize, &Rule)| wide.allow && open.without(wide.access).is_empty();
    if !allow_by_default && !wider.about(pattern).any(in_one) {
        more = more.with(open);
    }
    // Where a rule about just this pattern named more, it may as well be seen in `devices.list`.
    let named = rules.just(pattern).iter().fold(Access::default(), |named, (_, _, rule)| named.with(rule.access));
    let (kind, major, minor) = *pattern;
    [(true, more, named.common(allowed)), (false, less, named.without(allowed))]
        .into_iter()
        .filter(|(_, needed, _)| !needed.is_empty())
        .map(move |(allow, needed, named)| Rule { allow, kind, major, minor, access: needed.with(named) })
}

/// Finds the last of `rules` that asked for what `narrow` takes back, and whom it takes it from.
fn hole_made_by(wider: &RuleSet, narrow: &Rule, pattern: &Pattern, rules: &RuleSet) -> Option<Conflict> {
    let last = |set: &RuleSet, allow: bool, of: Access| {
        let speak = set.about(pattern).filter(|(_, rule)| rule.allow == allow && !rule.access.common(of).is_empty());
        speak.max_by_key(|(index, _)| *index).map(|(index, rule)| (index, *rule))
    };
    let (_, wide) = last(wider, !narrow.allow, narrow.access)?;
    let (index, rule) = last(rules, narrow.allow, wide.access.common(narrow.access))?;
    Some(Conflict { index, rule, reason: Reason::Hole(wide) })
}

/// Rules with their places in a list, sorted by the pattern that they are about, the last first.
#[derive(Default)]
struct RuleSet(Vec<(Pattern, usize, Rule)>);

impl RuleSet {
    /// Those of a list that count: not those after which others about the same pattern decide all that they do.
    fn of(list: &[Rule]) -> RuleSet {
        let rules = list.iter().enumerate();
        let mut all: Vec<_> =
            rules.flat_map(|(index, rule)| rule.patterns().map(move |pattern| (pattern, index, *rule))).collect();
        all.sort_unstable_by_key(|(pattern, index, _)| (*pattern, Reverse(*index)));
        let mut decided = (None, Access::default());
        all.retain(|(pattern, _, rule)| {
            if decided.0 != Some(*pattern) {
                decided = (Some(*pattern), Access::default());
            }
            let counts = !rule.access.without(decided.1).is_empty();
            decided.1 = decided.1.with(rule.access);
            counts
        });
        RuleSet(all)
    }

    /// Those about a pattern and nothing else.
    fn just(&self, pattern: &Pattern) -> &[(Pattern, usize, Rule)] {
        let behind = &self.0[self.0.partition_point(|(other, ..)| other < pattern)..];
        // Few: one for each access and either answer, at most.
        let count = behind.iter().take_while(|(other, ..)| other == pattern).count();
        &behind[..count]
    }

    /// Those about all devices of a pattern.
    fn about(&self, &(kind, major, minor): &Pattern) -> impl Iterator<Item = (usize, &Rule)> {
        let wide = [(major, minor), (major, None), (None, minor), (None, None)];
        // Each once, where a number is any already.
        let each = wide.into_iter().enumerate().filter(move |(at, numbers)| !wide[..*at].contains(numbers));
        each.flat_map(move |(_, (major, minor))| self.just(&(kind, major, minor)))
            .map(|(_, index, rule)| (*index, rule))
    }

    /// What is allowed of a pattern's devices, but for those that a narrower pattern fits.
    fn outcome(&self, pattern: &Pattern, allow_by_default: bool) -> Access {
        // For each bit, the last rule that speaks of it.
        let mut decided = [Access::R, Access::W, Access::M].map(|bit| (bit, None, allow_by_default));
        for (index, rule) in self.about(pattern) {
            for (bit, last, allow) in &mut decided {
                if Some(index) >= *last && !rule.access.common(*bit).is_empty() {
                    (*last, *allow) = (Some(index), rule.allow);
                }
            }
        }
        let allowed = decided.into_iter().filter(|(.., allow)| *allow);
        allowed.fold(Access::default(), |all, (bit, ..)| all.with(bit))
    }
}

/// The patterns of the rules, `*:*` of each kind, and where `8:*` crosses `*:1`.
fn told_apart(rules: &[Rule]) -> Vec<Pattern> {
    let mut patterns = Vec::with_capacity(rules.len() + 2);
    patterns.extend([(Kind::Char, None, None), (Kind::Block, None, None)]);
    patterns.extend(rules.iter().flat_map(Rule::patterns));
    patterns.sort_unstable();
    patterns.dedup();
    if patterns.len() > MAX_PATTERNS {
        return patterns;
    }
    let minors = patterns.iter().filter(|(_, major, minor)| major.is_none() && minor.is_some());
    let crossings = minors.flat_map(|&(kind, _, minor)| {
        let majors = patterns.iter().filter(move |at| at.0 == kind && at.1.is_some() && at.2.is_none());
        majors.map(move |at| (kind, at.1, minor))
    });
    // One more than can be used is enough to know that they are too many.
    let crossings: Vec<Pattern> = crossings.take(MAX_PATTERNS + 1).collect();
    if !crossings.is_empty() {
        patterns.extend(crossings);
        patterns.sort_unstable();
        patterns.dedup();
    }
    patterns
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::types::device_rules::tests::{list, rule};
    use crate::types::device_rules::{DEFAULT, Kind};

    fn text(access: &DeviceAccess) -> String {
        let sign = |allow| if allow { '+' } else { '-' };
        let words = access.exceptions.iter().map(|rule| format!("{}{rule}", sign(rule.allow)));
        std::iter::once(sign(access.allow_by_default).to_string()).chain(words).collect::<Vec<_>>().join(", ")
    }

    /// What the list says by itself: each access is decided by the last rule that speaks of it.
    pub(in super::super) fn plainly_allows(rules: &[Rule], device: &Pattern, access: Access) -> bool {
        [Access::R, Access::W, Access::M].into_iter().filter(|bit| !access.common(*bit).is_empty()).all(|bit| {
            let speaks = |rule: &&Rule| rule.covers(device) && !rule.access.common(bit).is_empty();
            rules.iter().rfind(speaks).is_some_and(|rule| rule.allow)
        })
    }

    /// Every device that can matter to [`random_lists`].
    pub(in super::super) fn devices() -> impl Iterator<Item = Pattern> {
        let numbers = |numbers: [u32; 4]| numbers.into_iter().map(Some);
        [Kind::Char, Kind::Block].into_iter().flat_map(move |kind| {
            numbers([1, 8, 136, 7])
                .flat_map(move |major| numbers([0, 3, u32::MAX - 1, 9]).map(move |minor| (kind, major, minor)))
        })
    }

    /// Lists of up to 11 rules that often meet, always the same ones (xorshift).
    pub(in super::super) fn random_lists(count: usize) -> impl Iterator<Item = Vec<Rule>> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = move |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % limit
        };
        let some_of = |drawn: [usize; 3]| {
            let bits = [Access::R, Access::W, Access::M].into_iter().zip(drawn).filter(|(_, drawn)| *drawn == 1);
            bits.fold(Access::default(), |access, (bit, _)| access.with(bit))
        };
        let mut random_rule = move || Rule {
            allow: below(5) < 3,
            kind: [Kind::All, Kind::Char, Kind::Char, Kind::Char, Kind::Block, Kind::Block][below(6)],
            major: [None, Some(1), Some(8), Some(136)][below(4)],
            minor: [None, None, Some(0), Some(3), Some(u32::MAX - 1)][below(5)],
            access: [Access::all(), Access::all(), some_of([below(2), below(2), below(2)])][below(3)],
        };
        (0..count).map(move |length| (0..length % 12).map(|_| random_rule()).collect())
    }

    /// A devices cgroup of v1 (security/device_cgroup.c).
    #[derive(Default)]
    struct Kernel {
        allow: bool,
        exceptions: Vec<Rule>,
    }

    impl Kernel {
        fn write(&mut self, file: &str, line: &str) {
            let allow = file == "devices.allow";
            if line == "a" {
                *self = Kernel { allow, exceptions: Vec::new() };
                return;
            }
            assert_ne!(allow, self.allow, "{line} undoes what was just written");
            self.exceptions.push(rule(&format!("+{line}")));
        }

        /// By default allowed: no exception may have any of the access. Else one must have it all.
        fn allows(&self, device: &Pattern, access: Access) -> bool {
            let mut fit = self.exceptions.iter().filter(|rule| rule.covers(device)).map(|rule| rule.access);
            if self.allow {
                !fit.any(|own| !access.common(own).is_empty())
            } else {
                fit.any(|own| access.without(own).is_empty())
            }
        }
    }

    #[test]
    fn lists_come_to_their_shortest_form() {
        for (rules, expected) in [
            ("", "-"),
            ("-a *:* rwm", "-"),
            ("+a *:* rwm", "+"),
            ("-a *:* rwm, +a *:* rwm", "+"),
            ("+c 1:3 rwm, +c 1:3 rwm, +c 1:3 r", "-, +c 1:3 rwm"),
            ("+c 1:3 r, +c 1:3 w", "-, +c 1:3 rw"),
            ("+c 1:3 rwm, -c 1:3 w", "-, +c 1:3 rm"),
            ("+c 1:3 rwm, -c 1:3 rwm", "-"),
            ("-c 1:3 rwm", "-"),
            // Later rules win, whichever is the wider.
            ("+c 1:3 rwm, -c 1:* rwm", "-"),
            ("-c 1:3 rwm, +c 1:* rwm", "-, +c 1:* rwm"),
            ("+c 1:3 rwm, -a *:* rwm, +b 8:0 r", "-, +b 8:0 r"),
            ("+c 1:* rwm, -c 1:3 rwm, +c 1:3 rwm", "-, +c 1:* rwm"),
            ("+c 1:* rwm, -c 1:3 rwm, -a *:* rwm", "-"),
            // What a wider rule gives needs no other, but the words of a rule are kept.
            ("+c 1:3 rwm, +c 1:* rwm, +c 1:5 r", "-, +c 1:* rwm"),
            ("+c *:* m, +c 1:3 rwm, +c 8:0 rw, +c 8:1 m", "-, +c *:* m, +c 1:3 rwm, +c 8:0 rw"),
            // v1 wants to see an open for reading and writing in one exception.
            ("+c 1:* r, +c 1:3 w", "-, +c 1:* r, +c 1:3 rw"),
            ("+c 1:* r, +c *:3 w", "-, +c 1:* r, +c *:3 w, +c 1:3 rw"),
            // Both kinds; a rule about both may speak of less than everything.
            ("+a *:* m, +a 8:0 r", "-, +c *:* m, +b *:* m, +c 8:0 r, +b 8:0 r"),
            ("+a *:* rwm, -b 8:* w, -b 8:1 rwm, +b 8:1 r", "+, -b 8:* w, -b 8:1 wm"),
        ] {
            let access = DeviceAccess::from_rules(&list(rules)).unwrap();
            assert_eq!((text(&access).as_str(), access.hole), (expected, None), "{rules}");
        }
    }

    #[test]
    fn exceptions_are_in_the_order_of_the_rules() {
        let own = list("-a *:* rwm, +c 10:229 rwm, +b 8:20 rw, +b 10:200 r, +c 1:3 r, -b 9:0 r");
        let access = DeviceAccess::from_rules(&[&own, DEFAULT].concat()).unwrap();
        let listed: Vec<String> = access.exceptions.iter().map(ToString::to_string).collect();
        // The fourth is also one of the defaults.
        assert_eq!(listed[..5], ["c 10:229 rwm", "b 8:20 rw", "b 10:200 r", "c 1:3 rwm", "c *:* m"]);
    }

    #[test]
    fn the_default_is_turned_round_where_that_avoids_a_hole() {
        for (rules, expected) in [
            ("+c *:* rwm, +b *:* rwm, -b 8:0 w", "+, -b 8:0 w"),
            ("+a *:* rwm, -a *:* rw, +c 1:3 rw", "-, +c *:* m, +b *:* m, +c 1:3 rw"),
        ] {
            let access = DeviceAccess::from_rules(&list(rules)).unwrap();
            assert_eq!((text(&access).as_str(), access.hole), (expected, None), "{rules}");
        }
    }

    #[test]
    fn the_defaults_after_a_list_that_has_them_cost_nothing() {
        let default = DeviceAccess::from_rules(DEFAULT).unwrap();
        assert_eq!(default.exceptions, DEFAULT);
        let repeated: Vec<Rule> = [&list("-a *:* rwm"), DEFAULT, DEFAULT].concat();
        assert_eq!(DeviceAccess::from_rules(&repeated).unwrap(), default);
        let privileged: Vec<Rule> = [&list("+a *:* rwm"), DEFAULT].concat();
        assert_eq!(text(&DeviceAccess::from_rules(&privileged).unwrap()), "+");
    }

    #[test]
    fn a_hole_is_reported_by_the_rule_that_makes_it() {
        let access = DeviceAccess::from_rules(&list("+c 1:* rw, -c 1:3 w, -c 1:3 m")).unwrap();
        assert_eq!(text(&access), "-, +c 1:* rw, -c 1:3 wm");
        assert_eq!(access.clone().for_v1(), Err(access.hole.unwrap()));
        assert_eq!(
            access.hole.unwrap().to_string(),
            "device rule 1 (deny c 1:3 w) takes back a part of \"allow c 1:* rw\", which cgroup v1 cannot express"
        );
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let wide = |n| [rule(&format!("+c {n}:* r")), rule(&format!("+c *:{n} r"))];
        let conflict = DeviceAccess::from_rules(&(0..80).flat_map(wide).collect::<Vec<_>>()).unwrap_err();
        assert_eq!(conflict.reason, Reason::TooMany);
    }

    /// What DevicesV1 writes: file and line.
    fn writes(access: &DeviceAccess) -> Vec<(&'static str, String)> {
        let file = |allow| if allow { "devices.allow" } else { "devices.deny" };
        let exceptions = access.exceptions.iter().map(|rule| (file(rule.allow), rule.to_string()));
        std::iter::once((file(access.allow_by_default), "a".to_owned())).chain(exceptions).collect()
    }

    #[test]
    fn v1_gets_a_default_and_then_the_exceptions() {
        let writes = |rules| writes(&DeviceAccess::from_rules(&list(rules)).unwrap().for_v1().unwrap());
        let line = |file, line: &str| (file, line.to_owned());
        assert_eq!(writes("+a *:* rwm"), [line("devices.allow", "a")]);
        assert_eq!(writes("+a *:* rwm, -b 8:* w"), [line("devices.allow", "a"), line("devices.deny", "b 8:* w")]);
        assert_eq!(
            writes("+b 8:* r, +c 1:3 mrw, +c 4294967295:3 r"),
            [line("devices.deny", "a"), line("devices.allow", "b 8:* r"), line("devices.allow", "c 1:3 rwm")]
        );
    }

    #[test]
    fn what_the_kernel_says_is_read_as_it_was_written() {
        let text = "c 1:3 rwm\nb 8:* r\nc *:7 rm\n";
        let access = DeviceAccess::of_list(text).unwrap();
        let again: String = access.exceptions.iter().map(|rule| format!("{rule}\n")).collect();
        assert_eq!((access.allow_by_default, again.as_str()), (false, text));
        assert_eq!(DeviceAccess::of_list("").unwrap().exceptions, []);
        assert_eq!(DeviceAccess::of_list("a *:* rwm\n"), None);
    }

    #[test]
    fn v1_allows_what_the_list_allows() {
        let mut expressible = 0;
        for rules in random_lists(3000) {
            let access = DeviceAccess::from_rules(&rules).unwrap();
            let against = access.exceptions.iter().any(|rule| rule.allow == access.allow_by_default);
            assert_eq!(access.hole.is_some(), against, "{rules:?}");
            let Ok(access) = access.for_v1() else { continue };
            let writes = writes(&access);
            let mut kernel = Kernel::default();
            writes.iter().for_each(|(file, line)| kernel.write(file, line));
            expressible += 1;
            for device in devices() {
                // The kernel asks for making a node alone.
                for asked in [Access::M, Access::R, Access::W, Access::R.with(Access::W)] {
                    let verdict = plainly_allows(&rules, &device, asked);
                    assert_eq!(kernel.allows(&device, asked), verdict, "{device:?} {asked}: {rules:?}, {writes:?}");
                }
            }
        }
        assert!(expressible > 500, "{expressible} lists say little");
    }
}
