//! The GVariant text format, in which runc reads the values of `org.systemd.property.*` annotations:
//! https://docs.gtk.org/glib/gvariant-text-format.html. Of its types there are those that units
//! have properties of: booleans, numbers, texts, arrays and tuples. Any other is an error.

use super::dbus::value::Value;

/// As deep as arrays and tuples may be in each other; systemd has nothing deeper than two.
const DEEPEST: usize = 8;

/// Reads a text as a value.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text };
    let value = parser.value("", 0)?;
    parser.space();
    if parser.rest.is_empty() { Ok(value) } else { Err(format!("{:?} is left over", parser.rest)) }
}

/// The words for types that may stand before a value.
const KEYWORDS: &[(&str, &str)] = &[
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
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

    /// What stands up to a character that ends a word.
    fn word(&mut self) -> &'a str {
        let ends = |c: char| c.is_whitespace() || "[](),<>{}:'\"".contains(c);
        let (word, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A value, of the type `wanted` if that is known.
    fn value(&mut self, wanted: &str, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err("it is too deep".into());
        }
        self.space();
        match self.rest.chars().next() {
            None => Err("a value is missing".into()),
            Some('[') => self.array(wanted, depth),
            Some('(') => self.tuple(wanted, depth),
            Some('\'' | '"') => text_as(self.text()?, wanted),
            Some('@') => {
                let signature = self.type_of_next()?;
                self.typed(signature, wanted, depth)
            }
            Some(_) => match self.word() {
                "true" => boolean(true, wanted),
                "false" => boolean(false, wanted),
                word => match KEYWORDS.iter().find(|(keyword, _)| *keyword == word) {
                    Some((_, signature)) => self.typed(signature, wanted, depth),
                    None => number(word, wanted),
                },
            },
        }
    }

    /// A value whose type was named.
    fn typed(&mut self, named: &str, wanted: &str, depth: usize) -> Result<Value, String> {
        if !wanted.is_empty() && wanted != named {
            return Err(format!("a value of type {named} where one of type {wanted} is expected"));
        }
        self.value(named, depth + 1)
    }

    /// `@` and a signature.
    fn type_of_next(&mut self) -> Result<&'a str, String> {
        let behind = &self.rest[1..];
        let signature = first_type(behind).ok_or_else(|| format!("{:?} begins with no type known here", self.rest))?;
        self.rest = &behind[signature.len()..];
        Ok(signature)
    }

    fn array(&mut self, wanted: &str, depth: usize) -> Result<Value, String> {
        let mut element = match wanted.strip_prefix('a') {
            Some(element) => element.to_owned(),
            None if wanted.is_empty() => String::new(),
            None => return Err(format!("an array where a value of type {wanted} is expected")),
        };
        let mut values = Vec::new();
        self.skip('[');
        while !self.skip(']') {
            if !values.is_empty() && !self.skip(',') {
                return Err("a comma or ] is missing".into());
            }
            let value = self.value(&element, depth + 1)?;
            // The first element tells the type of all.
            element = value.signature();
            values.push(value);
        }
        match element.is_empty() {
            true => Err("the type of an empty array is unknown; write @as [] for one of texts".into()),
            false => Ok(Value::Array(element, values)),
        }
    }

    fn tuple(&mut self, wanted: &str, depth: usize) -> Result<Value, String> {
        let mut types = match wanted.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => Some(inner),
            None if wanted.is_empty() => None,
            None => return Err(format!("a tuple where a value of type {wanted} is expected")),
        };
        let mut values = Vec::new();
        self.skip('(');
        while !self.skip(')') {
            if !values.is_empty() && !self.skip(',') {
                return Err("a comma or ) is missing".into());
            }
            // (1,) is a tuple of one.
            if values.len() == 1 && self.skip(')') {
                break;
            }
            let one = match types {
                Some(left) => first_type(left).ok_or("a tuple has too many values")?,
                None => "",
            };
            types = types.map(|left| &left[one.len()..]);
            values.push(self.value(one, depth + 1)?);
        }
        match types {
            _ if values.is_empty() => Err("a tuple without values".into()),
            Some(left) if !left.is_empty() => Err("a tuple has too few values".into()),
            _ => Ok(Value::Struct(values)),
        }
    }

    /// What stands in quotes of either kind.
    fn text(&mut self) -> Result<String, String> {
        let mut letters = self.rest.chars();
        let quote = letters.next();
        let mut text = String::new();
        loop {
            match letters.next() {
                None => return Err("a quote is missing at the end".into()),
                Some('\\') => text.extend(escape(&mut letters)?),
                letter if letter == quote => break,
                Some(letter) => text.push(letter),
            }
        }
        self.rest = letters.as_str();
        if text.contains('\0') { Err("a text has a NUL byte".into()) } else { Ok(text) }
    }
}

