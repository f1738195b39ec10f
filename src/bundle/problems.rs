//! Everything that is wrong with a config.json at once, for `check`: a start ends at the first error,
//! a person wants them all.

use serde_json::Value;

use super::{Positions, check, read};
use crate::error::Error;

/// Errors and warnings, each with its pointer and line where it has one.
#[derive(Default, Debug)]
pub struct Problems {
    /// What keeps the bundle from running.
    pub errors: Vec<Error>,
    /// What is odd, or is left out.
    pub warnings: Vec<Error>,
}

/// Reads a config.json to its end: what is of the wrong type is noted and left out, and the rest read
/// again.
pub fn all(text: &[u8]) -> Problems {
    let mut problems = Problems::default();
    let positions = Positions::new(text);
    let Ok(mut value) = serde_json::from_slice::<Value>(text) else {
        problems.errors.extend(read(text).err());
        return problems;
    };
    let mut left_out = Vec::new();
    loop {
        // The positions of what is read now are those of another text: only its pointers are of use.
        let rest = serde_json::to_vec(&value).unwrap_or_default();
        match read(&rest) {
            Ok(spec) => {
                let mut found = Problems::default();
                found.errors.extend(check::check(&spec, &mut found.warnings).err());
                found.warnings.extend(ignored(&rest));
                let known = |error: &Error| problems.errors.iter().any(|earlier| earlier.pointer == error.pointer);
                let new: Vec<Error> = found
                    .errors
                    .into_iter()
                    .map(|error| original(error, &left_out))
                    .filter(|error| !known(error))
                    .collect();
                problems.errors.extend(new);
                problems.warnings.extend(found.warnings.into_iter().map(|warning| original(warning, &left_out)));
                break;
            }
            Err(error) => {
                let pointer = error.pointer.clone().unwrap_or_default();
                let taken = take_out(&mut value, &pointer, &mut left_out);
                let error = original(error, &left_out);
                if !problems.errors.iter().any(|earlier| is_missed(earlier, &error)) {
                    problems.errors.push(error);
                }
                if !taken {
                    break;
                }
            }
        }
    }
    for problem in problems.errors.iter_mut().chain(&mut problems.warnings) {
        let line = problem.pointer.as_deref().and_then(|pointer| positions.line(pointer));
        problem.place = line.map(|line| format!("config.json:{line}").into());
    }
    let line = |problem: &Error| problem.pointer.as_deref().and_then(|pointer| positions.line(pointer));
    problems.errors.sort_by_key(line);
    problems.warnings.sort_by_key(line);
    problems
}

/// An element that was taken out of a list: those behind it have moved up.
struct LeftOut {
    list: String,
    index: usize,
}

/// Takes a property or an element out. False: it is not there, or it is the whole.
fn take_out(value: &mut Value, pointer: &str, left_out: &mut Vec<LeftOut>) -> bool {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    match value.pointer_mut(parent) {
        Some(Value::Object(object)) => object.remove(&name.replace("~1", "/").replace("~0", "~")).is_some(),
        Some(Value::Array(list)) => match name.parse() {
            Ok(index) if index < list.len() => {
                list.remove(index);
                left_out.push(LeftOut { list: parent.to_owned(), index });
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The error with the pointer that it has in the text as it was written: the last taken out is the error
/// itself, those before it have moved what follows them.
fn original(mut error: Error, left_out: &[LeftOut]) -> Error {
    let Some(found) = error.pointer.as_deref() else { return error };
    let mut pointer = found.to_owned();
    let this = left_out.last().is_some_and(|last| format!("{}/{}", last.list, last.index) == pointer);
    for gone in left_out.iter().rev().skip(usize::from(this)) {
        let Some(rest) = pointer.strip_prefix(&format!("{}/", gone.list)) else { continue };
        let (index, below) = rest.split_once('/').map_or((rest, ""), |(index, below)| (index, below));
        if let Ok(index) = index.parse::<usize>().map(|index| index + usize::from(index >= gone.index)) {
            let below = if below.is_empty() { String::new() } else { format!("/{below}") };
            pointer = format!("{}/{index}{below}", gone.list);
        }
    }
    error.message = error.message.replacen(found, &pointer, 1);
    error.pointer = Some(pointer.into());
    error
}

/// Whether a property is only missing because it was left out for an error of its own.
fn is_missed(earlier: &Error, error: &Error) -> bool {
    let name =
        error.message.split_once("missing field `").and_then(|(_, rest)| rest.split_once('`')).map(|(name, _)| name);
    let pointer = error.pointer.as_deref().unwrap_or_default();
    name.is_some_and(|name| earlier.pointer.as_deref() == Some(&format!("{pointer}/{name}")))
}

/// Properties that the specification does not know: ignored, as it demands, but perhaps misspelt.
pub fn ignored(text: &[u8]) -> Vec<Error> {
    let mut warnings = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(text);
    let _ = serde_ignored::deserialize::<_, _, super::Spec>(&mut reader, |path| {
        // An optional value is a step of its own there, written "?".
        let path = path.to_string();
        let pointer: String = path.split('.').filter(|part| *part != "?").flat_map(|part| ["/", part]).collect();
        warnings.push(Error::new("no such property; it is ignored").from_property(pointer));
    });
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let problems = all(text.as_bytes());
        let told = |error: &Error| {
            format!("{} {}", error.pointer.as_deref().unwrap_or("-"), error.place.as_deref().unwrap_or("-"))
        };
        problems.errors.iter().chain(&problems.warnings).map(told).collect()
    }

    #[test]
    fn every_error_has_the_place_where_it_stands_in_the_text() {
        let text = "{\"ociVersion\":\"1.0.0\",\n\"mounts\":[{\"destination\":1},\n{\"destination\":\"/a\",\"type\":\"tmpfs\",\"options\":[1,\n\"ro\",2]},\n{\"destination\":2}],\n\"process\":{\"args\":[\"a\"],\"cwd\":3,\"umask\":1},\"root\":{\"path\":\"r\"}}";
        let places = [
            "/mounts/0/destination config.json:2",
            "/mounts/1/options/0 config.json:3",
            "/mounts/1/options/2 config.json:4",
            "/mounts/2/destination config.json:5",
            "/process/cwd config.json:6",
            "/process/umask config.json:6",
        ];
        assert_eq!(found(text), places);
    }

    #[test]
    fn unknown_properties_are_warned_about() {
        let text = "{\"ociVersion\":\"1.0.0\",\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\n\"rlimts\":[]},\"root\":{\"path\":\"r\"},\n\"linux\":{\"namespaces\":[{\"type\":\"mount\",\"paht\":\"\"}]}}";
        assert_eq!(found(text), ["/process/rlimts config.json:2", "/linux/namespaces/0/paht config.json:3"]);
    }

    #[test]
    fn a_text_that_is_not_json_is_one_error() {
        assert_eq!(found("{"), ["- config.json:1"]);
        assert_eq!(found("[]").len(), 1);
    }
}
