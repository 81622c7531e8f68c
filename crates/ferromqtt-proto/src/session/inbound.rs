//! The receiving side of QoS 2: which Packet Identifiers await their PUBREL (MQTT-4.3.3-10).

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::packet_id::IdHasher;
use crate::error::DecodeError;
use crate::packet::{PacketId, ReasonCode};

/// Identifiers of QoS 2 messages that were handed out and not yet released. It has at most 65,535 entries.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// Each with the number of the connection on which it came last.
    received: HashMap<PacketId, u64, BuildHasherDefault<IdHasher>>,
    /// How many came on the connection numbered `connection`: those count against the Receive Maximum announced (4.9).
    open: usize,
    connection: u64,
}

impl Inbound {
    /// Notes a QoS 2 PUBLISH; `false` if it came before and must not be handed out again.
    ///
    /// # Errors
    /// When more are open on `connection` than `receive_maximum` (MQTT-3.3.4-9).
    pub(crate) fn receive(
        &mut self,
        id: PacketId,
        connection: u64,
        receive_maximum: usize,
    ) -> Result<bool, DecodeError> {
        if self.connection != connection {
            self.connection = connection;
            self.open = 0;
        }
        let before = self.received.get(&id).copied();
        if before != Some(connection) {
            if self.open >= receive_maximum {
                return Err(DecodeError {
                    reason: ReasonCode::ReceiveMaximumExceeded,
                    what: "more QoS 2 messages are under way than the Receive Maximum allows",
                });
            }
            self.open += 1;
            self.received.insert(id, connection);
        }
        Ok(before.is_none())
    }

    /// Notes a PUBREL; `false` if its identifier is unknown.
    pub(crate) fn release(&mut self, id: PacketId) -> bool {
        let Some(connection) = self.received.remove(&id) else {
            return false;
        };
        if connection == self.connection {
            self.open -= 1;
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        self.received.clear();
        self.open = 0;
    }
}
