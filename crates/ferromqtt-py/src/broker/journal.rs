//! The journal as tuples, of which `python/ferromqtt/_journal.py` makes objects.

use std::time::Instant;

use ferromqtt_proto::TopicFilter;
use ferromqtt_proto::packet::{Packet, PacketId, ReasonCode};
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

/// The messages that were accepted after the first `after` and that the filter selects.
pub(super) fn published(broker: &Broker, filter: &MessageFilter, after: u64) -> Vec<MessageTuple> {
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
    journal.published_after(after, filter).map(tuple).collect()
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
    let packet_id = (packet.packet.as_ref()).and_then(Packet::packet_id);
    let reason = packet.packet.as_ref().and_then(reason_of);
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
            packet_id.map(PacketId::get),
            reason,
            packet.fault.as_deref().map(str::to_owned),
            packet.passed,
            packet.to_string(),
        ),
        publish,
    )
}

/// The Reason Code, if it has one; of several the largest, which is a failure if one is.
fn reason_of(packet: &Packet) -> Option<u8> {
    let of_several = |reasons: &[ReasonCode]| reasons.iter().copied().max_by_key(|it| it.value());
    let reason = match packet {
        Packet::PubAck(it) | Packet::PubRec(it) | Packet::PubRel(it) | Packet::PubComp(it) => {
            Some(it.reason)
        }
        Packet::ConnAck(it) => Some(it.reason),
        Packet::Disconnect(it) => Some(it.reason),
        Packet::Auth(it) => Some(it.reason),
        Packet::SubAck(it) => of_several(&it.reasons),
        Packet::UnsubAck(it) => of_several(&it.reasons),
        _ => None,
    };
    reason.map(ReasonCode::value)
}
