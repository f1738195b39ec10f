//! What differs between two plans: the steps that only one of them has.

use super::{Plan, Step};

/// The steps of both plans in order: `  ` before what both do, `- ` before what only the first does,
/// `+ ` before what only the second does. Steps that are the same are left out.
pub fn diff(one: &Plan, other: &Plan) -> String {
    let lanes = [("parent", &one.parent, &other.parent), ("init", &one.init, &other.init)];
    let mut text = String::new();
    for (lane, one, other) in lanes {
        let (one, other) = (lines(lane, one), lines(lane, other));
        for line in changes(&one, &other) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

fn lines(lane: &str, steps: &[Step]) -> Vec<String> {
    let from = |step: &Step| step.from.map_or_else(String::new, |pointer| format!("  {pointer}"));
    steps.iter().map(|step| format!("{lane:<7} {:<9} {}{}", step.action.verb(), step.action, from(step))).collect()
}

/// The lines outside of a longest common subsequence. Pointers are no part of what is compared: an entry
/// that only moved in its list is the same step.
fn changes(one: &[String], other: &[String]) -> Vec<String> {
    let same = |a: &str, b: &str| a.split("  /").next() == b.split("  /").next();
    let (rows, columns) = (one.len(), other.len());
    let mut common = vec![vec![0u32; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = match same(&one[row], &other[column]) {
                true => common[row + 1][column + 1] + 1,
                false => common[row + 1][column].max(common[row][column + 1]),
            };
        }
    }
    let (mut row, mut column, mut changed) = (0, 0, Vec::new());
    while row < rows || column < columns {
        if row < rows && column < columns && same(&one[row], &other[column]) {
            (row, column) = (row + 1, column + 1);
        } else if column == columns || (row < rows && common[row + 1][column] >= common[row][column + 1]) {
            changed.push(format!("- {}", one[row]));
            row += 1;
        } else {
            changed.push(format!("+ {}", other[column]));
            column += 1;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told_in_order() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(changes(&list("a b c d"), &list("a x c d e")), ["- b", "+ x", "+ e"]);
        assert_eq!(changes(&list("a b"), &list("a b")), Vec::<String>::new());
        let (one, other) = (["mount x  /mounts/0".to_owned()], ["mount x  /mounts/3".to_owned()]);
        assert_eq!(changes(&one, &other), Vec::<String>::new(), "an entry that moved");
    }
}
