//! User Properties (section 2.2.2.2), kept as the bytes that the wire carries.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::filters::take_string;
use crate::codec::{BodyReader, put_binary};
use crate::error::{DecodeError, StringError};
use crate::text::{self, Utf8String};

/// The identifier in front of each User Property.
pub(super) const USER_PROPERTY: u8 = 0x26;

/// The identifier and two length fields: what a pair takes beside its texts.
const OVERHEAD: usize = 5;

/// User Properties (section 2.2.2.2): pairs of a name and a value, in order. Names may repeat (MQTT-3.3.2-18).
///
/// The pairs are held in one piece, encoded as the wire carries them. So they take the memory that they take in a packet,
/// however short they are, and a clone shares them. Those that came from the wire are a slice of the receive buffer, and
/// were checked once, when they were read.
///
/// ```
/// use ferromqtt_proto::UserProperties;
///
/// let mut properties = UserProperties::new();
/// properties.push(("from".try_into()?, "me".try_into()?));
/// properties.try_push("unit", "degrees")?;
/// let pairs: Vec<(&str, &str)> = properties.iter().collect();
/// assert_eq!(pairs, [("from", "me"), ("unit", "degrees")]);
/// # Ok::<(), ferromqtt_proto::StringError>(())
/// ```
///
/// `Debug` shows how many pairs and bytes there are, and not the texts.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct UserProperties {
    encoded: Bytes,
}

impl UserProperties {
    /// No pairs.
    pub const fn new() -> Self {
        Self {
            encoded: Bytes::new(),
        }
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// How many pairs there are. Counts them: the cost grows with their number.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// How many bytes the pairs take in a packet, and in memory.
    pub fn encoded_len(&self) -> usize {
        self.encoded.len()
    }

    /// The pairs in their order.
    pub fn iter(&self) -> UserPropertiesIter<'_> {
        UserPropertiesIter {
            rest: &self.encoded,
        }
    }

    /// Appends a pair. The first time after a clone, or after the pairs came from the wire, it copies those before.
    pub fn push(&mut self, (name, value): (Utf8String, Utf8String)) {
        self.extend([(name, value)]);
    }

    /// Appends a pair, as [`push`](Self::push) does.
    ///
    /// # Errors
    /// When one of the texts is no MQTT string: longer than 65,535 bytes, or contains U+0000. Nothing is appended then.
    pub fn try_push(&mut self, name: &str, value: &str) -> Result<(), StringError> {
        text::check(name.as_bytes())?;
        text::check(value.as_bytes())?;
        self.edit(0, |out| put_pair(out, name.as_bytes(), value.as_bytes()));
        Ok(())
    }

    /// Removes all pairs.
    pub fn clear(&mut self) {
        self.encoded = Bytes::new();
    }

    /// Copies the pairs into memory of their own, so that they keep no receive buffer alive.
    pub fn detach(&mut self) {
        self.encoded = Bytes::copy_from_slice(&self.encoded);
    }

    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Reads the pair behind an identifier that has been read, and all pairs that follow it directly.
    ///
    /// `behind` counts the bytes of further pairs behind those: it is asked when these pairs are not the first, so that all
    /// are copied together once.
    pub(super) fn read<'a>(
        &mut self,
        body: &mut BodyReader<'a>,
        behind: impl FnOnce(BodyReader<'a>) -> Result<usize, DecodeError>,
    ) -> Result<(), DecodeError> {
        let start = body.position() - 1;
        loop {
            body.check_string()?;
            body.check_string()?;
            if !body.skip_if(USER_PROPERTY) {
                break;
            }
        }
        let pairs = body.slice_from(start);
        if self.is_empty() {
            self.encoded = pairs;
            return Ok(());
        }
        let room = if self.encoded.is_unique() {
            0 // it was made for all of them
        } else {
            pairs.len() + behind(body.clone())?
        };
        self.edit(room, |out| out.extend_from_slice(&pairs));
        Ok(())
    }

    /// Changes the encoded form in place, or else a copy with room for so many bytes more.
    fn edit(&mut self, room: usize, change: impl FnOnce(&mut BytesMut)) {
        let mut own = std::mem::take(&mut self.encoded)
            .try_into_mut()
            .unwrap_or_else(|shared| {
                let mut copy = BytesMut::with_capacity(shared.len() + room);
                copy.extend_from_slice(&shared);
                copy
            });
        change(&mut own);
        self.encoded = own.freeze();
    }
}

fn put_pair(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(OVERHEAD + name.len() + value.len());
    out.extend_from_slice(&[USER_PROPERTY]);
    put_binary(out, name);
    put_binary(out, value);
}

impl Extend<(Utf8String, Utf8String)> for UserProperties {
    fn extend<I: IntoIterator<Item = (Utf8String, Utf8String)>>(&mut self, pairs: I) {
        self.edit(0, |out| {
            for (name, value) in pairs {
                put_pair(out, name.as_bytes(), value.as_bytes());
            }
        });
    }
}

impl FromIterator<(Utf8String, Utf8String)> for UserProperties {
    fn from_iter<I: IntoIterator<Item = (Utf8String, Utf8String)>>(pairs: I) -> Self {
        let mut properties = Self::new();
        properties.extend(pairs);
        properties
    }
}

impl From<Vec<(Utf8String, Utf8String)>> for UserProperties {
    fn from(pairs: Vec<(Utf8String, Utf8String)>) -> Self {
        pairs.into_iter().collect()
    }
}

impl<const N: usize> From<[(Utf8String, Utf8String); N]> for UserProperties {
    fn from(pairs: [(Utf8String, Utf8String); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a UserProperties {
    type Item = (&'a str, &'a str);
    type IntoIter = UserPropertiesIter<'a>;

    fn into_iter(self) -> UserPropertiesIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for UserProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserProperties")
            .field("pairs", &self.len())
            .field("bytes", &self.encoded_len())
            .finish()
    }
}

/// The pairs of [`UserProperties`], name and value.
#[derive(Clone)]
pub struct UserPropertiesIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for UserPropertiesIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (_identifier, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some((take_string(&mut self.rest)?, take_string(&mut self.rest)?))
    }
}

impl std::iter::FusedIterator for UserPropertiesIter<'_> {}

impl fmt::Debug for UserPropertiesIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserPropertiesIter")
            .field("bytes", &self.rest.len())
            .finish_non_exhaustive()
    }
}
