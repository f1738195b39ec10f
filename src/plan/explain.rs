//! The plan as text and as data: what would be done, in which order, and which property asks for it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Action, Plan, Step};
use crate::bundle::Positions;

/// Column at which the pointers stand, if the text before leaves room.
const FROM_COLUMN: usize = 72;
/// Columns by which the init's lane is indented.
const INIT_COLUMN: usize = 16;

/// A step in its lane with its number.
struct Row<'a> {
    lane: &'static str,
    number: usize,
    step: &'a Step,
}

/// The plan in its two lanes, the parent's on the left: the rows between the clone and the release run
/// side by side.
pub fn text(plan: &Plan, positions: &Positions) -> String {
    let mut text =
        format!("{:6}{:INIT_COLUMN$}{:width$}from\n", "", "parent", "init", width = FROM_COLUMN - INIT_COLUMN - 6);
    for Row { lane, number, step } in rows(plan) {
        let indent = if lane == "init" { INIT_COLUMN } else { 0 };
        let arrow = match step.action {
            Action::Clone(_) | Action::Release(_) => " ─▶",
            Action::Ready(_) => " ◀─",
            _ => "",
        };
        let line = format!("{number:4}  {:indent$}{:<9} {}{arrow}", "", step.action.verb(), step.action);
        let pad = FROM_COLUMN.saturating_sub(line.chars().count()).max(2);
        let _ = match from(step, positions) {
            Some((pointer, Some(place))) => writeln!(text, "{line}{:pad$}{pointer} :{place}", ""),
            Some((pointer, None)) => writeln!(text, "{line}{:pad$}{pointer}", ""),
            None => writeln!(text, "{line}"),
        };
    }
    let waits = plan.init.iter().filter(|step| matches!(step.action, Action::Wait(_))).count();
    let _ = writeln!(text, "\n{} steps, {waits} wait", plan.parent.len() + plan.init.len());
    text
}

/// The plan as data: stable names, one object a step.
pub fn json(plan: &Plan, positions: &Positions) -> Value {
    let steps = rows(plan).into_iter().map(|Row { lane, number, step }| {
        let (pointer, line) = from(step, positions).unzip();
        json!({
            "number": number,
            "lane": lane,
            "verb": step.action.verb(),
            "text": step.action.to_string(),
            "from": pointer,
            "line": line.flatten(),
        })
    });
    json!({ "steps": steps.collect::<Vec<_>>() })
}

fn from(step: &Step, positions: &Positions) -> Option<(String, Option<usize>)> {
    let pointer = step.from?.to_string();
    let line = positions.line(&pointer);
    Some((pointer, line))
}

/// The steps in the order in which they come to pass, as far as that is certain: the parent's up to the
/// clone; then both lanes in turn, each waiting for the other where it does.
fn rows(plan: &Plan) -> Vec<Row<'_>> {
    let first = plan.parent.len() + 1;
    let row = |lane, first: usize| move |(index, step)| Row { lane, number: first + index, step };
    let mut parent = plan.parent.iter().enumerate().map(row("parent", 1)).peekable();
    let mut init = plan.init.iter().enumerate().map(row("init", first)).peekable();
    let mut rows = Vec::new();
    for next in parent.by_ref() {
        let born = matches!(next.step.action, Action::Clone(_));
        rows.push(next);
        if born {
            break;
        }
    }
    let mut released = false;
    while parent.peek().is_some() || init.peek().is_some() {
        let waits_for_init = |row: &Row| matches!(row.step.action, Action::AwaitReady(_));
        if let Some(next) = parent.next_if(|row| !waits_for_init(row)) {
            released |= matches!(next.step.action, Action::Release(_));
            rows.push(next);
        }
        let waits_for_parent = |row: &Row| matches!(row.step.action, Action::Wait(_)) && !released;
        match init.next_if(|row| !waits_for_parent(row)) {
            Some(next) => {
                let ready = matches!(next.step.action, Action::Ready(_));
                rows.push(next);
                if ready {
                    rows.extend(parent.next_if(waits_for_init));
                }
            }
            None if parent.peek().is_none_or(waits_for_init) => {
                rows.extend(parent.by_ref());
                rows.extend(init.by_ref());
            }
            None => {}
        }
    }
    rows
}
