//! The way of bytes and ends through the wire, in both directions.

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use ferromqtt_proto::codec::FixedHeader;
use ferromqtt_proto::packet::{self, PacketLimits};

use super::lane::{Lane, LaneEnd, Traffic};
use super::{Reachable, Wire, WireLink};
use crate::broker::Broker;
use crate::connection::{BrokerConnection, ConnectionId};
use crate::journal::{BrokerSide, JournalEntryId, LinkChange};
use crate::random::Random;
use crate::timers::Timer;

impl Broker {
    /// A transport was opened. Returns whether it reaches the broker.
    pub(crate) fn wire_open(&mut self, now: Instant, id: ConnectionId) -> bool {
        let Some(wire) = &mut self.wire else {
            return true;
        };
        let mut link = WireLink::new(wire.maximum_postponed);
        let reaches = match wire.reachable {
            Reachable::Yes => true,
            Reachable::Down(until) => now >= until,
            Reachable::Partitioned { hangs } => {
                link.freeze();
                hangs
            }
        };
        if reaches {
            wire.links.insert(id, link);
        }
        let change = match reaches {
            true => LinkChange::Opened,
            false => LinkChange::Refused,
        };
        wire.note_link(now, id, change);
        reaches
    }

    /// The transport delivered bytes: all of them go into the lane, packet by packet.
    pub(crate) fn wire_input(&mut self, now: Instant, id: ConnectionId, input: &mut BytesMut) {
        let limits = self.options.packet_limits();
        let bytes = input.split();
        let Some(link) = self.link_mut(id) else {
            return;
        };
        if link.half_open {
            return;
        }
        link.inbound.arriving.unsplit(bytes);
        while let Some(link) = self.link_mut(id) {
            match next_packet(&mut link.inbound.arriving, limits) {
                NextPacket::Whole(packet) => self.judge_inbound(now, id, packet),
                NextPacket::Missing => break,
                NextPacket::Wrong(bytes) => {
                    self.judge_inbound(now, id, bytes); // the broker proper finds the same
                    break;
                }
            }
            self.run_inbound(now, id);
        }
        self.run_inbound(now, id);
        let Some(link) = self.link_mut(id) else {
            return;
        };
        let rest = link.inbound.arriving.len();
        let stalled = link.inbound.conditions.stalled;
        let connection = self.connections.get_mut(&id);
        if let Some(connected) = connection.and_then(BrokerConnection::connected_mut)
            && !stalled
        {
            connected.unfinished(now, rest);
        }
    }

    /// The transport ended: the broker learns of it behind what the client had sent.
    pub(crate) fn wire_closed(&mut self, now: Instant, id: ConnectionId) {
        let Some(wire) = self.wire.as_deref_mut() else {
            return;
        };
        let Some(link) = wire.links.get_mut(&id) else {
            return self.take_end(now, id); // the wire had ended it, or never had it
        };
        link.host_open = false;
        link.outbound.discard();
        if !self.connections.contains_key(&id) {
            return self.forget_link(id, CLIENT_GONE); // the broker has closed it, and the client never saw that
        }
        if link.half_open {
            return; // the broker is not told
        }
        (link.inbound).finish(now, &mut wire.random, LaneEnd::Closed);
        wire.note_link(now, id, LinkChange::ClosedByClient);
        self.run_inbound(now, id);
        self.void_output(now, id);
    }

    /// Hands what has arrived to the broker proper.
    pub(crate) fn run_inbound(&mut self, now: Instant, id: ConnectionId) {
        while let Some((link, random)) = self.link_and_random(id) {
            link.inbound.settle(now, random);
            match link.inbound.pop(now) {
                None => break,
                Some(Traffic::Bytes(bytes, entry)) => {
                    link.arrived.extend_from_slice(&bytes);
                    let mut arrived = std::mem::take(&mut link.arrived);
                    self.note_arrived(entry);
                    self.take_input(now, id, &mut arrived);
                    if let Some(link) = self.link_mut(id) {
                        link.arrived = arrived;
                    }
                }
                Some(Traffic::End(LaneEnd::Closed)) => {
                    self.forget_link(id, CLIENT_GONE);
                    self.take_end(now, id);
                }
                Some(Traffic::End(end)) => self.sever(now, id, end),
            }
        }
        self.settle_link(now, id);
    }

    /// The next connection that has something for the host to write.
    pub(crate) fn wire_writable(&mut self) -> Option<ConnectionId> {
        loop {
            let wire = self.wire.as_deref_mut()?;
            if let Some(id) = wire.writable.pop_front() {
                if let Some(link) = wire.links.get_mut(&id) {
                    link.listed = false;
                    return Some(id);
                }
                continue;
            }
            let Some(id) = self.next_writable() else {
                let now = self.now?;
                self.close_links(now);
                if self.wire.as_ref()?.writable.is_empty() {
                    return None;
                }
                continue;
            };
            match self.link_mut(id) {
                Some(link) if link.leads_nowhere() => {
                    let now = self.now?;
                    self.void_output(now, id);
                }
                Some(_) => return Some(id),
                None => {}
            }
        }
    }

