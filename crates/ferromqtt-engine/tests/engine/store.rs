//! A store: what it has taken of an engine's journal, how much of that is on record, and what an engine begins with after
//! the process has ended.

use std::time::{Duration, Instant};

use ferromqtt_engine::{OutgoingQueueOptions, StoredMessage};
use ferromqtt_proto::{Direction, JournalEntry, Session, SessionChange, Utf8String};

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) entries: Vec<JournalEntry>,
    /// How many of them are on record.
    pub(crate) written: usize,
    /// It keeps the engine waiting.
    pub(crate) lags: bool,
    /// For an engine that begins with what is on record.
    pub(crate) queue: OutgoingQueueOptions,
}

impl Store {
    pub(crate) fn take(&mut self, entry: JournalEntry) {
        if let Some(last) = self.last(entry.direction()) {
            assert_eq!(entry.sequence, last + 1, "without a gap");
        }
        self.entries.push(entry);
    }

    /// Puts all on record. Returns the number of the last entry of each direction.
    pub(crate) fn write(&mut self) -> impl Iterator<Item = (Direction, u64)> {
        self.written = self.entries.len();
        let rows = [Direction::Sent, Direction::Received];
        rows.into_iter()
            .filter_map(|row| Some((row, self.last(row)?)))
    }

    fn last(&self, direction: Direction) -> Option<u64> {
        let mut of_row = self.entries.iter().rev();
        let last = of_row.find(|entry| entry.direction() == direction)?;
        Some(last.sequence)
    }

    /// The keys of messages whose sending is not on record.
    pub(crate) fn sent_unwritten(&self) -> impl Iterator<Item = u64> {
        let unwritten = self.entries[self.written..].iter();
        unwritten.filter_map(|entry| match entry.change {
            SessionChange::Sending { key, .. } => Some(key),
            _ => None,
        })
    }

    /// The process has ended: what is not on record is gone.
    pub(crate) fn lose_unwritten(&mut self) {
        self.entries.truncate(self.written);
    }

    pub(crate) fn session(&self, client_identifier: Utf8String) -> Session {
        Session::restore(client_identifier, 1, self.entries.iter().cloned())
    }

    /// Whether the message has ended, on record.
    pub(crate) fn is_finished(&self, key: u64) -> bool {
        (self.entries.iter()).any(|entry| entry.change == SessionChange::Finished { key })
    }

    /// The keys of all messages that were accepted, on record.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().filter_map(|entry| match entry.change {
            SessionChange::Accepted { key, .. } => Some(key),
            _ => None,
        })
    }

    /// The messages that have not ended. They may wait as long as when they were accepted: this store has no wall clock.
    pub(crate) fn messages(&self, now: Instant) -> Vec<StoredMessage> {
        let accepted = self.entries.iter().filter_map(|entry| match &entry.change {
            SessionChange::Accepted {
                key,
                publish,
                expires_in,
                keep_latest,
            } => Some(StoredMessage {
                key: *key,
                publish: publish.clone(),
                expires_at: expires_in.map(|limit: Duration| now + limit),
                keep_latest: *keep_latest,
            }),
            _ => None,
        });
        accepted.filter(|it| !self.is_finished(it.key)).collect()
    }
}
