//! What `Debug`, errors and logs show of what they must not repeat: payloads, what authenticates, and what a peer says.
//!
//! A type that holds such a field has its `Debug` written by [`debug_fields!`](crate::debug_fields), which names every
//! field, so that a new one does not compile before it is decided how it is shown. Everything around it derives `Debug`.
//!
//! ```
//! use bytes::Bytes;
//! use ferromqtt_proto::debug_fields;
//!
//! struct Login {
//!     user_name: String,
//!     password: Option<Bytes>,
//!     greeting: Bytes,
//! }
//!
//! debug_fields!(Login { user_name, password: masked, greeting: length });
//!
//! let login = Login {
//!     user_name: "station-7".to_owned(),
//!     password: Some("geheim".into()),
//!     greeting: "hello".into(),
//! };
//! let shown = r#"Login { user_name: "station-7", password: Some(***), greeting: 5 bytes }"#;
//! assert_eq!(format!("{login:?}"), shown);
//! ```

mod secrets;

use std::fmt::{self, Write};

pub(crate) use secrets::Secrets;

/// Stands for bytes that are not shown: `Debug` shows how many there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Length(pub usize);

impl fmt::Debug for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.0 == 1 { "byte" } else { "bytes" };
        write!(f, "{} {unit}", self.0)
    }
}

/// Stands for a collection whose elements are not shown: `Debug` shows how many there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Count(pub usize);

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hidden", self.0)
    }
}

/// Stands for what authenticates somebody, or distinguishes one request from another: `Debug` shows neither it nor its length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Masked;

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Text of a peer's: `Debug` shows it in quotation marks, as [`peer_text`] has it.
#[derive(Clone, Copy)]
pub(crate) struct PeerText<'a>(pub(crate) &'a str);

impl fmt::Debug for PeerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", peer_text(self.0, &[]))
    }
}

/// Implements `Debug` for a struct. A field stands for itself (its own `Debug`), or says behind a colon how it is shown:
///
/// | how | what is shown |
/// | --- | --- |
/// | `length` | how many bytes it has ([`Length`](crate::shown::Length)) |
/// | `count` | how many elements it has ([`Count`](crate::shown::Count)) |
/// | `masked` | of an `Option`, whether there is something ([`Masked`](crate::shown::Masked)) |
/// | `hidden` | nothing ([`Masked`](crate::shown::Masked)) |
///
/// All fields have to be named. See [`shown`](crate::shown) for an example.
#[macro_export]
macro_rules! debug_fields {
    ($type:ident $(<$lifetime:lifetime>)? { $($field:ident $(: $how:ident)?),+ $(,)? }) => {
        impl $(<$lifetime>)? ::std::fmt::Debug for $type $(<$lifetime>)? {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let Self { $($field),+ } = self;
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($field), $crate::debug_fields!(@ $field $($how)?)))+
                    .finish()
            }
        }
    };
    (@ $field:ident) => { $field };
    (@ $field:ident length) => { &$crate::shown::Length($field.len()) };
    (@ $field:ident count) => { &$crate::shown::Count($field.len()) };
    (@ $field:ident masked) => { &$field.as_ref().map(|_| $crate::shown::Masked) };
    (@ $field:ident hidden) => {{
        let _ = $field;
        &$crate::shown::Masked
    }};
}

/// How much of a peer's text is shown, in bytes.
const MOST_SHOWN: usize = 200;

/// What is shown in place of a text that repeats a secret.
pub(crate) const REPEATS: &str = "(left out: the text repeats a secret of this client)";

/// A text of a peer's, fit for one line of an error or a log: at most 200 bytes, control characters escaped, and replaced as
/// a whole when it repeats one of `secrets`, or eight bytes in a row of one.
///
/// Secrets are found as they are, percent-encoded, in hexadecimal digits and in Base64, in capital and small letters.
#[must_use]
pub fn peer_text(text: &str, secrets: &[&[u8]]) -> String {
    if Secrets::new(secrets.iter().copied()).are_in(text) {
        return REPEATS.to_owned();
    }
    let mut shown = String::new();
    for character in text.chars() {
        if shown.len() >= MOST_SHOWN {
            shown.push('…');
            break;
        }
        if character.is_control() || is_invisible(character) {
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a character changes how a line looks and is not seen itself: a mark of direction, a joiner, a separator of lines.
#[must_use]
pub const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"s3cr3t/p+ss w%rd";

    fn shown(text: &str) -> String {
        peer_text(text, &[SECRET])
    }

    #[test]
    fn a_text_that_repeats_a_secret_is_left_out() {
        for text in [
            "bad password s3cr3t/p+ss w%rd",
            "BAD PASSWORD S3CR3T/P+SS W%RD",
            "bad token=s3cr3t%2Fp%2Bss%20w%25rd",
            "bad token=s3cr3t%2fp%2bss+w%25rd",
            "bad 7333637233742f702b737320772572 64",
            "bad 7333637233742F702B7373207725",
            "Basic czNjcjN0L3Arc3MgdyVyZA==",
            "begins with s3cr3t/p",
        ] {
            assert_eq!(shown(text), REPEATS, "{text}");
        }
        for text in ["not authorized", "", "s3cr3t", "%", "%s3", "a%zz"] {
            assert_eq!(shown(text), text);
        }
    }

    /// What stands before it decides in which groups of three Base64 takes it.
    #[test]
    fn a_secret_is_found_in_base64_behind_any_user_name() {
        for encoded in [
            "czNjcjN0L3Arc3MgdyVyZA==",     // alone
            "dTpzM2NyM3QvcCtzcyB3JXJk",     // u:
            "dXM6czNjcjN0L3Arc3MgdyVyZA==", // us:
            "dXNlcjpzM2NyM3QvcCtzcyB3JXJk", // user:
        ] {
            assert_eq!(shown(&format!("Basic {encoded}")), REPEATS, "{encoded}");
        }
    }

    #[test]
    fn a_secret_is_found_where_the_text_is_cut_off() {
        for before in MOST_SHOWN - 20..MOST_SHOWN + 20 {
            let text = "x".repeat(before) + "s3cr3t/p+ss w%rd";
            assert!(!shown(&text).contains("s3c"), "{before}");
        }
    }

    #[test]
    fn a_short_secret_is_found_as_a_word() {
        assert_eq!(peer_text("user me, password ab?", &[b"ab"]), REPEATS);
        assert_eq!(peer_text("not able", &[b"ab"]), "not able");
        assert_eq!(peer_text("anything", &[b"", b"thing"]), REPEATS);
        assert_eq!(peer_text("anything", &[b""]), "anything");
    }

    #[test]
    fn a_long_text_is_cut_and_control_characters_are_escaped() {
        let long = shown(&"é".repeat(300));
        assert!(long.len() < MOST_SHOWN + 5 && long.ends_with('…'), "{long}");
        let lines = shown("one\r\ntwo\u{1b}[31m\u{202e}three");
        assert_eq!(lines, "one\\r\\ntwo\\u{1b}[31m\\u{202e}three");
    }
}
