//! The standard's UTF-8 Encoded String (section 1.5.4).

use std::fmt;
use std::ops::{Deref, Range};
use std::str::FromStr;

use bytes::Bytes;

use crate::error::{DecodeError, StringError};

/// A string as MQTT knows it: well-formed UTF-8 without U+0000, at most 65,535 bytes (MQTT-1.5.4-1, MQTT-1.5.4-2).
///
/// It shares its bytes: a clone costs a reference count, and a string that came from the wire is a slice of the
/// receive buffer. U+FEFF is kept wherever it stands (MQTT-1.5.4-3).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utf8String(Bytes);

impl Utf8String {
    /// The empty string.
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// Checks a string that came from the peer, and takes it out of `source`.
    pub(crate) fn from_wire(source: &Bytes, field: Range<usize>) -> Result<Self, DecodeError> {
        check_wire(&source[field.clone()])?;
        Ok(Self(source.slice(field)))
    }

    /// The same of the Topic Name of a PUBLISH, which may be empty beside a Topic Alias.
    pub(crate) fn topic_from_wire(
        source: &Bytes,
        field: Range<usize>,
    ) -> Result<Self, DecodeError> {
        let topic = &source[field.clone()];
        if !is_plain(topic) {
            if has_wildcard(topic) {
                return Err(DecodeError::malformed("PUBLISH topic contains a wildcard"));
            }
            check_wire(topic)?;
        }
        Ok(Self(source.slice(field)))
    }

    /// Takes over `text` without copying it.
    ///
    /// # Errors
    /// When the text is longer than 65,535 bytes or contains U+0000.
    pub fn from_string(text: String) -> Result<Self, StringError> {
        check(text.as_bytes())?;
        Ok(Self(Bytes::from(text)))
    }

    /// Checks without keeping anything: what [`Utf8String::from_string`] would say of `text`.
    ///
    /// # Errors
    /// As [`Utf8String::from_string`].
    pub fn check(text: &str) -> Result<(), StringError> {
        check(text.as_bytes())
    }

    /// Wraps a string constant without copying it.
    ///
    /// # Errors
    /// As [`Utf8String::from_string`].
    pub fn from_static(text: &'static str) -> Result<Self, StringError> {
        check(text.as_bytes())?;
        Ok(Self(Bytes::from_static(text.as_bytes())))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default() // checked by every constructor
    }

    /// The bytes of the text, as a cheap clone.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no character at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy with memory of its own, which keeps no receive buffer alive.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

/// Whether `text` is ASCII without U+0000, `+` and `#`, as nearly all strings and topics are: then it needs no closer look.
///
/// It looks at eight bytes together and for all four faults at once: one byte and one check after another would be the
/// dearest part of reading a PUBLISH.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let (words, _) = text.as_chunks();
    let Some(last) = text.last_chunk() else {
        let mut padded = [b' '; 8];
        padded[..text.len()].copy_from_slice(text);
        return are_plain(padded);
    };
    // The last eight bytes may overlap with those before: cheaper than to take what is left over one by one.
    words.iter().chain([last]).all(|bytes| are_plain(*bytes))
}

const EACH_BYTE: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = 0x80 * EACH_BYTE;

/// The same of eight bytes.
const fn are_plain(bytes: [u8; 8]) -> bool {
    let word = u64::from_ne_bytes(bytes);
    // `+` and `#` differ in one bit: with that one set, the exclusive or makes both zero. Adding 0x7f sets the high bit of
    // every ASCII byte but zero; that of another may be carried into the next byte, but makes the answer no anyway.
    let no_wildcard = (word | (0x08 * EACH_BYTE)) ^ (b'+' as u64 * EACH_BYTE);
    let ascii = !word;
    let not_zero = word.wrapping_add(0x7f * EACH_BYTE);
    let not_wildcard = no_wildcard.wrapping_add(0x7f * EACH_BYTE);
    ascii & not_zero & not_wildcard & HIGH_BITS == HIGH_BITS
}

/// Whether `text` holds a wildcard of Topic Filters.
pub(crate) fn has_wildcard(text: &[u8]) -> bool {
    !is_plain(text) && text.iter().any(|&byte| byte == b'+' || byte == b'#')
}

/// What every string from the wire must keep to: well-formed UTF-8, no U+0000. Its length always fits.
pub(crate) fn check_wire(text: &[u8]) -> Result<(), DecodeError> {
    if is_plain(text) {
        return Ok(());
    }
    if std::str::from_utf8(text).is_err() {
        return Err(DecodeError::malformed("string is not well-formed UTF-8"));
    }
    if text.contains(&0) {
        return Err(DecodeError::malformed("string contains U+0000"));
    }
    Ok(())
}

