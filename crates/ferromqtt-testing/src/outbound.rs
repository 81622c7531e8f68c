//! Messages on their way to one session: the queue, what is in flight, and what is sent again (sections 4.3, 4.4, 4.6, 4.9).

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use ferromqtt_proto::DecodeError;
use ferromqtt_proto::packet::{Ack, Packet, PacketId, QoS};

use crate::message::{Message, Terms, Wire};

/// QoS 1 and 2 messages wait in the queue, unencoded, while so many bytes are not written to the socket.
const ENOUGH_OUTPUT: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// Accepted and not yet sent, oldest first. QoS 0 is among them where something went before it: one order for all.
    queue: VecDeque<(Message, Terms)>,
    in_flight: HashMap<PacketId, InFlight>,
    /// In flight from before this Network Connection and not yet sent on it, in the order to send.
    resend: VecDeque<PacketId>,
    /// Receive Maximum of the client on this connection, and how much of it is used.
    window: usize,
    on_wire: usize,
    last_packet_id: u16,
    steps: u64,
}

/// A message that was sent at least once.
#[derive(Debug)]
struct InFlight {
    state: State,
    /// Counts the sends of PUBLISH and of PUBREL: their order is the order to repeat them in (MQTT-4.6.0-1, MQTT-4.6.0-4).
    step: u64,
    /// Whether it was sent on this connection, and so uses the window.
    on_wire: bool,
}

#[derive(Debug)]
enum State {
    /// PUBLISH sent; PUBACK or PUBREC will come.
    Published(Box<(Message, Terms)>),
    /// PUBREL sent; PUBCOMP will come.
    Released,
}

/// How a PUBREC is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// PUBREL, Success.
    Send,
    /// PUBREL, Packet Identifier not found.
    NotFound,
    /// Not at all: the client refused the message.
    Nothing,
}

impl Outbound {
    /// A connection to the client begins: all that is in flight is to be sent once more (MQTT-4.4.0-1).
    pub(crate) fn begin(&mut self, window: usize) {
        self.window = window;
        self.on_wire = 0;
        let mut unfinished: Vec<_> = self.in_flight.iter_mut().collect();
        // PUBRELs first: they need no room in the window.
        unfinished.sort_unstable_by_key(|(_, flight)| {
            (matches!(flight.state, State::Published(_)), flight.step)
        });
        self.resend.clear();
        for (&packet_id, flight) in unfinished {
            flight.on_wire = false;
            self.resend.push_back(packet_id);
        }
    }

    /// The connection ended: QoS 0 messages that were to go out on it are forgotten (section 3.1.2.4 lets them go).
    pub(crate) fn end(&mut self) {
        self.queue.retain(|(_, terms)| terms.qos != QoS::AtMostOnce);
    }

    /// Puts a message into the queue; `false` when that is full.
    pub(crate) fn enqueue(&mut self, message: Message, terms: Terms, limit: usize) -> bool {
        let room = self.queue.len() < limit;
        if room {
            self.queue.push_back((message, terms));
        }
        room
    }

    /// Sends what the window has room for. Returns how many messages were given up: expired, or too large for the client.
    pub(crate) fn pump(&mut self, now: Instant, wire: &mut Wire<'_>) -> u64 {
        let mut given_up = 0;
        while let Some(&packet_id) = self.resend.front() {
            match self.send_again(now, packet_id, wire) {
                Sent::Yes => {}
                Sent::TooLarge => given_up += 1,
                Sent::NoRoom => return given_up,
            }
            self.resend.pop_front();
        }
        while self.may_send_next(wire)
            && let Some((message, terms)) = self.queue.pop_front()
        {
            if message.expired(now) || !self.send_first(now, message, terms, wire) {
                given_up += 1;
            }
        }
        given_up
    }

