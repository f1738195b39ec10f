//! Text of others for a terminal. Names in a config, an image or a report can hold sequences that a terminal obeys, or
//! lines that look like ferrun's own.

use std::borrow::Cow;

/// Whether a character acts on the terminal instead of being shown: control characters of ASCII and Latin-1, line
/// separators, and those that turn the direction of the text around them.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn with(text: &str, acts: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&acts) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if acts(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// A text as part of a line: whatever acts on a terminal is written as `\u{1b}` or `\n`.
pub fn part(text: &str) -> Cow<'_, str> {
    with(text, acts)
}

/// A text of several lines, whose ends stay, and tabs.
pub fn lines(text: &str) -> Cow<'_, str> {
    with(text, |c| !matches!(c, '\n' | '\t') && acts(c))
}

/// JSON, in which the same characters are JSON's own escapes: serde_json leaves DEL and all beyond ASCII as they are. Outside
/// of strings there is nothing but ends of lines that acts.
pub fn json(text: &str) -> Cow<'_, str> {
    let acts = |c: char| c != '\n' && acts(c);
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    // All of them have four digits.
    let escaped = |c: char| if acts(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_out() {
        assert_eq!(part("a\u{1b}[31m\r\nb\u{7f}\u{9b}\u{202e}"), "a\\u{1b}[31m\\r\\nb\\u{7f}\\u{9b}\\u{202e}");
        assert_eq!(lines("a\tb\nc\u{7}\n"), "a\tb\nc\\u{7}\n");
        assert_eq!(json("{\n\"a\\n\": \"\u{7f}\u{9b}ä\u{202e}\"}"), "{\n\"a\\n\": \"\\u007f\\u009bä\\u202e\"}");
        for plain in ["", "mount \"/ä/日本\" ─▶ \\n", "é\u{301}"] {
            assert!(matches!(part(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
    }
}
