//! The incoming exchange: what becomes of a PUBLISH of the server, up to its last acknowledgement.
//!
//! A message comes, goes to its queues (`client/deliver.rs`), and is acknowledged by PUBACK or PUBREC as soon as nobody holds it;
//! at QoS 2 PUBREL comes and is answered by PUBCOMP. The functions stand in that order. Messages that are not acknowledged
//! lie in `session/deliveries.rs`, QoS 2 identifiers in `session/inbound.rs`.

use std::time::Instant;

use super::Client;
use crate::connection::row_of;
use crate::error::{AcknowledgeError, DecodeError};
use crate::event::Event;
use crate::packet::{
    Ack, PacketId, PacketType, Properties, PropertyPlace, PublishPacket, QoS, ReasonCode,
};
use crate::packet_trace::Direction;
use crate::session::{
    Acknowledge, Arrival, DeliveryId, DueAck, Message, Needed, Open, QueueId, Session,
    SessionChange, Unacknowledged,
};
use crate::slips::Slip;

impl Client {
    /// Takes a PUBLISH whose whole packet has `bytes` bytes.
    pub(super) fn on_publish(
        &mut self,
        publish: PublishPacket,
        bytes: usize,
    ) -> Result<(), DecodeError> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let alias = (publish.properties.as_ref()).and_then(|properties| properties.topic_alias);
        let topic = connection.aliases.resolve(publish.topic, alias)?;
        let message = Message {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.packet_id,
            properties: publish.properties,
            delivery: None,
        };
        match (message.qos, message.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => self.on_publish_qos1(id, message, bytes),
            (QoS::ExactlyOnce, Some(id)) => self.on_publish_qos2(id, message, bytes),
            _ => {
                self.deliver(message);
                self.send_due_acks() // a message that has left for it may have been held
            }
        }
    }

    fn on_publish_qos1(
        &mut self,
        id: PacketId,
        message: Message,
        bytes: usize,
    ) -> Result<(), DecodeError> {
        self.check_window(bytes)?;
        if self.session.inbound.release(id).is_some() {
            // The server uses one space of identifiers, so it is done with the QoS 2 message that had this one.
            let needed = self.record(true, || SessionChange::Released { packet_id: id });
            if let Some(connection) = &mut self.connection {
                connection.pubacks_need = needed; // those behind it wait in their order
            }
        }
        if message.dup && self.comes_again(id, QoS::AtLeastOnce, bytes) {
            return self.send_due_acks(); // handed out before, and not acknowledged yet
        }
        self.session.deliveries.replaces(id);
        let holds = self.deliver(message);
        self.file(id, QoS::AtLeastOnce, bytes, &holds)
    }

    fn on_publish_qos2(
        &mut self,
        id: PacketId,
        message: Message,
        bytes: usize,
    ) -> Result<(), DecodeError> {
        if self.session.inbound.takes_slot(id) {
            self.check_window(bytes)?;
        }
        let arrival = self.session.inbound.receive(id, bytes, message.dup);
        if arrival != Arrival::Known {
            if arrival == Arrival::NewInDoubt {
                let topic = message.topic.clone();
                // Also in the record, as far as that comes: the identifier is no longer that of the message before.
                self.record(false, || SessionChange::Released { packet_id: id });
                (self.events).push_back(Event::PossibleDuplicate {
                    topic,
                    packet_id: id,
                });
            }
            self.session.deliveries.replaces(id);
            let holds = self.deliver(message);
            return self.file(id, QoS::ExactlyOnce, bytes, &holds);
        }
        if !self.comes_again(id, QoS::ExactlyOnce, bytes) && !self.session.deliveries.holds_back(id)
        {
            // Handed out before (MQTT-4.3.3-10): only the answer was lost.
            let is_filed = !self.session.deliveries.none_waits();
            let result = self.file(id, QoS::ExactlyOnce, bytes, &[]);
            if is_filed {
                self.session.deliveries.note_answered();
            }
            return result;
        }
        self.send_due_acks()
    }

    /// Whether an earlier connection brought this message, and its acknowledgement is pending.
    fn comes_again(&mut self, id: PacketId, qos: QoS, bytes: usize) -> bool {
        let Session {
            deliveries, inbox, ..
        } = &mut self.session;
        let known = deliveries.comes_again(id, qos, bytes);
        if known {
            deliveries.moves(inbox.clock());
        }
        known
    }

    /// Acknowledges a message at once if nobody holds it or one before it. Otherwise files it, to be acknowledged in order.
    fn file(
        &mut self,
        id: PacketId,
        qos: QoS,
        bytes: usize,
        holds: &[DeliveryId],
    ) -> Result<(), DecodeError> {
        if !holds.is_empty() || !self.session.deliveries.none_waits() {
            let Session {
                deliveries, inbox, ..
            } = &mut self.session;
            deliveries.receive(id, qos, bytes, holds, inbox.clock());
            deliveries.moves(inbox.clock());
            return self.send_due_acks();
        }
        match qos {
            QoS::ExactlyOnce => self.send_pubrec(Ack::success(id)),
            _ => self.send_puback(Ack::success(id), Open::one(bytes)),
        }
    }

    /// Whether the server may send one more QoS 1 or 2 message, in a packet of `bytes` bytes, before this client has sent a
    /// pending acknowledgement: within the Receive Maximum announced (MQTT-3.3.4-9), or what is tolerated beyond it.
    fn check_window(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let Some(connection) = &self.connection else {
            return Err(WINDOW_EXCEEDED);
        };
        let open: Open = [
            self.session.deliveries.open_qos1(),
            self.session.inbound.open(),
            connection.unsent_ends(),
        ]
        .into_iter()
        .sum();
        if open.messages < connection.receive_maximum {
            return Ok(());
        }
        if open.messages >= MOST_OPEN.messages || open.bytes + bytes > MOST_OPEN.bytes {
            return Err(WINDOW_EXCEEDED);
        }
        (self.slips).tolerate(Slip::ReceiveMaximumExceeded, WINDOW_EXCEEDED)
    }

    /// The application is done with a message that its queue left to it to acknowledge
    /// ([`Acknowledge::ByApplication`]): PUBACK or PUBREC goes out, as soon as those of
    /// the messages before it have (MQTT-4.6.0-2, MQTT-4.6.0-3).
    ///
    /// A delivery stays valid across connections that resume the session: what is acknowledged in between is not handed out
    /// again, and answered when the server sends it again. One that was acknowledged already, or whose session was lost, is
    /// harmless.
    pub fn acknowledge(&mut self, delivery: DeliveryId) {
        if self.session.deliveries.let_go(delivery, None) {
            self.send_released_acks();
        }
    }

    /// As [`Client::acknowledge`], with a Reason Code and a Reason String or User Properties for the server (5.0). With a
    /// Reason Code of 0x80 or above the message counts as refused: the server does not send it again. What the server's
    /// Maximum Packet Size has no room for is left out (MQTT-3.4.2-2, MQTT-3.4.2-3, MQTT-3.5.2-2, MQTT-3.5.2-3).
    ///
    /// # Errors
    /// Each [`AcknowledgeError`] says what the standard forbids; the message is still to be acknowledged then.
    pub fn acknowledge_with(
        &mut self,
        delivery: DeliveryId,
        reason: ReasonCode,
        properties: Properties,
    ) -> Result<(), AcknowledgeError> {
        let Some((packet_id, qos)) = self.session.deliveries.held(delivery) else {
            return Ok(()); // stale
        };
        if !self.options.protocol.is_v5() {
            return Err(AcknowledgeError::NotInThisVersion);
        }
        let packet_type = match qos {
            QoS::ExactlyOnce => PacketType::PubRec,
            _ => PacketType::PubAck,
        };
        if !reason.acknowledges() {
            return Err(AcknowledgeError::Reason(reason));
        }
        properties.check(PropertyPlace::of(packet_type))?;
        let answer = Ack {
            packet_id,
            reason,
            properties: properties.boxed(),
        };
        self.session.deliveries.let_go(delivery, Some(answer));
        self.send_released_acks();
        Ok(())
    }

    /// What the application has taken and not acknowledged.
    pub fn unacknowledged(&self, now: Instant) -> Unacknowledged {
        self.session.deliveries.unacknowledged(now)
    }

    /// Sets who acknowledges the messages that a queue takes from now on. One that it holds, or that was taken from it, stays
    /// as it is: if it has a [`Message::delivery`](crate::Message::delivery), the application acknowledges it.
    pub fn set_acknowledge(&mut self, queue: QueueId, acknowledge: Acknowledge) {
        self.session.inbox.set_acknowledge(queue, acknowledge);
    }

    /// The application has taken the message and acknowledges it by its Packet Identifier, with
    /// [`Client::acknowledge_packet`], for as long as this connection lasts. When the connection ends before that, the
    /// message is forgotten: if the server sends it again, it is handed out again, as another delivery (at least once).
    /// While there is no connection it is forgotten at once, since nothing acknowledges it then.
    /// Without this call a delivery outlives connections: see [`Client::acknowledge`].
    ///
    /// A delivery that is no longer held is harmless.
    pub fn hand_over(&mut self, delivery: DeliveryId) {
        if self.is_connected() {
            self.session.deliveries.hand_over(delivery);
        } else {
            self.forget_delivery(delivery);
        }
    }

    #[cold]
    fn forget_delivery(&mut self, delivery: DeliveryId) {
        if let Some(id) = self.session.deliveries.forget_held(delivery) {
            self.session.inbound.release(id);
        }
    }

    /// As [`Client::acknowledge`], for a message that was [handed over](Client::hand_over) on this connection and is known by
    /// its Packet Identifier and QoS. Returns whether there is such a message; where there is none, nothing happens.
    ///
    /// A message that several queues hold, and that was handed over for each, is to be acknowledged once for each. An
    /// identifier names a message only until it is acknowledged or the connection ends: afterwards the server may use it for
    /// another one, which an acknowledgement that comes late would be taken for.
    pub fn acknowledge_packet(&mut self, packet_id: PacketId, qos: QoS) -> bool {
        let delivery = (self.session.deliveries).find_handed_over(packet_id, qos);
        if let Some(delivery) = delivery {
            self.acknowledge(delivery);
        }
        delivery.is_some()
    }

    /// Sends the acknowledgements that a holder has released. Their bound is checked when the next packet comes.
    pub(super) fn send_released_acks(&mut self) {
        let _ = self.send_due_acks();
    }

    /// Sends the acknowledgements that are due: nobody holds their messages, nor one before them.
    fn send_due_acks(&mut self) -> Result<(), DecodeError> {
        if !self.is_connected() {
            return Ok(());
        }
        while let Some(due) = self.session.deliveries.next_due() {
            self.session.deliveries.moves(None);
            match due {
                DueAck::PubAck(ack, slot) => self.send_puback(ack, slot)?,
                DueAck::PubRec(ack) => self.send_pubrec(ack)?,
            }
        }
        Ok(())
    }

    /// Sends PUBREC, and notes whether PUBREL will follow.
    fn send_pubrec(&mut self, ack: Ack) -> Result<(), DecodeError> {
        let packet_id = ack.packet_id;
        let limit = (self.connection.as_ref()).map_or(usize::MAX, |connection| {
            connection.limits.maximum_packet_size()
        });
        let ack = ack.within(limit);
        // By what the server will read: `within` may have left the Reason Code out.
        if ack.reason.is_error() {
            let released = self.session.inbound.release(packet_id); // no PUBREL follows
            return self.send_ack(PacketType::PubRec, ack, released.unwrap_or_default(), 0);
        }
        let needed = self.record(true, || SessionChange::Received { packet_id });
        self.send_ack(PacketType::PubRec, ack, Open::NONE, needed)
    }

    /// Sends PUBACK, which waits only for the record that the same identifier stands for no QoS 2 message any more.
    fn send_puback(&mut self, ack: Ack, ended: Open) -> Result<(), DecodeError> {
        let needed = (self.connection.as_ref()).map_or(0, |connection| connection.pubacks_need);
        self.send_ack(PacketType::PubAck, ack, ended, needed)
    }

    /// PUBREL ends the exchange: answers PUBCOMP.
    pub(super) fn on_pubrel(&mut self, ack: &Ack) -> Result<(), DecodeError> {
        let id = ack.packet_id;
        if self.session.deliveries.holds_back(id) {
            return Err(DecodeError::protocol("PUBREL came before PUBREC"));
        }
        let released = self.session.inbound.release(id);
        // One that this process has not received may be the application's, from a process before it.
        let (reason, needed) = if released.is_some() || self.session.journal.keeps() {
            let needed = self.record(true, || SessionChange::Released { packet_id: id });
            (ReasonCode::Success, needed)
        } else {
            // Answered all the same (MQTT-4.3.3-11).
            (
                ReasonCode::PacketIdentifierNotFound,
                self.session.journal.second_halves(Direction::Received),
            )
        };
        // A slot of the Receive Maximum was taken only if the message came on this connection (section 4.9).
        let ended = released.unwrap_or_default();
        self.send_ack(PacketType::PubComp, Ack::new(id, reason), ended, needed)
    }

    /// `ended` is the slot of the Receive Maximum that the server gets back if this ends an exchange; `needed` is what the
    /// answer waits for.
    pub(super) fn send_ack(
        &mut self,
        packet_type: PacketType,
        ack: Ack,
        ended: Open,
        needed: Needed,
    ) -> Result<(), DecodeError> {
        let version = self.options.protocol;
        let is_written = (self.session.journal).is_written(row_of(packet_type), needed);
        let needed = (!is_written).then_some(needed);
        match &mut self.connection {
            Some(connection) => connection.acknowledge(packet_type, ack, version, ended, needed),
            None => Ok(()),
        }
    }

    /// When to check whether the server waits for acknowledgements.
    pub(super) fn standstill_due(&self) -> Option<Instant> {
        let connection = self.connection.as_ref().filter(|_| self.is_connected())?;
        (self.session.deliveries).standstill_due(connection.receive_maximum)
    }

    /// Reports that the server may be waiting for acknowledgements that the application has not given.
    pub(super) fn report_standstill(&mut self, now: Instant) {
        let Some(connection) = self.connection.as_ref().filter(|_| self.is_connected()) else {
            return;
        };
        let window = connection.receive_maximum;
        if let Some(messages) = self.session.deliveries.stands_still(now, window)
            && self.session.inbox.leaves_acknowledging()
        {
            self.events.push_back(Event::Unacknowledged { messages });
        }
    }

    /// The connection has ended: the server sends messages that were not acknowledged again in the same session.
    pub(super) fn end_deliveries(&mut self) {
        for id in self.session.deliveries.connection_ended() {
            self.session.inbound.release(id);
        }
    }
}

const WINDOW_EXCEEDED: DecodeError = DecodeError {
    reason: ReasonCode::ReceiveMaximumExceeded,
    what: "more QoS 1 and 2 messages are under way than the Receive Maximum allows",
};

/// What may be open where more than the Receive Maximum announced is tolerated: as many messages as there are Packet
/// Identifiers, since more cannot be told apart, and as many bytes as a program can be expected to have room for.
const MOST_OPEN: Open = Open {
    messages: u16::MAX as usize,
    bytes: 64 << 20,
};
