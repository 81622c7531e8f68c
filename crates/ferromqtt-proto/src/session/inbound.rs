//! The receiving side of QoS 2: which Packet Identifiers await their PUBREL (MQTT-4.3.3-10).

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::Open;
use super::packet_id::IdHasher;
use crate::packet::PacketId;

/// Identifiers of QoS 2 messages that were handed out and not yet released. It has at most 65,535 entries.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    received: HashMap<PacketId, Received, BuildHasherDefault<IdHasher>>,
    /// Those that came on this connection: they count against the Receive Maximum announced (section 4.9).
    open: Open,
    connection: u64,
    /// What came on connections before this one may be of a session that the server has lost.
    doubted: u64,
}

/// What a QoS 2 PUBLISH is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A message to be handed out.
    New,
    /// The same, under an identifier of an earlier message that was not released. It may be that message again, from a server that
    /// has not set DUP.
    NewInDoubt,
    /// It came before, and must not be handed out again.
    Known,
}

#[derive(Clone, Copy, Debug)]
struct Received {
    /// Number of the connection on which it came last.
    connection: u64,
    /// Of its packet.
    bytes: usize,
}

impl Inbound {
    /// A new connection counts anew.
    pub(crate) const fn connection_opened(&mut self, number: u64) {
        self.connection = number;
        self.open = Open::NONE;
    }

    /// The session that the server resumes may be another one than that of the connections before.
    pub(crate) const fn doubt(&mut self) {
        self.doubted = self.connection;
    }

    /// Whether an identifier is remembered that may be of a lost session. `is_kept`: the application remembers some that are not
    /// known here, so that a doubt lasts until the session ends.
    pub(crate) fn is_in_doubt(&self, is_kept: bool) -> bool {
        let mut received = self.received.values();
        self.doubted > 0 && (is_kept || received.any(|it| it.connection < self.doubted))
    }

    /// Whether any identifier is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    pub(crate) const fn open(&self) -> Open {
        self.open
    }

    /// Whether a PUBLISH with `id` would count against the Receive Maximum: not when it came on this connection before.
    pub(crate) fn takes_slot(&self, id: PacketId) -> bool {
        (self.received.get(&id)).is_none_or(|it| it.connection != self.connection)
    }

    /// Notes a QoS 2 PUBLISH of so many bytes. In a session that is in doubt, one without the DUP flag is another message than
    /// the one before: the server would have set it (MQTT-3.3.1-1).
    pub(crate) fn receive(&mut self, id: PacketId, bytes: usize, dup: bool) -> Arrival {
        let connection = self.connection;
        let before = self.received.insert(id, Received { connection, bytes });
        if let Some(before) = before {
            self.open.subtract(self.slot_of(before));
        }
        self.open.add(Open::one(bytes));
        match before {
            None => Arrival::New,
            Some(before) if !dup && before.connection < self.doubted => Arrival::NewInDoubt,
            Some(_) => Arrival::Known,
        }
    }

    /// The identifier stands for nothing any more: PUBREL came, or PUBREC refused the message. Tells the slot that
    /// its message took, which is none if it had come on an earlier connection; `None` if it is unknown.
    pub(crate) fn release(&mut self, id: PacketId) -> Option<Open> {
        let received = self.received.remove(&id)?;
        let slot = self.slot_of(received);
        self.open.subtract(slot);
        Some(slot)
    }

    /// The identifiers, in no order.
    pub(crate) fn identifiers(&self) -> impl Iterator<Item = PacketId> {
        self.received.keys().copied()
    }

    const fn slot_of(&self, received: Received) -> Open {
        if received.connection == self.connection {
            Open::one(received.bytes)
        } else {
            Open::NONE
        }
    }

    pub(crate) fn clear(&mut self) {
        self.received.clear();
        self.open = Open::NONE;
        self.doubted = 0;
    }
}