    /// The next bytes that have arrived for the host.
    pub(crate) fn wire_transmit(&mut self, id: ConnectionId) -> Option<Bytes> {
        let now = self.now?;
        let bytes = self.next_outbound(now, id);
        self.settle_link(now, id);
        bytes
    }

    fn next_outbound(&mut self, now: Instant, id: ConnectionId) -> Option<Bytes> {
        loop {
            let (link, random) = self.link_and_random(id)?;
            if link.leads_nowhere() {
                self.void_output(now, id);
                return None;
            }
            link.outbound.settle(now, random);
            match link.outbound.pop(now) {
                Some(Traffic::Bytes(bytes, entry)) => {
                    self.note_arrived(entry);
                    return Some(bytes);
                }
                Some(Traffic::End(end)) => {
                    self.end_towards_host(now, id, end);
                    return None;
                }
                None if link.outbound.is_backed_up() => return None,
                None => {}
            }
            let chunk = self.take_transmit(id)?;
            self.cut_outbound(now, id, &chunk);
            self.close_links(now);
        }
    }

    /// Cuts what waits in the output of the broker proper.
    pub(super) fn cut_waiting(&mut self, now: Instant, id: ConnectionId) {
        while let Some(chunk) = self.take_transmit(id) {
            self.cut_outbound(now, id, &chunk);
        }
    }

    /// Throws away what the broker sends to a link that leads nowhere; the journal has it.
    fn void_output(&mut self, now: Instant, id: ConnectionId) {
        self.cut_waiting(now, id);
        if let Some(link) = self.link_mut(id)
            && link.leads_nowhere()
        {
            link.outbound.discard();
        }
    }

    /// Puts what the broker proper handed out into the lane, packet by packet.
    pub(super) fn cut_outbound(&mut self, now: Instant, id: ConnectionId, mut chunk: &[u8]) {
        let Some((link, random)) = self.link_and_random(id) else {
            return;
        };
        let (uncut, rest) = chunk.split_at(link.outbound.uncut.min(chunk.len()));
        if !uncut.is_empty() {
            link.outbound.uncut -= uncut.len();
            let bytes = Bytes::copy_from_slice(uncut);
            (link.outbound).send(now, random, Traffic::Bytes(bytes, None));
        }
        chunk = rest;
        link.outbound.arriving.extend_from_slice(chunk);
        let limits = PacketLimits::from(usize::MAX);
        while let Some(link) = self.link_mut(id)
            && let NextPacket::Whole(packet) = next_packet(&mut link.outbound.arriving, limits)
        {
            self.judge_outbound(now, id, packet);
        }
    }

    /// The next link whose transport the host is to close.
    pub(crate) fn wire_close(&mut self) -> Option<ConnectionId> {
        let now = self.now?;
        self.close_links(now);
        let wire = self.wire.as_deref_mut()?;
        let (id, reset) = wire.to_close.pop_front()?;
        wire.resets = reset.then_some(id);
        Some(id)
    }

    fn close_links(&mut self, now: Instant) {
        while let Some(id) = self.next_to_close() {
            self.close_link(now, id);
        }
    }

    /// The broker proper closed a connection: the client learns of it behind what the broker had sent.
    fn close_link(&mut self, now: Instant, id: ConnectionId) {
        let Some(wire) = self.wire.as_deref_mut() else {
            return;
        };
        let Some(link) = wire.links.get_mut(&id) else {
            wire.to_close.push_back((id, false)); // it never reached the broker
            return;
        };
        if link.leads_nowhere() {
            let why = link.why_lost();
            self.forget_link(id, why); // of a half-open one the client is not told: the host keeps its transport
            return;
        }
        (link.outbound).finish(now, &mut wire.random, LaneEnd::Closed);
        match link.outbound.ends_next(now) {
            true => self.end_towards_host(now, id, LaneEnd::Closed),
            false => self.settle_link(now, id),
        }
        if let Some(wire) = self.wire.as_deref_mut() {
            wire.announce(id);
        }
    }

    /// The end of a link has arrived at the client.
    fn end_towards_host(&mut self, now: Instant, id: ConnectionId, end: LaneEnd) {
        if end != LaneEnd::Closed {
            return self.sever(now, id, end);
        }
        if let Some(wire) = self.wire.as_deref_mut() {
            wire.note_link(now, id, LinkChange::ClosedByBroker);
            wire.to_close.push_back((id, false));
        }
        self.forget_link(id, BROKER_CLOSED);
    }

