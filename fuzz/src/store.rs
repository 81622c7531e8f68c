//! Two stores that keep what a client's journal says, as far as it is written: one for each direction of messages.

use std::mem;

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{Client, Direction, JournalEntry, PacketId, QoS, SessionChange};

/// The two directions.
pub const DIRECTIONS: [Direction; 2] = [Direction::Sent, Direction::Received];

/// Entries in order, of which the first ones are on record.
#[derive(Debug, Default)]
struct StoreRow {
    on_record: Vec<JournalEntry>,
    unwritten: Vec<JournalEntry>,
    /// The number given last.
    given: u64,
    has_failed: bool,
}

/// What a process that dies leaves behind.
#[derive(Debug, Default)]
pub struct Store {
    sent: StoreRow,
    received: StoreRow,
    /// Whether it keeps the client waiting.
    pub lags: bool,
    /// Whether it has ever failed: then not all that leaves is on record.
    has_ever_failed: bool,
}

impl Store {
    const fn row(&mut self, direction: Direction) -> &mut StoreRow {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    /// The client has handed over its next entry.
    pub fn take(&mut self, entry: JournalEntry) {
        let row = self.row(entry.direction());
        assert!(!row.has_failed, "a failed store is given {entry:?}");
        assert_eq!(entry.sequence, row.given + 1, "a gap");
        row.given = entry.sequence;
        row.unwritten.push(entry);
    }

    /// Puts all on record, and tells the client.
    pub fn write(&mut self, client: &mut Client) {
        for direction in DIRECTIONS {
            let row = self.row(direction);
            row.on_record.append(&mut row.unwritten);
            client.journal_written(direction, row.given);
        }
    }

    /// The store of a direction fails, or works again and begins with the session as it is.
    pub fn fail_or_begin(
        &mut self,
        direction: Direction,
        client: &mut Client,
        now: std::time::Instant,
    ) {
        self.has_ever_failed = true;
        let row = self.row(direction);
        row.unwritten.clear();
        if !mem::replace(&mut row.has_failed, true) {
            return client.journal_failed(direction);
        }
        row.has_failed = false;
        let (sequence, changes) = client.begin_record(now, direction);
        row.given = sequence;
        let entries = changes.into_iter().map(|change| JournalEntry {
            sequence,
            change,
            holds: true,
        });
        row.on_record = entries.collect();
        client.journal_written(direction, sequence);
    }

    /// Whether the client may have to wait for it.
    pub const fn holds_up(&self) -> bool {
        self.lags || self.sent.has_failed || self.received.has_failed
    }

    /// What is left when the process dies.
    pub fn after_crash(&mut self) -> Vec<JournalEntry> {
        for direction in DIRECTIONS {
            let row = self.row(direction);
            row.unwritten.clear();
            row.has_failed = false;
            row.given = row
                .on_record
                .iter()
                .map(|it| it.sequence)
                .max()
                .unwrap_or(0);
        }
        let entries = self.received.on_record.iter().chain(&self.sent.on_record);
        entries.cloned().collect()
    }

    /// A packet leaves: the change that it tells of must be on record.
    pub fn check(&self, packet: &Packet) {
        let recorded = match packet {
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                publish.packet_id.is_some_and(|id| self.is_published(id))
            }
            Packet::PubRec(ack) if !ack.reason.is_error() => self.is_received(ack.packet_id),
            _ => true,
        };
        assert!(
            recorded || self.has_ever_failed,
            "is not on record: {packet:?}"
        );
    }

    fn is_published(&self, id: PacketId) -> bool {
        self.sent.on_record.iter().any(|entry| {
            matches!(
                &entry.change,
                SessionChange::Publishing { packet_id, .. }
                | SessionChange::Sending { packet_id, .. } if *packet_id == id
            )
        })
    }

    fn is_received(&self, id: PacketId) -> bool {
        (self.received.on_record.iter())
            .any(|entry| entry.change == SessionChange::Received { packet_id: id })
    }
}
