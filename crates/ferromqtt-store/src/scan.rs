//! Going through the bytes of a segment: frames, and what is none.

use std::ops::Range;

use crate::frame::{FrameAt, FrameHeader, TRAILER, read_trailer};

/// How many times the bytes of a segment are looked at for a frame behind an invalid one, at most. A damaged file may be made so
/// that there is no end to it.
const SEARCHES: u64 = 16;

/// What stands at some place of a segment.
pub(crate) enum ScannedPiece<'b> {
    /// A frame whose checksum is right. A trailer that follows it is passed over.
    Frame {
        at: usize,
        header: FrameHeader,
        body: &'b [u8],
    },
    /// Bytes that are none, up to the next frame or the end.
    Invalid(Range<usize>),
    /// A frame of a later version.
    NewerVersion(u8),
}

/// The frames of a segment, and the bytes between them.
pub(crate) struct SegmentScan<'b> {
    segment: u32,
    bytes: &'b [u8],
    at: usize,
    searched: u64,
}

impl<'b> SegmentScan<'b> {
    pub(crate) const fn new(segment: u32, bytes: &'b [u8]) -> Self {
        Self {
            segment,
            bytes,
            at: 0,
            searched: 0,
        }
    }

    /// Passes over what is no frame. `None` is the end of the segment, or of patience.
    fn find_next(&mut self, invalid: usize) -> Option<usize> {
        let rest = self.bytes.get(invalid..)?;
        // A frame whose length is right was looked at as a whole to find that it is invalid.
        let announced = FrameHeader::announced_len(rest).unwrap_or_default();
        if announced <= rest.len() as u64 {
            self.searched += announced;
        }
        if self.searched > (self.bytes.len() as u64).saturating_mul(SEARCHES) {
            return None;
        }
        FrameHeader::find(self.bytes, invalid + 1)
    }

    fn is_invalid(&self, at: usize) -> bool {
        let rest = self.bytes.get(at..).unwrap_or_default();
        matches!(FrameHeader::read(self.segment, rest), FrameAt::Invalid)
    }
}

impl<'b> Iterator for SegmentScan<'b> {
    type Item = ScannedPiece<'b>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let rest = self.bytes.get(start..).filter(|rest| !rest.is_empty())?;
        match FrameHeader::read(self.segment, rest) {
            FrameAt::Valid(header, body) => {
                self.at += header.frame_len();
                let behind = self.bytes.get(self.at..).unwrap_or_default();
                if read_trailer(self.segment, behind).is_some() {
                    self.at += TRAILER;
                }
                Some(ScannedPiece::Frame {
                    at: start,
                    header,
                    body,
                })
            }
            FrameAt::OtherVersion(version) if version > b'1' => {
                self.at = self.bytes.len();
                Some(ScannedPiece::NewerVersion(version))
            }
            _ => {
                let mut end = start;
                loop {
                    match self.find_next(end) {
                        Some(next) => end = next,
                        None => {
                            end = self.bytes.len();
                            break;
                        }
                    }
                    if !self.is_invalid(end) {
                        break;
                    }
                }
                self.at = end;
                Some(ScannedPiece::Invalid(start..end))
            }
        }
    }
}
