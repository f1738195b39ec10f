//! The plan as text and as data: what would be done, in which order, and which property asks for it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::step::{INIT, PARENT};
use super::{Action, InitAction, ParentAction, Plan, Step};
use crate::bundle::Positions;
use crate::escape;
use crate::pointer::Pointer;

/// Column at which the pointers stand, if the text before leaves room.
const FROM_COLUMN: usize = 72;
/// Columns by which the init's lane is indented.
const INIT_COLUMN: usize = 16;

/// A step in its lane with its number.
struct Row<'a> {
    lane: &'static str,
    number: usize,
    from: Option<Pointer>,
    action: &'a dyn Action,
    /// Whether the other lane is concerned, as an arrow.
    arrow: &'static str,
}

/// The plan in its two lanes, the parent's on the left: the rows between the clone and the release run
/// side by side.
pub fn text(plan: &Plan, positions: &Positions) -> String {
    let mut text =
        format!("{:6}{:INIT_COLUMN$}{:width$}from\n", "", "parent", "init", width = FROM_COLUMN - INIT_COLUMN - 6);
    for Row { lane, number, from, action, arrow } in rows(plan) {
        let indent = if lane == INIT { INIT_COLUMN } else { 0 };
        let what = action.to_string();
        let line = format!("{number:4}  {:indent$}{:<9} {}{arrow}", "", action.verb(), escape::part(&what));
        let pad = FROM_COLUMN.saturating_sub(line.chars().count()).max(2);
        let _ = match located(from, positions) {
            Some((pointer, Some(place))) => writeln!(text, "{line}{:pad$}{} :{place}", "", escape::part(&pointer)),
            Some((pointer, None)) => writeln!(text, "{line}{:pad$}{}", "", escape::part(&pointer)),
            None => writeln!(text, "{line}"),
        };
    }
    let waits = plan.init.iter().filter(|step| matches!(step.action, InitAction::Wait(_))).count();
    let steps = plan.parent.len() + plan.init.len() + plan.later.len();
    let _ = writeln!(text, "\n{steps} steps, {waits} wait{}", if waits == 1 { "" } else { "s" });
    text
}

/// The plan as data: stable names, one object a step.
pub fn json(plan: &Plan, positions: &Positions) -> Value {
    let steps = rows(plan).into_iter().map(|Row { lane, number, from, action, .. }| {
        let (pointer, line) = located(from, positions).unzip();
        json!({
            "number": number,
            "lane": lane,
            "verb": action.verb(),
            "text": action.to_string(),
            "from": pointer,
            "line": line.flatten(),
        })
    });
    json!({ "steps": steps.collect::<Vec<_>>() })
}

fn located(from: Option<Pointer>, positions: &Positions) -> Option<(String, Option<usize>)> {
    let pointer = from?.to_string();
    let line = positions.line(&pointer);
    Some((pointer, line))
}

/// The messages that the lanes have sent each other so far.
#[derive(Default)]
struct Sent {
    /// How many times the parent released the init, less those that were used up.
    releases: usize,
    mounted: bool,
    ready: bool,
}

impl Sent {
    /// Whether the parent gets past this step by now.
    fn lets_parent_pass(&self, step: &Step<ParentAction>) -> bool {
        match step.action {
            ParentAction::AwaitMounts(_) => self.mounted,
            ParentAction::AwaitReady(_) => self.ready,
            _ => true,
        }
    }

    /// Whether the init does.
    fn lets_init_pass(&self, step: &Step<InitAction>) -> bool {
        !matches!(step.action, InitAction::Wait(_)) || self.releases > 0
    }

    fn by_parent(&mut self, step: &Step<ParentAction>) {
        self.releases += usize::from(matches!(step.action, ParentAction::Release(_)));
    }

    fn by_init(&mut self, step: &Step<InitAction>) {
        match step.action {
            InitAction::Wait(_) => self.releases -= 1,
            InitAction::Mounted(_) => self.mounted = true,
            InitAction::Ready(_) => self.ready = true,
            _ => {}
        }
    }
}

/// The steps in the order in which they come to pass, as far as that is certain: the parent's up to the
/// clone; then both lanes in turn, each waiting for the other where it does; then the hooks that come later.
fn rows(plan: &Plan) -> Vec<Row<'_>> {
    let mut parent = (1..).zip(&plan.parent).peekable();
    let mut init = (plan.parent.len() + 1..).zip(&plan.init).peekable();
    let mut rows = Vec::new();
    for (number, step) in parent.by_ref() {
        rows.push(row_of_parent((number, step)));
        if matches!(step.action, ParentAction::Clone(_)) {
            break;
        }
    }
    let mut sent = Sent::default();
    loop {
        let of_parent = parent.next_if(|(_, step)| sent.lets_parent_pass(step));
        of_parent.iter().for_each(|(_, step)| sent.by_parent(step));
        let of_init = init.next_if(|(_, step)| sent.lets_init_pass(step));
        of_init.iter().for_each(|(_, step)| sent.by_init(step));
        if of_parent.is_none() && of_init.is_none() {
            break;
        }
        rows.extend(of_parent.map(row_of_parent));
        rows.extend(of_init.map(row_of_init));
    }
    rows.extend(parent.map(row_of_parent));
    rows.extend(init.map(row_of_init));
    let first = plan.parent.len() + plan.init.len() + 1;
    rows.extend((first..).zip(&plan.later).map(|(number, hook)| Row {
        lane: PARENT,
        number,
        from: Some(hook.kind.pointer(hook.index)),
        action: hook,
        arrow: "",
    }));
    rows
}

fn row_of_parent((number, step): (usize, &Step<ParentAction>)) -> Row<'_> {
    let arrow = match step.action {
        ParentAction::Clone(_) | ParentAction::OpenSources(_) | ParentAction::Release(_) => " ─▶",
        _ => "",
    };
    Row { lane: PARENT, number, from: step.from, action: &step.action, arrow }
}

fn row_of_init((number, step): (usize, &Step<InitAction>)) -> Row<'_> {
    let arrow = match step.action {
        InitAction::Ready(_) | InitAction::Mounted(_) => " ◀─",
        _ => "",
    };
    Row { lane: INIT, number, from: step.from, action: &step.action, arrow }
}
