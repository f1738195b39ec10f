//! Calls for which a filter has another kind of action than its rules, read plainly: libseccomp loses and mixes rules
//! that share arguments (docs/decisions.md).

use super::evaluate::{Data, evaluate};
use super::tree::decides;
use crate::error::Error;
use crate::pointer::Pointer;
use crate::sys::seccomp::Insn;
use crate::types::seccomp::profile::{Condition, Profile, Rule};
use crate::types::seccomp::syscalls::Call;

/// How many values of an argument are tried, and how often the rules on a call are compared with arguments.
const MOST_VALUES: usize = 64;
const MOST_COMPARISONS: usize = 1 << 14;

const HINT: &str = "libseccomp does the same; rules that share no argument and never match together do what they say";

/// A warning for each system call of the machine's own architecture for which the filter has another kind of action than
/// the strictest rule that matches, as far as a limited number of tries shows.
pub fn differences(profile: &Profile, program: &[Insn]) -> Vec<Error> {
    let rules = profile.rules.iter().enumerate().filter(|(_, rule)| rule.action != profile.default);
    let (always, rules): (Vec<_>, Vec<_>) = rules.partition(|(_, rule)| rule.conditions.is_empty());
    let names = |rules: &[(usize, &Rule)], call| rules.iter().any(|(_, rule)| rule.names.contains(call));
    let mut found = Vec::new();
    for (at, (_, rule)) in rules.iter().enumerate() {
        let first_here = rule.names.iter().filter(|call| !names(&rules[..at], call) && !names(&always, call));
        found.extend(first_here.filter_map(|call| difference(profile, program, *call, &groups(&rules[at..], *call))));
    }
    found
}

/// The conditions on a call, each time with the number of their rule.
fn groups<'a>(rules: &[(usize, &'a Rule)], call: Call) -> Vec<(usize, &'a [Condition])> {
    let rules = rules.iter().filter(|(_, rule)| rule.names.contains(&call));
    rules.flat_map(|(index, rule)| rule.groups().into_iter().map(|group| (*index, group))).collect()
}

fn difference(profile: &Profile, program: &[Insn], call: Call, groups: &[(usize, &[Condition])]) -> Option<Error> {
    let data = Data::native(call.name(), [0; 6])?;
    let always = |group: &[Condition]| !group.iter().any(|condition| decides(condition, true));
    if groups.len() < 2 || groups.iter().any(|(_, group)| always(group)) {
        return None;
    }
    let mut values = [const { Vec::new() }; 6];
    for Condition { argument, mask, value, .. } in groups.iter().flat_map(|(_, group)| *group) {
        let values: &mut Vec<u64> = &mut values[usize::from(*argument)];
        for value in [*value, value.wrapping_sub(1), value.wrapping_add(1), value ^ !mask, value ^ (1 << 32)] {
            if values.len() < MOST_VALUES && !values.contains(&value) {
                values.push(value);
            }
        }
    }
    let all: usize = values.iter().map(|values| values.len().max(1)).product();
    let tries = all.min(MOST_COMPARISONS / groups.len()).max(1);
    (0..tries).find_map(|number| {
        let mut rest = number * ((all / tries) | 1);
        let mut arguments = [0; 6];
        for (argument, values) in arguments.iter_mut().zip(&values).filter(|(_, values)| !values.is_empty()) {
            *argument = values[rest % values.len()];
            rest /= values.len();
        }
        let done = evaluate(program, &Data { arguments, ..data });
        let matching = groups.iter().filter(|(_, group)| group.iter().all(|condition| condition.holds(&arguments)));
        let rule = matching.map(|(rule, _)| *rule).min_by_key(|rule| profile.rules[*rule].action.precedence());
        let said = rule.map_or(profile.default, |rule| profile.rules[rule].action);
        (said.kind() != done.kind()).then(|| {
            let name = call.name();
            let message = format!(
                "the filter does not do what the rules on {name} say: with {arguments:?} it is {done}, not {said}"
            );
            let error = Error::new(message).hint(HINT);
            error.from_property(Pointer::at("/linux/seccomp/syscalls/#", rule.unwrap_or(groups[0].0)))
        })
    })
}
