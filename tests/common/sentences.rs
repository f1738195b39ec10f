//! Errors and warnings as ferrun reports them. Tests check the reason: kind, errno and pointer; the wording is compared
//! with what is written down (golden.rs).

use std::fmt;

use ferrun::error::Reason;
use nix::errno::Errno;
use serde_json::Value;

use super::golden;

/// An error or a warning as it was reported. Its `Display` is the reason: `EBUSY /mounts/7`, `/process/args`, `fault`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The first line.
    pub sentence: String,
    pub hint: String,
    /// Only JSON has it.
    pub kind: String,
    /// The name of the errno, if there is one.
    pub errno: String,
    pub pointer: String,
    /// Where the property stands: `config.json:7`. Only text has it.
    pub place: String,
}

impl Report {
    /// The last error in what was written to standard error, as text or as JSON.
    pub fn error(text: &str) -> Option<Report> {
        let of_json = |line| Report::of_json(&serde_json::from_str(line).ok()?);
        text.lines().rev().find_map(of_json).or_else(|| Report::all(text, "ferrun: ").pop())
    }

    /// The warnings in what was written to standard error.
    pub fn warnings(text: &str) -> Vec<Report> {
        Report::all(text, "ferrun: warning: ")
    }

    /// Whether it is for this reason (`ENOENT /process/args`). In the guest, whose kernel may refuse with another errno,
    /// the property alone counts.
    pub fn is_for(&self, reason: &str) -> bool {
        match std::env::var_os("FERRUN_IN_GUEST") {
            Some(_) => self.pointer == reason.find('/').map_or("", |at| &reason[at..]),
            None => self.to_string() == reason,
        }
    }

    fn of_json(entry: &Value) -> Option<Report> {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let errno = entry["errno"].as_i64().filter(|&number| number != 0);
        Some(Report {
            sentence: entry["msg"].as_str()?.to_owned(),
            kind: text("kind"),
            errno: errno.map_or_else(String::new, |number| format!("{:?}", Errno::from_raw(number as i32))),
            pointer: text("pointer"),
            ..Report::default()
        })
    }

    /// Those that begin so.
    fn all(text: &str, begin: &str) -> Vec<Report> {
        let lines: Vec<&str> = text.lines().collect();
        let mut found = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let Some(sentence) = line.strip_prefix(begin).filter(|rest| !rest.starts_with("warning: ")) else {
                continue;
            };
            let mut report = Report { errno: errno_in(sentence), sentence: sentence.to_owned(), ..Report::default() };
            for below in lines[number + 1..].iter().map_while(|line| line.strip_prefix("        ")) {
                match below.strip_prefix("hint: ") {
                    Some(hint) => report.hint = hint.to_owned(),
                    None => (report.place, report.pointer) = split_place(below),
                }
            }
            found.push(report);
        }
        found
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let kind = if self.kind == "other" { "" } else { &self.kind };
        let parts: Vec<&str> = [kind, &self.errno, &self.pointer].into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join(" "))
    }
}

/// `config.json:7 /mounts/0`, of which either can be missing.
fn split_place(text: &str) -> (String, String) {
    let is_place = |text: &str| {
        text.rsplit_once(':')
            .is_some_and(|(_, line)| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let both =
        text.match_indices(" /").map(|(at, _)| (&text[..at], &text[at + 1..])).find(|(place, _)| is_place(place));
    let (place, pointer) = both.unwrap_or(if is_place(text) { (text, "") } else { ("", text) });
    (place.to_owned(), pointer.to_owned())
}

/// The errno whose words are a part of a sentence; engines match these words, so they stay (src/error.rs).
fn errno_in(sentence: &str) -> String {
    let errno = |part: &str| (1..134).map(Errno::from_raw).find(|&errno| Reason(errno).to_string() == part);
    sentence.split(": ").filter_map(errno).last().map_or_else(String::new, |errno| format!("{errno:?}"))
}

/// Fails unless these are the words that are written down for the running test (golden.rs).
#[track_caller]
pub fn compare(report: &Report) {
    match report.hint.as_str() {
        "" => golden::compare(&report.sentence),
        hint => golden::compare(&format!("{} (hint: {hint})", report.sentence)),
    }
}
