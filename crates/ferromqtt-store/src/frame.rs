//! Frames: what is written at once, and is there as a whole or not at all.
//!
//! A frame is a header of 28 bytes and a body. The checksum covers the number of the segment, so that a frame counts only in
//! the file it was written for.

use std::fmt;

use bytes::{BufMut, BytesMut};

/// The length of a frame's header, in bytes.
pub const FRAME_HEADER: usize = 28;

/// The length of the trailer that ends a sealed segment, in bytes.
pub const TRAILER: usize = 12;

const MAGIC: [u8; 3] = *b"fmq";
const VERSION: u8 = b'1';
const TRAILER_MAGIC: [u8; 4] = *b"fmqi";

/// The header of a frame, all numbers with their lowest byte first.
///
/// | at | bytes | |
/// | --- | --- | --- |
/// | 0 | 4 | `fmq1`; the digit is the major version of the format |
/// | 4 | 4 | length of the body |
/// | 8 | 4 | CRC-32C over the number of the segment (4 bytes), the bytes 0 to 7, and all from byte 12 to the end of the body |
/// | 12 | 8 | number of the frame: from 1, without gaps, over all segments |
/// | 20 | 8 | the highest number of a frame that was known to be on the disk when this one was written; 0 is none |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the body, in bytes.
    pub length: u32,
    /// Number of the frame.
    pub number: u64,
    /// The highest frame that was known to be on the disk when this one was written. An invalid frame up to this number is
    /// damage; one above it may be what a power cut has left.
    pub synced: u64,
}

/// What stands at some place of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FrameAt<'a> {
    /// A frame whose checksum is right.
    Valid(FrameHeader, &'a [u8]),
    /// A frame of another major version whose checksum is right.
    OtherVersion(u8),
    /// Anything else.
    Invalid,
}

/// Without the body, which has payloads.
impl fmt::Debug for FrameAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid(header, _) => f.debug_tuple("Valid").field(header).finish(),
            Self::OtherVersion(version) => f.debug_tuple("OtherVersion").field(version).finish(),
            Self::Invalid => f.write_str("Invalid"),
        }
    }
}

impl FrameHeader {
    /// The length of the whole frame, in bytes.
    pub const fn frame_len(&self) -> usize {
        FRAME_HEADER + self.length as usize
    }

    /// Reads the frame at the front of `bytes`, which stands in the file of `segment`.
    pub fn read(segment: u32, bytes: &[u8]) -> FrameAt<'_> {
        Self::read_checked(segment, bytes).unwrap_or(FrameAt::Invalid)
    }

    fn read_checked(segment: u32, bytes: &[u8]) -> Option<FrameAt<'_>> {
        let (head, rest) = bytes.split_at_checked(8)?;
        let (magic, rest_of_head) = head.split_at_checked(4)?;
        let [a, b, c, version] = *magic else {
            return None;
        };
        if [a, b, c] != MAGIC {
            return None;
        }
        let length = u32::from_le_bytes(rest_of_head.try_into().ok()?);
        let (checksum, rest) = rest.split_at_checked(4)?;
        let covered = rest.get(..(FRAME_HEADER - 12).checked_add(length as usize)?)?;
        if u32::from_le_bytes(checksum.try_into().ok()?) != frame_checksum(segment, head, covered) {
            return None;
        }
        if version != VERSION {
            return Some(FrameAt::OtherVersion(version));
        }
        let (number, covered) = covered.split_at_checked(8)?;
        let (synced, body) = covered.split_at_checked(8)?;
        let header = Self {
            length,
            number: u64::from_le_bytes(number.try_into().ok()?),
            synced: u64::from_le_bytes(synced.try_into().ok()?),
        };
        Some(FrameAt::Valid(header, body))
    }

    /// The length of the frame whose header is at the front of `bytes`, unchecked but for the magic bytes. `None` when there
    /// is no such header.
    pub(crate) fn announced_len(bytes: &[u8]) -> Option<u64> {
        let (magic, rest) = bytes.split_at_checked(4)?;
        if magic.get(..3)? != MAGIC {
            return None;
        }
        let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
        Some(FRAME_HEADER as u64 + u64::from(length))
    }

    /// Where the next frame may begin in `bytes`, from `from` on.
    pub(crate) fn find(bytes: &[u8], from: usize) -> Option<usize> {
        let rest = bytes.get(from..)?;
        let found = rest.windows(MAGIC.len()).position(|it| it == MAGIC)?;
        Some(from + found)
    }
}

