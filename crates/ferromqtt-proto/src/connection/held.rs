//! Packets that wait for a store (`docs/design/0063-store-seam.md`). They are not encoded before they may leave, so that none of
//! them stands in the way of PINGREQ, DISCONNECT, or an acknowledgement that needs no record.
//!
//! Each kind of packet whose order is prescribed has a line of its own (MQTT-4.6.0-1 to MQTT-4.6.0-4). Without a store nothing is
//! ever held, and all that costs is a look at [`HeldPackets::is_busy`].

use std::collections::VecDeque;

use super::{CHUNK, Transmit};
use crate::packet::{Ack, Packet, PacketId, PacketType, ProtocolVersion};
use crate::packet_trace::Direction;
use crate::session::{Journal, Needed, Open, SessionNeeds, WaitingPublish};

#[derive(Debug, Default)]
pub(crate) struct HeldPackets {
    /// Anything is held, or the end of a session is not on record.
    is_busy: bool,
    connect: Option<(Packet, SessionNeeds)>,
    /// The server has lost the session: nothing but PINGREQ, AUTH and DISCONNECT leaves before that is on record. A process that
    /// dies and finds the new session resumed would take it for the lost one.
    session_lost: Option<SessionNeeds>,
    /// SUBSCRIBE and UNSUBSCRIBE, which wait for nothing else. A server without the session sends nothing before it is asked to.
    requests: VecDeque<Packet>,
    /// What they wait for in the row of received messages, also when its store has failed.
    requests_need: Needed,
    publishes: VecDeque<HeldPublish>,
    /// Bytes of those of QoS 0, which the session has no more.
    qos0_bytes: usize,
    pubacks: VecDeque<HeldAnswer>,
    /// PUBREC and PUBCOMP.
    of_received: VecDeque<HeldAnswer>,
    pubrels: VecDeque<HeldAnswer>,
    /// What the answers that are held give back to the server of the Receive Maximum.
    ended: Open,
}

/// A PUBLISH, and what it waits for.
#[derive(Debug)]
struct HeldPublish {
    message: HeldMessage,
    needed: Needed,
}

#[derive(Debug)]
pub(crate) enum HeldMessage {
    /// Of QoS 1 or 2: in flight under this number.
    InFlight(u64),
    /// Of QoS 0. It was reported as sent already.
    AtMostOnce(Box<WaitingPublish>),
}

#[derive(Debug)]
struct HeldAnswer {
    packet_type: PacketType,
    answer: Ack,
    ended: Open,
    needed: Needed,
}

/// The row of the journal in which an answer to a packet has its entries.
pub(crate) const fn row_of(packet_type: PacketType) -> Direction {
    match packet_type {
        PacketType::PubRel => Direction::Sent,
        _ => Direction::Received,
    }
}

impl HeldPackets {
    /// Whether anything is held.
    pub(crate) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Whether the end of a session has to be on record first, before a PUBLISH may leave.
    pub(crate) const fn awaits_session_end(&self) -> bool {
        self.session_lost.is_some()
    }

    /// Whether CONNECT is held.
    pub(crate) const fn has_connect(&self) -> bool {
        self.connect.is_some()
    }

    /// Whether a PUBLISH is held, which no other overtakes.
    pub(crate) fn has_publishes(&self) -> bool {
        !self.publishes.is_empty()
    }

    /// Whether so much of QoS 0 is held that no more of it should be.
    pub(crate) const fn is_full(&self) -> bool {
        self.qos0_bytes >= CHUNK
    }

    /// How many answers are held.
    pub(super) fn answers(&self) -> usize {
        self.pubacks.len() + self.of_received.len() + self.pubrels.len()
    }

    /// What they give back to the server of the Receive Maximum.
    pub(super) const fn ended(&self) -> Open {
        self.ended
    }

