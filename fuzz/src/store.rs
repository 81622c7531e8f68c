//! A store that keeps what a client's journal says, as far as it is written.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{JournalEntry, PacketId, QoS, SessionChange};

/// Entries in order, of which the first ones are on record.
#[derive(Debug, Default)]
pub struct Store {
    entries: Vec<JournalEntry>,
    written: usize,
    /// Whether it keeps the client waiting.
    pub lags: bool,
}

impl Store {
    /// The client has handed over its next entry.
    pub fn take(&mut self, entry: JournalEntry) {
        assert_eq!(entry.sequence, self.entries.len() as u64 + 1);
        self.entries.push(entry);
    }

    /// Puts all on record, and tells the number of the last entry.
    pub fn write(&mut self) -> u64 {
        self.written = self.entries.len();
        self.written as u64
    }

    /// What is left when the process dies.
    pub fn after_crash(&mut self) -> Vec<JournalEntry> {
        self.entries.truncate(self.written);
        self.entries.clone()
    }

    /// A packet leaves: the change that it tells of must be on record.
    pub fn check(&self, packet: &Packet) {
        let recorded = match packet {
            Packet::Publish(publish) if publish.qos != QoS::AtMostOnce => {
                publish.packet_id.is_some_and(|id| self.is_published(id))
            }
            Packet::PubRec(ack) if !ack.reason.is_error() => self.is_received(ack.packet_id),
            _ => true,
        };
        assert!(recorded, "is not on record: {packet:?}");
    }

    fn is_published(&self, id: PacketId) -> bool {
        self.entries[..self.written].iter().any(|entry| {
            matches!(
                &entry.change,
                SessionChange::Publishing { packet_id, .. }
                | SessionChange::Sending { packet_id, .. } if *packet_id == id
            )
        })
    }

    fn is_received(&self, id: PacketId) -> bool {
        (self.entries[..self.written].iter())
            .any(|entry| entry.change == SessionChange::Received { packet_id: id })
    }
}
