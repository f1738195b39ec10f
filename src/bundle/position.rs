//! Which line of config.json a JSON pointer stands on, and which property an error's position is in.
//!
//! serde_json tells neither. The text is walked only when an error or `explain` asks, so that a start
//! that succeeds pays nothing. The walk is lenient: it also serves texts in which serde_json has found
//! an error.

/// A property as it stands in the text.
struct Place {
    pointer: String,
    /// Offsets: where the key (or the array element) begins, and where its value ends.
    start: usize,
    end: usize,
}

/// Every property of a config.json with its place in the text.
pub struct Positions {
    places: Vec<Place>,
    line_starts: Vec<usize>,
}

impl Positions {
    /// Walks the text once.
    pub fn new(text: &[u8]) -> Positions {
        let mut walk = Walk { text, at: 0, places: Vec::new() };
        walk.value(&mut String::new());
        let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Positions { places: walk.places, line_starts }
    }

    /// The line (from 1) of the property, or of its nearest ancestor that is in the text.
    pub fn line(&self, pointer: &str) -> Option<usize> {
        let offset = self.offset(pointer)?;
        Some(self.line_starts.partition_point(|start| *start <= offset))
    }

    /// The same as an offset.
    pub fn offset(&self, pointer: &str) -> Option<usize> {
        let mut wanted = pointer;
        while !wanted.is_empty() {
            if let Some(place) = self.places.iter().find(|place| place.pointer == wanted) {
                return Some(place.start);
            }
            wanted = &wanted[..wanted.rfind('/').unwrap_or(0)];
        }
        None
    }

    /// The innermost property that the position (line from 1, column from 1, as serde_json reports
    /// them: just behind what it could not take) lies in.
    pub fn pointer(&self, line: usize, column: usize) -> Option<&str> {
        let offset = self.line_starts.get(line.wrapping_sub(1))? + column.saturating_sub(1);
        // A list or object of the wrong type is not even begun: the position is just before it.
        let inside = self.places.iter().filter(|place| place.start <= offset + 1 && offset < place.end);
        inside.min_by_key(|place| place.end - place.start).map(|place| place.pointer.as_str())
    }
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    places: Vec<Place>,
}

impl Walk<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The raw text between the quotes of a string, and moves behind it.
    fn string(&mut self) -> &str {
        self.at += 1;
        let start = self.at;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let end = self.at.min(self.text.len());
        self.at = end + 1;
        std::str::from_utf8(&self.text[start..end]).unwrap_or("")
    }

    /// Walks a value; `pointer` is what leads to it and is left as it was.
    fn value(&mut self, pointer: &mut String) {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                while self.peek() == Some(b'"') {
                    let start = self.at;
                    let key = self.string().replace('~', "~0").replace('/', "~1");
                    if !self.eat(b':') {
                        return;
                    }
                    self.member(pointer, &key, start);
                    if !self.eat(b',') {
                        break;
                    }
                }
                self.eat(b'}');
            }
            Some(b'[') => {
                self.at += 1;
                let mut index = 0;
                while self.peek().is_some_and(|byte| byte != b']') {
                    let start = self.at;
                    self.member(pointer, &index.to_string(), start);
                    index += 1;
                    if !self.eat(b',') {
                        break;
                    }
                }
                self.eat(b']');
            }
            Some(b'"') => drop(self.string().len()),
            Some(_) => {
                let ends = |byte: &u8| b",]} \t\r\n".contains(byte);
                while self.text.get(self.at).is_some_and(|byte| !ends(byte)) {
                    self.at += 1;
                }
            }
            None => {}
        }
    }

    fn member(&mut self, pointer: &mut String, key: &str, start: usize) {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(key);
        self.value(pointer);
        self.places.push(Place { pointer: pointer.clone(), start, end: self.at });
        pointer.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n \"a\": [1,\n  {\"b/c\": \"x\\\"]}\"}, [] ],\n\n \"d\": {\"e\": -1.5e3 ,\n \"f\":null}\n}\n";

    #[test]
    fn lines_of_pointers() {
        let positions = Positions::new(TEXT.as_bytes());
        for (pointer, line) in
            [("/a", 2), ("/a/0", 2), ("/a/1", 3), ("/a/1/b~1c", 3), ("/a/2", 3), ("/d/e", 5), ("/d/f", 6)]
        {
            assert_eq!(positions.line(pointer), Some(line), "{pointer}");
        }
        assert_eq!(positions.line("/d/missing/deeper"), Some(5), "the nearest ancestor");
        assert_eq!(positions.line("/missing"), None);
    }

    #[test]
    fn pointers_of_positions() {
        let positions = Positions::new(TEXT.as_bytes());
        assert_eq!(positions.pointer(5, 18), Some("/d/e"));
        assert_eq!(positions.pointer(3, 15), Some("/a/1/b~1c"));
        assert_eq!(positions.pointer(99, 1), None);
    }

    #[test]
    fn broken_texts_end_the_walk() {
        for text in ["", "{", "{\"a", "{\"a\"}", "[1,", "[[[[", "{\"a\":\"\\", "{\"a\":[}"] {
            Positions::new(text.as_bytes());
        }
    }
}
