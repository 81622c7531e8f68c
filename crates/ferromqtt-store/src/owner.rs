//! The thread that owns the files of a store.
//!
//! It takes all that has come, writes it as one frame, syncs, publishes how far it has come, and begins again: the sync that
//! runs is the timer of the next batch.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ferromqtt_proto::Direction;

use crate::change::StoreChange;
use crate::commands::{CommandFile, StoreCommand};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::lock::FolderLock;
use crate::log::{LogError, StoreLog};
use crate::log_store::StoreSync;
use crate::read::ReadError;
use crate::record::EndedHow;
use crate::shared::{StoreShared, Work};
use crate::store::{FetchRequest, FetchedMessage, StoreEntry, StoreEvent};

/// How many entries are written at once, at most.
const BATCH_ENTRIES: usize = 4_096;

/// How many bytes of them. One entry is written in any case.
const BATCH_BYTES: usize = 1 << 20;

/// How often an idle thread looks for commands, and whether a full disk has space again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often it looks whether the driver has taken commands, while more of them wait.
const GIVE_AGAIN: Duration = Duration::from_millis(10);

/// How many messages are fetched, and how many bytes, where the request does not say.
const FETCH: (usize, usize) = (1_000, 4 << 20);

/// The milliseconds since 1970, by the system's clock; 0 before that.
pub(crate) fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
}

/// Says that the thread has ended.
struct EndGuard(Arc<StoreShared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.note_ended();
    }
}

/// An entry until its mark is published.
struct QueuedChange {
    mark: Option<(Direction, u64)>,
    size: usize,
    /// None when it was written ahead of those before it.
    change: Option<StoreChange>,
}

pub(crate) struct FilesOwner<D> {
    log: StoreLog<D>,
    shared: Arc<StoreShared>,
    sync: StoreSync,
    path: PathBuf,
    commands: CommandFile,
    /// Commands that were taken, and that wait for the driver to take those before.
    asked: VecDeque<StoreCommand>,
    /// Held as long as the files are written; a disk in memory has none.
    _lock: Option<FolderLock>,
    queue: VecDeque<QueuedChange>,
    /// Empty between two turns.
    submitted: VecDeque<StoreEntry>,
    /// When what is written has to be synced.
    sync_at: Option<Instant>,
    /// The disk was full: all that waits is tried again then.
    try_again_at: Option<Instant>,
    /// Messages that were found damaged, and whose end is not recorded yet.
    lost: Vec<u64>,
    looked: Instant,
}

impl<D: Disk> FilesOwner<D> {
    pub(crate) fn new(
        log: StoreLog<D>,
        shared: Arc<StoreShared>,
        sync: StoreSync,
        path: PathBuf,
        lock: Option<FolderLock>,
    ) -> Self {
        Self {
            log,
            shared,
            sync,
            commands: CommandFile::new(&path),
            asked: VecDeque::new(),
            path,
            _lock: lock,
            queue: VecDeque::new(),
            submitted: VecDeque::new(),
            sync_at: None,
            try_again_at: None,
            lost: Vec::new(),
            looked: Instant::now(),
        }
    }

    /// Runs until the store is closed, or the disk has failed.
    pub(crate) fn run(mut self) {
        // Also when it panics: somebody may wait for the end.
        let _ended = EndGuard(Arc::clone(&self.shared));
        let end = self.work();
        if let Err(LogError::Full(error) | LogError::Failed(error)) = end {
            let failure = StoreError::disk(self.path.clone(), error);
            (self.shared).publish(|marks, _| marks.failure = Some(failure));
        }
        drop(self); // the next owner may come as soon as it is said that this one is gone
    }

    fn work(&mut self) -> Result<(), LogError> {
        loop {
            let patience = self.patience();
            let Work { request, closing } = self.shared.wait(patience, &mut self.submitted);
            self.queue_submitted();
            if request.is_none() && self.queue.is_empty() {
                self.tidy(StoreLog::tidy_now)?;
            }
            self.write_queue()?;
            if let Some(request) = request {
                self.fetch(request)?;
            }
            if self.sync_at.is_some_and(|at| at <= Instant::now()) {
                self.log.sync()?;
                self.sync_at = None;
            }
            self.look_for_commands();
            if closing {
                return self.finish();
            }
        }
    }

    /// How long to wait for work.
    fn patience(&self) -> Duration {
        let sync_in = (self.sync_at).map(|at| at.saturating_duration_since(Instant::now()));
        let look_in = match self.asked.is_empty() {
            true => LOOK_AGAIN,
            false => GIVE_AGAIN,
        };
        sync_in.map_or(look_in, |it| it.min(look_in))
    }

