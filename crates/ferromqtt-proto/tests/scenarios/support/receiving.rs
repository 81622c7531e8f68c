//! Messages on their way in: how a scenario's server sends them, and how its application takes and acknowledges them.

use bytes::BytesMut;
use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    Acknowledge, DeliveryId, Event, Message, Overflow, ProtocolVersion, QoS, QueueId, QueueOptions,
    ReasonCode,
};

use super::pair::Pair;
use super::write::{message, suback};

/// A queue without a limit, whose messages the application acknowledges.
pub(crate) fn by_application() -> QueueOptions {
    QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::UNBOUNDED
    }
}

/// A queue of `limit` messages that are acknowledged on receipt.
pub(crate) fn limited(limit: usize, overflow: Overflow) -> QueueOptions {
    QueueOptions {
        limit: Some(limit),
        overflow,
        ..QueueOptions::UNBOUNDED
    }
}

/// As [`limited`], but the application acknowledges.
pub(crate) fn limited_by_application(limit: usize, overflow: Overflow) -> QueueOptions {
    QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..limited(limit, overflow)
    }
}

/// A PUBLISH of the server that it says it has sent before.
pub(crate) fn again(topic: &str, payload: &str, qos: QoS, packet_id: u16) -> Packet {
    let mut publish = message(topic, payload, qos, packet_id);
    publish.dup = true;
    Packet::Publish(publish)
}

/// The bytes of packets that arrive with one read.
pub(crate) fn in_one_read(
    version: ProtocolVersion,
    packets: impl IntoIterator<Item = Packet>,
) -> BytesMut {
    let mut bytes = BytesMut::new();
    for packet in packets {
        packet.encode(version, &mut bytes);
    }
    bytes
}

impl Pair {
    /// Opens a queue and subscribes it, at QoS 1 as far as the SUBSCRIBE goes, which the server grants.
    pub(crate) fn queue(&mut self, filters: &[&str], options: QueueOptions) -> QueueId {
        let queue = self.client.open_queue(options);
        self.bytes();
        self.subscribe_to(filters, queue);
        let packets = self.packets();
        let [Packet::Subscribe(subscribe)] = &packets[..] else {
            panic!("not one SUBSCRIBE alone: {packets:?}");
        };
        let granted = vec![ReasonCode::GrantedQos1; filters.len()];
        self.server_sends(suback(subscribe.packet_id.get(), &granted));
        self.events();
        queue
    }

    /// The server sends a message for the first time.
    pub(crate) fn receive(&mut self, topic: &str, payload: &str, qos: QoS, packet_id: u16) {
        self.server_sends(Packet::Publish(message(topic, payload, qos, packet_id)));
    }

    /// The next message of a queue, which must not be empty.
    pub(crate) fn take(&mut self, queue: QueueId) -> Message {
        let message = self.client.next_message(queue).expect("the queue is empty");
        self.pump();
        message
    }

    /// The deliveries of all messages in a queue, which are taken.
    pub(crate) fn take_deliveries(&mut self, queue: QueueId) -> Vec<DeliveryId> {
        let messages = self.messages_of(queue);
        self.pump();
        (messages.iter())
            .map(|message| message.delivery.expect("nothing to acknowledge it with"))
            .collect()
    }

    pub(crate) fn acknowledge(&mut self, delivery: DeliveryId) {
        self.client.acknowledge(delivery);
        self.pump();
    }

    /// The queues that have lost a message, in the order in which they were told since the last look.
    pub(crate) fn lagged(&mut self) -> Vec<QueueId> {
        (self.events().into_iter())
            .filter_map(|event| match event {
                Event::Lagged(queue) => Some(queue),
                _ => None,
            })
            .collect()
    }
}
