//! A store: what it has taken of an engine's journal, how much of that is on record, and what an engine begins with after
//! the process has ended. Each direction of messages has a record of its own, which may lag, fail, and begin again.

use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, Instant};

use ferromqtt_engine::{OutgoingQueueOptions, StoredMessage};
use ferromqtt_proto::{Direction, JournalEntry, Publish, Session, SessionChange, Utf8String};

pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::Sent, Direction::Received];

#[derive(Debug, Default)]
pub(crate) struct StoreRow {
    on_record: Vec<JournalEntry>,
    /// What is to take the place of all that is on record.
    begins: Option<Vec<JournalEntry>>,
    unwritten: Vec<JournalEntry>,
    /// It keeps the engine waiting.
    pub(crate) lags: bool,
    pub(crate) has_failed: bool,
    last: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    sent: StoreRow,
    received: StoreRow,
    /// The keys of messages that were accepted, on record, and of those that have ended there.
    accepted: BTreeSet<u64>,
    finished: BTreeSet<u64>,
    /// Larger than all keys that were ever on record.
    next_key: u64,
    /// For an engine that begins with what is on record.
    pub(crate) queue: OutgoingQueueOptions,
}

impl Store {
    pub(crate) const fn row(&self, direction: Direction) -> &StoreRow {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }

    pub(crate) const fn row_mut(&mut self, direction: Direction) -> &mut StoreRow {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    /// Every row writes what it is given.
    pub(crate) fn keep_up(&mut self) {
        for direction in DIRECTIONS {
            self.row_mut(direction).lags = false;
        }
    }

    pub(crate) fn take(&mut self, entry: JournalEntry) {
        let row = self.row_mut(entry.direction());
        assert!(!row.has_failed, "a failed store is given {entry:?}");
        assert!(entry.sequence == row.last + 1 || row.last == 0, "a gap");
        row.last = entry.sequence;
        row.unwritten.push(entry);
    }

    /// The row fails: what it has not written is lost.
    pub(crate) fn fail(&mut self, direction: Direction) {
        let row = self.row_mut(direction);
        row.has_failed = true;
        row.unwritten.clear();
        row.begins = None;
    }

    /// The row works again, and begins with these changes, which are to be written. It keeps the acceptances of the messages `kept`.
    pub(crate) fn begin(
        &mut self,
        direction: Direction,
        sequence: u64,
        changes: Vec<SessionChange>,
        kept: &BTreeSet<u64>,
    ) {
        let row = self.row_mut(direction);
        row.has_failed = false;
        row.last = sequence;
        row.unwritten.clear();
        let is_kept = |entry: &&JournalEntry| match &entry.change {
            SessionChange::Accepted { key, .. } => kept.contains(key),
            _ => false,
        };
        let kept = row.on_record.iter().filter(is_kept).cloned();
        let entries = changes.into_iter().map(|change| JournalEntry {
            sequence,
            change,
            holds: true,
        });
        row.begins = Some(kept.chain(entries).collect());
    }

    /// The contents of a message that was accepted, on record, and has not ended there.
    pub(crate) fn publish(&self, key: u64) -> Option<Publish> {
        let publish = self
            .sent
            .on_record
            .iter()
            .rev()
            .find_map(|entry| match &entry.change {
                SessionChange::Accepted {
                    key: of, publish, ..
                } if *of == key => Some(publish.clone()),
                _ => None,
            });
        publish.filter(|_| !self.is_finished(key))
    }

    /// Puts all of a row on record, unless it lags. Returns the number of the last entry, if that is news.
    pub(crate) fn write(&mut self, direction: Direction) -> Option<u64> {
        let row = self.row_mut(direction);
        let is_new = row.begins.is_some() || !row.unwritten.is_empty();
        if row.lags || row.has_failed || !is_new {
            return None;
        }
        let (last, begins) = (row.last, row.begins.take());
        let unwritten = mem::take(&mut row.unwritten);
        let has_begun = begins.is_some();
        if let Some(begins) = begins {
            row.on_record = begins;
        }
        row.on_record.extend(unwritten);
        for entry in &self.row(direction).on_record.clone() {
            // A record that begins again has messages in flight as such, and not as accepted.
            if let Some(key) = key(&entry.change) {
                self.next_key = self.next_key.max(key + 1);
                self.accepted.insert(key);
            }
            match &entry.change {
                SessionChange::Finished { key } | SessionChange::Uncertain { key } => {
                    self.finished.insert(*key);
                }
                _ => {}
            }
        }
        if has_begun && direction == Direction::Sent {
            // What is not in the new record has ended.
            let named: BTreeSet<_> = (self.sent.on_record.iter())
                .filter_map(|entry| key(&entry.change))
                .collect();
            (self.finished).extend(self.accepted.iter().filter(|key| !named.contains(key)));
        }
        Some(last)
    }

    /// Whether the sending of a message is on record.
    pub(crate) fn has_sent(&self, key: u64) -> bool {
        let sends = |entry: &JournalEntry| match entry.change {
            SessionChange::Sending { key: sent, .. }
            | SessionChange::Publishing { key: sent, .. } => sent == key,
            _ => false,
        };
        self.sent.on_record.iter().any(sends)
    }

    /// The process has ended: what is not on record is gone.
    pub(crate) fn lose_unwritten(&mut self) {
        for direction in DIRECTIONS {
            let row = self.row_mut(direction);
            row.begins = None;
            row.unwritten.clear();
            row.has_failed = false;
            row.last = row
                .on_record
                .iter()
                .map(|it| it.sequence)
                .max()
                .unwrap_or(0);
        }
    }

    /// A session of what is on record. Nothing says how the rows are mixed.
    pub(crate) fn session(&self, client_identifier: Utf8String) -> Session {
        let entries = self.received.on_record.iter().chain(&self.sent.on_record);
        Session::restore(client_identifier, self.next_key, entries.cloned())
    }

    /// Whether the message has ended, on record.
    pub(crate) fn is_finished(&self, key: u64) -> bool {
        self.finished.contains(&key)
    }

    /// The keys of all messages that were accepted, on record.
    pub(crate) const fn accepted(&self) -> &BTreeSet<u64> {
        &self.accepted
    }

    /// The messages that have not ended, in the order of their keys. They may wait as long as when they were accepted: this store has no wall clock.
    pub(crate) fn messages(&self, now: Instant) -> Vec<StoredMessage> {
        let accepted = (self.sent.on_record.iter()).filter_map(|entry| match &entry.change {
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
        let mut messages: Vec<_> = accepted.filter(|it| !self.is_finished(it.key)).collect();
        messages.sort_by_key(|it| it.key); // not in a record that has begun again
        messages
    }
}

fn key(change: &SessionChange) -> Option<u64> {
    match change {
        SessionChange::Accepted { key, .. }
        | SessionChange::Publishing { key, .. }
        | SessionChange::Sending { key, .. } => Some(*key),
        _ => None,
    }
}
