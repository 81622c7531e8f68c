//! As much of JSON as the lines of a recording need.

use std::fmt::{self, Write};

/// How deep lists and objects may lie in each other: the lines of a recording reach four.
const MOST_DEPTH: usize = 8;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum JsonValue {
    Null,
    Bool(bool),
    /// As it is written, so that nothing is rounded.
    Number(String),
    Text(String),
    List(Vec<Self>),
    /// In the order of the file.
    Object(Vec<(String, Self)>),
}

impl JsonValue {
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(it, _)| it == name).map(|(_, it)| it),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }
}

impl From<bool> for JsonValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for JsonValue {
    fn from(value: u64) -> Self {
        Self::Number(value.to_string())
    }
}

impl From<&str> for JsonValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// Compact, in one line.
impl fmt::Display for JsonValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(digits) => f.write_str(digits),
            Self::Text(text) => write_text(f, text),
            Self::List(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        f.write_char(',')?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        f.write_char(',')?;
                    }
                    write_text(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            // Separators of lines too, which some programs end a line at.
            _ if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                write!(f, "\\u{:04x}", u32::from(character))?;
            }
            _ => f.write_char(character)?,
        }
    }
    f.write_char('"')
}

/// Reads one value, which is all of `text`. `None` when it is no JSON, or lies too deep.
pub(crate) fn parse(text: &str) -> Option<JsonValue> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.blank();
    (parser.at == text.len()).then_some(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    /// Whether `token` comes next, behind blanks; then it is passed.
    fn takes(&mut self, token: &str) -> bool {
        self.blank();
        let comes = self.rest().starts_with(token);
        if comes {
            self.at += token.len();
        }
        comes
    }

    fn value(&mut self, depth: usize) -> Option<JsonValue> {
        if depth > MOST_DEPTH {
            return None;
        }
        self.blank();
        Some(match self.rest().bytes().next()? {
            b'{' => self.object(depth)?,
            b'[' => self.list(depth)?,
            b'"' => JsonValue::Text(self.string()?),
            b't' if self.takes("true") => JsonValue::Bool(true),
            b'f' if self.takes("false") => JsonValue::Bool(false),
            b'n' if self.takes("null") => JsonValue::Null,
            _ => self.number()?,
        })
    }

    fn list(&mut self, depth: usize) -> Option<JsonValue> {
        let mut items = Vec::new();
        self.takes("[");
        if self.takes("]") {
            return Some(JsonValue::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.takes("]") {
                return Some(JsonValue::List(items));
            }
            self.takes(",").then_some(())?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<JsonValue> {
        let mut members = Vec::new();
        self.takes("{");
        if self.takes("}") {
            return Some(JsonValue::Object(members));
        }
        loop {
            self.blank();
            let name = self.string()?;
            self.takes(":").then_some(())?;
            members.push((name, self.value(depth + 1)?));
            if self.takes("}") {
                return Some(JsonValue::Object(members));
            }
            self.takes(",").then_some(())?;
        }
    }

    fn number(&mut self) -> Option<JsonValue> {
        let rest = self.rest();
        let is_part = |it: char| it.is_ascii_digit() || matches!(it, '-' | '+' | '.' | 'e' | 'E');
        let digits = &rest[..rest.find(|it| !is_part(it)).unwrap_or(rest.len())];
        digits.parse::<f64>().ok().filter(|it| it.is_finite())?;
        self.at += digits.len();
        Some(JsonValue::Number(digits.to_owned()))
    }

    fn string(&mut self) -> Option<String> {
        let mut characters = self.rest().char_indices();
        (characters.next()?.1 == '"').then_some(())?;
        let mut text = String::new();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += at + 1;
                    return Some(text);
                }
                '\\' => match characters.next()?.1 {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'u' => text.push(escaped(&mut characters)?),
                    same @ ('"' | '\\' | '/') => text.push(same),
                    _ => return None,
                },
                _ if character < ' ' => return None,
                _ => text.push(character),
            }
        }
        None
    }
}

/// The character behind `\u`: two such escapes where it lies beyond the first 65,536.
fn escaped(characters: &mut std::str::CharIndices<'_>) -> Option<char> {
    let first = unit(characters)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first);
    }
    (characters.next()?.1 == '\\' && characters.next()?.1 == 'u').then_some(())?;
    let second = unit(characters)?;
    (0xDC00..0xE000).contains(&second).then_some(())?;
    char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
}

/// Four hexadecimal digits.
fn unit(characters: &mut std::str::CharIndices<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| {
        let digit = characters.next()?.1.to_digit(16)?;
        Some(value << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,",
            "{\"a\"}",
            "\"a",
            "\"\\x\"",
            "1 2",
            "nul",
            "-",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "{\"a\":1,}",
            "\"\u{1}\"",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(&"[".repeat(100_000)), None);
    }

    #[test]
    fn escapes_are_read() {
        let text = parse(r#" "\u00e9\ud83d\ude00\/\n" "#).unwrap();
        assert_eq!(text.text(), Some("é😀/\n"));
    }

    fn any_json() -> impl Strategy<Value = JsonValue> {
        let leaf = prop_oneof![
            Just(JsonValue::Null),
            any::<bool>().prop_map(JsonValue::Bool),
            any::<u64>().prop_map(JsonValue::from),
            ".{0,8}".prop_map(JsonValue::Text),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(JsonValue::List),
                prop::collection::vec((".{0,4}", inner), 0..3).prop_map(JsonValue::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_reads_the_same(value in any_json()) {
            let written = value.to_string();
            prop_assert!(!written.contains('\n'));
            prop_assert_eq!(parse(&written), Some(value));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
