//! What keeps a log short: segments of which nothing is needed go, and what little is left in the oldest is copied.

use std::mem;

use bytes::{BufMut, BytesMut};

use super::{LogError, StoreLog};
use crate::disk::Disk;
use crate::frame::begin_frame;
use crate::read::ReadError;
use crate::record::{EndedHow, LogRecord};
use crate::recovery::SegmentMeta;

/// How many segments there are before the oldest is copied: what it still has mostly ends soon.
const FEW_SEGMENTS: usize = 3;

impl<D: Disk> StoreLog<D> {
    /// Copies what little is left in the oldest segment, if there are several, and removes those that are not needed as far as the
    /// disk says so. Call it after [`append`](Self::append) and [`sync`](Self::sync). Returns whether it has written.
    ///
    /// That a segment is not needed is said by the next frame that is written; [`tidy_now`](Self::tidy_now) does not wait for one.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn tidy(&mut self) -> Result<bool, LogError> {
        self.check()?;
        let mut wrote = false;
        if let Some((oldest, meta)) = self.first_segment()
            && self.segments.len() > FEW_SEGMENTS
            && self.unreadable != Some(oldest)
        {
            let uses = self.state.uses.get(&oldest).copied().unwrap_or_default();
            let most = meta.length.max(self.segment_size.into()) / 4;
            if uses.messages > 0 && uses.bytes < most {
                self.copy_messages(oldest)?;
                wrote = true;
            }
        }
        self.remove_files();
        Ok(wrote)
    }

    /// As [`tidy`](Self::tidy), and removes all segments that are not needed at once, for a moment when nothing else is to be
    /// written.
    ///
    /// # Errors
    /// As [`append`](Self::append) and [`sync`](Self::sync).
    pub fn tidy_now(&mut self) -> Result<bool, LogError> {
        let mut wrote = self.tidy()?;
        if self.next_floor().is_some() {
            let mut frame = BytesMut::new();
            begin_frame(&mut frame);
            self.put_counters_for_floor(&mut frame);
            self.put_floor(&mut frame);
            self.write(frame)?;
            self.sync()?;
            self.remove_files();
            wrote = true;
        }
        Ok(wrote)
    }

    /// The first segment that is needed and its first frame, if there are others before it.
    fn next_floor(&self) -> Option<(u32, u64)> {
        let (oldest, _) = self.first_segment()?;
        let uses = self.state.uses.get(&oldest);
        if oldest < self.state.floor.0 || uses.is_some_and(|uses| uses.messages > 0) {
            return None;
        }
        self.needed_from(oldest)
    }

    /// The segments before some one count no longer. Their removal must not outlive the record of that, or what they have ended
    /// would come back.
    pub(super) fn put_floor(&self, out: &mut BytesMut) {
        if let Some((segment, frame)) = self.next_floor() {
            LogRecord::Floor { segment, frame }.put(out);
        }
    }

    /// What has ended in segments that [`put_floor`](Self::put_floor) gives up is counted by nobody who reads only what is left.
    /// To be put before the changes of the same frame, which count by themselves.
    pub(super) fn put_counters_for_floor(&self, out: &mut BytesMut) {
        if self.next_floor().is_some() {
            LogRecord::Counters(self.state.counters).put(out);
        }
    }

    /// The oldest segment, if it is not written to.
    fn first_segment(&self) -> Option<(u32, SegmentMeta)> {
        let active = self.active.as_ref().map(|active| active.number);
        let (&number, &meta) = self.segments.first_key_value()?;
        (active.is_some() && active != Some(number)).then_some((number, meta))
    }

    /// The first segment behind `number` of which something is needed, or that is written to, and its first frame.
    fn needed_from(&self, number: u32) -> Option<(u32, u64)> {
        let active = self.active.as_ref().map(|active| active.number);
        let is_needed = |number: u32| {
            let uses = self.state.uses.get(&number);
            Some(number) == active || uses.is_some_and(|uses| uses.messages > 0)
        };
        let mut behind = self.segments.range(number.saturating_add(1)..);
        let (&number, meta) = behind.find(|&(&number, _)| is_needed(number))?;
        Some((number, meta.first_frame))
    }

    /// Copies the messages of a segment that have not ended to the end of the log, with all that is known of them.
    fn copy_messages(&mut self, segment: u32) -> Result<(), LogError> {
        let here: Vec<_> = (self.state.pending.iter())
            .filter(|message| message.place.segment == segment)
            .copied()
            .collect();
        let mut frame = BytesMut::new();
        begin_frame(&mut frame);
        let mut progress = Vec::new();
        let mut counters = self.state.counters;
        for message in here {
            match self.read_record(&message) {
                Ok(record) => {
                    frame.put_slice(&record);
                    self.state.put_progress(message.key, &mut progress);
                }
                Err(ReadError::Damaged) => {
                    self.keep_damaged(segment);
                    counters.damaged += 1;
                    progress.push(LogRecord::Ended {
                        from: message.key,
                        to: message.key,
                        how: EndedHow::Damaged,
                    });
                }
                Err(ReadError::Disk(_)) => {
                    self.unreadable = Some(segment);
                    return Ok(());
                }
            }
        }
        // A copy is not accepted again.
        progress.push(LogRecord::Counters(counters));
        progress.iter().for_each(|record| record.put(&mut frame));
        self.write(frame)
    }

    /// Keeps a copy of a segment, once.
    pub(crate) fn keep_damaged(&mut self, segment: u32) {
        if self.kept_damaged.insert(segment) {
            let _ = self.disk.keep_damaged(segment); // for people: the log goes on without it
        }
    }

    /// The same, for the segment of a message.
    pub(crate) fn keep_damaged_of(&mut self, key: u64) {
        if let Some(message) = self.state.pending.get(key) {
            self.keep_damaged(message.place.segment);
        }
    }

    /// All that was written is on the disk, also what it says of segments.
    pub(super) fn note_synced(&mut self) {
        let kept = self.segments.split_off(&self.state.floor.0);
        let below = mem::replace(&mut self.segments, kept);
        if !below.is_empty() {
            self.cache.clear();
        }
        self.removable.extend(below.into_keys());
        self.removable.append(&mut self.void);
    }

    fn remove_files(&mut self) {
        if !self.removable.is_empty() {
            let disk = &mut self.disk;
            self.removable
                .retain(|number| disk.remove(*number).is_err());
            self.folder_changed = true;
        }
    }
}