/// What every string must keep to: at most 65,535 bytes, no U+0000.
pub(crate) fn check(text: &[u8]) -> Result<(), StringError> {
    if text.len() > usize::from(u16::MAX) {
        return Err(StringError::TooLong { bytes: text.len() });
    }
    if text.contains(&0) {
        return Err(StringError::Nul);
    }
    Ok(())
}

/// Has a type of text compare with every other form of text, in both directions.
macro_rules! compares_as_text {
    ($name:ident: $($other:ty),+) => {$(
        impl PartialEq<$other> for $name {
            fn eq(&self, other: &$other) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<$name> for $other {
            fn eq(&self, other: &$name) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }
    )+};
}

pub(crate) use compares_as_text;

impl Deref for Utf8String {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8String {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl TryFrom<&str> for Utf8String {
    type Error = StringError;

    fn try_from(text: &str) -> Result<Self, StringError> {
        Self::from_string(text.to_owned())
    }
}

impl TryFrom<String> for Utf8String {
    type Error = StringError;

    fn try_from(text: String) -> Result<Self, StringError> {
        Self::from_string(text)
    }
}

impl FromStr for Utf8String {
    type Err = StringError;

    fn from_str(text: &str) -> Result<Self, StringError> {
        text.try_into()
    }
}

impl From<Utf8String> for String {
    fn from(text: Utf8String) -> Self {
        text.as_str().to_owned()
    }
}

compares_as_text!(Utf8String: str, &str, String);

impl fmt::Display for Utf8String {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Utf8String {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_wire(text: &[u8]) -> Result<Utf8String, DecodeError> {
        Utf8String::from_wire(&Bytes::copy_from_slice(text), 0..text.len())
    }

    #[test]
    fn a_string_with_u0000_is_refused_mqtt_1_5_4_2() {
        assert_eq!(Utf8String::try_from("a\0b"), Err(StringError::Nul));
        assert!(from_wire(b"a\0b").is_err());
    }

    #[test]
    fn surrogates_and_broken_utf8_from_the_wire_are_malformed_mqtt_1_5_4_1() {
        assert!(from_wire(b"\xed\xa0\x80").is_err());
        assert!(from_wire(b"\xff").is_err());
    }

    #[test]
    fn u_feff_is_kept_mqtt_1_5_4_3() {
        let text = from_wire(b"\xef\xbb\xbfx").unwrap();
        assert_eq!(text.as_str(), "\u{feff}x");
    }

    #[test]
    fn a_fault_is_seen_at_every_place_of_a_string_of_any_length() {
        for length in 0..40 {
            let text = vec![b'a'; length];
            assert!(is_plain(&text), "{length}");
            for (at, byte) in (0..length).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
                let mut text = text.clone();
                text[at] = byte;
                let plain = byte.is_ascii() && !matches!(byte, 0 | b'+' | b'#');
                assert_eq!(is_plain(&text), plain, "{text:?}");
                assert_eq!(has_wildcard(&text), matches!(byte, b'+' | b'#'), "{text:?}");
                let valid = byte.is_ascii() && byte != 0;
                assert_eq!(from_wire(&text).is_ok(), valid);
            }
        }
    }

    #[test]
    fn two_faults_do_not_hide_each_other() {
        let bytes = [0, 1, b'#', b'+', b'a', 0x7f, 0x80, 0xff];
        for (first, second) in bytes.into_iter().flat_map(|a| bytes.map(|b| (a, b))) {
            for at in 0..15 {
                let mut text = [b'a'; 16];
                text[at] = first;
                text[at + 1] = second;
                let plain = [first, second]
                    .iter()
                    .all(|byte| byte.is_ascii() && !matches!(byte, 0 | b'+' | b'#'));
                assert_eq!(is_plain(&text), plain, "{text:?}");
            }
        }
    }

    #[test]
    fn a_string_compares_with_every_form_of_text_and_is_made_of_it_and_back() {
        let text: Utf8String = "a\u{e9}".parse().unwrap();
        let owned = String::from("a\u{e9}");
        assert_eq!(text, *"a\u{e9}");
        assert_eq!(*"a\u{e9}", text);
        assert_eq!(text, "a\u{e9}");
        assert_eq!("a\u{e9}", text);
        assert_eq!(text, owned);
        assert_eq!(owned, text);
        assert_ne!(text, "b");
        assert_eq!(String::from(text), owned);
        assert_eq!("a\0".parse::<Utf8String>(), Err(StringError::Nul));
    }

    #[test]
    fn length_counts_bytes_not_characters() {
        assert!(Utf8String::from_string("a".repeat(65_535)).is_ok());
        assert_eq!(
            Utf8String::from_string("\u{e9}".repeat(32_768)),
            Err(StringError::TooLong { bytes: 65_536 })
        );
    }
}
