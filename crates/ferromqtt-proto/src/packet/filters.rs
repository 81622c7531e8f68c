//! The Topic Filters of SUBSCRIBE and UNSUBSCRIBE, kept as the bytes that the wire carries.
//!
//! A filter may be a single character. A list of strings would take ten times the packet, and whoever sends one decides how
//! many filters it has.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::{ProtocolVersion, SubscriptionOptions};
use crate::codec::{BodyReader, put_binary};
use crate::error::DecodeError;
use crate::text::Utf8String;

/// Topic Filters with their options, in order, as SUBSCRIBE holds them (section 3.8.3).
///
/// They are held in one piece, so they take the memory that they take in a packet, and a clone shares them. They are MQTT
/// strings, but not all of them need be valid filters.
///
/// ```
/// use ferromqtt_proto::packet::SubscribeFilters;
/// use ferromqtt_proto::QoS;
///
/// let filters = SubscribeFilters::from([("a/#".try_into()?, QoS::AtLeastOnce.into())]);
/// for (filter, options) in filters.iter() {
///     assert_eq!((filter, options.qos), ("a/#", QoS::AtLeastOnce));
/// }
/// # Ok::<(), ferromqtt_proto::StringError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SubscribeFilters {
    /// The options are in the form of 5.0, which earlier versions have the first two bits of.
    encoded: Bytes,
}

impl SubscribeFilters {
    /// Whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// How many filters there are. Counts them: the cost grows with their number.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// The filters with their options, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, SubscriptionOptions)> + Clone {
        let mut rest = &*self.encoded;
        std::iter::from_fn(move || {
            let filter = take_string(&mut rest)?;
            let (&options, behind) = rest.split_first()?;
            rest = behind;
            let options = SubscriptionOptions::from_byte(options, ProtocolVersion::V5).ok()?;
            Some((filter, options))
        })
    }

    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        if version.is_v5() {
            return out.put_slice(&self.encoded);
        }
        for (filter, options) in self.iter() {
            put_binary(out, filter.as_bytes());
            out.put_u8(options.byte(version));
        }
    }

    pub(super) fn read(
        version: ProtocolVersion,
        mut body: BodyReader<'_>,
    ) -> Result<Self, DecodeError> {
        let start = body.position();
        while !body.is_empty() {
            body.check_string()?;
            SubscriptionOptions::from_byte(body.u8()?, version)?;
        }
        if body.position() == start {
            return Err(DecodeError::protocol("SUBSCRIBE has no Topic Filter"));
        }
        Ok(Self {
            encoded: body.slice_from(start),
        })
    }
}

impl FromIterator<(Utf8String, SubscriptionOptions)> for SubscribeFilters {
    fn from_iter<I: IntoIterator<Item = (Utf8String, SubscriptionOptions)>>(filters: I) -> Self {
        let mut encoded = BytesMut::new();
        for (filter, options) in filters {
            put_binary(&mut encoded, filter.as_bytes());
            encoded.put_u8(options.byte(ProtocolVersion::V5));
        }
        Self {
            encoded: encoded.freeze(),
        }
    }
}

impl From<Vec<(Utf8String, SubscriptionOptions)>> for SubscribeFilters {
    fn from(filters: Vec<(Utf8String, SubscriptionOptions)>) -> Self {
        filters.into_iter().collect()
    }
}

impl<const N: usize> From<[(Utf8String, SubscriptionOptions); N]> for SubscribeFilters {
    fn from(filters: [(Utf8String, SubscriptionOptions); N]) -> Self {
        filters.into_iter().collect()
    }
}

impl fmt::Debug for SubscribeFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Topic Filters in order, as UNSUBSCRIBE holds them (section 3.10.3). Held as [`SubscribeFilters`] are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UnsubscribeFilters {
    encoded: Bytes,
}

impl UnsubscribeFilters {
    /// Whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// How many filters there are. Counts them: the cost grows with their number.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// The filters in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        let mut rest = &*self.encoded;
        std::iter::from_fn(move || take_string(&mut rest))
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.encoded);
    }

    pub(super) fn read(mut body: BodyReader<'_>) -> Result<Self, DecodeError> {
        let start = body.position();
        while !body.is_empty() {
            body.check_string()?;
        }
        if body.position() == start {
            return Err(DecodeError::protocol("UNSUBSCRIBE has no Topic Filter"));
        }
        Ok(Self {
            encoded: body.slice_from(start),
        })
    }
}

