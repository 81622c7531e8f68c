//! The journal as tuples, of which `python/ferromqtt/_journal.py` makes objects.

use std::time::Instant;

use ferromqtt_proto::TopicFilter;
use ferromqtt_proto::packet::{Packet, PacketId};
use ferromqtt_testing::{
    Broker, BrokerJournal, JournalMessage, JournalPacket, MessageFilter, PacketFilter,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::faults::side;

/// How many packets a journal holds, unless the options say something else.
pub(super) const PACKETS: usize = 10_000;

/// Topic, payload, QoS, DUP and RETAIN of a PUBLISH.
type PublishTuple = (String, Vec<u8>, u8, bool, bool);

/// Seconds since the journal began, whether the broker sent it, its link and its client; its type, Packet Identifier, Reason
/// Code, fault, whether it went on, and its text; what else there is to say of a PUBLISH.
pub(super) type PacketTuple = (
    (f64, bool, u64, String),
    (
        Option<u8>,
        Option<u16>,
        Option<u8>,
        Option<String>,
        bool,
        String,
    ),
    Option<PublishTuple>,
);

/// Seconds since the journal began, client, topic, payload, QoS, RETAIN.
pub(super) type MessageTuple = (f64, String, String, Vec<u8>, u8, bool);

pub(super) fn filter(topic: &str) -> PyResult<MessageFilter> {
    (TopicFilter::new(topic).map(MessageFilter::from))
        .map_err(|error| PyValueError::new_err(format!("topic: {topic:?}: {error}")))
}

fn seconds(journal: &BrokerJournal, at: Instant) -> f64 {
    let began = journal.began().unwrap_or(at);
    at.saturating_duration_since(began).as_secs_f64()
}

pub(super) fn published(broker: &Broker, filter: &MessageFilter) -> Vec<MessageTuple> {
    let Some(journal) = broker.journal() else {
        return Vec::new();
    };
    let tuple = |message: &JournalMessage| {
        (
            seconds(journal, message.at),
            message.client.to_string(),
            message.topic.to_string(),
            message.payload.to_vec(),
            message.qos.value(),
            message.retain,
        )
    };
    journal.published(filter).map(tuple).collect()
}

pub(super) fn packets(
    broker: &Broker,
    kind: Option<u8>,
    client: Option<String>,
    sends: Option<bool>,
) -> Vec<PacketTuple> {
    let Some(journal) = broker.journal() else {
        return Vec::new();
    };
    let mut filter = PacketFilter::new();
    if let Some(client) = client {
        filter = filter.client(client);
    }
    if let Some(sends) = sends {
        filter = filter.side(side(sends));
    }
    let is_kind =
        |packet: &&JournalPacket| kind.is_none() || packet.kind.map(|it| it as u8) == kind;
    let packets = journal.packets(&filter).filter(is_kind);
    packets.map(|packet| tuple(journal, packet)).collect()
}

fn tuple(journal: &BrokerJournal, packet: &JournalPacket) -> PacketTuple {
    let (packet_id, reason) = packet.packet.as_ref().map_or((None, None), of_packet);
    let publish = match &packet.packet {
        Some(Packet::Publish(publish)) => Some((
            packet.topic.as_ref().unwrap_or(&publish.topic).to_string(),
            publish.payload.to_vec(),
            publish.qos.value(),
            publish.dup,
            publish.retain,
        )),
        _ => None,
    };
    let sends = packet.side == side(true);
    (
        (
            seconds(journal, packet.at),
            sends,
            packet.link.0,
            packet.client.to_string(),
        ),
        (
            packet.kind.map(|kind| kind as u8),
            packet_id,
            reason,
            packet.fault.as_deref().map(str::to_owned),
            packet.passed,
            packet.to_string(),
        ),
        publish,
    )
}

/// Packet Identifier, and the Reason Code; of several the largest, which is a failure if one is.
fn of_packet(packet: &Packet) -> (Option<u16>, Option<u8>) {
    let id = |packet_id: PacketId| Some(packet_id.get());
    match packet {
        Packet::Publish(publish) => (publish.packet_id.and_then(id), None),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            (id(ack.packet_id), Some(ack.reason.value()))
        }
        Packet::Subscribe(it) => (id(it.packet_id), None),
        Packet::Unsubscribe(it) => (id(it.packet_id), None),
        Packet::SubAck(it) => (
            id(it.packet_id),
            it.reasons.iter().map(|reason| reason.value()).max(),
        ),
        Packet::UnsubAck(it) => (
            id(it.packet_id),
            it.reasons.iter().map(|reason| reason.value()).max(),
        ),
        Packet::ConnAck(it) => (None, Some(it.reason.value())),
        Packet::Disconnect(it) => (None, Some(it.reason.value())),
        Packet::Auth(it) => (None, Some(it.reason.value())),
        Packet::Connect(_) | Packet::PingReq | Packet::PingResp => (None, None),
    }
}
