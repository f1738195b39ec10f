//! What differs between two plans: the steps that only one of them has, or has otherwise.

use super::step::{INIT, PARENT};
use super::{Action, Plan, Step};
use crate::escape;
use crate::pointer::Pointer;
use crate::process::hook::Hook;

/// The steps of both plans in order: `- ` before what only the first does, `+ ` before what only the second
/// does, `~ ` before what both do with other details, which the words do not say: a mount's options, a
/// program's environment. Steps that are the same are left out.
pub fn diff(one: &Plan, other: &Plan) -> String {
    let mut text = String::new();
    lane(PARENT, &steps(&one.parent), &steps(&other.parent), &mut text);
    lane(INIT, &steps(&one.init), &steps(&other.init), &mut text);
    lane(PARENT, &hooks(&one.later), &hooks(&other.later), &mut text);
    text
}

/// Where a step comes from, and what it does.
type Compared<'a, A> = (Option<Pointer>, &'a A);

fn steps<A>(steps: &[Step<A>]) -> Vec<Compared<'_, A>> {
    steps.iter().map(|step| (step.from, &step.action)).collect()
}

fn hooks(hooks: &[Hook]) -> Vec<Compared<'_, Hook>> {
    hooks.iter().map(|hook| (Some(hook.kind.pointer(hook.index)), hook)).collect()
}

fn lane<A: Action + PartialEq>(lane: &str, one: &[Compared<A>], other: &[Compared<A>], text: &mut String) {
    let words = |steps: &[Compared<A>]| -> Vec<String> {
        steps.iter().map(|(_, action)| format!("{lane:<7} {:<9} {action}", action.verb())).collect()
    };
    let (one_words, other_words) = (words(one), words(other));
    for (mark, row, column) in changes(&one_words, &other_words) {
        let ((from, action), words) = match mark {
            '+' => (&other[column], &other_words[column]),
            _ => (&one[row], &one_words[row]),
        };
        if mark == ' ' && *action == other[column].1 {
            continue;
        }
        let from = from.map_or_else(String::new, |pointer| format!("  {}", escape::part(&pointer.to_string())));
        text.push_str(&format!("{} {}{from}\n", if mark == ' ' { '~' } else { mark }, escape::part(words)));
    }
}

/// The way through both lists, by a longest common subsequence: `-` and a place in the first, `+` and one in
/// the second, ` ` and the places of what both have. Where it comes from is no part of what is compared: an
/// entry that only moved in its list is the same step.
fn changes(one: &[String], other: &[String]) -> Vec<(char, usize, usize)> {
    let (rows, columns) = (one.len(), other.len());
    let mut common = vec![vec![0u32; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = match one[row] == other[column] {
                true => common[row + 1][column + 1] + 1,
                false => common[row + 1][column].max(common[row][column + 1]),
            };
        }
    }
    let (mut row, mut column, mut way) = (0, 0, Vec::new());
    while row < rows || column < columns {
        if row < rows && column < columns && one[row] == other[column] {
            way.push((' ', row, column));
            (row, column) = (row + 1, column + 1);
        } else if column == columns || (row < rows && common[row + 1][column] >= common[row][column + 1]) {
            way.push(('-', row, column));
            row += 1;
        } else {
            way.push(('+', row, column));
            column += 1;
        }
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_through_both() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let way = changes(&list("a b c d"), &list("a x c d e"));
        let marks: String = way.iter().map(|(mark, ..)| *mark).collect();
        assert_eq!(marks, " -+  +");
        assert_eq!((way[1], way[2], way[5]), (('-', 1, 1), ('+', 2, 1), ('+', 4, 4)));
    }
}
