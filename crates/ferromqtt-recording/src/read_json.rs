//! Reads JSON, by serde_json.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::JsonValue;

/// How deep lists and objects may lie in each other: the lines of a recording reach four.
const MOST_DEPTH: usize = 8;

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

/// Reads one value, which is all of `text`. `None` when it is no JSON, or lies too deep.
pub(crate) fn parse(text: &str) -> Option<JsonValue> {
    value(serde_json::from_str(text).ok()?, MOST_DEPTH)
}

/// What lies in `raw`, which serde_json has found to be one value. Its own `Value` would sort members and round numbers, unless
/// Cargo features were on that change it for every other crate of the user's program too.
fn value(raw: &RawValue, depth: usize) -> Option<JsonValue> {
    let text = raw.get();
    Some(match text.bytes().next()? {
        b'{' => {
            let depth = depth.checked_sub(1)?;
            let RawMembers(members) = serde_json::from_str(text).ok()?;
            let members = members.into_iter();
            let members = members.map(|(name, raw)| Some((name, value(raw, depth)?)));
            JsonValue::Object(members.collect::<Option<_>>()?)
        }
        b'[' => {
            let depth = depth.checked_sub(1)?;
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let items = items.into_iter().map(|raw| value(raw, depth));
            JsonValue::List(items.collect::<Option<_>>()?)
        }
        b'"' => JsonValue::Text(serde_json::from_str(text).ok()?),
        b't' | b'f' => JsonValue::Bool(serde_json::from_str(text).ok()?),
        b'n' => JsonValue::Null,
        _ => JsonValue::Number(text.to_owned()),
    })
}

/// The members of an object as they stand there.
struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = RawMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<RawMembers<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = source.next_entry()? {
            members.push(member);
        }
        Ok(RawMembers(members))
    }
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
            "+1",
            "01",
            "1.",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "{\"a\":1,}",
            "\"\u{1}\"",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    /// Values are shown, compared and dropped by recursion.
    #[test]
    fn a_value_that_lies_too_deep_is_refused() {
        let lists = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        let objects =
            |depth: usize| ["{\"a\":".repeat(depth), "0".into(), "}".repeat(depth)].concat();
        for text in [lists(MOST_DEPTH), objects(MOST_DEPTH)] {
            assert_eq!(parse(&text).map(|it| it.to_string()), Some(text));
        }
        for depth in [MOST_DEPTH + 1, 100_000] {
            assert_eq!(parse(&lists(depth)), None);
            assert_eq!(parse(&objects(depth)), None);
        }
        assert_eq!(parse(&"[".repeat(100_000)), None);
    }

    #[test]
    fn members_keep_their_order_and_numbers_their_digits() {
        let text = r#"{"b":1.500000,"a":{"d":-2,"c":123456789012345678901234567890}}"#;
        assert_eq!(parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn escapes_are_read() {
        let text = parse(r#" "\u00e9\ud83d\ude00\/\n" "#).unwrap();
        assert_eq!(text.text(), Some("é😀/\n"));
    }

    #[test]
    fn what_a_terminal_obeys_or_ends_a_line_is_escaped() {
        let text = JsonValue::from("\u{1b}\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}");
        let expected = r#""\u001b\u007f\u0085\u009b\u2028\u2029\u202e""#;
        assert_eq!(text.to_string(), expected);
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
