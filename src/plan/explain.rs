//! The plan as text and as data: what would be done, in which order, and which property asks for it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Action, Plan, Step};
use crate::bundle::Positions;
use crate::escape;

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
            Action::Clone(_) | Action::OpenSources(_) | Action::Release(_) => " ─▶",
            Action::Ready(_) | Action::Mounted(_) => " ◀─",
            _ => "",
        };
        let action = step.action.to_string();
        let line = format!("{number:4}  {:indent$}{:<9} {}{arrow}", "", step.action.verb(), escape::part(&action));
        let pad = FROM_COLUMN.saturating_sub(line.chars().count()).max(2);
        let _ = match from(step, positions) {
            Some((pointer, Some(place))) => writeln!(text, "{line}{:pad$}{} :{place}", "", escape::part(&pointer)),
            Some((pointer, None)) => writeln!(text, "{line}{:pad$}{}", "", escape::part(&pointer)),
            None => writeln!(text, "{line}"),
        };
    }
    let waits = plan.init.iter().filter(|step| matches!(step.action, Action::Wait(_))).count();
    let steps = plan.parent.len() + plan.init.len() + plan.later.len();
    let _ = writeln!(text, "\n{steps} steps, {waits} wait{}", if waits == 1 { "" } else { "s" });
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

/// What the lanes have told each other so far.
#[derive(Default)]
struct Told {
    /// How many times the parent let the init go on, less those that were used up.
    releases: usize,
    mounted: bool,
    ready: bool,
}

impl Told {
    /// Whether a lane gets past this step by now.
    fn lets_pass(&self, action: &Action) -> bool {
        match action {
            Action::Wait(_) => self.releases > 0,
            Action::AwaitMounts(_) => self.mounted,
            Action::AwaitReady(_) => self.ready,
            _ => true,
        }
    }

    fn note(&mut self, action: &Action) {
        match action {
            Action::Release(_) => self.releases += 1,
            Action::Wait(_) => self.releases -= 1,
            Action::Mounted(_) => self.mounted = true,
            Action::Ready(_) => self.ready = true,
            _ => {}
        }
    }
}

/// The steps in the order in which they come to pass, as far as that is certain: the parent's up to the
/// clone; then both lanes in turn, each waiting for the other where it does; then what comes later.
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
    let mut told = Told::default();
    loop {
        let of_parent = parent.next_if(|row| told.lets_pass(&row.step.action));
        of_parent.iter().for_each(|row| told.note(&row.step.action));
        let of_init = init.next_if(|row| told.lets_pass(&row.step.action));
        of_init.iter().for_each(|row| told.note(&row.step.action));
        if of_parent.is_none() && of_init.is_none() {
            break;
        }
        rows.extend(of_parent);
        rows.extend(of_init);
    }
    rows.extend(parent);
    rows.extend(init);
    let first = plan.parent.len() + plan.init.len() + 1;
    rows.extend(plan.later.iter().enumerate().map(row("parent", first)));
    rows
}
