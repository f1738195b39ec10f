//! The part of the GVariant text format (https://docs.gtk.org/glib/gvariant-text-format.html) that annotations
//! `org.systemd.property.*` need: booleans, numbers, texts, arrays and tuples. docs/decisions.md says what is left out.

use super::dbus::value::Value;

/// As deep as arrays and tuples may be in each other; systemd has nothing deeper than three.
const DEEPEST: usize = 3;

/// Reads a text as a value.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text };
    let value = parser.value(0)?;
    parser.space();
    if parser.rest.is_empty() { Ok(value) } else { Err(format!("{:?} is left over", parser.rest)) }
}

/// A number as a value of a type, if it has that.
type Typed = fn(i128) -> Option<Value>;

/// The types of whole numbers, which stand before them.
const WHOLE: &[(&str, Typed)] = &[
    ("byte", |number| number.try_into().ok().map(Value::Byte)),
    ("int16", |number| number.try_into().ok().map(Value::I16)),
    ("uint16", |number| number.try_into().ok().map(Value::U16)),
    ("int32", |number| number.try_into().ok().map(Value::I32)),
    ("uint32", |number| number.try_into().ok().map(Value::U32)),
    ("int64", |number| number.try_into().ok().map(Value::I64)),
    ("uint64", |number| number.try_into().ok().map(Value::U64)),
];

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn skip(&mut self, token: char) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// The characters up to one that ends a word.
    fn word(&mut self) -> &'a str {
        self.space();
        let ends = |c: char| c.is_whitespace() || "[](),<>{}:'\"".contains(c);
        let (word, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.space();
        match self.rest.chars().next() {
            None => Err("a value is missing".into()),
            Some('[' | '(') if depth == DEEPEST => Err("it is too deep".into()),
            Some('[') => self.array(depth),
            Some('(') => self.list('(', ')', depth).map(Value::Struct),
            Some('\'' | '"') => self.text().map(Value::Text),
            Some(_) => match self.word() {
                "" => Err(format!("a value is missing before {:?}", self.rest)),
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                word => match WHOLE.iter().find(|(name, _)| *name == word) {
                    Some((name, typed)) => whole(self.word(), name, *typed),
                    None if word.contains('.') => double(word),
                    None => whole(word, "int32", |number| number.try_into().ok().map(Value::I32)),
                },
            },
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        let values = self.list('[', ']', depth)?;
        let element = values[0].signature();
        match values.iter().map(Value::signature).find(|other| *other != element) {
            Some(other) => Err(format!("the values of an array have two types, {element} and {other}")),
            None => Ok(Value::Array(element, values)),
        }
    }

    /// Values between brackets, at least one.
    fn list(&mut self, open: char, close: char, depth: usize) -> Result<Vec<Value>, String> {
        self.skip(open);
        let mut values = vec![self.value(depth + 1)?];
        while !self.skip(close) {
            if !self.skip(',') {
                return Err(format!("a comma or {close} is missing"));
            }
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    /// A text in quotes of either kind, in which a backslash stands before a quote or another.
    fn text(&mut self) -> Result<String, String> {
        let mut letters = self.rest.chars();
        let quote = letters.next();
        let mut text = String::new();
        loop {
            match letters.next() {
                None => return Err("a quote is missing at the end".into()),
                Some('\\') => match letters.next() {
                    Some(letter @ ('\'' | '"' | '\\')) => text.push(letter),
                    _ => return Err("a backslash stands before neither a quote nor another".into()),
                },
                Some('\0') => return Err("a text has a NUL byte".into()),
                letter if letter == quote => break,
                Some(letter) => text.push(letter),
            }
        }
        self.rest = letters.as_str();
        Ok(text)
    }
}

/// A decimal number. One that begins with 0 would be octal or hexadecimal, if it is not 0: CRI-O writes `0000000`.
fn whole(word: &str, kind: &str, typed: Typed) -> Result<Value, String> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!("{word:?} is no value known here"));
    }
    let number = word.parse().ok().filter(|number| *number == 0 || !digits.starts_with('0'));
    number.and_then(typed).ok_or_else(|| format!("{word:?} is no {kind}"))
}

/// Seconds with a fraction.
fn double(word: &str) -> Result<Value, String> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !word.starts_with('.');
    let number = word.parse().ok().filter(|_| plain);
    number.map(Value::Double).ok_or_else(|| format!("{word:?} is no number with a fraction"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let array = |signature: &str, values: &[Value]| Value::Array(signature.into(), values.to_vec());
        let weight = |path: &str, weight| Value::Struct(vec![Value::text(path), Value::U64(weight)]);
        for (text, value) in [
            ("true", Value::Bool(true)),
            (" false ", Value::Bool(false)),
            ("123", Value::I32(123)),
            ("-1", Value::I32(-1)),
            ("0", Value::I32(0)),
            ("uint64 0000000", Value::U64(0)),
            ("byte 255", Value::Byte(255)),
            ("int16 -5", Value::I16(-5)),
            ("uint16 5", Value::U16(5)),
            ("uint32 4294967295", Value::U32(u32::MAX)),
            ("int64 -9223372036854775808", Value::I64(i64::MIN)),
            ("uint64 18446744073709551615", Value::U64(u64::MAX)),
            ("1.5", Value::Double(1.5)),
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            ("\"it's\"", Value::text("it's")),
            (r#"'\'\"\\ä'"#, Value::text("'\"\\ä")),
            ("''", Value::text("")),
            ("['a', 'b']", array("s", &[Value::text("a"), Value::text("b")])),
            ("[uint32 1,uint32 2 ]", array("u", &[Value::U32(1), Value::U32(2)])),
            (
                "[('/dev/sda', uint64 100), ('/dev/sdb', uint64 7)]",
                array("(st)", &[weight("/dev/sda", 100), weight("/dev/sdb", 7)]),
            ),
            (
                "[(2, [byte 10, byte 0], uint32 8)]",
                array(
                    "(iayu)",
                    &[Value::Struct(vec![
                        Value::I32(2),
                        array("y", &[Value::Byte(10), Value::Byte(0)]),
                        Value::U32(8),
                    ])],
                ),
            ),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "",
            " ",
            "inactive",
            "yes",
            "True",
            "1 2",
            "'a' 'b'",
            "'a",
            "'a\\",
            "1x",
            "--1",
            "1,",
            "byte 256",
            "byte -1",
            "uint64 -1",
            "2147483648",
            "uint64 1.5",
            "uint64 'a'",
            "uint64 uint32 1",
            "uint64",
            "[",
            "[]",
            "['a',]",
            "['a' 'b']",
            "['a', 1]",
            "()",
            "(1",
            "(1 2)",
            "[[[[1]]]]",
            "{}",
            "{'a': 1}",
            "<1>",
            "b'abc'",
            "nothing",
            "just 1",
            "'\0'",
            "inf",
            "nan",
            "ä",
            // What GVariant has and no property needs.
            "017",
            "0x10",
            "+1",
            "1e3",
            ".5",
            "-1.5",
            "double 2",
            "boolean true",
            "string 'x'",
            "objectpath '/a'",
            "signature 's'",
            "@as []",
            "@t 1",
            "[uint32 1, 2]",
            "(1,)",
            r"'\n'",
            r"'\u00e4'",
        ] {
            assert!(parse(text).is_err(), "{text:?} is {:?}", parse(text));
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"uint64 ".repeat(100_000)).is_err());
    }
}
