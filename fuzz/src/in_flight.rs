//! Which Packet Identifiers one side of a connection has in use: from its packet until the other side's answer.

use std::collections::{BTreeMap, BTreeSet};

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{PacketId, QoS};

/// The exchanges that one side has begun on one connection.
#[derive(Debug, Default)]
pub struct InFlight {
    busy: BTreeMap<PacketId, Exchange>,
    /// Answered by a peer that has not read the question: the fuzzer need not wait for it.
    answered_early: BTreeSet<PacketId>,
    /// PUBREC came, so that a PUBREL is its answer.
    received: BTreeSet<PacketId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    Publish(QoS),
    /// PUBREL of a message that an earlier connection carried.
    Release,
    /// SUBSCRIBE or UNSUBSCRIBE.
    Request,
}

impl InFlight {
    /// This side has sent `packet`.
    ///
    /// # Panics
    /// When its Packet Identifier is in use.
    pub fn sent(&mut self, packet: &Packet) {
        let (id, exchange) = match packet {
            Packet::Publish(publish) => match publish.packet_id {
                Some(id) => (id, Exchange::Publish(publish.qos)),
                None => return,
            },
            Packet::Subscribe(subscribe) => (subscribe.packet_id, Exchange::Request),
            Packet::Unsubscribe(unsubscribe) => (unsubscribe.packet_id, Exchange::Request),
            Packet::PubRel(ack) => {
                let id = ack.packet_id;
                if !self.busy.contains_key(&id) && !self.received.contains(&id) {
                    self.busy.insert(id, Exchange::Release);
                }
                return;
            }
            _ => return,
        };
        if self.answered_early.remove(&id) {
            return;
        }
        let before = self.busy.insert(id, exchange);
        assert_eq!(before, None, "Packet Identifier {id} is in use: {packet:?}");
    }

    /// The other side has sent `packet`, and this side has it.
    pub fn answered(&mut self, packet: &Packet) {
        let (id, ends): (_, &[Exchange]) = match packet {
            Packet::PubAck(ack) => (ack.packet_id, &[Exchange::Publish(QoS::AtLeastOnce)]),
            Packet::PubRec(ack) if ack.reason.is_error() => {
                (ack.packet_id, &[Exchange::Publish(QoS::ExactlyOnce)])
            }
            Packet::PubRec(ack) => {
                self.received.insert(ack.packet_id);
                return;
            }
            Packet::PubComp(ack) => (
                ack.packet_id,
                &[Exchange::Publish(QoS::ExactlyOnce), Exchange::Release],
            ),
            Packet::SubAck(suback) => (suback.packet_id, &[Exchange::Request]),
            Packet::UnsubAck(unsuback) => (unsuback.packet_id, &[Exchange::Request]),
            _ => return,
        };
        match self.busy.get(&id) {
            Some(exchange) if ends.contains(exchange) => {
                self.busy.remove(&id);
                self.received.remove(&id);
            }
            Some(_) => {}
            None => {
                self.answered_early.insert(id);
            }
        }
    }

    /// How many PUBLISH packets of this connection have not come to their end: what Receive Maximum limits.
    pub fn publishing(&self) -> usize {
        self.busy
            .values()
            .filter(|exchange| matches!(exchange, Exchange::Publish(_)))
            .count()
    }
}
