//! Short ways to write packets, options and identifiers.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::{self, Ack, ConnAck, Disconnect, Packet, SubAck, UnsubAck};
use ferromqtt_proto::{
    CleanStart, Options, PacketId, Properties, ProtocolVersion, QoS, ReasonCode, Reconnect,
    SubscriptionOptions, TopicFilter, Utf8String,
};

pub(crate) use ferromqtt_proto::ProtocolVersion::{V5, V31, V311};
pub(crate) use ferromqtt_proto::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

/// The versions that most scenarios are played in.
pub(crate) const VERSIONS: [ProtocolVersion; 2] = [V311, V5];

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub(crate) fn text(text: &str) -> Utf8String {
    Utf8String::try_from(text).unwrap()
}

pub(crate) fn filter(filter: &str) -> TopicFilter {
    TopicFilter::new(filter).unwrap()
}

pub(crate) fn at(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions {
        qos,
        ..SubscriptionOptions::default()
    }
}

/// Options of a client named `me` that never reconnects and has no Keep Alive.
pub(crate) fn options(version: ProtocolVersion) -> Options {
    let mut options = Options::default();
    options.protocol = version;
    options.client_identifier = text("me");
    options.keep_alive = 0;
    options
}

/// Options of a client that resumes its session, and reconnects by itself.
pub(crate) fn resuming(version: ProtocolVersion) -> Options {
    let mut options = options(version);
    options.clean_start = CleanStart::Never;
    options.reconnect = Some(Reconnect::default());
    options
}

pub(crate) fn accepted(session_present: bool, properties: Properties) -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        session_present,
        reason: ReasonCode::Success,
        properties,
    }))
}

pub(crate) fn refused(reason: ReasonCode) -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason,
        properties: Properties::default(),
    }))
}

/// CONNACK properties with a Receive Maximum.
pub(crate) fn receive_maximum(limit: u16) -> Properties {
    Properties {
        receive_maximum: NonZeroU16::new(limit),
        ..Properties::default()
    }
}

/// CONNACK properties with a Maximum Packet Size.
pub(crate) fn maximum_packet_size(limit: u32) -> Properties {
    Properties {
        maximum_packet_size: NonZeroU32::new(limit),
        ..Properties::default()
    }
}

pub(crate) fn puback(value: u16) -> Packet {
    Packet::PubAck(Ack::success(id(value)))
}

pub(crate) fn pubrec(value: u16) -> Packet {
    Packet::PubRec(Ack::success(id(value)))
}

pub(crate) fn pubrel(value: u16) -> Packet {
    Packet::PubRel(Ack::success(id(value)))
}

pub(crate) fn pubcomp(value: u16) -> Packet {
    Packet::PubComp(Ack::success(id(value)))
}

pub(crate) fn suback(value: u16, reasons: &[ReasonCode]) -> Packet {
    Packet::SubAck(Box::new(SubAck {
        packet_id: id(value),
        properties: Properties::default(),
        reasons: reasons.to_vec(),
    }))
}

pub(crate) fn unsuback(value: u16, reasons: &[ReasonCode]) -> Packet {
    Packet::UnsubAck(Box::new(UnsubAck {
        packet_id: id(value),
        properties: Properties::default(),
        reasons: reasons.to_vec(),
    }))
}

pub(crate) fn disconnect(reason: ReasonCode) -> Packet {
    Packet::Disconnect(Box::new(Disconnect::because(reason)))
}

/// A PUBLISH as the server sends it: QoS 0 when `packet_id` is 0.
pub(crate) fn message(
    topic: &str,
    payload: &str,
    qos: QoS,
    packet_id: u16,
) -> packet::PublishPacket {
    packet::PublishPacket {
        dup: false,
        qos,
        retain: false,
        topic: text(topic),
        packet_id: PacketId::new(packet_id),
        properties: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// What messages with topic `t` and payloads of these lengths count in a bound of bytes.
pub(crate) fn counted(payloads: &[usize]) -> usize {
    (payloads.iter())
        .map(|payload| packet::MESSAGE_OVERHEAD + "t".len() + payload)
        .sum()
}