impl FromIterator<Utf8String> for UnsubscribeFilters {
    fn from_iter<I: IntoIterator<Item = Utf8String>>(filters: I) -> Self {
        let mut encoded = BytesMut::new();
        for filter in filters {
            put_binary(&mut encoded, filter.as_bytes());
        }
        Self {
            encoded: encoded.freeze(),
        }
    }
}

impl From<Vec<Utf8String>> for UnsubscribeFilters {
    fn from(filters: Vec<Utf8String>) -> Self {
        filters.into_iter().collect()
    }
}

impl<const N: usize> From<[Utf8String; N]> for UnsubscribeFilters {
    fn from(filters: [Utf8String; N]) -> Self {
        filters.into_iter().collect()
    }
}

impl fmt::Debug for UnsubscribeFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Takes the string at the front of `rest`, which was checked by whatever put it there, behind its two-byte length.
pub(super) fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, behind) = rest.split_first_chunk()?;
    let (string, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
    *rest = behind;
    std::str::from_utf8(string).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, decode};
    use super::*;

    fn filters_of(packet: &Packet) -> Vec<&str> {
        match packet {
            Packet::Subscribe(it) => it.filters.iter().map(|(filter, _)| filter).collect(),
            Packet::Unsubscribe(it) => it.filters.iter().collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn filters_are_a_slice_of_what_they_were_read_from_mqtt_3_8_3_1() {
        for (version, packet) in [
            (
                ProtocolVersion::V5,
                &b"\x82\x0a\x00\x01\x00\x00\x01a\x2d\x00\x00\x02"[..],
            ),
            (
                ProtocolVersion::V311,
                b"\x82\x09\x00\x01\x00\x01a\x01\x00\x00\x02",
            ),
            (
                ProtocolVersion::V5,
                b"\xa2\x08\x00\x01\x00\x00\x01a\x00\x00",
            ),
            (ProtocolVersion::V311, b"\xa2\x07\x00\x01\x00\x01a\x00\x00"),
        ] {
            let source = Bytes::copy_from_slice(packet);
            let read = decode(&source, &mut 0, version).unwrap();
            let filters = filters_of(&read);
            assert_eq!(filters, ["a", ""]);
            assert!(source.as_ptr_range().contains(&filters[0].as_ptr()));
            let mut written = BytesMut::new();
            read.encode(version, &mut written);
            assert_eq!(written, packet);
        }
    }

    #[test]
    fn options_that_a_version_does_not_have_are_left_out_mqtt_3_8_3_5() {
        let options = SubscriptionOptions::from_byte(0x2e, ProtocolVersion::V5).unwrap();
        let filters = SubscribeFilters::from([(Utf8String::new(), options)]);
        assert_eq!(filters.iter().next(), Some(("", options)));
        for (version, expected) in [(ProtocolVersion::V5, 0x2e), (ProtocolVersion::V311, 2)] {
            let mut written = BytesMut::new();
            filters.encode(version, &mut written);
            assert_eq!(written, [0, 0, expected][..]);
        }
    }

    #[test]
    fn a_fault_in_any_filter_is_found_when_the_packet_is_read() {
        for packet in [
            &b"\x82\x0a\x00\x01\x00\x00\x01a\x2d\x00\x00\x03"[..],
            b"\x82\x0b\x00\x01\x00\x00\x01a\x2d\x00\x01\x00\x00",
            b"\x82\x09\x00\x01\x00\x00\x01a\x00\x00\x00",
            b"\x82\x03\x00\x01\x00",
            b"\xa2\x08\x00\x01\x00\x00\x01a\x00\x01",
            b"\xa2\x07\x00\x01\x00\x00\x01\xff\x00",
            b"\xa2\x03\x00\x01\x00",
        ] {
            let source = Bytes::copy_from_slice(packet);
            let read = decode(&source, &mut 0, ProtocolVersion::V5);
            assert!(read.is_err(), "{packet:02x?}");
        }
    }
}
