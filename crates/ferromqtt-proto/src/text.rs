//! The standard's UTF-8 Encoded String (section 1.5.4).

use std::fmt;
use std::ops::Deref;

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

    /// Checks a string that came from the peer.
    pub(crate) fn from_wire(bytes: Bytes) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| DecodeError::malformed("string is not well-formed UTF-8"))?;
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::malformed("string contains U+0000"));
        }
        Ok(Self(bytes))
    }

    /// Takes over `text` without copying it.
    ///
    /// # Errors
    /// When the text is longer than 65,535 bytes or contains U+0000.
    pub fn from_string(text: String) -> Result<Self, StringError> {
        check(text.as_bytes())?;
        Ok(Self(Bytes::from(text)))
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

impl PartialEq<str> for Utf8String {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Utf8String {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

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

    #[test]
    fn a_string_with_u0000_is_refused_mqtt_1_5_4_2() {
        assert_eq!(Utf8String::try_from("a\0b"), Err(StringError::Nul));
        assert!(Utf8String::from_wire(Bytes::from_static(b"a\0b")).is_err());
    }

    #[test]
    fn surrogates_and_broken_utf8_from_the_wire_are_malformed_mqtt_1_5_4_1() {
        assert!(Utf8String::from_wire(Bytes::from_static(b"\xed\xa0\x80")).is_err());
        assert!(Utf8String::from_wire(Bytes::from_static(b"\xff")).is_err());
    }

    #[test]
    fn u_feff_is_kept_mqtt_1_5_4_3() {
        let text = Utf8String::from_wire(Bytes::from_static(b"\xef\xbb\xbfx")).unwrap();
        assert_eq!(text.as_str(), "\u{feff}x");
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