/// What a backslash and what follows stand for: a letter, or nothing where a line goes on in the next.
fn escape(letters: &mut std::str::Chars) -> Result<Option<char>, String> {
    let letter = letters.next().ok_or("a quote is missing at the end")?;
    let digits = match letter {
        'a' => return Ok(Some('\u{7}')),
        'b' => return Ok(Some('\u{8}')),
        'f' => return Ok(Some('\u{c}')),
        'n' => return Ok(Some('\n')),
        'r' => return Ok(Some('\r')),
        't' => return Ok(Some('\t')),
        'v' => return Ok(Some('\u{b}')),
        '\n' => return Ok(None),
        'u' => 4,
        'U' => 8,
        other => return Ok(Some(other)),
    };
    let hex: String = letters.take(digits).collect();
    let all = hex.len() == digits && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    let code = u32::from_str_radix(&hex, 16).ok().filter(|_| all);
    code.and_then(char::from_u32).map(Some).ok_or_else(|| format!("\\{letter}{hex} stands for no letter"))
}

fn boolean(yes: bool, wanted: &str) -> Result<Value, String> {
    match wanted {
        "" | "b" => Ok(Value::Bool(yes)),
        other => Err(format!("{yes} where a value of type {other} is expected")),
    }
}

fn text_as(text: String, wanted: &str) -> Result<Value, String> {
    match wanted {
        "" | "s" => Ok(Value::Text(text)),
        "o" if is_path(&text) => Ok(Value::Path(text)),
        "o" => Err(format!("{text:?} is no object path")),
        "g" if is_signature(&text) => Ok(Value::Signature(text)),
        "g" => Err(format!("{text:?} is no signature")),
        other => Err(format!("a text where a value of type {other} is expected")),
    }
}

/// A number without a type is an int32, or a double if it has a point or an exponent.
fn number(word: &str, wanted: &str) -> Result<Value, String> {
    let wrong = |kind: &str| format!("{word:?} is no {kind}");
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(wrong("value known here"));
    }
    let (radix, digits) = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(hex), _) => (16, hex),
        (None, Some(octal)) if octal.bytes().all(|digit| digit.is_ascii_digit()) && !octal.is_empty() => (8, octal),
        _ => (10, digits),
    };
    if wanted == "d" || (wanted.is_empty() && radix == 10 && digits.contains(['.', 'e', 'E'])) {
        let double = word.parse::<f64>().ok().filter(|double| double.is_finite());
        return double.map(Value::Double).ok_or_else(|| wrong("double"));
    }
    let sign = if negative { -1 } else { 1 };
    let unsigned = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let whole = i128::from_str_radix(digits, radix).ok().filter(|_| unsigned).map(|whole| sign * whole);
    let whole = whole.ok_or_else(|| wrong("number"))?;
    let value = match wanted {
        "y" => whole.try_into().ok().map(Value::Byte),
        "n" => whole.try_into().ok().map(Value::I16),
        "q" => whole.try_into().ok().map(Value::U16),
        "" | "i" => whole.try_into().ok().map(Value::I32),
        "u" => whole.try_into().ok().map(Value::U32),
        "x" => whole.try_into().ok().map(Value::I64),
        "t" => whole.try_into().ok().map(Value::U64),
        other => return Err(format!("a number where a value of type {other} is expected")),
    };
    let kind = KEYWORDS.iter().find(|(_, signature)| *signature == wanted).map_or("int32", |(keyword, _)| keyword);
    value.ok_or_else(|| wrong(kind))
}

