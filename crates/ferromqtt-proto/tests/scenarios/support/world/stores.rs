//! The two stores of a world, one for each direction: each has entries on record, and others not yet, and may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use ferromqtt_proto::{Client, Direction, JournalEntry, PacketId, SessionChange};

use crate::support::store::DIRECTIONS;

#[derive(Default)]
struct WorldStore {
    on_record: Vec<JournalEntry>,
    /// What is to take the place of all that is on record.
    begins: Option<Vec<JournalEntry>>,
    unwritten: Vec<JournalEntry>,
    /// The number of the last entry that it was given, and of the last one on record.
    given: u64,
    written: u64,
    has_failed: bool,
}

#[derive(Default)]
pub(super) struct WorldStores {
    sent: WorldStore,
    received: WorldStore,
    /// Which messages each entry is about that says that some were received, by its number.
    numbers: BTreeMap<u64, Vec<u16>>,
    /// The messages that were ever on record as received.
    pub(super) received_on_record: BTreeSet<u16>,
}

impl WorldStores {
    const fn of(&self, direction: Direction) -> &WorldStore {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }

    const fn of_mut(&mut self, direction: Direction) -> &mut WorldStore {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    /// Takes an entry; `number` is that of the message that it says was received.
    pub(super) fn take(&mut self, entry: JournalEntry, number: Option<u16>) {
        if let (SessionChange::Received { .. }, Some(number)) = (&entry.change, number) {
            self.numbers.insert(entry.sequence, vec![number]);
        }
        let store = self.of_mut(entry.direction());
        assert!(!store.has_failed, "a failed store is given {entry:?}");
        assert!(entry.sequence == store.given + 1, "a gap");
        store.given = entry.sequence;
        store.unwritten.push(entry);
    }

    pub(super) fn fail(&mut self, direction: Direction, client: &mut Client) {
        let store = self.of_mut(direction);
        if !mem::replace(&mut store.has_failed, true) {
            store.unwritten.clear();
            store.begins = None;
            client.journal_failed(direction);
        }
    }

    /// The store works again, if it had failed, and begins with these changes; `number` is that of the message that is received
    /// under an identifier.
    pub(super) fn begin(
        &mut self,
        direction: Direction,
        begin: impl FnOnce() -> (u64, Vec<SessionChange>),
        number: impl Fn(PacketId) -> Option<u16>,
    ) {
        let store = self.of_mut(direction);
        if !mem::take(&mut store.has_failed) {
            return;
        }
        let (sequence, changes) = begin();
        store.given = sequence;
        let mut numbers = Vec::new();
        for change in &changes {
            if let SessionChange::Received { packet_id } = change {
                numbers.extend(number(*packet_id));
            }
        }
        let entries = changes.into_iter().map(|change| JournalEntry {
            sequence,
            change,
            holds: true,
        });
        store.begins = Some(entries.collect());
        if direction == Direction::Received {
            self.numbers.insert(sequence, numbers);
        }
    }

    /// Puts on record what it was given, or the first half of it, and tells the client.
    pub(super) fn write(&mut self, direction: Direction, all: bool, client: &mut Client) {
        let store = self.of_mut(direction);
        let mut new = Vec::new();
        if let Some(begins) = store.begins.take() {
            store.on_record = begins;
            store.written = store.given - store.unwritten.len() as u64;
            new.push(store.written);
        }
        let count = match all {
            true => store.unwritten.len(),
            false => store.unwritten.len() / 2,
        };
        let entries: Vec<_> = store.unwritten.drain(..count).collect();
        store.written += entries.len() as u64;
        if !store.has_failed {
            client.journal_written(direction, store.written);
        }
        new.extend(entries.iter().map(|entry| entry.sequence));
        store.on_record.extend(entries);
        if direction == Direction::Received {
            let numbers = new.iter().filter_map(|sequence| self.numbers.get(sequence));
            self.received_on_record.extend(numbers.flatten());
        }
    }

    /// Whether all is on record that was given.
    pub(super) fn is_idle(&self) -> bool {
        let is_idle = |store: &WorldStore| store.begins.is_none() && store.unwritten.is_empty();
        is_idle(&self.sent) && is_idle(&self.received)
    }

    /// Whether this row is on record as it is.
    pub(super) fn is_up_to_date(&self, direction: Direction) -> bool {
        let store = self.of(direction);
        store.begins.is_none() && store.unwritten.is_empty() && !store.has_failed
    }

    /// What is left when the process ends. Nothing says how the rows are mixed.
    pub(super) fn after_crash(&mut self) -> Vec<JournalEntry> {
        for direction in DIRECTIONS {
            let store = self.of_mut(direction);
            store.unwritten.clear();
            store.begins = None;
            store.has_failed = false;
            store.given = store
                .on_record
                .iter()
                .map(|it| it.sequence)
                .max()
                .unwrap_or(0);
            store.written = store.given;
        }
        self.numbers.clear();
        let entries = self.received.on_record.iter().chain(&self.sent.on_record);
        entries.cloned().collect()
    }

    /// The stores have begun a new record, with these changes.
    pub(super) fn replace(
        &mut self,
        changes: impl Iterator<Item = SessionChange>,
    ) -> Vec<JournalEntry> {
        let mut rows: [Vec<_>; 2] = Default::default();
        for change in changes {
            rows[usize::from(change.direction() == Direction::Received)].push(change);
        }
        for (direction, changes) in DIRECTIONS.into_iter().zip(rows) {
            let store = self.of_mut(direction);
            let sequence = store.given;
            let entries = changes.into_iter().map(|change| JournalEntry {
                sequence,
                change,
                holds: true,
            });
            store.on_record = entries.collect();
            if store.on_record.is_empty() {
                store.given = 0; // nothing tells the next process the number
                store.written = 0;
            }
        }
        self.after_crash()
    }
}
