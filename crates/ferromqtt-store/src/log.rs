//! The log: from changes to frames in segments, and what keeps it short.
//!
//! It writes a frame for each batch, and applies its records to the state when they are written. A segment is sealed with an
//! index when it is full. A sync that fails is final for its segment, since what it was to save may be gone whatever later syncs
//! say: what was not on the disk is written again, to a new segment that states where the old one ends.

mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::active::ActiveSegment;
use crate::change::{StoreChange, put_changes};
use crate::disk::{Disk, DiskError, DiskOperation};
use crate::entries::RecordPlace;
use crate::frame::{FRAME_HEADER, begin_frame, finish_frame, put_trailer};
use crate::read::FrameCache;
use crate::record::{LogRecord, PlacedMessage, Records};
use crate::recovery::{Damage, Recovered, RecoveryError, SegmentMeta, recover};
use crate::state::StoreState;
use crate::survey::SegmentEnd;

/// The length at which a segment is sealed, in bytes. A frame that is longer has a segment of its own.
pub const SEGMENT_SIZE: u32 = 4 << 20;

/// Memory for frames that is kept for the next one, at most.
const SPARE: usize = 2 << 20;

/// Why a log has not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk is full. Nothing was written, and the log is as it was: try again later.
    #[error("{0}")]
    Full(DiskError),
    /// The disk failed, and failed again when the same was written to another file. The log writes no more. What was on the disk
    /// is found when it is opened again.
    #[error("{0}")]
    Failed(DiskError),
}

/// Writes what is not known to be on the disk again where it is, which takes no space: a sync alone might have nothing to do.
fn write_in_place(disk: &mut impl Disk, recovered: &Recovered) -> Result<(), DiskError> {
    let segment = recovered.tail.segment;
    let failed = |operation, segment| move |error| DiskError::new(operation, segment, &error);
    let end = match recovered.synced_tail {
        end if end.segment == segment => end.end,
        _ => 0,
    };
    let frames = recovered.unsynced.concat();
    (disk.truncate(segment, end.into())).map_err(failed(DiskOperation::Write, Some(segment)))?;
    (disk.append(segment, &frames)).map_err(failed(DiskOperation::Write, Some(segment)))?;
    (disk.sync(segment)).map_err(failed(DiskOperation::Sync, Some(segment)))?;
    (disk.sync_folder()).map_err(failed(DiskOperation::SyncFolder, None))
}

/// A log on a [`Disk`]: the part of the store that knows no threads, no clock and no operating system.
///
/// Times are the wall clock's, in milliseconds since 1970. Calls block as the disk does.
pub struct StoreLog<D> {
    pub(crate) disk: D,
    segment_size: u32,
    pub(crate) state: StoreState,
    /// All segments that belong to the log, also the one that is written to.
    pub(crate) segments: BTreeMap<u32, SegmentMeta>,
    /// Files that are not of the log, which the disk does not say yet.
    void: Vec<u32>,
    /// Files that are to be removed.
    removable: Vec<u32>,
    /// The end of the segment before the one that is written to.
    tail: SegmentEnd,
    /// When it was opened: the end of what was on the disk, and the frames behind that.
    synced_tail: SegmentEnd,
    unsynced: Vec<Bytes>,
    next_segment: u32,
    next_frame: u64,
    /// All frames up to this one survive a power cut.
    synced: u64,
    active: Option<ActiveSegment>,
    /// A file was made or removed since the folder was synced.
    folder_changed: bool,
    spare: BytesMut,
    pub(crate) cache: FrameCache,
    damages: Vec<Damage>,
    /// Segments of which a copy is kept.
    kept_damaged: BTreeSet<u32>,
    /// A segment that the disk did not read. It stays, and so do those behind it.
    unreadable: Option<u32>,
    failure: Option<DiskError>,
}

impl<D: Disk> StoreLog<D> {
    /// Opens the log that is on a disk, or begins one. What an earlier process has written and not synced is written again, to a
    /// new segment: if its sync has failed, no later one says so.
    ///
    /// # Errors
    /// The disk cannot be read or synced, or a later version has written the log. Damage is none:
    /// [`new_damages`](Self::new_damages) has it.
    pub fn open(disk: D) -> Result<Self, RecoveryError> {
        Self::open_with(disk, SEGMENT_SIZE)
    }

