//! The receiving side of QoS 2: which Packet Identifiers await their PUBREL (MQTT-4.3.3-10).

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::packet_id::IdHasher;
use crate::packet::PacketId;

/// Identifiers of QoS 2 messages that were handed out and not yet released. It has at most 65,535 entries.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// Each with the number of the connection on which it came last.
    received: HashMap<PacketId, u64, BuildHasherDefault<IdHasher>>,
    /// How many came on this connection: those count against the Receive Maximum announced (section 4.9).
    open: usize,
    connection: u64,
}

impl Inbound {
    /// A new connection counts anew.
    pub(crate) const fn connection_opened(&mut self, number: u64) {
        self.connection = number;
        self.open = 0;
    }

    pub(crate) const fn open(&self) -> usize {
        self.open
    }

    /// Whether a PUBLISH with `id` would count against the Receive Maximum: not when it came on this connection before.
    pub(crate) fn takes_slot(&self, id: PacketId) -> bool {
        self.received.get(&id) != Some(&self.connection)
    }

    /// Notes a QoS 2 PUBLISH; `false` if it came before and must not be handed out again.
    pub(crate) fn receive(&mut self, id: PacketId) -> bool {
        let before = self.received.insert(id, self.connection);
        self.open += usize::from(before != Some(self.connection));
        before.is_none()
    }

    /// The identifier stands for nothing any more: PUBREL came, or PUBREC refused the message. Tells whether its message
    /// had come on this connection; `None` if it is unknown.
    pub(crate) fn release(&mut self, id: PacketId) -> Option<bool> {
        let here = self.received.remove(&id)? == self.connection;
        self.open -= usize::from(here);
        Some(here)
    }

    pub(crate) fn clear(&mut self) {
        self.received.clear();
        self.open = 0;
    }
}
