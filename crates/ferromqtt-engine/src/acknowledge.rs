//! Messages that the application acknowledges.

use ferromqtt_proto::{
    Acknowledge, AcknowledgeError, DeliveryId, JournalEntry, PacketId, Properties, QoS, QueueId,
    ReasonCode,
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

    /// Whether the application keeps the Packet Identifiers of received QoS 2 messages from the next connection on: see
    /// [`Client::keep_identifiers`](ferromqtt_proto::Client::keep_identifiers).
    pub fn keep_identifiers(&mut self, keep: bool) {
        self.core.keep_identifiers(keep);
    }

    /// The next change of identifiers that the application keeps: see
    /// [`Client::poll_identifier_change`](ferromqtt_proto::Client::poll_identifier_change).
    pub fn poll_identifier_change(&mut self) -> Option<JournalEntry> {
        self.core.poll_identifier_change()
    }

    /// The application has on record all changes of identifiers up to this one.
    pub fn identifiers_written(&mut self, sequence: u64) {
        self.core.identifiers_written(sequence);
    }
}