    /// As [`open`](Self::open), with segments of another size than [`SEGMENT_SIZE`]: for tests, to which 4 MiB are much.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(mut disk: D, segment_size: u32) -> Result<Self, RecoveryError> {
        let recovered = recover(&mut disk)?;
        let mut log = Self::new(disk, recovered, segment_size);
        for damage in log.damages.clone() {
            log.keep_damaged(damage.segment);
        }
        let mut attempts = 2;
        while log.tail.frame > log.synced {
            attempts -= 1;
            log = log.write_again(attempts)?;
        }
        Ok(log)
    }

    /// Writes again what is not known to be on the disk. Where a full disk has no space for that, it is written where it is.
    /// Where the disk fails, the log is as it was opened, and may try `attempts` more times.
    fn write_again(mut self, attempts: u32) -> Result<Self, RecoveryError> {
        let mut left = ActiveSegment::new(self.tail.segment, 0, SegmentEnd::default());
        left.unsynced = mem::take(&mut self.unsynced);
        left.synced = (self.synced_tail.segment == left.number).then_some(self.synced_tail);
        self.tail = self.synced_tail;
        self.active = Some(left);
        let (LogError::Full(error) | LogError::Failed(error)) = match self.abandon(None) {
            Ok(()) => return Ok(self),
            Err(error) => error,
        };
        if !error.is_full() && attempts == 0 {
            return Err(RecoveryError::Disk(error));
        }
        let mut disk = self.disk;
        let recovered = recover(&mut disk)?;
        if !error.is_full() {
            return Ok(Self::new(disk, recovered, self.segment_size));
        }
        write_in_place(&mut disk, &recovered).map_err(RecoveryError::Disk)?;
        let recovered = recover(&mut disk)?;
        let mut log = Self::new(disk, recovered, self.segment_size);
        log.unsynced.clear();
        log.synced = log.tail.frame;
        Ok(log)
    }

    /// Reads the log that is on a disk, which may be another's: nothing is written or synced. It must not be written to.
    pub(crate) fn read_only(mut disk: D) -> Result<Self, RecoveryError> {
        let recovered = recover(&mut disk)?;
        Ok(Self::new(disk, recovered, SEGMENT_SIZE))
    }

    fn new(disk: D, mut recovered: Recovered, segment_size: u32) -> Self {
        for damage in &recovered.new_damages {
            (recovered.state.noted).insert(damage.first, damage.segment);
        }
        Self {
            disk,
            segment_size,
            state: recovered.state,
            segments: recovered.segments,
            void: recovered.void,
            removable: Vec::new(),
            tail: recovered.tail,
            synced_tail: recovered.synced_tail,
            unsynced: recovered.unsynced,
            next_segment: recovered.next_segment,
            // A number that is lost to damage is not given again.
            next_frame: recovered.next_frame.max(recovered.synced.saturating_add(1)),
            synced: recovered.synced,
            active: None,
            folder_changed: false,
            spare: BytesMut::new(),
            cache: FrameCache::default(),
            damages: recovered.new_damages,
            kept_damaged: BTreeSet::new(),
            unreadable: None,
            failure: None,
        }
    }

    /// Damage that was found when the log was opened, and never before.
    pub fn new_damages(&self) -> &[Damage] {
        &self.damages
    }

    /// The disk, for another log.
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// Writes changes as one frame, at the time `now`. They survive the end of the process from now on, and a power cut once
    /// they are [synced](Self::sync).
    ///
    /// # Errors
    /// The disk is full, or has failed: then none of them is written. Changes of 4 GiB in all count as a failure.
    pub fn append(&mut self, now: u64, changes: &[StoreChange]) -> Result<(), LogError> {
        self.append_iter(now, changes.iter())
    }

    pub(crate) fn append_iter<'c>(
        &mut self,
        now: u64,
        changes: impl Iterator<Item = &'c StoreChange> + Clone,
    ) -> Result<(), LogError> {
        let mut frame = mem::take(&mut self.spare);
        begin_frame(&mut frame);
        self.put_counters_for_floor(&mut frame);
        put_changes(self.state.clock_at(now), changes, &mut frame);
        self.put_floor(&mut frame);
        self.write(frame)
    }

    /// How many frames were written since the store was made.
    pub(crate) const fn frames(&self) -> u64 {
        self.next_frame - 1
    }

    /// Has all that was written survive a power cut.
    ///
    /// # Errors
    /// The disk has failed twice: see [`LogError::Failed`].
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.check()?;
        if let Some(active) = &mut self.active
            && !active.unsynced.is_empty()
        {
            match self.disk.sync(active.number) {
                Ok(()) => {}
                Err(_) => return self.abandon(None),
            }
        }
        self.sync_folder()?;
        if let Some(active) = &mut self.active
            && !active.unsynced.is_empty()
        {
            self.synced = self.next_frame - 1;
            self.spare = active.note_synced(self.synced);
            if self.spare.capacity() > SPARE {
                self.spare = BytesMut::new();
            }
            self.note_synced();
        }
        Ok(())
    }

    /// Whether something was written that a power cut may take away.
    pub fn is_synced(&self) -> bool {
        (self.active.as_ref()).is_none_or(|active| active.unsynced.is_empty())
    }

    /// A folder is synced again when that fails: nothing that was written is lost by it.
    fn sync_folder(&mut self) -> Result<(), LogError> {
        if self.folder_changed {
            let synced = self.disk.sync_folder().or_else(|_| self.disk.sync_folder());
            synced.map_err(|error| self.fail(DiskOperation::SyncFolder, None, &error))?;
            self.folder_changed = false;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), LogError> {
        match &self.failure {
            Some(error) => Err(LogError::Failed(error.clone())),
            None => Ok(()),
        }
    }

    fn fail(
        &mut self,
        operation: DiskOperation,
        segment: Option<u32>,
        error: &io::Error,
    ) -> LogError {
        let error = DiskError::new(operation, segment, error);
        self.failure = Some(error.clone());
        LogError::Failed(error)
    }

    /// What was to be written has 4 GiB or more, which the header of a frame cannot say.
    fn fail_too_long(&mut self, segment: u32) -> LogError {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "a frame of 4 GiB or more");
        self.fail(DiskOperation::Write, Some(segment), &error)
    }

    /// Writes a frame whose header is not filled in.
    fn write(&mut self, body: BytesMut) -> Result<(), LogError> {
        self.check()?;
        let active = self.active.as_ref();
        if active.is_some_and(|active| {
            let length = active.length as usize + body.len();
            active.length > 0 && length > self.segment_size as usize
        }) {
            self.seal()?;
        }
        self.activate()?;
        let Some(active) = &self.active else {
            return Ok(());
        };
        let (number, length) = (active.number, active.length);
        let (mut frame, unwrapped) = match length {
            0 => {
                let records = body.get(FRAME_HEADER..).unwrap_or_default();
                (self.first_frame(active, [records]), Some(body))
            }
            _ => (body, None),
        };
        if finish_frame(&mut frame, number, self.next_frame, self.synced).is_none() {
            return Err(self.fail_too_long(number));
        }
        match self.disk.append(number, &frame) {
            Ok(()) => {
                self.wrote(frame.freeze(), 0..0);
                Ok(())
            }
            Err(error) => {
                let error = DiskError::new(DiskOperation::Write, Some(number), &error);
                let cut = self.disk.truncate(number, length.into());
                if error.is_full() && cut.is_ok() {
                    return Err(LogError::Full(error));
                }
                // What is left behind the last frame would be in the way of the next.
                self.abandon(Some(&unwrapped.unwrap_or(frame)))
            }
        }
    }

    /// Makes a segment to write to, if there is none.
    fn activate(&mut self) -> Result<(), LogError> {
        if self.active.is_some() {
            return Ok(());
        }
        let mut retries = 1;
        loop {
            let number = self.next_segment;
            match self.disk.create(number) {
                Ok(()) => {
                    self.next_segment = number.saturating_add(1);
                    self.folder_changed = true;
                    self.active = Some(ActiveSegment::new(number, self.next_frame, self.tail));
                    return Ok(());
                }
                Err(error) => {
                    let full = DiskError::new(DiskOperation::Create, Some(number), &error);
                    if full.is_full() {
                        return Err(LogError::Full(full));
                    }
                    if retries == 0 {
                        return Err(self.fail(DiskOperation::Create, Some(number), &error));
                    }
                    retries -= 1;
                    // The file may be there all the same.
                    self.void.push(number);
                    self.next_segment = number.saturating_add(1);
                }
            }
        }
    }

    /// The first frame of a segment: all that must not be lost with the segments before it, and then `bodies`.
    fn first_frame<'b>(
        &self,
        active: &ActiveSegment,
        bodies: impl IntoIterator<Item = &'b [u8]>,
    ) -> BytesMut {
        let SegmentEnd {
            segment,
            frame,
            end,
        } = active.predecessor;
        let mut records = vec![LogRecord::Predecessor {
            segment,
            frame,
            end,
        }];
        self.state.put_small(&mut records);
        let mut out = BytesMut::new();
        begin_frame(&mut out);
        records.iter().for_each(|record| record.put(&mut out));
        bodies.into_iter().for_each(|body| out.put_slice(body));
        out
    }

    /// A frame stands in the segment: its records count, but for those that begin in `again`, which have counted. Their messages
    /// are here now.
    fn wrote(&mut self, frame: Bytes, again: Range<usize>) {
        let Some(active) = &mut self.active else {
            return;
        };
        let records = Records::new(frame.get(FRAME_HEADER..).unwrap_or_default());
        for record in records {
            active.note(&record.record);
            let place = RecordPlace {
                segment: active.number,
                frame_at: active.length,
                record_at: u32::try_from(FRAME_HEADER + record.at).unwrap_or(u32::MAX),
            };
            if again.contains(&record.at) {
                self.state.move_message(&record.record, place);
                continue;
            }
            self.state.apply(record.record, place, record.size);
        }
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        active.length = active.length.saturating_add(length);
        active.unsynced.push(frame);
        let meta = SegmentMeta {
            first_frame: active.first_frame,
            length: active.length.into(),
        };
        self.segments.insert(active.number, meta);
        self.next_frame += 1;
    }

    /// Leaves a segment that has failed, and writes what was not on the disk to a new one, with `failed`, the frame whose
    /// writing has failed.
    ///
    /// All of it becomes one frame: its first records have the state as it is now, which must not count without the changes
    /// that led there.
    fn abandon(&mut self, failed: Option<&[u8]>) -> Result<(), LogError> {
        let Some(left) = self.active.take() else {
            return Ok(());
        };
        self.cache.clear();
        match left.synced {
            Some(end) => {
                self.tail = end;
                if let Some(meta) = self.segments.get_mut(&left.number) {
                    meta.length = end.end.into();
                }
            }
            None => {
                self.segments.remove(&left.number);
                self.void.push(left.number);
            }
        }
        self.next_frame = self.synced.max(self.tail.frame).saturating_add(1);
        self.activate().map_err(|error| self.make_final(error))?;
        let Some(active) = &self.active else {
            return Ok(());
        };
        let number = active.number;
        let body = |frame: &'_ Bytes| frame.slice(FRAME_HEADER.min(frame.len())..);
        let bodies: Vec<_> = left.unsynced.iter().map(body).collect();
        let mut frame = self.first_frame(active, []);
        let begin = frame.len() - FRAME_HEADER;
        frame.reserve(bodies.iter().map(Bytes::len).sum());
        bodies.iter().for_each(|body| frame.put_slice(body));
        let again = begin..frame.len() - FRAME_HEADER;
        // Who reads those changes has counted them already, and gives messages another order.
        let sends = self.state.sends.iter();
        let sends = sends.map(|(&key, &state)| LogRecord::SendState { key, state });
        let counters = LogRecord::Counters(self.state.counters);
        (sends.chain([counters])).for_each(|record| record.put(&mut frame));
        if let Some(failed) = failed {
            frame.put_slice(failed.get(FRAME_HEADER..).unwrap_or_default());
        }
        if finish_frame(&mut frame, number, self.next_frame, self.synced).is_none() {
            return Err(self.fail_too_long(number));
        }
        if let Err(error) = self.disk.append(number, &frame) {
            let _ = self.disk.truncate(number, 0); // a full disk needs the space
            return Err(self.fail(DiskOperation::Write, Some(number), &error));
        }
        (self.disk.sync(number))
            .map_err(|error| self.fail(DiskOperation::Sync, Some(number), &error))?;
        self.wrote(frame.freeze(), again);
        self.sync_folder()?;
        self.synced = self.next_frame - 1;
        if let Some(active) = &mut self.active {
            active.note_synced(self.synced);
        }
        self.note_synced();
        Ok(())
    }

    fn make_final(&mut self, error: LogError) -> LogError {
        match error {
            LogError::Full(error) | LogError::Failed(error) => {
                self.failure = Some(error.clone());
                LogError::Failed(error)
            }
        }
    }

    /// Ends the segment that is written to: with an index of it, if that can be written, and synced in any case.
    ///
    /// # Errors
    /// The disk has failed twice: see [`LogError::Failed`].
    pub fn seal(&mut self) -> Result<(), LogError> {
        self.check()?;
        let Some(mut active) = self.active.take() else {
            return Ok(());
        };
        if active.length == 0 {
            self.active = Some(active);
            return Ok(());
        }
        let mut index = self.index(&mut active);
        let (number, length) = (active.number, active.length);
        self.active = Some(active);
        // It has the number of the last frame: nothing is missing where it is lost. Then the segment is read as a whole, which
        // takes longer and gives the same.
        let last = self.next_frame - 1;
        let mut file_length = u64::from(length);
        if finish_frame(&mut index, number, last, self.synced).is_some() {
            put_trailer(&mut index, number, length);
            match self.disk.append(number, &index) {
                Ok(()) => file_length += index.len() as u64,
                Err(_) => drop(self.disk.truncate(number, length.into())),
            }
        }
        // The index alone need not be synced.
        if !self.is_synced() {
            if self.disk.sync(number).is_err() {
                return self.abandon(None);
            }
            self.sync_folder()?;
            self.synced = last;
            self.note_synced();
        }
        self.active = None;
        self.tail = SegmentEnd {
            segment: number,
            frame: last,
            end: length,
        };
        if let Some(meta) = self.segments.get_mut(&number) {
            meta.length = file_length;
        }
        Ok(())
    }

    /// The index of a segment: what it says of messages that have not ended, those that it ends, and the state beside them.
    fn index(&self, active: &mut ActiveSegment) -> BytesMut {
        let SegmentEnd {
            segment,
            frame,
            end,
        } = active.predecessor;
        let mut records = vec![
            LogRecord::Index {
                first: active.first_frame,
                last: self.next_frame - 1,
            },
            LogRecord::Predecessor {
                segment,
                frame,
                end,
            },
        ];
        if active.loses_session() {
            records.push(LogRecord::SessionLost);
        }
        let touched = active.take_touched();
        let pending = touched
            .iter()
            .filter_map(|key| self.state.pending.get(*key));
        let here = pending.filter(|message| message.place.segment == active.number);
        let placed = here.map(|message| PlacedMessage {
            key: message.key,
            frame_at: message.place.frame_at,
            record_at: message.place.record_at,
            size: message.size,
            expires_at: message.expires_at,
            topic_hash: message.topic_hash,
        });
        records.push(LogRecord::Placed(placed.collect()));
        for key in touched {
            self.state.put_progress(key, &mut records);
        }
        records.extend(active.take_ended());
        self.state.put_small(&mut records);
        let mut out = BytesMut::new();
        begin_frame(&mut out);
        records.iter().for_each(|record| record.put(&mut out));
        out
    }
}