    /// Whether [`Outbound::pump`] might have something to do.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.resend.is_empty() || !self.queue.is_empty()
    }

    /// How many messages wait for their first send.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
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
            Some(State::Published(sent)) if sent.1.qos == QoS::AtLeastOnce => {
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
    ) -> Result<Release, DecodeError> {
        let Some(flight) = self.in_flight.get_mut(&packet_id) else {
            return Ok(if refused {
                Release::Nothing
            } else {
                Release::NotFound
            });
        };
        if let State::Published(sent) = &flight.state {
            if sent.1.qos != QoS::ExactlyOnce {
                return Err(DecodeError::protocol("PUBREC answers a QoS 1 message"));
            }
            if refused {
                self.finish(packet_id);
                return Ok(Release::Nothing);
            }
            self.steps += 1;
            flight.step = self.steps;
            flight.state = State::Released;
        } else if refused {
            return Ok(Release::Nothing); // PUBREL is on its way, and PUBCOMP ends the exchange
        }
        Ok(Release::Send)
    }

    /// PUBCOMP.
    pub(crate) fn completed(&mut self, packet_id: PacketId) -> Result<(), DecodeError> {
        match self.in_flight.get(&packet_id).map(|flight| &flight.state) {
            None => {}
            Some(State::Released) => self.finish(packet_id),
            Some(State::Published(_)) => {
                return Err(DecodeError::protocol("PUBCOMP came before PUBREC"));
            }
        }
        Ok(())
    }

    fn finish(&mut self, packet_id: PacketId) {
        if self
            .in_flight
            .remove(&packet_id)
            .is_some_and(|flight| flight.on_wire)
        {
            self.on_wire -= 1;
        }
    }

    fn has_room(&self, wire: &Wire<'_>) -> bool {
        self.on_wire < self.window && wire.output.waiting() < ENOUGH_OUTPUT
    }

    /// Whether the oldest message may go out: QoS 0 needs no room in the window.
    fn may_send_next(&self, wire: &Wire<'_>) -> bool {
        match self.queue.front() {
            Some((_, terms)) if terms.qos == QoS::AtMostOnce => {
                wire.output.waiting() < ENOUGH_OUTPUT
            }
            _ => self.has_room(wire),
        }
    }

    fn send_first(
        &mut self,
        now: Instant,
        message: Message,
        terms: Terms,
        wire: &mut Wire<'_>,
    ) -> bool {
        if terms.qos == QoS::AtMostOnce {
            return wire.publish(now, &message, &terms, None);
        }
        let packet_id = self.next_packet_id();
        if !wire.publish(now, &message, &terms, Some((packet_id, false))) {
            return false;
        }
        self.steps += 1;
        self.on_wire += 1;
        let flight = InFlight {
            state: State::Published(Box::new((message, terms))),
            step: self.steps,
            on_wire: true,
        };
        self.in_flight.insert(packet_id, flight);
        true
    }

    fn send_again(&mut self, now: Instant, packet_id: PacketId, wire: &mut Wire<'_>) -> Sent {
        let room = self.has_room(wire);
        let Some(flight) = self.in_flight.get_mut(&packet_id) else {
            return Sent::Yes; // acknowledged meanwhile
        };
        match &flight.state {
            State::Released => {
                if !wire.packet(&Packet::PubRel(Ack::success(packet_id))) {
                    self.finish(packet_id);
                    return Sent::TooLarge;
                }
            }
            State::Published(_) if !room => return Sent::NoRoom,
            State::Published(sent) => {
                let (message, terms) = &**sent;
                if !wire.publish(now, message, terms, Some((packet_id, true))) {
                    self.finish(packet_id);
                    return Sent::TooLarge;
                }
            }
        }
        flight.on_wire = true;
        self.on_wire += 1;
        Sent::Yes
    }

    /// The next free Packet Identifier. There is one: the window is never larger than 65,535 and not full.
    fn next_packet_id(&mut self) -> PacketId {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            if let Some(packet_id) = PacketId::new(self.last_packet_id)
                && !self.in_flight.contains_key(&packet_id)
            {
                return packet_id;
            }
        }
    }
}

enum Sent {
    Yes,
    NoRoom,
    TooLarge,
}
