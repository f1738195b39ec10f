//! Which line of config.json a JSON pointer stands on, and which property an error's position is in.
//!
//! serde_json tells neither. The text is walked only when an error or `explain` asks, so that a start
//! that succeeds pays nothing. The walk is lenient: it also serves texts in which serde_json has found
//! an error. It costs the same for each byte, whatever the text: names stay in it, and no depth is
//! walked that serde_json would not read.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::pointer::escaped;

/// The depth to which serde_json reads; what lies deeper is skipped as one value.
const DEEPEST: usize = 128;

/// A property as it stands in the text, followed by those in it.
struct Place {
    /// Offsets of its key; 0 for an element of a list, since no key begins at the first byte of a text.
    name: (u32, u32),
    /// The number of the element.
    index: u32,
    /// Offsets: where the key (or the element) begins, and where its value ends.
    start: u32,
    end: u32,
    /// The place after all those in it.
    next: u32,
}

/// Every property of a config.json with its place in the text.
pub struct Positions<'a> {
    text: &'a [u8],
    places: Vec<Place>,
    line_starts: Vec<u32>,
    /// By the first place in an object or list: all that are in it. They are collected when one is asked for.
    children: RefCell<BTreeMap<usize, Children<'a>>>,
}

/// The places in an object or list.
enum Children<'a> {
    /// In their order.
    List(Vec<usize>),
    /// By name.
    Object(BTreeMap<Cow<'a, str>, usize>),
}

