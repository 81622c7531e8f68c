//! What a segment's file has: its frames, or the index of them.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use crate::disk::{Disk, DiskError, DiskOperation, SegmentFile};
use crate::frame::{FRAME_HEADER, FrameAt, FrameHeader, TRAILER, read_trailer};
use crate::record::{LogRecord, Records};

/// How much of a file is read. No segment is this long: a frame begins below its bound, and holds a packet of MQTT (256 MiB) and
/// a batch.
const LONGEST_SEGMENT: u64 = 320 << 20;

/// How many times the bytes of a segment are looked at for a frame behind an invalid one, at most. A damaged file may be made so
/// that there is no end to it.
const SEARCHES: usize = 16;

/// Frames that are read at once: one, or all of a segment by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) synced: u64,
    /// Where the frame to read is.
    pub(crate) at: u32,
    pub(crate) len: u32,
    pub(crate) holds: FrameHolds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameHolds {
    Changes,
    /// The index of all frames of the segment, which are not read.
    Index,
    /// An index whose frames were read.
    Nothing,
}

/// The end of a segment, as the next one states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    /// 0 is none.
    pub(crate) segment: u32,
    pub(crate) frame: u64,
    /// In bytes from the start of the segment.
    pub(crate) end: u32,
}

/// A floor on record, and the frame that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatedFloor {
    pub(crate) stated_in: u64,
    pub(crate) segment: u32,
    pub(crate) frame: u64,
}

#[derive(Debug)]
pub(crate) struct SegmentSurvey {
    pub(crate) number: u32,
    pub(crate) length: u64,
    pub(crate) ranges: Vec<FrameRange>,
    pub(crate) predecessor: Option<SegmentEnd>,
    pub(crate) floors: Vec<StatedFloor>,
    /// Bytes that are no frame, and not the end of a sealed segment.
    pub(crate) has_invalid: bool,
    /// The whole file, if it was read.
    pub(crate) bytes: Option<Bytes>,
}

/// Why a segment was not surveyed.
pub(crate) enum SurveyError {
    Disk(DiskError),
    NewerVersion(u8),
}

impl SegmentSurvey {
    /// Looks at a segment. Frames above `last` do not count.
    pub(crate) fn new(
        disk: &mut impl Disk,
        file: SegmentFile,
        last: Option<u64>,
    ) -> Result<Self, SurveyError> {
        let mut survey = Self {
            number: file.number,
            length: file.length,
            ranges: Vec::new(),
            predecessor: None,
            floors: Vec::new(),
            has_invalid: false,
            bytes: None,
        };
        let counts = |number: u64| last.is_none_or(|last| number <= last);
        if let Some((index, range)) = read_index(disk, file)
            && counts(range.last)
        {
            survey.note(range, index.get(FRAME_HEADER..).unwrap_or_default());
            return Ok(survey);
        }
        let length = usize::try_from(file.length.min(LONGEST_SEGMENT)).unwrap_or(usize::MAX);
        let bytes = read_around_errors(disk, file.number, length)?;
        survey.scan(&bytes, counts)?;
        survey.bytes = Some(bytes);
        Ok(survey)
    }

