//! Messages on their way to one session: the queue, what is in flight, and what is sent again (sections 4.3, 4.4, 4.6, 4.9).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use ferromqtt_proto::packet::{Ack, Packet, PacketId, QoS};
use ferromqtt_proto::{DecodeError, TopicFilter};

use crate::memory::{Holding, Meter, QUEUE_ENTRY, queue_entry_size};
use crate::message::{DeliveryTerms, Kept, PublishTarget};
use crate::options::BrokerOptions;
use crate::packet_ids::{ByPacketId, FreePacketIds};

/// QoS 1 and 2 messages wait in the queue, unencoded, while so many bytes are not written to the socket.
const ENOUGH_OUTPUT: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct SendQueue {
    /// Accepted and not yet sent, oldest first. QoS 0 is among them where something went before it: one order for all.
    queue: VecDeque<QueuedMessage>,
    in_flight: ByPacketId<SentMessage>,
    /// In flight from before this Network Connection and not yet sent on it, in the order to send.
    resend: VecDeque<PacketId>,
    /// Receive Maximum of the client on this connection, and how much of it is used.
    window: usize,
    on_wire: usize,
    packet_ids: FreePacketIds,
    steps: u64,
    held: QueueMemory,
}

/// What the messages in the queue and in flight take, and the exchanges of QoS 2 whose message is gone.
#[derive(Debug)]
struct QueueMemory {
    /// Their bytes, and those of what stands around each.
    bytes: usize,
    /// The latter alone: several sessions may hold a message, which counts itself.
    around: Holding,
}

impl QueueMemory {
    fn add(&mut self, waiting: &QueuedMessage) {
        self.bytes += waiting.size();
        self.around.add(queue_entry_size(&waiting.terms));
    }

    fn take_off(&mut self, waiting: &QueuedMessage) {
        self.bytes -= waiting.size();
        self.around.take_off(queue_entry_size(&waiting.terms));
    }

    /// A message that is no longer needed leaves its Packet Identifier in use.
    fn release(&mut self, sent: &QueuedMessage) {
        self.take_off(sent);
        self.bytes += QUEUE_ENTRY;
        self.around.add(QUEUE_ENTRY);
    }

    fn complete(&mut self) {
        self.bytes -= QUEUE_ENTRY;
        self.around.take_off(QUEUE_ENTRY);
    }
}

/// A message that is to be sent or acknowledged.
#[derive(Debug)]
struct QueuedMessage {
    message: Arc<Kept>,
    terms: DeliveryTerms,
}

impl QueuedMessage {
    fn size(&self) -> usize {
        self.message.size + queue_entry_size(&self.terms)
    }
}

/// A message that was sent at least once.
#[derive(Debug)]
struct SentMessage {
    state: FlightState,
    /// Counts the sends of PUBLISH and of PUBREL: their order is the order to repeat them in (MQTT-4.6.0-1, MQTT-4.6.0-4).
    step: u64,
    /// Whether it was sent on this connection, and so uses the window.
    on_wire: bool,
}

#[derive(Debug)]
enum FlightState {
    /// PUBLISH sent; PUBACK or PUBREC will come.
    Published(QueuedMessage),
    /// PUBREL sent; PUBCOMP will come.
    Released,
}

/// How a PUBREC is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PubRecAnswer {
    /// PUBREL, Success.
    Send,
    /// PUBREL, Packet Identifier not found.
    NotFound,
    /// Not at all: the client refused the message.
    Nothing,
}

