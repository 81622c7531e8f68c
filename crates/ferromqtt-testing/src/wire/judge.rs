//! A packet on its way through the wire: the rules see it, the journal notes it, and what a rule has decided is done to it.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::Utf8String;
use ferromqtt_proto::packet::{
    self, Ack, ConnAck, Connect, Disconnect, Packet, PacketType, Properties, ProtocolVersion, QoS,
    ReasonCode, SubAck, UnsubAck,
};

use super::lane::{LaneEnd, Traffic};
use super::postponed::{Wait, Waiting};
use super::{Wire, WireLink};
use crate::broker::Broker;
use crate::connection::{ConnectionId, ConnectionPhase};
use crate::faults::{
    CutPoint, FaultPlan, Judged, PacketFate, PacketInView, PlannedCut, PlannedWait,
};
use crate::journal::{BrokerSide, JournalEntryId, JournalEvent, JournalPacket};
use crate::timers::Timer;

/// Sets DUP in the first byte of a PUBLISH.
const DUP: u8 = 0b1000;

/// A packet that was cut from the bytes of a lane.
struct CutPacket {
    bytes: Bytes,
    packet: Option<Packet>,
    kind: Option<PacketType>,
    topic: Option<Utf8String>,
    /// Its entry in the journal, once that has one.
    entry: Option<JournalEntryId>,
}

impl CutPacket {
    fn read(bytes: Bytes, link: &mut WireLink, side: BrokerSide) -> Self {
        let mut at = 0;
        let packet = packet::decode(&bytes, &mut at, link.version).ok();
        let packet = packet.filter(|_| at == bytes.len());
        let kind = match &packet {
            Some(packet) => Some(packet.packet_type()),
            None => PacketType::from_first_byte(bytes.first().copied().unwrap_or(0)),
        };
        let topic = match &packet {
            Some(Packet::Publish(publish)) => link.lane(side).aliases.topic_of(publish),
            _ => None,
        };
        Self {
            bytes,
            packet,
            kind,
            topic,
            entry: None,
        }
    }
}

impl Broker {
    /// A packet has come from the client.
    pub(super) fn judge_inbound(&mut self, now: Instant, id: ConnectionId, bytes: Bytes) {
        let Some(link) = self.link_mut(id) else {
            return;
        };
        let cut = CutPacket::read(bytes, link, BrokerSide::Receives);
        if let Some(Packet::Connect(connect)) = &cut.packet {
            link.version = connect.protocol;
            link.client = connect.client_identifier.detached();
        }
        self.judge(now, id, BrokerSide::Receives, cut);
    }

    /// The broker proper has sent a packet.
    pub(super) fn judge_outbound(&mut self, now: Instant, id: ConnectionId, bytes: Bytes) {
        let is_unknown = (self.link_mut(id)).is_some_and(|link| link.client.is_empty());
        let assigned = is_unknown.then(|| self.identifier_of(id)).flatten();
        let Some(link) = self.link_mut(id) else {
            return;
        };
        if let Some(assigned) = assigned {
            link.client = assigned;
        }
        let cut = CutPacket::read(bytes, link, BrokerSide::Sends);
        self.judge(now, id, BrokerSide::Sends, cut);
    }

    /// The Client Identifier of a connection, also where it was assigned.
    fn identifier_of(&self, id: ConnectionId) -> Option<Utf8String> {
        let session = self.connections.get(&id)?.connected()?.session;
        Some(self.sessions.get(session)?.client_identifier.clone())
    }

    fn judge(&mut self, now: Instant, id: ConnectionId, side: BrokerSide, mut cut: CutPacket) {
        let Some(wire) = self.wire.as_deref_mut() else {
            return;
        };
        let Some(link) = wire.links.get_mut(&id) else {
            return;
        };
        if wire.scheduled.packet_seen() {
            self.timers.arm(Timer::Scheduled, now); // behind this packet
        }
        let nowhere = side == BrokerSide::Sends && link.leads_nowhere();
        let judged = match nowhere {
            true => None,
            false => wire.faults.judge(
                now,
                &PacketInView {
                    side,
                    kind: cut.kind,
                    client: &link.client,
                    topic: cut.topic.as_ref(),
                    packet: cut.packet.as_ref(),
                },
            ),
        };
        let passed = !nowhere && judged.as_ref().is_none_or(|judged| judged.plan.passes());
        let whole = passed && judged.as_ref().is_none_or(|judged| judged.plan.is_whole());
        if let Some(Packet::Publish(publish)) = &mut cut.packet {
            let aliases = &mut link.lane(side).aliases;
            if whole && let Some(topic) = aliases.unknown_to_receiver(publish) {
                publish.topic = topic;
                let mut bytes = BytesMut::new();
                Packet::Publish(publish.clone()).encode(link.version, &mut bytes);
                cut.bytes = bytes.freeze();
            }
            let aliases = &mut link.lane(side).aliases;
            let maximum = match side {
                BrokerSide::Receives => self.options.topic_alias_maximum,
                BrokerSide::Sends => self.options.topic_aliases_out,
            };
            aliases.note(publish, maximum, whole);
        }
        cut.entry = wire.note_packet(now, id, side, &cut, judged.as_ref(), passed);
        match judged {
            None if nowhere => {}
            None => wire.accept(now, id, side, &cut, &FaultPlan::default(), None),
            Some(judged) => self.afflict(now, id, side, &cut, &judged),
        }
    }

