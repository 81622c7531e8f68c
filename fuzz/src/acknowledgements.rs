//! What a client owes the server for its messages: acknowledgements, in the order in which these came (MQTT-4.6.0-2,
//! MQTT-4.6.0-3).

use std::collections::{BTreeMap, VecDeque};
use std::iter;

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{PacketId, QoS};

/// The messages of one connection that are not acknowledged.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    pubacks: VecDeque<PacketId>,
    /// With how many PUBREL have come for the identifier: the next one stands for another message.
    pubrecs: VecDeque<(PacketId, u32)>,
    pubrels: BTreeMap<PacketId, u32>,
    /// Came again before the PUBREC: that one answers for both, or another follows.
    pubrecs_allowed: Vec<PacketId>,
}

impl Acknowledgements {
    /// The client is about to read `packet`.
    pub fn owe(&mut self, packet: &Packet) {
        match packet {
            Packet::Publish(publish) => match publish.qos {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => self.pubacks.extend(publish.packet_id),
                QoS::ExactlyOnce => self.pubrecs.extend(
                    (publish.packet_id)
                        .map(|id| (id, self.pubrels.get(&id).copied().unwrap_or_default())),
                ),
            },
            Packet::PubRel(ack) => *self.pubrels.entry(ack.packet_id).or_default() += 1,
            _ => {}
        }
    }

    /// The client has written `packet`.
    pub fn sent(&mut self, packet: &Packet) {
        match packet {
            Packet::PubAck(ack) => {
                let owed = self.pubacks.pop_front();
                assert_eq!(owed, Some(ack.packet_id), "another PUBACK is due");
            }
            Packet::PubRec(ack) => self.pubrec_sent(ack.packet_id),
            _ => {}
        }
    }

    fn pubrec_sent(&mut self, id: PacketId) {
        if let Some(&first) = self.pubrecs.front()
            && first.0 == id
        {
            let before = self.pubrecs.len() - 1;
            self.pubrecs.retain(|owed| *owed != first);
            let again = before - self.pubrecs.len();
            self.pubrecs_allowed.extend(iter::repeat_n(id, again));
            return;
        }
        let allowed = self.pubrecs_allowed.iter().position(|it| *it == id);
        let allowed = allowed.unwrap_or_else(|| panic!("not this PUBREC is due, {id}: {self:?}"));
        self.pubrecs_allowed.remove(allowed);
        // It answers those that have come again since, too.
        let before = self.pubrecs.len();
        self.pubrecs.retain(|owed| owed.0 != id);
        let again = before - self.pubrecs.len();
        self.pubrecs_allowed.extend(iter::repeat_n(id, again));
    }

    /// Nobody holds a message back.
    pub fn check_none_owed(&self) {
        assert!(
            self.pubacks.is_empty() && self.pubrecs.is_empty(),
            "messages are never acknowledged: {self:?}"
        );
    }
}
