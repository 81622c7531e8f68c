//! Reading and writing the fields of records. Reading is total: wrong bytes give `None`.

use bytes::{BufMut, BytesMut};

/// What is left of a record's fields.
#[derive(Clone, Copy)]
pub(crate) struct RecordFields<'a>(&'a [u8]);

impl<'a> RecordFields<'a> {
    pub(crate) const fn new(fields: &'a [u8]) -> Self {
        Self(fields)
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A number of seven bits a byte, the lowest first, in at most ten bytes.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        if let [first @ 0..=0x7f, rest @ ..] = self.0 {
            self.0 = rest;
            return Some(u64::from(*first)); // nearly all are so short
        }
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        u16::try_from(self.varint()?).ok()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A text behind its length.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }
}

pub(crate) fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value > 0x7f {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

pub(crate) const fn varint_len(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()) as usize;
    if bits == 0 { 1 } else { bits.div_ceil(7) }
}

pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    put_varint(out, text.len() as u64);
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value));
            let mut fields = RecordFields::new(&out);
            assert_eq!(fields.varint(), Some(value));
            assert!(fields.is_empty());
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(RecordFields::new(&longest).varint(), Some(u64::MAX));
        let mut above = longest;
        above[9] = 2;
        assert_eq!(RecordFields::new(&above).varint(), None);
        assert_eq!(RecordFields::new(&[0x80; 12]).varint(), None);
        assert_eq!(RecordFields::new(&[0x80]).varint(), None);
    }
}