    /// How many packets are held.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.connect.is_some())
            + self.requests.len()
            + self.publishes.len()
            + self.answers()
    }

    /// Whether an answer of this type, which needs no record, may leave: nothing is before it.
    pub(super) fn lets_through(&self, packet_type: PacketType) -> bool {
        !self.is_busy || self.session_lost.is_none() && self.line(packet_type).is_empty()
    }

    const fn line(&self, packet_type: PacketType) -> &VecDeque<HeldAnswer> {
        match packet_type {
            PacketType::PubRel => &self.pubrels,
            PacketType::PubAck => &self.pubacks,
            _ => &self.of_received,
        }
    }

    const fn line_mut(&mut self, packet_type: PacketType) -> &mut VecDeque<HeldAnswer> {
        match packet_type {
            PacketType::PubRel => &mut self.pubrels,
            PacketType::PubAck => &mut self.pubacks,
            _ => &mut self.of_received,
        }
    }

    /// Whether SUBSCRIBE and UNSUBSCRIBE may leave.
    pub(super) const fn lets_requests_through(&self) -> bool {
        !self.is_busy || self.session_lost.is_none() && self.requests_need == 0
    }

    pub(crate) fn hold_connect(&mut self, packet: Packet, needs: SessionNeeds, journal: &Journal) {
        self.is_busy = true;
        self.connect = Some((packet, needs));
        if journal.has_failed(Direction::Sent) {
            self.store_failed(Direction::Sent);
        }
    }

    /// Nothing more leaves until the end of the session is on record, as far as a store has not failed.
    pub(crate) fn hold_all(&mut self, needs: SessionNeeds, journal: &Journal) {
        if needs.are_met(journal) {
            return;
        }
        self.is_busy = true;
        self.session_lost = Some(needs);
        self.requests_need = needs.received;
        for direction in [Direction::Sent, Direction::Received] {
            if journal.has_failed(direction) {
                self.store_failed(direction);
            }
        }
    }

    /// The store of a row has failed, so that the end of the session cannot go on record there. What protects received messages
    /// still waits: CONNECT, and requests, which would have the server send more of them.
    pub(crate) const fn store_failed(&mut self, direction: Direction) {
        match direction {
            Direction::Sent => {
                if let Some((_, needs)) = &mut self.connect {
                    needs.sent = 0;
                }
                if let Some(needs) = &mut self.session_lost {
                    needs.sent = 0;
                }
            }
            Direction::Received => {
                if let Some(needs) = &mut self.session_lost {
                    needs.received = 0;
                }
            }
        }
    }

    pub(super) fn hold_request(&mut self, packet: Packet) {
        self.requests.push_back(packet);
    }

    /// Holds a PUBLISH behind those that are held.
    pub(crate) fn hold_publish(&mut self, message: HeldMessage, needed: Needed) {
        self.is_busy = true;
        if let HeldMessage::AtMostOnce(waiting) = &message {
            self.qos0_bytes += waiting.publish.memory_size();
        }
        self.publishes.push_back(HeldPublish { message, needed });
    }

    pub(super) fn hold_answer(
        &mut self,
        packet_type: PacketType,
        answer: Ack,
        ended: Open,
        needed: Needed,
    ) {
        self.is_busy = true;
        self.ended.add(ended);
        self.line_mut(packet_type).push_back(HeldAnswer {
            packet_type,
            answer,
            ended,
            needed,
        });
    }

    /// The first PUBLISH that is held, if it may leave. It is held no longer then.
    pub(crate) fn next_publish(&mut self, journal: &Journal) -> Option<HeldMessage> {
        let first = self.publishes.front()?;
        if !journal.is_written(Direction::Sent, first.needed) {
            return None;
        }
        let first = self.publishes.pop_front()?;
        if let HeldMessage::AtMostOnce(waiting) = &first.message {
            self.qos0_bytes -= waiting.publish.memory_size();
        }
        self.note_whether_busy();
        Some(first.message)
    }

    /// Takes out the PUBLISHes that are held, in order, each with whether what it waits for is on record.
    pub(crate) fn take_publishes(
        &mut self,
        journal: &Journal,
    ) -> impl Iterator<Item = (HeldMessage, bool)> + use<> {
        self.qos0_bytes = 0;
        let held = std::mem::take(&mut self.publishes);
        self.note_whether_busy();
        let taken: Vec<_> = (held.into_iter())
            .map(|held| {
                (
                    held.message,
                    journal.is_written(Direction::Sent, held.needed),
                )
            })
            .collect();
        taken.into_iter()
    }

    /// The identifiers of PUBRELs that wait for a record.
    pub(crate) fn held_pubrels(&self, journal: &Journal) -> impl Iterator<Item = PacketId> {
        (self.pubrels.iter())
            .filter(|held| !journal.is_written(Direction::Sent, held.needed))
            .map(|held| held.answer.packet_id)
    }

    /// The store begins a new record of a row with the entry `begins`: what waits for an entry of that row waits for this one.
    pub(crate) fn begin_record(&mut self, direction: Direction, begins: Needed, journal: &Journal) {
        let moved = |needed: &mut Needed| {
            if !journal.is_written(direction, *needed) {
                *needed = begins;
            }
        };
        let sessions =
            (self.connect.iter_mut().map(|(_, needs)| needs)).chain(&mut self.session_lost);
        for needs in sessions {
            match direction {
                Direction::Sent => moved(&mut needs.sent),
                Direction::Received => moved(&mut needs.received),
            }
        }
        match direction {
            Direction::Sent => {
                (self.publishes.iter_mut()).for_each(|held| moved(&mut held.needed));
                (self.pubrels.iter_mut()).for_each(|held| moved(&mut held.needed));
            }
            Direction::Received => {
                moved(&mut self.requests_need);
                let answers = self.pubacks.iter_mut().chain(&mut self.of_received);
                answers.for_each(|held| moved(&mut held.needed));
            }
        }
    }

    /// Encodes what may leave by now, but for PUBLISHes, which are encoded when the transport asks.
    pub(crate) fn release(
        &mut self,
        journal: &Journal,
        transmit: &mut Transmit,
        version: ProtocolVersion,
    ) {
        if !self.is_busy {
            return;
        }
        if let Some((connect, _)) = self.connect.take_if(|(_, needs)| needs.are_met(journal)) {
            transmit.push(&connect, version);
        }
        if self
            .session_lost
            .is_some_and(|needs| !needs.are_met(journal))
        {
            return;
        }
        self.session_lost = None;
        if journal.is_written(Direction::Received, self.requests_need) {
            self.requests_need = 0;
            for request in self.requests.drain(..) {
                transmit.push(&request, version);
            }
        }
        for line in [&mut self.pubacks, &mut self.of_received, &mut self.pubrels] {
            while let Some(held) = line.front()
                && journal.is_written(row_of(held.packet_type), held.needed)
                && let Some(held) = line.pop_front()
            {
                self.ended.subtract(held.ended);
                transmit.push_answer(held.packet_type, &held.answer, version, held.ended);
            }
        }
        self.note_whether_busy();
    }

    fn note_whether_busy(&mut self) {
        self.is_busy = self.len() > 0 || self.session_lost.is_some() || self.requests_need != 0;
    }
}
