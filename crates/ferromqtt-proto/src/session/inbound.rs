//! The receiving side of QoS 2: which Packet Identifiers await their PUBREL (MQTT-4.3.3-10).

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use super::packet_id::IdHasher;
use crate::packet::PacketId;

/// Identifiers of QoS 2 messages that were handed out and not yet released. It has at most 65,535 entries.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    received: HashSet<PacketId, BuildHasherDefault<IdHasher>>,
}

impl Inbound {
    /// Notes a QoS 2 PUBLISH; `false` if it came before and must not be handed out again.
    pub(crate) fn receive(&mut self, id: PacketId) -> bool {
        self.received.insert(id)
    }

    /// Notes a PUBREL; `false` if its identifier is unknown.
    pub(crate) fn release(&mut self, id: PacketId) -> bool {
        self.received.remove(&id)
    }

    pub(crate) fn clear(&mut self) {
        self.received.clear();
    }
}
