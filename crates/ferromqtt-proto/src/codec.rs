//! Reading and writing the standard's data types (section 1.5 of MQTT 5.0) and the fixed header (2.1).
//!
//! Reading works on one shared [`Bytes`] with a cursor, so that strings and payloads become slices of the
//! receive buffer and are never copied. Writing appends to a [`BytesMut`] and patches lengths afterwards.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::DecodeError;
use crate::text::{self, Utf8String};

/// The largest value of a Variable Byte Integer (section 1.5.5), and so of a Remaining Length.
pub const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// How many bytes `value` takes as a Variable Byte Integer.
pub(crate) const fn var_int_len(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// Appends `value` as a Variable Byte Integer in the fewest bytes (MQTT-1.5.5-1).
pub(crate) fn put_var_int(out: &mut BytesMut, mut value: usize) {
    debug_assert!(value <= MAX_REMAINING_LENGTH);
    while value > 0x7f {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Appends binary data behind its two-byte length (section 1.5.6).
pub(crate) fn put_binary(out: &mut BytesMut, data: &[u8]) {
    debug_assert!(data.len() <= usize::from(u16::MAX));
    out.put_u16(data.len() as u16);
    out.put_slice(data);
}

/// Appends whatever `body` writes, behind its length as a Variable Byte Integer.
///
/// One length byte is assumed, since nearly all packets and property blocks are that short; a longer body is moved up.
pub(crate) fn put_with_length(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u8(0);
    body(out);
    let length = out.len() - at - 1;
    if length <= 0x7f {
        out[at] = length as u8;
        return;
    }
    let extra = var_int_len(length) - 1;
    if extra > 0 {
        out.put_bytes(0, extra);
        out.copy_within(at + 1..at + 1 + length, at + 1 + extra);
    }
    let mut rest = length;
    for byte in &mut out[at..=at + extra] {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    out[at + extra] &= 0x7f;
}

/// The fixed header of a packet: its first byte, where its body starts, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// Packet type (high four bits) and flags (low four bits).
    pub first_byte: u8,
    /// Length of the fixed header: 2 to 5 bytes.
    pub header_len: usize,
    /// Length of all that follows the fixed header.
    pub remaining_length: usize,
}

impl FixedHeader {
    /// Reads the fixed header at the front of `input`; `None` while bytes are missing.
    ///
    /// # Errors
    /// Malformed Packet when the Remaining Length takes more than four bytes, or more bytes than it needs (MQTT-1.5.5-1).
    pub fn read(input: &[u8]) -> Result<Option<Self>, DecodeError> {
        // Nearly all packets are so short.
        if let [first_byte, length @ 0..=0x7f, ..] = *input {
            return Ok(Some(Self {
                first_byte,
                header_len: 2,
                remaining_length: length.into(),
            }));
        }
        let Some(&first_byte) = input.first() else {
            return Ok(None);
        };
        let mut remaining_length = 0;
        for (index, &byte) in input[1..].iter().take(4).enumerate() {
            remaining_length |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(DecodeError::malformed(
                        "Remaining Length is not in its shortest form",
                    ));
                }
                return Ok(Some(Self {
                    first_byte,
                    header_len: index + 2,
                    remaining_length,
                }));
            }
        }
        if input.len() >= 5 {
            return Err(DecodeError::malformed(
                "Remaining Length takes more than four bytes",
            ));
        }
        Ok(None)
    }

    /// Length of the whole packet, fixed header included: what Maximum Packet Size limits.
    pub const fn packet_len(&self) -> usize {
        self.header_len + self.remaining_length
    }
}

pub(crate) const BYTES_LEFT: DecodeError =
    DecodeError::malformed("packet has bytes behind its last field");

const ENDS_EARLY: DecodeError = DecodeError::malformed("packet ends in the middle of a field");

/// A cursor over one packet body inside a shared buffer.
#[derive(Clone)]
pub(crate) struct BodyReader<'a> {
    source: &'a Bytes,
    /// What has not been read yet.
    rest: &'a [u8],
    /// Where that ends in `source`.
    end: usize,
}

impl<'a> BodyReader<'a> {
    pub(crate) fn new(source: &'a Bytes, at: usize, end: usize) -> Self {
        let rest = &source[at..end];
        Self { source, rest, end }
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads a field of `N` bytes.
    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (&field, rest) = self.rest.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(field)
    }