    /// Does to a packet what a rule has decided.
    fn afflict(
        &mut self,
        now: Instant,
        id: ConnectionId,
        side: BrokerSide,
        cut: &CutPacket,
        judged: &Judged,
    ) {
        let plan = &judged.plan;
        match (&plan.fate, &cut.packet) {
            (PacketFate::Refused { reason, text }, Some(packet)) => {
                self.reading_version(now, id); // it came, and counts as a sign of life
                self.answer_refusal(now, id, packet, *reason, text.as_deref());
                if let Some(PlannedCut { reset, .. }) = plan.cut {
                    self.sever(now, id, LaneEnd::of_cut(reset));
                }
            }
            (PacketFate::Disconnected(reason), _) => {
                let farewell = Disconnect::because(*reason);
                match side {
                    BrokerSide::Receives => self.end_connection(now, id, Some(farewell), true),
                    BrokerSide::Sends => self.disconnect_instead(now, id, farewell),
                }
            }
            _ => {
                if let Some(wire) = self.wire.as_deref_mut() {
                    wire.accept(now, id, side, cut, plan, Some(judged));
                }
            }
        }
    }

    /// DISCONNECT goes out in place of a packet, and nothing behind it.
    fn disconnect_instead(&mut self, now: Instant, id: ConnectionId, farewell: Disconnect) {
        let Some(wire) = self.wire.as_deref_mut() else {
            return;
        };
        let Some(link) = wire.links.get_mut(&id) else {
            return;
        };
        let mut traffic = Vec::new();
        if link.version.is_v5() {
            let packet = Packet::Disconnect(Box::new(farewell));
            let mut bytes = BytesMut::new();
            packet.encode(link.version, &mut bytes);
            let cut = CutPacket {
                entry: None,
                bytes: bytes.freeze(),
                packet: Some(packet),
                kind: Some(PacketType::Disconnect),
                topic: None,
            };
            let entry = wire.note_packet(now, id, BrokerSide::Sends, &cut, None, true);
            traffic.push(Traffic::Bytes(cut.bytes, entry));
        }
        traffic.push(Traffic::End(LaneEnd::Cut));
        if let Some((link, random)) = self.link_and_random(id) {
            (link.outbound).accept(now, random, Waiting::behind(None, traffic));
        }
    }

    /// Answers a packet in the broker's stead.
    fn answer_refusal(
        &mut self,
        now: Instant,
        id: ConnectionId,
        packet: &Packet,
        reason: ReasonCode,
        text: Option<&str>,
    ) {
        let version = self
            .link_mut(id)
            .map_or(ProtocolVersion::V311, |link| link.version);
        let reason_string = text.and_then(|text| Utf8String::try_from(text).ok());
        let properties = Properties {
            reason_string,
            ..Properties::default()
        };
        let acknowledge = |packet_id| Ack {
            properties: (!properties.is_empty()).then(|| Box::new(properties.clone())),
            ..Ack::new(packet_id, reason)
        };
        let v5 = version.is_v5();
        let answer = match packet {
            Packet::Connect(connect) => {
                return self.refuse_connect(now, id, connect, reason, properties);
            }
            Packet::Publish(publish) => match (publish.qos, publish.packet_id) {
                (QoS::AtLeastOnce, Some(packet_id)) if v5 => Packet::PubAck(acknowledge(packet_id)),
                (QoS::ExactlyOnce, Some(packet_id)) if v5 => Packet::PubRec(acknowledge(packet_id)),
                (QoS::AtMostOnce, _) => return, // it has no answer
                _ => return self.end_connection(now, id, None, true),
            },
            Packet::PubRel(ack) if v5 => Packet::PubComp(acknowledge(ack.packet_id)),
            Packet::Subscribe(subscribe) if version != ProtocolVersion::V31 => {
                Packet::SubAck(Box::new(SubAck {
                    packet_id: subscribe.packet_id,
                    properties,
                    reasons: vec![reason; subscribe.filters.len()],
                }))
            }
            Packet::Unsubscribe(unsubscribe) if v5 => Packet::UnsubAck(Box::new(UnsubAck {
                packet_id: unsubscribe.packet_id,
                properties,
                reasons: vec![reason; unsubscribe.filters.iter().count()],
            })),
            _ => return self.end_connection(now, id, None, true),
        };
        self.send(now, id, &answer);
    }

