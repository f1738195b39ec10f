//! Everything that is wrong with a config.json at once, for `check`: a start ends at the first error,
//! a person wants them all.

use serde_json::Value;

use super::problems::{MOST, Problems, more_than};
use super::seccomp_names::misspelt;
use super::{Misread, Spec, check, read, unknown};
use crate::error::{Error, ErrorKind};

/// The bytes that are read again for errors of type, each of which costs another reading.
const MOST_READ: usize = 32 << 20;

/// Elements of lists that were left out, in order: what stood behind them has moved up.
#[derive(Default)]
pub struct LeftOut(Vec<(String, usize)>);

/// Reads a config.json to its end: what is wrong is noted and left out, and the rest read again. Gives what
/// can be read of it, without what is known to be wrong, so that a host can be asked about that; but it may
/// lack what a start needs. Lines are not known yet.
pub fn all(text: &[u8]) -> (Problems, Option<(Spec, LeftOut)>) {
    let mut found = Problems::default();
    let first = read(text);
    let value = std::str::from_utf8(text).ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(mut value) = value else {
        match first {
            Ok(spec) => check::check(&spec, &mut found),
            Err(Misread::NotJson(error) | Misread::Data { error, .. }) => found.error(error),
        }
        return (found, None);
    };
    let mut left_out = LeftOut::default();
    let mut spec = match first {
        Ok(spec) => spec,
        Err(Misread::NotJson(error) | Misread::Data { error, .. }) => {
            // serde_json keeps only the last of duplicate keys.
            found.errors.extend(Some(error).filter(|error| error.kind == ErrorKind::Repeated));
            match well_typed(&mut value, &mut left_out, &mut found) {
                Some(spec) => spec,
                None => return (found, None),
            }
        }
    };
    let mut checked = Problems::default();
    check::check(&spec, &mut checked);
    let told = |error: &Error| found.errors.iter().any(|earlier| follows(earlier, error));
    let errors = checked.errors.iter().map(|error| original(error.clone(), &left_out));
    let errors: Vec<Error> = errors.filter(|error| !told(error)).take(MOST + 1).collect();
    found.errors.extend(errors);
    checked.warnings.extend(unknown::properties(&value));
    checked.warnings.extend(spec.linux.seccomp.iter().flat_map(|profile| misspelt(profile)));
    found.warnings.extend(checked.warnings.drain(..).take(MOST + 1).map(|warning| original(warning, &left_out)));
    if found.is_full() {
        return (found, None);
    }
    if checked.errors.is_empty() {
        return (found, Some((spec, left_out)));
    }
    // From the end, so that the pointers of the rest stay right.
    let mut pointers: Vec<_> = checked.errors.into_iter().filter_map(|error| error.pointer).collect();
    pointers.sort_by(|one, other| by_number(other, one));
    pointers.dedup();
    for pointer in pointers {
        take_out(&mut value, &pointer, &mut left_out);
    }
    spec = well_typed(&mut value, &mut left_out, &mut Problems::default()).unwrap_or(spec);
    (found, Some((spec, left_out)))
}

/// Pointers in the order of the text, as far as elements of lists go: 2 before 10.
fn by_number(one: &str, other: &str) -> std::cmp::Ordering {
    let parts = |pointer: &str| {
        pointer.split('/').map(|part| (part.parse::<usize>().ok(), part.to_owned())).collect::<Vec<_>>()
    };
    parts(one).cmp(&parts(other))
}

/// The spec without what is of the wrong type.
fn well_typed(value: &mut Value, left_out: &mut LeftOut, found: &mut Problems) -> Option<Spec> {
    let mut read_again = 0;
    loop {
        // The positions of what is read now are those of another text: only its pointers are of use.
        let text = serde_json::to_vec(value).unwrap_or_default();
        let (error, missing) = match read(&text) {
            Ok(spec) => return Some(spec),
            Err(Misread::NotJson(error)) => (error, None),
            Err(Misread::Data { error, missing }) => (error, missing),
        };
        read_again += text.len();
        let told = found.errors.len();
        if told >= MOST || (told > 0 && read_again > MOST_READ) {
            found.error(more_than(told, "errors"));
            return None;
        }
        let pointer = error.pointer.clone().unwrap_or_default();
        let error = original(Error { place: None, ..error }, left_out);
        if !missing.is_some_and(|name| found.errors.iter().any(|earlier| is_property(earlier, &error, &name))) {
            found.error(error);
        }
        if !give_version(value, &pointer) && !take_out(value, &pointer, left_out) {
            return None;
        }
    }
}

/// Without a version nothing is read: in place of one that is wrong or missing, another is given.
fn give_version(value: &mut Value, pointer: &str) -> bool {
    const NAME: &str = "ociVersion";
    match value.as_object_mut() {
        Some(config) if pointer == "/ociVersion" || (pointer.is_empty() && !config.contains_key(NAME)) => {
            config.insert(NAME.into(), "1.0.0".into());
            true
        }
        _ => false,
    }
}