impl<'a> Positions<'a> {
    /// Walks the text once. (What is behind 4 GiB has no place.)
    pub fn new(text: &'a [u8]) -> Positions<'a> {
        let mut walk = Walk { text: &text[..text.len().min(u32::MAX as usize)], at: 0, places: Vec::new() };
        walk.value(0);
        let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at as u32 + 1)).collect();
        Positions { text, places: walk.places, line_starts, children: RefCell::default() }
    }

    /// The line (from 1) of the property, or of its nearest ancestor that is in the text.
    pub fn line(&self, pointer: &str) -> Option<usize> {
        let offset = self.offset(pointer)?;
        Some(self.line_starts.partition_point(|start| *start as usize <= offset))
    }

    /// The same as an offset.
    pub fn offset(&self, pointer: &str) -> Option<usize> {
        let mut found = None;
        let mut inside = (0, self.places.len());
        for name in pointer.strip_prefix('/')?.split('/') {
            let Some(at) = self.child(inside, name) else { break };
            found = Some(self.places[at].start as usize);
            inside = (at + 1, self.places[at].next as usize);
        }
        found
    }

    /// The innermost property that the position (line from 1, column from 1, as serde_json reports
    /// them: just behind what it could not take) lies in.
    pub fn pointer(&self, line: usize, column: usize) -> Option<String> {
        let offset = *self.line_starts.get(line.wrapping_sub(1))? as usize + column.saturating_sub(1);
        // A list or object of the wrong type is not even begun: the position is just before it.
        let has = |place: &Place| place.start as usize <= offset + 1 && offset < place.end as usize;
        let mut pointer = String::new();
        let mut inside = (0, self.places.len());
        while let Some(at) = self.children(inside).find(|at| has(&self.places[*at])) {
            pointer.push('/');
            pointer.push_str(&self.name(at));
            inside = (at + 1, self.places[at].next as usize);
        }
        Some(pointer).filter(|pointer| !pointer.is_empty())
    }

    /// The places from one to another, without those in them.
    fn children(&self, (first, end): (usize, usize)) -> impl Iterator<Item = usize> {
        let one = Some(first).filter(|first| *first < end);
        std::iter::successors(one, move |at| Some(self.places[*at].next as usize).filter(|next| *next < end))
    }

    /// The one of these with a name; of several the first.
    fn child(&self, inside: (usize, usize), name: &str) -> Option<usize> {
        let mut known = self.children.borrow_mut();
        match known.entry(inside.0).or_insert_with(|| self.collect(inside)) {
            Children::List(list) => {
                // As it is printed, and not `01`.
                let at = *list.get(name.parse::<usize>().ok()?)?;
                (self.name(at) == name).then_some(at)
            }
            Children::Object(names) => names.get(name).copied(),
        }
    }

    fn collect(&self, inside: (usize, usize)) -> Children<'a> {
        if self.places.get(inside.0).is_some_and(|first| inside.0 < inside.1 && first.name.0 == 0) {
            return Children::List(self.children(inside).collect());
        }
        let mut names = BTreeMap::new();
        for at in self.children(inside) {
            names.entry(self.name(at)).or_insert(at);
        }
        Children::Object(names)
    }

    /// The part of a pointer for a place.
    fn name(&self, at: usize) -> Cow<'a, str> {
        let Place { name: (start, end), index, .. } = self.places[at];
        if start == 0 {
            return index.to_string().into();
        }
        escaped(std::str::from_utf8(&self.text[start as usize..end as usize]).unwrap_or(""))
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

    /// Moves behind a string; gives the offsets of the raw text between its quotes.
    fn string(&mut self) -> (u32, u32) {
        self.at += 1;
        let start = self.at.min(self.text.len());
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let end = self.at.min(self.text.len());
        self.at = end + 1;
        (start as u32, end as u32)
    }

    /// Walks a value at this depth.
    fn value(&mut self, depth: usize) {
        match self.peek() {
            Some(b'{' | b'[') if depth == DEEPEST => self.skip(),
            Some(b'{') => {
                self.at += 1;
                while self.peek() == Some(b'"') {
                    let start = self.at;
                    let name = self.string();
                    if !self.eat(b':') {
                        return;
                    }
                    self.member((name, 0), start, depth);
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
                    self.member(((0, 0), index), start, depth);
                    index += 1;
                    if !self.eat(b',') {
                        break;
                    }
                }
                self.eat(b']');
            }
            Some(b'"') => drop(self.string()),
            Some(_) => {
                let ends = |byte: &u8| b",]} \t\r\n".contains(byte);
                while self.text.get(self.at).is_some_and(|byte| !ends(byte)) {
                    self.at += 1;
                }
            }
            None => {}
        }
    }

    fn member(&mut self, (name, index): ((u32, u32), u32), start: usize, depth: usize) {
        let place = self.places.len();
        self.places.push(Place { name, index, start: start as u32, end: 0, next: 0 });
        self.value(depth + 1);
        let next = self.places.len() as u32;
        (self.places[place].end, self.places[place].next) = (self.at as u32, next);
    }

    /// Moves behind an object or list, whatever is in it.
    fn skip(&mut self) {
        let mut open = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                break;
            }
        }
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
        assert_eq!(positions.pointer(5, 18).as_deref(), Some("/d/e"));
        assert_eq!(positions.pointer(3, 15).as_deref(), Some("/a/1/b~1c"));
        assert_eq!(positions.pointer(99, 1), None);
    }

    #[test]
    fn broken_texts_end_the_walk() {
        for text in ["", "{", "{\"a", "{\"a\"}", "[1,", "[[[[", "{\"a\":\"\\", "{\"a\":[}"] {
            Positions::new(text.as_bytes());
        }
    }

    #[test]
    fn a_text_of_any_depth_is_walked() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for depth in [127, 128, 129, 200_000] {
                let deep = format!("{{\"x\":{}1{},\n\"y\":2}}", open.repeat(depth), close.repeat(depth));
                assert_eq!(Positions::new(deep.as_bytes()).line("/y"), Some(2), "{depth}");
                Positions::new(&deep.as_bytes()[..deep.len() / 2]);
            }
        }
    }

    #[test]
    fn a_long_name_is_not_repeated() {
        let text = format!("{{\"{}\":[{}0]}}", "k".repeat(1 << 20), "0,".repeat(1 << 20));
        let positions = Positions::new(text.as_bytes());
        assert_eq!(positions.offset(&format!("/{}/1048576", "k".repeat(1 << 20))), Some(text.len() - 3));
    }
}