    fn scan(&mut self, bytes: &[u8], counts: impl Fn(u64) -> bool) -> Result<(), SurveyError> {
        let mut searched = 0;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match FrameHeader::read(self.number, rest) {
                FrameAt::Valid(header, body) => {
                    if counts(header.number) {
                        self.note_frame(at, header, body);
                    }
                    at += header.frame_len();
                    if read_trailer(self.number, bytes.get(at..).unwrap_or_default()).is_some() {
                        at += TRAILER;
                    }
                }
                FrameAt::OtherVersion(version) if version > b'1' => {
                    return Err(SurveyError::NewerVersion(version));
                }
                _ => {
                    self.has_invalid = true;
                    // The header of this frame is read again as a part of the search, if its length is right.
                    let announced = FrameHeader::announced_len(rest).unwrap_or_default();
                    searched += usize::try_from(announced.min(rest.len() as u64)).unwrap_or(0);
                    if searched > bytes.len().saturating_mul(SEARCHES) {
                        break;
                    }
                    let Some(next) = FrameHeader::find(bytes, at + 1) else {
                        break;
                    };
                    at = next;
                }
            }
        }
        Ok(())
    }

    fn note_frame(&mut self, at: usize, header: FrameHeader, body: &[u8]) {
        let (Ok(at), Ok(len)) = (u32::try_from(at), u32::try_from(header.frame_len())) else {
            return;
        };
        let mut range = FrameRange {
            first: header.number,
            last: header.number,
            synced: header.synced,
            at,
            len,
            holds: FrameHolds::Changes,
        };
        if let Some(index) = as_index(range, body) {
            let whole = (self.ranges.first()).is_some_and(|it| it.first == index.first)
                && self.ranges.is_sorted_by(|a, b| a.last + 1 == b.first)
                && (self.ranges.last()).is_some_and(|it| it.last + 1 == index.last);
            if whole {
                range.holds = FrameHolds::Nothing;
            } else {
                self.ranges.clear();
                range = index;
            }
        }
        self.note(range, body);
    }

    fn note(&mut self, range: FrameRange, body: &[u8]) {
        for record in Records::new(body) {
            match record.record {
                LogRecord::Predecessor {
                    segment,
                    frame,
                    end,
                } => {
                    let end = SegmentEnd {
                        segment,
                        frame,
                        end,
                    };
                    // One that follows itself would have no end.
                    if segment < self.number {
                        self.predecessor.get_or_insert(end);
                    }
                }
                LogRecord::Floor { segment, frame } => self.floors.push(StatedFloor {
                    stated_in: range.last,
                    segment,
                    frame,
                }),
                _ => {}
            }
        }
        self.ranges.push(range);
    }
}

/// Reads a file. What the disk cannot read becomes zeros, which are no frame: one bad block is damage like any other.
fn read_around_errors(
    disk: &mut impl Disk,
    segment: u32,
    length: usize,
) -> Result<Bytes, SurveyError> {
    const PART: usize = 64 << 10;
    match disk.read(segment, 0, length) {
        Ok(bytes) => return Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let error = DiskError::new(DiskOperation::Read, Some(segment), &error);
            return Err(SurveyError::Disk(error));
        }
        Err(_) => {}
    }
    let mut bytes = BytesMut::new();
    while bytes.len() < length {
        let wanted = PART.min(length - bytes.len());
        let part = disk.read(segment, bytes.len() as u64, wanted);
        let part = part.unwrap_or_default();
        bytes.put_slice(&part);
        bytes.put_bytes(0, wanted.saturating_sub(part.len()));
    }
    Ok(bytes.freeze())
}

/// The index frame of a sealed segment.
fn read_index(disk: &mut impl Disk, file: SegmentFile) -> Option<(Bytes, FrameRange)> {
    let trailer_at = file.length.checked_sub(TRAILER as u64)?;
    let trailer = disk.read(file.number, trailer_at, TRAILER).ok()?;
    let at = read_trailer(file.number, &trailer)?;
    let len = u32::try_from(trailer_at.checked_sub(at.into())?).ok()?;
    let frame = disk.read(file.number, at.into(), len as usize).ok()?;
    let FrameAt::Valid(header, body) = FrameHeader::read(file.number, &frame) else {
        return None;
    };
    let range = FrameRange {
        first: header.number,
        last: header.number,
        synced: header.synced,
        at,
        len,
        holds: FrameHolds::Changes,
    };
    let range = as_index(range, body)?;
    Some((frame, range))
}

/// The range of an index frame.
fn as_index(range: FrameRange, body: &[u8]) -> Option<FrameRange> {
    let Some(LogRecord::Index { first, last }) = Records::new(body).next().map(|it| it.record)
    else {
        return None;
    };
    (first <= last && last.checked_add(1) == Some(range.last)).then_some(FrameRange {
        first,
        holds: FrameHolds::Index,
        ..range
    })
}
