//! What a segment's file has: its frames, or the index of them.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use crate::disk::{Disk, DiskError, DiskOperation, SegmentFile};
use crate::frame::{FRAME_HEADER, FrameAt, FrameHeader, TRAILER, read_trailer};
use crate::record::{LogRecord, Records};
use crate::scan::{ScannedPiece, SegmentScan};

/// How much of a file is read. No segment is this long: a frame begins below its bound, and holds a packet of MQTT (256 MiB) and
/// a batch.
pub(crate) const LONGEST_SEGMENT: u64 = 320 << 20;

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

pub(crate) struct SegmentSurvey {
    pub(crate) number: u32,
    pub(crate) length: u64,
    /// What is read of it.
    pub(crate) ranges: Vec<FrameRange>,
    pub(crate) predecessor: Option<SegmentEnd>,
    pub(crate) floors: Vec<StatedFloor>,
    /// Bytes that are no frame, and not the end of a sealed segment.
    pub(crate) has_invalid: bool,
    /// The whole file, if it was read and is held.
    pub(crate) bytes: Option<Bytes>,
    /// Frames above this one do not count.
    last: Option<u64>,
    index: Option<FrameRange>,
}

/// Why a segment was not surveyed.
#[derive(Debug)]
pub(crate) enum SurveyError {
    Disk(DiskError),
    NewerVersion(u8),
}

impl SegmentSurvey {
    /// Looks at a segment: at its index, or at all its frames. Frames above `last` do not count.
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
            last,
            index: None,
        };
        match read_index(disk, file) {
            Some((frame, index)) if survey.counts(index.last) => {
                survey.note(index.last, frame.get(FRAME_HEADER..).unwrap_or_default());
                survey.index = Some(index);
                survey.ranges.push(index);
            }
            _ => survey.scan(disk)?,
        }
        Ok(survey)
    }

    fn counts(&self, frame: u64) -> bool {
        self.last.is_none_or(|last| frame <= last)
    }

    /// The highest frame that some frame here knows to be on the disk.
    pub(crate) fn synced(&self) -> u64 {
        let ranges = self.ranges.iter().chain(&self.index);
        ranges.map(|it| it.synced).max().unwrap_or(0)
    }

    /// Decides whether the index is read in place of the frames. It says what they were, and not that they are there: that is
    /// known if they were on the disk, up to the frame `synced`.
    pub(crate) fn settle(&mut self, disk: &mut impl Disk, synced: u64) -> Result<(), SurveyError> {
        let Some(index) = self.index else {
            return Ok(());
        };
        let by_index = self.ranges == [index];
        if index.last > synced {
            if by_index {
                self.ranges.clear();
                self.scan(disk)?;
            }
            return Ok(());
        }
        let mut next = index.first;
        let whole = self.ranges.iter().all(|frame| {
            let follows = frame.first == next;
            next = frame.last.saturating_add(1);
            follows
        });
        if !whole || next <= index.last {
            self.ranges = vec![index];
        }
        Ok(())
    }

    fn scan(&mut self, disk: &mut impl Disk) -> Result<(), SurveyError> {
        let length = usize::try_from(self.length.min(LONGEST_SEGMENT)).unwrap_or(usize::MAX);
        let bytes = read_around_errors(disk, self.number, length)?;
        self.scan_bytes(&bytes)?;
        self.bytes = Some(bytes);
        Ok(())
    }

    fn scan_bytes(&mut self, bytes: &[u8]) -> Result<(), SurveyError> {
        for piece in SegmentScan::new(self.number, bytes) {
            match piece {
                ScannedPiece::Frame { at, header, body } if self.counts(header.number) => {
                    self.note_frame(at, header, body);
                }
                ScannedPiece::Frame { .. } => {}
                ScannedPiece::NewerVersion(version) => {
                    return Err(SurveyError::NewerVersion(version));
                }
                ScannedPiece::Invalid(_) => self.has_invalid = true,
            }
        }
        Ok(())
    }

    fn note_frame(&mut self, at: usize, header: FrameHeader, body: &[u8]) {
        let (Ok(at), Ok(len)) = (u32::try_from(at), u32::try_from(header.frame_len())) else {
            return;
        };
        let range = FrameRange {
            first: header.number,
            last: header.number,
            synced: header.synced,
            at,
            len,
            holds: FrameHolds::Changes,
        };
        self.note(range.last, body);
        match as_index(range, body) {
            Some(index) => self.index = Some(index),
            None => self.ranges.push(range),
        }
    }

    /// Notes what a frame says of segments.
    fn note(&mut self, stated_in: u64, body: &[u8]) {
        for record in Records::beside_messages(body) {
            match record {
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
                LogRecord::Floor { segment, frame } if segment <= self.number => {
                    self.floors.push(StatedFloor {
                        stated_in,
                        segment,
                        frame,
                    });
                }
                _ => {}
            }
        }
    }
}

/// Reads a file. What the disk cannot read becomes zeros, which are no frame: one bad block is damage like any other.
pub(crate) fn read_around_errors(
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

/// The range of an index frame, which has the number of the last frame before it.
fn as_index(range: FrameRange, body: &[u8]) -> Option<FrameRange> {
    let Some(LogRecord::Index { first, last }) = Records::new(body).next().map(|it| it.record)
    else {
        return None;
    };
    (first <= last && last == range.last).then_some(FrameRange {
        first,
        holds: FrameHolds::Index,
        ..range
    })
}