    fn queue_submitted(&mut self) {
        self.queue.extend(self.submitted.drain(..).map(queued));
        // Memory for a few batches is kept for the next ones.
        self.submitted.shrink_to(BATCH_ENTRIES);
    }

    fn write_queue(&mut self) -> Result<(), LogError> {
        if self.try_again_at.is_some_and(|at| Instant::now() < at) {
            return self.write_what_frees();
        }
        while !self.queue.is_empty() {
            let count = self.batch_len();
            let changes = self.queue.iter().take(count);
            let changes = changes.filter_map(|queued| queued.change.as_ref());
            match self.log.append_iter(wall_clock(), changes) {
                Ok(()) => {
                    self.sync_batch()?;
                    self.try_again_at = None;
                    self.publish(count);
                    self.tidy(StoreLog::tidy)?;
                }
                Err(LogError::Full(error)) => {
                    self.try_again_at = Instant::now().checked_add(LOOK_AGAIN);
                    (self.shared).publish(|marks, _| marks.full = Some(error));
                    return self.write_what_frees();
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(())
    }

    /// How many entries go into the next frame.
    fn batch_len(&self) -> usize {
        let mut bytes = 0;
        let fits = |queued: &&QueuedChange| {
            let is_first = bytes == 0;
            bytes += queued.size;
            is_first || bytes <= BATCH_BYTES
        };
        let batch = self.queue.iter().take(BATCH_ENTRIES).take_while(fits);
        batch.count()
    }

    fn sync_batch(&mut self) -> Result<(), LogError> {
        match self.sync {
            StoreSync::Always => self.log.sync()?,
            StoreSync::Interval(interval) => {
                if !self.log.is_synced() && self.sync_at.is_none() {
                    self.sync_at = Instant::now().checked_add(interval);
                }
            }
            StoreSync::Never => {}
        }
        Ok(())
    }

    /// The first `count` entries are on record.
    fn publish(&mut self, count: usize) {
        let mut bytes = 0;
        let (mut sent, mut received) = (0, 0);
        for queued in self.queue.drain(..count) {
            bytes += queued.size;
            match queued.mark {
                Some((Direction::Sent, number)) => sent = number,
                Some((Direction::Received, number)) => received = number,
                None => {}
            }
        }
        self.shared.note_written(count, bytes);
        let stats = self.log.stats();
        self.shared.publish(|marks, shown| {
            marks.on_record += count as u64;
            marks.sent = marks.sent.max(sent);
            marks.ahead = marks.ahead.max(sent);
            marks.received = marks.received.max(received);
            marks.full = None;
            *shown = stats;
        });
    }

    /// Removes and copies segments. A full disk only delays that.
    fn tidy(
        &mut self,
        tidy: impl FnOnce(&mut StoreLog<D>) -> Result<bool, LogError>,
    ) -> Result<(), LogError> {
        match tidy(&mut self.log) {
            Err(LogError::Full(_)) | Ok(_) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// The disk is full. What ends or moves messages that are on record is small, and lets segments go: it is written ahead of
    /// messages that wait for space. The mark of tickets stays before those.
    fn write_what_frees(&mut self) -> Result<(), LogError> {
        let mut waiting = HashSet::new();
        let mut moves = false;
        let mut loses_session = false;
        let mut is_ahead = |change: &StoreChange| {
            // Of a message that waits everything does. The loss of a session waits for what moved messages before it, and what
            // comes after it means another session, but for ends.
            let follows = match change.key() {
                Some(key) => waiting.contains(&key),
                None => change.is_session_lost() && moves,
            };
            let is_ahead =
                change.message().is_none() && !follows && (change.is_end() || !loses_session);
            if !is_ahead {
                waiting.extend(change.key());
                moves |= !change.is_acceptance();
                loses_session |= change.is_session_lost();
            }
            is_ahead
        };
        let ahead: Vec<usize> = (self.queue.iter().enumerate())
            .filter(|(_, queued)| queued.change.as_ref().is_some_and(&mut is_ahead))
            .map(|(at, _)| at)
            .take(BATCH_ENTRIES)
            .collect();
        let changes = ahead
            .iter()
            .filter_map(|at| self.queue.get(*at)?.change.as_ref());
        if ahead.is_empty() {
            return self.tidy(StoreLog::tidy_now);
        }
        match self.log.append_iter(wall_clock(), changes) {
            Ok(()) => {
                for at in ahead {
                    if let Some(queued) = self.queue.get_mut(at) {
                        queued.change = None;
                    }
                }
                self.sync_batch()?;
                self.publish_ahead();
                self.tidy(StoreLog::tidy_now)
            }
            Err(LogError::Full(_)) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// How far each row has come, while messages in it wait for space.
    fn publish_ahead(&self) {
        let last_of = |row, holds_up: fn(&StoreChange) -> bool| {
            let of_row = (self.queue.iter()).filter_map(|queued| match queued.mark {
                Some((direction, number)) if direction == row => Some((number, &queued.change)),
                _ => None,
            });
            let passed = of_row.take_while(|(_, change)| !change.as_ref().is_some_and(holds_up));
            passed.last().map(|(number, _)| number)
        };
        let ahead = last_of(Direction::Sent, |change| !change.is_acceptance());
        let received = last_of(Direction::Received, |_| true);
        self.shared.publish(|marks, _| {
            marks.ahead = marks.ahead.max(ahead.unwrap_or(0));
            marks.received = marks.received.max(received.unwrap_or(0));
        });
    }

    fn fetch(&mut self, request: FetchRequest) -> Result<(), LogError> {
        let fetched = match request {
            FetchRequest::Keys(keys) => (keys.into_iter())
                .filter_map(|key| Some(self.log.read(key)?.map_err(|error| (key, error))))
                .collect(),
            FetchRequest::Waiting { from, limits } => {
                let (mut messages, mut bytes) = (0, 0);
                let most = limits.messages.unwrap_or(FETCH.0);
                let most_bytes = limits.bytes.unwrap_or(FETCH.1);
                let waiting = self.log.waiting_from(from, |size| {
                    messages += 1;
                    bytes += size as usize;
                    messages == 1 || (messages <= most && bytes <= most_bytes)
                });
                let read = |message| {
                    let read = self.log.read_message(&message);
                    read.map_err(|error| (message.key, error))
                };
                waiting.into_iter().map(read).collect::<Vec<_>>()
            }
        };
        self.note_lost(&fetched);
        self.shared.give_fetched(fetched);
        self.end_lost()
    }

    fn note_lost(&mut self, fetched: &[FetchedMessage]) {
        let damaged = fetched.iter().filter_map(|fetched| match fetched {
            Err((key, ReadError::Damaged)) => Some(*key),
            _ => None,
        });
        self.lost.extend(damaged);
    }

    /// Messages whose bytes are damaged end. They would be in the way forever.
    fn end_lost(&mut self) -> Result<(), LogError> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let mut changes = Vec::new();
        for key in self.lost.drain(..) {
            self.log.keep_damaged_of(key);
            changes.push(StoreChange::Ended {
                key,
                how: EndedHow::Damaged,
            });
            self.shared.give_events([StoreEvent::MessageLost { key }]);
        }
        match self.log.append(wall_clock(), &changes) {
            Ok(()) => self.sync_batch()?,
            Err(LogError::Full(_)) => {} // the next one that reads them finds the same
            Err(failed) => return Err(failed),
        }
        let stats = self.log.stats();
        self.shared.publish(|_, shown| *shown = stats);
        Ok(())
    }

    fn look_for_commands(&mut self) {
        let now = Instant::now();
        if self.asked.is_empty() && now.saturating_duration_since(self.looked) >= LOOK_AGAIN {
            self.looked = now;
            self.asked = self.commands.take().into();
        }
        // As many as there is space for: an event that is dropped would be a command that nobody carries out.
        let count = self.shared.room_for_commands().min(self.asked.len());
        let commands = self.asked.drain(..count);
        self.shared.give_events(commands.map(StoreEvent::Command));
    }

    /// Ends the log, so that it is opened without reading all of its last segment.
    fn finish(&mut self) -> Result<(), LogError> {
        self.shared.wait(Duration::ZERO, &mut self.submitted);
        self.queue_submitted();
        self.write_queue()?;
        self.tidy(StoreLog::tidy_now)?;
        self.log.sync()?;
        self.log.seal()?;
        let stats = self.log.stats();
        self.shared.publish(|_, shown| *shown = stats);
        Ok(())
    }
}

fn queued(entry: StoreEntry) -> QueuedChange {
    QueuedChange {
        mark: entry.mark,
        size: entry.change.size(),
        change: Some(entry.change),
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod owner_tests;
