//! An object of JSON in one line, with its members in the order in which they are given.

use std::fmt::Write;

use serde::Serialize;

use super::terminal_text::{is_harmless_ascii, is_hostile};

pub(crate) struct JsonLine(String);

impl JsonLine {
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    pub(crate) fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        // Numbers, texts and lists of them are always JSON.
        let value = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
        self.raw(name, &value);
    }

    pub(crate) fn object(&mut self, name: &str, value: Self) {
        self.raw(name, &value.closed());
    }

    pub(crate) fn objects(&mut self, name: &str, values: impl Iterator<Item = Self>) {
        let values: Vec<_> = values.map(Self::closed).collect();
        self.raw(name, &format!("[{}]", values.join(",")));
    }

    fn raw(&mut self, name: &str, value: &str) {
        let comma = if self.0.len() == 1 { "" } else { "," };
        let _ = write!(self.0, "{comma}\"{name}\":{value}");
    }

    fn closed(mut self) -> String {
        self.0.push('}');
        self.0
    }

    /// The line. Characters that a terminal would obey are escaped: they stand in texts alone.
    pub(crate) fn finish(self) -> String {
        let line = self.closed();
        if is_harmless_ascii(line.as_bytes()) || !line.contains(is_hostile) {
            return line;
        }
        let mut escaped = String::with_capacity(line.len());
        for character in line.chars() {
            if is_hostile(character) {
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            } else {
                escaped.push(character);
            }
        }
        escaped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_texts_come_back_as_they_were() {
        let hostile = "\u{1b}[2J\u{9b}\u{202e}\u{feff}\r\n\"\\é";
        let mut inner = JsonLine::new();
        inner.member("z", &1);
        let mut line = JsonLine::new();
        line.member("topic", hostile);
        line.member("none", &None::<u64>);
        line.object("inner", inner);
        line.objects("list", std::iter::empty());
        let line = line.finish();
        assert!(!line.contains(is_hostile), "{line:?}");
        assert!(
            line.ends_with(r#","none":null,"inner":{"z":1},"list":[]}"#),
            "{line}"
        );
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["topic"], hostile);
    }
}