fn frame_checksum(segment: u32, head: &[u8], covered: &[u8]) -> u32 {
    let checksum = crc32c::crc32c(&segment.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(checksum, head), covered)
}

/// Begins a frame in an empty buffer. Records are appended to it, and [`finish_frame`] fills in the header.
pub(crate) fn begin_frame(out: &mut BytesMut) {
    out.clear();
    out.put_bytes(0, FRAME_HEADER);
}

/// Fills in the header of the frame that is all of `frame`. A frame of 4 GiB cannot be written, and nothing in it is applied.
pub(crate) fn finish_frame(frame: &mut [u8], segment: u32, number: u64, synced: u64) -> Option<()> {
    let length = u32::try_from(frame.len().checked_sub(FRAME_HEADER)?).ok()?;
    let (head, rest) = frame.split_at_mut_checked(8)?;
    let (checksum, covered) = rest.split_at_mut_checked(4)?;
    let mut magic_and_length = [0; 8];
    for (to, from) in (magic_and_length.iter_mut()).zip(
        MAGIC
            .into_iter()
            .chain([VERSION])
            .chain(length.to_le_bytes()),
    ) {
        *to = from;
    }
    head.copy_from_slice(&magic_and_length);
    covered.get_mut(..8)?.copy_from_slice(&number.to_le_bytes());
    covered
        .get_mut(8..16)?
        .copy_from_slice(&synced.to_le_bytes());
    checksum.copy_from_slice(&frame_checksum(segment, head, covered).to_le_bytes());
    Some(())
}

/// The end of a sealed segment: says where its index frame begins.
pub(crate) fn put_trailer(out: &mut BytesMut, segment: u32, index_at: u32) {
    out.put_slice(&TRAILER_MAGIC);
    out.put_slice(&index_at.to_le_bytes());
    let checksum = trailer_checksum(segment, index_at);
    out.put_slice(&checksum.to_le_bytes());
}

/// Where the index frame of a sealed segment begins, from the last bytes of its file.
pub(crate) fn read_trailer(segment: u32, bytes: &[u8]) -> Option<u32> {
    let (magic, rest) = bytes.split_at_checked(4)?;
    let (index_at, checksum) = rest.split_at_checked(4)?;
    let index_at = u32::from_le_bytes(index_at.try_into().ok()?);
    let checksum = u32::from_le_bytes(checksum.try_into().ok()?);
    (magic == TRAILER_MAGIC && checksum == trailer_checksum(segment, index_at)).then_some(index_at)
}

fn trailer_checksum(segment: u32, index_at: u32) -> u32 {
    let checksum = crc32c::crc32c(&segment.to_le_bytes());
    let checksum = crc32c::crc32c_append(checksum, &TRAILER_MAGIC);
    crc32c::crc32c_append(checksum, &index_at.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(segment: u32, body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        begin_frame(&mut out);
        out.put_slice(body);
        finish_frame(&mut out, segment, 7, 6).unwrap();
        out
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let mut bytes = frame(3, b"body");
        bytes.put_slice(b"what follows");
        let header = FrameHeader {
            length: 4,
            number: 7,
            synced: 6,
        };
        assert_eq!(
            FrameHeader::read(3, &bytes),
            FrameAt::Valid(header, b"body")
        );
    }

    #[test]
    fn a_frame_counts_in_its_own_segment_only() {
        assert_eq!(FrameHeader::read(4, &frame(3, b"body")), FrameAt::Invalid);
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_makes_a_frame_invalid() {
        let whole = frame(3, b"some records");
        for length in 0..whole.len() {
            assert_eq!(FrameHeader::read(3, &whole[..length]), FrameAt::Invalid);
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                FrameHeader::read(3, &flipped),
                FrameAt::Invalid,
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_frame_of_a_later_version_is_recognized() {
        let mut bytes = frame(3, b"body");
        bytes[3] = b'2';
        let checksum = frame_checksum(3, &bytes[..8], &bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(FrameHeader::read(3, &bytes), FrameAt::OtherVersion(b'2'));
    }

    #[test]
    fn a_trailer_counts_in_its_own_segment_only() {
        let mut out = BytesMut::new();
        put_trailer(&mut out, 3, 4711);
        assert_eq!(out.len(), TRAILER);
        assert_eq!(read_trailer(3, &out), Some(4711));
        assert_eq!(read_trailer(4, &out), None);
        out[5] ^= 1;
        assert_eq!(read_trailer(3, &out), None);
    }
}
