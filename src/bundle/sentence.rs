//! What serde_json reports in words alone. Its error has a position but no data: a property that is missing or repeated
//! and a name that is unknown are only in its sentence, which is read here and nowhere else. The tests make serde write
//! each of them, so that another version with other sentences fails them.

use super::names::{nearest, question};

/// A sentence of serde, or of [`super::names::one_of`], as data.
#[derive(Debug, PartialEq, Eq)]
pub enum Sentence {
    /// A property that an object lacks.
    Missing(String),
    /// A property that it has twice.
    Repeated,
    /// A name that is none of those known; perhaps one that was meant.
    Unknown(Option<String>),
    /// Another.
    Other,
}

/// A sentence of serde_json without the position that its error has as well.
pub fn without_position(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(sentence, _)| sentence)
}

impl Sentence {
    /// Reads a sentence.
    pub fn read(text: &str) -> Sentence {
        let quoted = |rest: &str| rest.split_once('`').map(|(name, _)| name.to_owned());
        if let Some(name) = text.strip_prefix("missing field `").and_then(quoted) {
            return Sentence::Missing(name);
        }
        if text.starts_with("duplicate field `") {
            return Sentence::Repeated;
        }
        let lists = |known: &&str| known.starts_with("one of ") || known.starts_with('`');
        match text.split_once("expected ").filter(|(_, known)| lists(known)) {
            Some((said, known)) => {
                let unknown = said.split(['`', '"']).nth(1);
                let meant = unknown.and_then(|unknown| nearest(unknown, known.split('`').skip(1).step_by(2)));
                Sentence::Unknown(meant.map(str::to_owned))
            }
            None => Sentence::Other,
        }
    }

    /// What to ask the reader.
    pub fn hint(&self) -> Option<String> {
        match self {
            Sentence::Unknown(meant) => meant.as_deref().map(question),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::names::one_of;
    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Object {
        #[allow(dead_code)]
        monotonic: Kind,
    }

    #[derive(Deserialize, Debug)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Pid,
        Network,
    }

    #[test]
    fn the_sentences_that_serde_writes() {
        let read = |text: &str| Sentence::read(&serde_json::from_str::<Object>(text).unwrap_err().to_string());
        let meant = |name: &str| Sentence::Unknown(Some(name.to_owned()));
        assert_eq!(read("{}"), Sentence::Missing("monotonic".into()));
        assert_eq!(read("{\"monotonic\":\"pid\",\"monotonic\":\"network\"}"), Sentence::Repeated);
        assert_eq!(read("{\"monotonic\":\"networkk\"}"), meant("network"));
        assert_eq!(read("{\"monotonik\":\"pid\"}"), meant("monotonic"));
        assert_eq!(read("{\"monotonic\":\"xyz\"}"), Sentence::Unknown(None));
        assert_eq!(read("{\"monotonic\":7}"), Sentence::Other);
    }

    #[test]
    fn the_sentences_of_tables() {
        let table = [("SCMP_CMP_EQ", 1), ("SCMP_CMP_NE", 2)];
        assert_eq!(one_of("operator", &table, "SCMP_CMP_EQ"), Ok(1));
        let sentence = Sentence::read(&one_of("operator", &table, "SCMP_CMP_E").unwrap_err());
        assert_eq!(sentence.hint().as_deref(), Some("did you mean SCMP_CMP_EQ?"));
    }
}