    /// Moves past `length` bytes and returns where they are in the source.
    #[inline]
    fn advance(&mut self, length: usize) -> Result<Range<usize>, DecodeError> {
        let start = self.position();
        self.rest = self.rest.get(length..).ok_or(ENDS_EARLY)?;
        Ok(start..start + length)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn var_int(&mut self) -> Result<usize, DecodeError> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(DecodeError::malformed(
                        "Variable Byte Integer is not in its shortest form",
                    ));
                }
                return Ok(value);
            }
        }
        Err(DecodeError::malformed(
            "Variable Byte Integer takes more than four bytes",
        ))
    }

    /// Moves past a field behind its two-byte length, and returns where it is in the source.
    #[inline]
    fn field(&mut self) -> Result<Range<usize>, DecodeError> {
        let length = self.u16()?;
        self.advance(length.into())
    }

    pub(crate) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let field = self.field()?;
        Ok(self.source.slice(field))
    }

    /// Moves past a string and checks it, without taking it out of the source.
    #[inline]
    pub(crate) fn check_string(&mut self) -> Result<(), DecodeError> {
        let length = self.u16()?;
        let (string, rest) = (self.rest.split_at_checked(length.into())).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        text::check_wire(string)
    }

    /// Moves past the next byte if it is this one.
    #[inline]
    pub(crate) fn skip_if(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// Where what has not been read yet starts in the source.
    #[inline]
    pub(crate) const fn position(&self) -> usize {
        self.end - self.rest.len()
    }

    /// What was read since `start`, a [`position`](Self::position) of before.
    pub(crate) fn slice_from(&self, start: usize) -> Bytes {
        self.source.slice(start..self.position())
    }

    pub(crate) fn string(&mut self) -> Result<Utf8String, DecodeError> {
        let field = self.field()?;
        Utf8String::from_wire(self.source, field)
    }

    /// The Topic Name of a PUBLISH, which may be empty beside a Topic Alias.
    pub(crate) fn topic(&mut self) -> Result<Utf8String, DecodeError> {
        let field = self.field()?;
        Utf8String::topic_from_wire(self.source, field)
    }

    /// All that is left of the packet.
    pub(crate) fn rest(self) -> Bytes {
        self.source.slice(self.position()..self.end)
    }

    /// A reader over the next `length` bytes alone; this one continues behind them.
    pub(crate) fn block(&mut self, length: usize) -> Result<Self, DecodeError> {
        let block = self.advance(length)?;
        Ok(Self::new(self.source, block.start, block.end))
    }

    /// Refuses bytes left over behind the last field.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(BYTES_LEFT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_fewest_bytes_at_every_boundary_mqtt_1_5_5_1() {
        for (value, length) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (2_097_151, 3),
            (2_097_152, 4),
            (MAX_REMAINING_LENGTH, 4),
        ] {
            let mut out = BytesMut::new();
            put_var_int(&mut out, value);
            assert_eq!(out.len(), length, "{value}");
            assert_eq!(var_int_len(value), length, "{value}");
            let bytes = out.freeze();
            let mut reader = BodyReader::new(&bytes, 0, bytes.len());
            assert_eq!(reader.var_int(), Ok(value));
        }
    }

    #[test]
    fn a_body_behind_its_length_survives_every_length_size() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let mut out = BytesMut::from(&b"before"[..]);
            put_with_length(&mut out, |out| out.put_bytes(7, length));
            let bytes = out.freeze();
            let mut reader = BodyReader::new(&bytes, 6, bytes.len());
            assert_eq!(reader.var_int(), Ok(length));
            assert_eq!(reader.remaining(), length);
            assert!(reader.rest().iter().all(|&byte| byte == 7));
        }
    }

    #[test]
    fn a_length_longer_than_needed_or_longer_than_four_bytes_is_malformed_mqtt_1_5_5_1() {
        assert!(FixedHeader::read(&[0x30, 0x80, 0x00]).is_err());
        assert!(FixedHeader::read(&[0x30, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert_eq!(FixedHeader::read(&[0x30, 0xff, 0xff, 0xff]), Ok(None));
        assert_eq!(FixedHeader::read(&[0x30]), Ok(None));
        assert_eq!(FixedHeader::read(&[]), Ok(None));
        let largest = FixedHeader::read(&[0x30, 0xff, 0xff, 0xff, 0x7f])
            .unwrap()
            .unwrap();
        assert_eq!(largest.remaining_length, MAX_REMAINING_LENGTH);
    }
}