/// Takes a property or an element out. False: it is not there, or it is the whole.
fn take_out(value: &mut Value, pointer: &str, left_out: &mut LeftOut) -> bool {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    match value.pointer_mut(parent) {
        Some(Value::Object(object)) => object.remove(&name.replace("~1", "/").replace("~0", "~")).is_some(),
        Some(Value::Array(list)) => match name.parse() {
            Ok(index) if index < list.len() => {
                list.remove(index);
                left_out.0.push((parent.to_owned(), index));
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The error with the pointer that it has in the text as it was written.
pub fn original(mut error: Error, LeftOut(left_out): &LeftOut) -> Error {
    let Some(found) = error.pointer.as_deref() else { return error };
    let mut pointer = found.to_owned();
    for (list, gone) in left_out.iter().rev() {
        let Some(rest) = pointer.strip_prefix(&format!("{list}/")) else { continue };
        let (index, below) = rest.split_once('/').map_or((rest, ""), |(index, below)| (index, below));
        if let Ok(index) = index.parse::<usize>().map(|index| index + usize::from(index >= *gone)) {
            let below = if below.is_empty() { String::new() } else { format!("/{below}") };
            pointer = format!("{list}/{index}{below}");
        }
    }
    error.pointer = Some(pointer.into());
    error
}

/// Whether an earlier error is about the property of this name of the object that an error is about: it is only missing
/// because it was left out.
fn is_property(earlier: &Error, object: &Error, name: &str) -> bool {
    let object = object.pointer.as_deref().unwrap_or_default();
    earlier.pointer.as_deref() == Some(&format!("{object}/{name}"))
}

/// Whether an error may be there only because the property of an earlier one, or a part of this one's, was
/// left out.
fn follows(earlier: &Error, error: &Error) -> bool {
    let (Some(earlier), Some(pointer)) = (earlier.pointer.as_deref(), error.pointer.as_deref()) else { return false };
    earlier.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut problems = all(text.as_bytes()).0;
        problems.locate(text.as_bytes());
        let told = |error: &Error| {
            format!("{} {}", error.pointer.as_deref().unwrap_or("-"), error.place.as_deref().unwrap_or("-"))
        };
        problems.errors.iter().chain(&problems.warnings).map(told).collect()
    }

    #[test]
    fn every_error_has_the_place_where_it_stands_in_the_text() {
        let text = "{\"ociVersion\":\"1.0.0\",\n\"mounts\":[{\"destination\":1},\n{\"destination\":\"/a\",\"type\":\"tmpfs\",\"options\":[1,\n\"ro\",2]},\n{\"destination\":2}],\n\"process\":{\"args\":[\"a\"],\"cwd\":3,\"umask\":1}}";
        let places = [
            "/root -",
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

    #[test]
    fn what_is_left_out_neither_hides_nor_moves_the_rest() {
        let text = "{\"ociVersion\":\"1.0.0\",\"process\":{\"args\":[7],\"cwd\":\"/\",\"env\":[\"A\",1,\"B\"],\n\"rlimits\":[{\"type\":\"X\",\"soft\":1}],\"oomScoreAdj\":2000},\n\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":[{\"type\":1},{\"type\":\"mount\"},\n{\"type\":\"mount\"}],\"linux\":1}}";
        let places = [
            "/process/args/0 config.json:1",
            "/process/env/0 config.json:1",
            "/process/env/1 config.json:1",
            "/process/env/2 config.json:1",
            "/process/rlimits/0/type config.json:2",
            "/process/oomScoreAdj config.json:2",
            "/linux/namespaces/0/type config.json:3",
            "/linux/namespaces/2 config.json:4",
            "/linux/linux config.json:4",
        ];
        assert_eq!(found(text), places);
    }

    #[test]
    fn a_wrong_version_does_not_hide_the_rest() {
        let rest = "\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\n\"oomScoreAdj\":2000},\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}";
        let score = "/process/oomScoreAdj config.json:2";
        assert_eq!(found(&format!("{{\"ociVersion\":\"2.0.0\",{rest}")), ["/ociVersion config.json:1", score]);
        assert_eq!(found(&format!("{{\"ociVersion\":[],{rest}")), ["/ociVersion config.json:1", score]);
        assert_eq!(found(&format!("{{{rest}")), ["- -", score]);
    }

    #[test]
    fn what_stands_twice_is_told() {
        let text = "{\"ociVersion\":\"1.0.0\",\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\n\"cwd\":\"/\"},\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}";
        assert_eq!(found(text), ["/process/cwd config.json:2"]);
    }
}