    fn refuse_connect(
        &mut self,
        now: Instant,
        id: ConnectionId,
        connect: &Connect,
        reason: ReasonCode,
        properties: Properties,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !matches!(connection.phase, ConnectionPhase::AwaitingConnect { .. }) {
            return self.end_connection(now, id, None, true);
        }
        connection.phase = ConnectionPhase::Connecting {
            connect: Box::new(connect.clone()),
            challenge: 0,
            deadline: now + self.options.handshake_timeout,
        };
        let connack = ConnAck {
            session_present: false,
            reason,
            properties,
        };
        self.refuse_with(now, id, connack);
    }
}

impl Wire {
    fn note_packet(
        &mut self,
        now: Instant,
        id: ConnectionId,
        side: BrokerSide,
        cut: &CutPacket,
        judged: Option<&Judged>,
        passed: bool,
    ) -> Option<JournalEntryId> {
        let (Some(journal), Some(link)) = (&mut self.journal, self.links.get(&id)) else {
            return None;
        };
        let fault = match judged {
            Some(judged) => Some(judged.text.clone()),
            None => (!passed).then(|| link.why_lost().into()),
        };
        let entry = journal.push(JournalEvent::Packet(JournalPacket {
            at: now,
            side,
            link: id,
            client: link.client.clone(),
            version: link.version,
            kind: cut.kind,
            packet: cut.packet.clone(),
            topic: cut.topic.clone(),
            bytes: cut.bytes.len(),
            fault,
            passed,
            arrived: false,
        }));
        passed.then_some(entry)
    }

    /// Puts a packet into its lane, or what a rule has made of it.
    fn accept(
        &mut self,
        now: Instant,
        id: ConnectionId,
        side: BrokerSide,
        cut: &CutPacket,
        plan: &FaultPlan,
        judged: Option<&Judged>,
    ) {
        let Self { links, random, .. } = self;
        let Some(link) = links.get_mut(&id) else {
            return;
        };
        let lane = link.lane(side);
        let bytes = match &plan.fate {
            PacketFate::Arrives => cut.bytes.clone(),
            PacketFate::Replaced(bytes) => bytes.clone(),
            PacketFate::Garbage(count) => random.bytes(*count).into(),
            PacketFate::Truncated(count) => cut.bytes.slice(..cut.bytes.len().min(*count)),
            _ => Bytes::new(),
        };
        let (wait, begins) = match (plan.wait, judged) {
            (PlannedWait::Delay(time), _) => (Wait::Until(later(now, time)), later(now, time)),
            (PlannedWait::Hold, Some(judged)) => (Wait::Held(judged.id), now),
            (PlannedWait::Overtaken(count), _) => (Wait::Overtaken(count), now),
            _ => (Wait::Behind, now),
        };
        let mut traffic = Vec::with_capacity(2);
        let arriving = match plan.cut.map(|cut| cut.at) {
            Some(CutPoint::Before) => Bytes::new(),
            Some(CutPoint::AfterBytes(count)) => bytes.slice(..bytes.len().min(count)),
            Some(CutPoint::After) | None => bytes.clone(),
        };
        let mut again = None;
        if !arriving.is_empty() {
            traffic.push(Traffic::Bytes(arriving, cut.entry));
        }
        if let Some((dup, after)) = plan.duplicate {
            let copy = if dup { with_dup(&bytes) } else { bytes };
            let copy = Traffic::Bytes(copy, None);
            match after.is_zero() {
                true => traffic.push(copy),
                false => again = Some((later(begins, after), copy)),
            }
        }
        if let Some(PlannedCut { reset, .. }) = plan.cut {
            traffic.push(Traffic::End(LaneEnd::of_cut(reset)));
        }
        if !traffic.is_empty() {
            lane.accept(now, random, Waiting::for_(wait, cut.kind, traffic));
        }
        if let Some((at, copy)) = again {
            lane.accept(
                now,
                random,
                Waiting::for_(Wait::Again(at), cut.kind, vec![copy]),
            );
        }
    }
}

/// The same packet with DUP, if it is a PUBLISH of QoS 1 or 2.
fn with_dup(packet: &Bytes) -> Bytes {
    let Some(&first) = packet.first() else {
        return packet.clone();
    };
    let is_publish = first >> 4 == PacketType::Publish as u8;
    if !is_publish || first >> 1 & 3 == 0 {
        return packet.clone();
    }
    let mut copy = BytesMut::from(&packet[..]);
    copy[0] |= DUP;
    copy.freeze()
}

/// A time that a rule has chosen, however far away.
fn later(now: Instant, time: Duration) -> Instant {
    const LONG: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    now.checked_add(time).unwrap_or(now + LONG)
}