/// The first whole type of a signature that is made of types known here.
fn first_type(signature: &str) -> Option<&str> {
    fn length(of: &str, depth: usize) -> Option<usize> {
        match of.chars().next()? {
            _ if depth > DEEPEST => None,
            'a' => Some(1 + length(&of[1..], depth + 1)?),
            '(' => {
                let mut at = 1;
                while !of[at..].starts_with(')') {
                    at += length(&of[at..], depth + 1)?;
                }
                (at > 1).then_some(at + 1)
            }
            basic => KEYWORDS.iter().any(|(_, known)| known.starts_with(basic)).then_some(1),
        }
    }
    length(signature, 0).map(|length| &signature[..length])
}

/// A bus ends the connection of whoever sends what is none.
fn is_path(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|parts| parts.split('/').all(part))
}

fn is_signature(text: &str) -> bool {
    let mut rest = text;
    while let Some(one) = first_type(rest) {
        rest = &rest[one.len()..];
    }
    rest.is_empty() && text.len() <= 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let texts = |texts: &[&str]| Value::Array("s".into(), texts.iter().map(|text| Value::text(*text)).collect());
        for (text, value) in [
            ("true", Value::Bool(true)),
            (" false ", Value::Bool(false)),
            ("boolean true", Value::Bool(true)),
            ("123", Value::I32(123)),
            ("-0x10", Value::I32(-16)),
            ("017", Value::I32(15)),
            ("0", Value::I32(0)),
            ("byte 255", Value::Byte(255)),
            ("int16 -5", Value::I16(-5)),
            ("uint16 5", Value::U16(5)),
            ("uint32 4294967295", Value::U32(u32::MAX)),
            ("int64 -9223372036854775808", Value::I64(i64::MIN)),
            ("uint64 123456789", Value::U64(123_456_789)),
            ("@t 0xffffffffffffffff", Value::U64(u64::MAX)),
            ("1.5", Value::Double(1.5)),
            ("1e3", Value::Double(1000.0)),
            ("double 2", Value::Double(2.0)),
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            ("\"it's\"", Value::text("it's")),
            (r"'a\'\\\n\u00e4\U0001f600'", Value::text("a'\\\nä😀")),
            ("''", Value::text("")),
            ("string 'x'", Value::text("x")),
            ("objectpath '/a/b'", Value::Path("/a/b".into())),
            ("signature 'a(ss)'", Value::Signature("a(ss)".into())),
            ("['a', 'b']", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("[uint32 1, 2]", Value::Array("u".into(), vec![Value::U32(1), Value::U32(2)])),
            ("@ay [1]", Value::bytes([1])),
            ("[['a'],['b']]", Value::Array("as".into(), vec![texts(&["a"]), texts(&["b"])])),
            ("[@as [], ['b']]", Value::Array("as".into(), vec![texts(&[]), texts(&["b"])])),
            (
                "[('/dev/null', 'rw')]",
                Value::Array("(ss)".into(), vec![Value::Struct(vec![Value::text("/dev/null"), Value::text("rw")])]),
            ),
            ("@(ts) (1, 'a')", Value::Struct(vec![Value::U64(1), Value::text("a")])),
            ("(1,)", Value::Struct(vec![Value::I32(1)])),
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
            "0x",
            "--1",
            "+-1",
            "1,",
            "byte 256",
            "byte -1",
            "uint64 -1",
            "2147483648",
            "int32 2147483648",
            "uint64 1.5",
            "uint64 'a'",
            "string 1",
            "uint64 uint32 1",
            "uint64",
            "[",
            "[]",
            "['a',]",
            "['a' 'b']",
            "['a', 1]",
            "[1, 'a']",
            "@as ['a', 1]",
            "()",
            "(1",
            "(1 2)",
            "@(ts) (1,)",
            "@(t) (1, 2)",
            "@as 'a'",
            "@q 'a'",
            "@z 1",
            "@a 1",
            "@(s 1",
            "@ 1",
            "{}",
            "{'a': 1}",
            "<1>",
            "b'abc'",
            "nothing",
            "just 1",
            "'\0'",
            "'\\u0000'",
            "'\\ud800'",
            "'\\u12'",
            "objectpath 'a'",
            "objectpath '/a/'",
            "signature 'a'",
            "inf",
            "nan",
            "1e999",
            "ä",
        ] {
            assert!(parse(text).is_err(), "{text:?} is {:?}", parse(text));
        }
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
        assert!(parse(&format!("@{} 1", "a".repeat(100_000))).is_err());
        assert!(parse(&"uint64 ".repeat(100_000)).is_err());
    }
}
