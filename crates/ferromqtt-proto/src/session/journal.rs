//! The seam to a store that keeps a session when the process does not live on: changes in their order, and which of them
//! are on record. Packets that depend on a change are held until it is (`docs/design/0008-journal.md`).

use std::collections::VecDeque;
use std::time::Duration;

use super::Publish;
use crate::packet::PacketId;

/// A change of a session's state (section 4.1), for a store.
///
/// A message that is [recorded when it is accepted](crate::Client::record_accepted) becomes durable then. Any other publish
/// becomes durable when it is about to be sent: while it waits in the outgoing queue, it is not on record.
///
/// A message has a key, a number that is never reused within a session: each is larger than all that were given before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionChange {
    /// A message is accepted, and waits in the store until it is [published](crate::Client::publish_recorded).
    Accepted {
        /// Names the message in later changes.
        key: u64,
        /// The message.
        publish: Publish,
        /// How long it may wait; `None` is no limit.
        expires_in: Option<Duration>,
        /// A newer message to the same topic takes its place while it waits.
        keep_latest: bool,
    },
    /// A QoS 1 or 2 message that is not on record goes out.
    Publishing {
        /// Names the message in later changes.
        key: u64,
        /// Packet Identifier.
        packet_id: PacketId,
        /// The message.
        publish: Publish,
    },
    /// A QoS 1 or 2 message that is on record goes out: for the first time; again, when the server has lost its session; or
    /// again, when the connection had ended before the message was handed over.
    Sending {
        /// The message.
        key: u64,
        /// Its Packet Identifier from now on.
        packet_id: PacketId,
    },
    /// PUBREC came, and PUBREL is owed from now on (MQTT-4.3.3-6): the message itself is no longer needed.
    Releasing {
        /// The message.
        key: u64,
    },
    /// The exchange has ended: nothing that was recorded under `key` is needed any more.
    Finished {
        /// The message.
        key: u64,
    },
    /// PUBREC answers a QoS 2 message, which must not be handed out again (MQTT-4.3.3-10).
    Received {
        /// Its Packet Identifier.
        packet_id: PacketId,
    },
    /// PUBCOMP answers its PUBREL: the identifier stands for nothing any more.
    Released {
        /// The Packet Identifier.
        packet_id: PacketId,
    },
    /// The server has lost the session: messages not finished go out anew, and nothing received is remembered.
    SessionLost,
    /// The message with this Packet Identifier was given up without an acknowledgement, and the server may still hold it: the
    /// identifier stays unused until the session ends, also when all else of the message is forgotten.
    Retired {
        /// The Packet Identifier.
        packet_id: PacketId,
    },
}

/// A change and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Numbers are given in order, from 1, without a gap.
    pub sequence: u64,
    /// What changed.
    pub change: SessionChange,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    enabled: bool,
    /// The number given last, and the number up to which all is on record.
    pub(super) last: u64,
    pub(super) written: u64,
    /// The key given last.
    last_key: u64,
    /// Not handed to the store yet. As many as there are exchanges under way, since packets are held until they are, and
    /// messages accepted.
    entries: VecDeque<JournalEntry>,
}

impl Journal {
    /// Begins to record, or stops. Without a store nothing is held.
    pub(crate) fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
        if !enabled {
            self.entries.clear();
            self.written = self.last;
        }
    }

    /// The key of the message that is recorded next when it is about to be sent; none without a store.
    pub(crate) fn next_key(&self) -> Option<u64> {
        self.enabled.then(|| self.last_key + 1)
    }

    /// A key that no message has had.
    pub(crate) const fn draw_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    /// This key is a message's, and those below it may be.
    pub(crate) fn note_key(&mut self, key: u64) {
        self.last_key = self.last_key.max(key);
    }

    /// Records that the message with this key is about to be sent; `change` learns whether it was on record before.
    pub(crate) fn record_sending(
        &mut self,
        key: u64,
        change: impl FnOnce(bool) -> SessionChange,
    ) -> u64 {
        let is_on_record = key <= self.last_key;
        self.note_key(key);
        self.record(|| change(is_on_record))
    }

    /// Records a change, and tells what packets depend on from now on.
    pub(crate) fn record(&mut self, change: impl FnOnce() -> SessionChange) -> u64 {
        if self.enabled {
            self.last += 1;
            self.entries.push_back(JournalEntry {
                sequence: self.last,
                change: change(),
            });
        }
        self.last
    }

    pub(crate) fn poll(&mut self) -> Option<JournalEntry> {
        self.entries.pop_front()
    }

    /// The store has all changes up to `sequence`.
    pub(crate) fn set_written(&mut self, sequence: u64) {
        self.written = self.written.max(sequence.min(self.last));
    }

    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    pub(crate) const fn last(&self) -> u64 {
        self.last
    }
}
