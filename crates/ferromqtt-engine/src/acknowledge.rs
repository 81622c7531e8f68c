//! Messages that the application acknowledges.

use ferromqtt_proto::{
    Acknowledge, AcknowledgeError, DeliveryId, PacketId, Properties, QoS, QueueId, ReasonCode,
};

use crate::{Engine, Tokens};

impl<T: Tokens> Engine<T> {
    /// The application is done with a message: see [`Client::acknowledge`](ferromqtt_proto::Client::acknowledge).
    pub fn acknowledge(&mut self, delivery: DeliveryId) {
        self.core.acknowledge(delivery);
    }

    /// As [`acknowledge`](Self::acknowledge), with a Reason Code and properties.
    ///
    /// # Errors
    /// What the standard forbids.
    pub fn acknowledge_with(
        &mut self,
        delivery: DeliveryId,
        reason: ReasonCode,
        properties: Properties,
    ) -> Result<(), AcknowledgeError> {
        self.core.acknowledge_with(delivery, reason, properties)
    }

    /// As [`acknowledge`](Self::acknowledge), of the message with this Packet Identifier. Returns whether there is one: see
    /// [`Client::acknowledge_packet`](ferromqtt_proto::Client::acknowledge_packet).
    pub fn acknowledge_packet(&mut self, packet_id: PacketId, qos: QoS) -> bool {
        self.core.acknowledge_packet(packet_id, qos)
    }

    /// The application has taken a message, and acknowledges it by its Packet Identifier while this connection lasts: see
    /// [`Client::hand_over`](ferromqtt_proto::Client::hand_over).
    pub fn hand_over(&mut self, delivery: DeliveryId) {
        self.core.hand_over(delivery);
    }

    /// Who acknowledges the messages of a queue from now on.
    pub fn set_acknowledge(&mut self, queue: QueueId, acknowledge: Acknowledge) {
        self.core.set_acknowledge(queue, acknowledge);
    }
}