    /// Ends a link for both sides, now. The will is published.
    pub(crate) fn sever(&mut self, now: Instant, id: ConnectionId, end: LaneEnd) {
        let Some(wire) = self.wire.as_deref_mut() else {
            return;
        };
        let Some(link) = wire.links.get(&id) else {
            return;
        };
        let (change, why) = match end {
            LaneEnd::Closed => (LinkChange::ClosedByBroker, BROKER_CLOSED),
            LaneEnd::Cut => (LinkChange::Cut, "the link was cut"),
            LaneEnd::Reset => (LinkChange::Reset, "the link was reset"),
        };
        let host_open = link.host_open;
        wire.note_link(now, id, change);
        if host_open {
            wire.to_close.push_back((id, end == LaneEnd::Reset));
        }
        self.forget_link(id, why);
        self.take_end(now, id);
    }

    /// The link has ended, and what is in it does not arrive.
    fn forget_link(&mut self, id: ConnectionId, why: &str) {
        if let Some(wire) = self.wire.as_deref_mut() {
            if let Some(link) = wire.links.get_mut(&id) {
                link.inbound.discard();
                link.outbound.discard();
            }
            wire.note_lost_because(id, why);
            wire.links.remove(&id);
        }
        self.timers.disarm(Timer::Link(id));
    }

    pub(crate) fn handle_link_timeout(&mut self, now: Instant, id: ConnectionId) {
        let was_paused = self.input_paused(id);
        self.run_inbound(now, id);
        let resumes = was_paused && !self.input_paused(id);
        let Some(wire) = self.wire.as_deref_mut() else {
            return;
        };
        let Some(link) = wire.links.get_mut(&id) else {
            return;
        };
        link.outbound.settle(now, &mut wire.random);
        if resumes || link.outbound.has_arrived(now) {
            wire.announce(id);
        }
        self.settle_link(now, id);
    }

    /// Notes what was lost on a link, and wakes the wire when something of it is due next.
    pub(crate) fn settle_link(&mut self, now: Instant, id: ConnectionId) {
        let Some(wire) = self.wire.as_deref_mut() else {
            return;
        };
        wire.note_lost(id);
        let Some(link) = wire.links.get(&id) else {
            return;
        };
        let deadlines = [&link.inbound, &link.outbound].map(Lane::deadline);
        let next = deadlines.into_iter().flatten().filter(|&at| at > now).min();
        if let Some(at) = next {
            self.timers.arm(Timer::Link(id), at);
        }
    }

    pub(crate) fn link_mut(&mut self, id: ConnectionId) -> Option<&mut WireLink> {
        self.link_and_random(id).map(|(link, _)| link)
    }

    /// A link, and the random numbers of its jitter.
    pub(super) fn link_and_random(
        &mut self,
        id: ConnectionId,
    ) -> Option<(&mut WireLink, &mut Random)> {
        let Wire { links, random, .. } = self.wire.as_deref_mut()?;
        Some((links.get_mut(&id)?, random))
    }
}

/// Why a packet of the broker does not arrive on a link that the client has closed.
const CLIENT_GONE: &str = "the client has gone";

/// Why a packet does not arrive on a link that the broker has closed.
const BROKER_CLOSED: &str = "the broker has closed the link";

impl Broker {
    fn note_arrived(&mut self, entry: Option<JournalEntryId>) {
        if let Some(wire) = self.wire.as_deref_mut() {
            wire.note_arrived(entry);
        }
    }
}

impl Wire {
    /// All links: what is done to them may remove some.
    pub(super) fn link_ids(&self) -> Vec<ConnectionId> {
        self.links.keys().copied().collect()
    }
}

impl WireLink {
    pub(super) fn lane(&mut self, side: BrokerSide) -> &mut Lane {
        match side {
            BrokerSide::Sends => &mut self.outbound,
            BrokerSide::Receives => &mut self.inbound,
        }
    }
}

enum NextPacket {
    Whole(Bytes),
    Missing,
    /// All that there is: it is no packet, or too large a one.
    Wrong(Bytes),
}

/// Cuts the packet from the front. It gets memory of its own: the journal may keep it.
fn next_packet(bytes: &mut BytesMut, limits: PacketLimits) -> NextPacket {
    let length = match FixedHeader::read(bytes) {
        Ok(None) => return NextPacket::Missing,
        Err(_) => return NextPacket::Wrong(bytes.split().freeze()),
        Ok(Some(header)) => header.packet_len(),
    };
    let front = &bytes[..length.min(bytes.len())];
    match packet::whole_packets(front, limits) {
        Err(_) => NextPacket::Wrong(bytes.split().freeze()),
        Ok(whole) if whole.bytes == 0 => NextPacket::Missing,
        Ok(whole) => {
            let packet = Bytes::copy_from_slice(&bytes[..whole.bytes]);
            bytes.advance(whole.bytes);
            NextPacket::Whole(packet)
        }
    }
}
