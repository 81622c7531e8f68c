//! The segment that is written to.

use std::mem;

use bytes::{Bytes, BytesMut};

use crate::record::{AcceptedMessage, EndedHow, LogRecord};
use crate::survey::SegmentEnd;

/// The segment that is written to.
pub(crate) struct ActiveSegment {
    pub(crate) number: u32,
    /// The bytes of all frames that were written.
    pub(crate) length: u32,
    pub(crate) first_frame: u64,
    /// What it states of the segment before.
    pub(crate) predecessor: SegmentEnd,
    /// Its last frame that survives a power cut.
    pub(crate) synced: Option<SegmentEnd>,
    /// The frames since then, for the case that the disk loses them: with a header each.
    pub(crate) unsynced: Vec<Bytes>,
    /// Messages of which it says something, some more than once.
    touched: Vec<u64>,
    /// Messages that it ends: first, last, and how.
    ended: Vec<(u64, u64, EndedHow)>,
    loses_session: bool,
}

impl ActiveSegment {
    pub(crate) const fn new(number: u32, first_frame: u64, predecessor: SegmentEnd) -> Self {
        Self {
            number,
            length: 0,
            first_frame,
            predecessor,
            synced: None,
            unsynced: Vec::new(),
            touched: Vec::new(),
            ended: Vec::new(),
            loses_session: false,
        }
    }

    /// Remembers what the index will say of a record.
    pub(crate) fn note(&mut self, record: &LogRecord<'_>) {
        match *record {
            LogRecord::Accepted(AcceptedMessage { key, .. })
            | LogRecord::Sending { key, .. }
            | LogRecord::Releasing { key }
            | LogRecord::SendState { key, .. }
            | LogRecord::Quarantined { key, .. } => self.touched.push(key),
            LogRecord::Ended { from, to, how } => match self.ended.last_mut() {
                Some((_, last, before)) if last.checked_add(1) == Some(from) && *before == how => {
                    *last = to;
                }
                _ => self.ended.push((from, to, how)),
            },
            LogRecord::SessionLost => self.loses_session = true,
            _ => {}
        }
    }

    pub(crate) const fn loses_session(&self) -> bool {
        self.loses_session
    }

    /// The messages of which it says something, each once.
    pub(crate) fn take_touched(&mut self) -> Vec<u64> {
        let mut touched = mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// The messages that it ends, in as few records as there are gaps between them.
    pub(crate) fn take_ended(&mut self) -> Vec<LogRecord<'static>> {
        let mut ended = mem::take(&mut self.ended);
        ended.sort_unstable();
        let mut records: Vec<(u64, u64, EndedHow)> = Vec::new();
        for (from, to, how) in ended {
            match records.last_mut() {
                Some((_, last, before)) if *before == how && from <= last.saturating_add(1) => {
                    *last = (*last).max(to);
                }
                _ => records.push((from, to, how)),
            }
        }
        let record = |(from, to, how)| LogRecord::Ended { from, to, how };
        records.into_iter().map(record).collect()
    }

    /// All frames survive a power cut. Returns memory for the next one.
    pub(crate) fn note_synced(&mut self, last_frame: u64) -> BytesMut {
        self.synced = Some(SegmentEnd {
            segment: self.number,
            frame: last_frame,
            end: self.length,
        });
        let mut spare = BytesMut::new();
        for frame in self.unsynced.drain(..) {
            if let Ok(frame) = frame.try_into_mut()
                && frame.capacity() > spare.capacity()
            {
                spare = frame;
            }
        }
        spare
    }
}