impl SendQueue {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            queue: VecDeque::new(),
            in_flight: ByPacketId::default(),
            resend: VecDeque::new(),
            window: 0,
            on_wire: 0,
            packet_ids: FreePacketIds::default(),
            steps: 0,
            held: QueueMemory {
                bytes: 0,
                around: meter.hold(0),
            },
        }
    }

    /// A connection to the client begins: all that is in flight is to be sent once more (MQTT-4.4.0-1).
    pub(crate) fn begin(&mut self, window: usize) {
        self.window = window;
        self.on_wire = 0;
        let mut unfinished: Vec<_> = self.in_flight.iter_mut().collect();
        // PUBRELs first: they need no capacity in the window.
        unfinished.sort_unstable_by_key(|(_, flight)| {
            (
                matches!(flight.state, FlightState::Published(_)),
                flight.step,
            )
        });
        self.resend.clear();
        for (&packet_id, flight) in unfinished {
            flight.on_wire = false;
            self.resend.push_back(packet_id);
        }
    }

    /// The connection ended: QoS 0 messages that were to go out on it are forgotten (section 3.1.2.4 lets them go).
    pub(crate) fn end(&mut self) {
        let held = &mut self.held;
        self.queue.retain(|waiting| {
            let stays = waiting.terms.qos != QoS::AtMostOnce;
            if !stays {
                held.take_off(waiting);
            }
            stays
        });
    }

    /// Whether a message of `size` bytes may join the queue.
    pub(crate) fn has_room_for(
        &self,
        size: usize,
        terms: &DeliveryTerms,
        options: &BrokerOptions,
    ) -> bool {
        let bytes = (self.held.bytes).saturating_add(size + queue_entry_size(terms));
        self.queue.len() < options.maximum_queued_messages && bytes <= options.maximum_queued_bytes
    }

    /// Puts a message into the queue.
    pub(crate) fn enqueue(&mut self, message: Arc<Kept>, terms: DeliveryTerms) {
        let waiting = QueuedMessage { message, terms };
        self.held.add(&waiting);
        self.queue.push_back(waiting);
    }

    /// The session ended: the messages that others who share a subscription are to get instead, in their order.
    ///
    /// Those are the messages that were not acknowledged at QoS 1 and those that were not sent (section 4.8.2). One of QoS 2
    /// that was sent goes to nobody else (MQTT-4.8.2-5).
    pub(crate) fn into_shared(self) -> Vec<(Arc<Kept>, TopicFilter)> {
        let mut sent: Vec<_> = (self.in_flight.into_values())
            .filter_map(|flight| match flight.state {
                FlightState::Published(waiting) if waiting.terms.qos == QoS::AtLeastOnce => {
                    Some((flight.step, waiting))
                }
                _ => None,
            })
            .collect();
        sent.sort_unstable_by_key(|(step, _)| *step);
        let sent = sent.into_iter().map(|(_, waiting)| waiting);
        let queued = self.queue.into_iter();
        let queued = queued.filter(|waiting| waiting.terms.qos != QoS::AtMostOnce);
        sent.chain(queued)
            .filter_map(|QueuedMessage { message, terms }| Some((message, terms.shared?)))
            .collect()
    }

    /// Sends as much as the window allows. Returns how many messages were given up: expired, or too large for the client.
    pub(crate) fn pump(&mut self, now: Instant, wire: &mut PublishTarget<'_>) -> u64 {
        let mut given_up = 0;
        while let Some(&packet_id) = self.resend.front() {
            match self.send_again(now, packet_id, wire) {
                SendResult::Yes => {}
                SendResult::TooLarge => given_up += 1,
                SendResult::NoRoom => return given_up,
            }
            self.resend.pop_front();
        }
        while self.may_send_next(wire)
            && let Some(waiting) = self.queue.pop_front()
        {
            let expired = waiting.message.expired(now);
            if expired {
                self.held.take_off(&waiting);
            }
            if expired || !self.send_first(now, waiting, wire) {
                given_up += 1;
            }
        }
        given_up
    }

    /// Whether [`SendQueue::pump`] might have something to do.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.resend.is_empty() || !self.queue.is_empty()
    }

    /// How many messages wait for their first send.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of the messages in the queue and in flight, and of what is left of them after PUBREC.
    pub(crate) const fn bytes(&self) -> usize {
        self.held.bytes
    }

    /// How many messages were sent and are not acknowledged to the end.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// PUBACK.
    ///
    /// # Errors
    /// Protocol Error when the message has another QoS. An unknown Packet Identifier is no error: its message may have
    /// ended with an earlier session.
    pub(crate) fn acknowledged(&mut self, packet_id: PacketId) -> Result<(), DecodeError> {
        match self.in_flight.get(&packet_id).map(|flight| &flight.state) {
            None => {}
            Some(FlightState::Published(sent)) if sent.terms.qos == QoS::AtLeastOnce => {
                self.finish(packet_id)
            }
            Some(_) => return Err(DecodeError::protocol("PUBACK answers a QoS 2 message")),
        }
        Ok(())
    }

    /// PUBREC, with an error or not (MQTT-4.3.3-4).
    ///
    /// # Errors
    /// Protocol Error when the message has another QoS.
    pub(crate) fn received(
        &mut self,
        packet_id: PacketId,
        refused: bool,
    ) -> Result<PubRecAnswer, DecodeError> {
        let Some(flight) = self.in_flight.get_mut(&packet_id) else {
            return Ok(if refused {
                PubRecAnswer::Nothing
            } else {
                PubRecAnswer::NotFound
            });
        };
        if let FlightState::Published(sent) = &flight.state {
            if sent.terms.qos != QoS::ExactlyOnce {
                return Err(DecodeError::protocol("PUBREC answers a QoS 1 message"));
            }
            if refused {
                self.finish(packet_id);
                return Ok(PubRecAnswer::Nothing);
            }
            self.steps += 1;
            self.held.release(sent);
            flight.step = self.steps;
            flight.state = FlightState::Released;
        } else if refused {
            return Ok(PubRecAnswer::Nothing); // PUBREL is on its way, and PUBCOMP ends the exchange
        }
        Ok(PubRecAnswer::Send)
    }

    /// PUBCOMP.
    pub(crate) fn completed(&mut self, packet_id: PacketId) -> Result<(), DecodeError> {
        match self.in_flight.get(&packet_id).map(|flight| &flight.state) {
            None => {}
            Some(FlightState::Released) => self.finish(packet_id),
            Some(FlightState::Published(_)) => {
                return Err(DecodeError::protocol("PUBCOMP came before PUBREC"));
            }
        }
        Ok(())
    }

    fn finish(&mut self, packet_id: PacketId) {
        let Some(flight) = self.in_flight.remove(&packet_id) else {
            return;
        };
        match &flight.state {
            FlightState::Published(sent) => self.held.take_off(sent),
            FlightState::Released => self.held.complete(),
        }
        if flight.on_wire {
            self.on_wire -= 1;
        }
        self.packet_ids
            .give_back(packet_id, self.in_flight.is_empty());
    }

    fn has_room(&self, wire: &PublishTarget<'_>) -> bool {
        self.on_wire < self.window && wire.output.waiting() < ENOUGH_OUTPUT
    }

    /// Whether the oldest message may go out: QoS 0 needs no capacity in the window.
    fn may_send_next(&self, wire: &PublishTarget<'_>) -> bool {
        match self.queue.front() {
            Some(waiting) if waiting.terms.qos == QoS::AtMostOnce => {
                wire.output.waiting() < ENOUGH_OUTPUT
            }
            _ => self.has_room(wire),
        }
    }

    /// Sends the message that was the oldest in the queue, unless it is too large for the client.
    fn send_first(
        &mut self,
        now: Instant,
        waiting: QueuedMessage,
        wire: &mut PublishTarget<'_>,
    ) -> bool {
        let QueuedMessage { message, terms } = &waiting;
        if terms.qos == QoS::AtMostOnce {
            self.held.take_off(&waiting);
            return wire.publish(now, message, terms, None);
        }
        let packet_id = self.packet_ids.take(); // there is one: the window is never larger than their number
        let sent = packet_id.is_some_and(|id| wire.publish(now, message, terms, Some((id, false))));
        let Some(packet_id) = packet_id.filter(|_| sent) else {
            self.held.take_off(&waiting);
            if let Some(unused) = packet_id {
                self.packet_ids.give_back(unused, self.in_flight.is_empty());
            }
            return false;
        };
        self.steps += 1;
        self.on_wire += 1;
        let flight = SentMessage {
            state: FlightState::Published(waiting),
            step: self.steps,
            on_wire: true,
        };
        self.in_flight.insert(packet_id, flight);
        true
    }

    fn send_again(
        &mut self,
        now: Instant,
        packet_id: PacketId,
        wire: &mut PublishTarget<'_>,
    ) -> SendResult {
        let room = self.has_room(wire);
        let Some(flight) = self.in_flight.get_mut(&packet_id) else {
            return SendResult::Yes; // acknowledged meanwhile
        };
        match &flight.state {
            FlightState::Released => {
                if !wire.packet(&Packet::PubRel(Ack::success(packet_id))) {
                    self.finish(packet_id);
                    return SendResult::TooLarge;
                }
            }
            FlightState::Published(_) if !room => return SendResult::NoRoom,
            FlightState::Published(sent) => {
                if !wire.publish(now, &sent.message, &sent.terms, Some((packet_id, true))) {
                    self.finish(packet_id);
                    return SendResult::TooLarge;
                }
            }
        }
        flight.on_wire = true;
        self.on_wire += 1;
        SendResult::Yes
    }
}

enum SendResult {
    Yes,
    NoRoom,
    TooLarge,
}
