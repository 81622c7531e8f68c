//! The message of every workload: 64 bytes of payload, no properties.

use std::num::NonZeroU16;

use bytes::Bytes;
use ferromqtt_proto::packet::{PacketId, PublishPacket};
use ferromqtt_proto::{QoS, Utf8String};

pub(crate) const TOPIC: &str = "bench/topic";
pub(crate) const PAYLOAD: Bytes = Bytes::from_static(&[b'.'; 64]);

/// The PUBLISH packet number `number`. Packet Identifiers are counted from 1 and begin again after 65,535.
pub(crate) fn packet(number: usize, qos: QoS) -> PublishPacket {
    PublishPacket {
        dup: false,
        qos,
        retain: false,
        topic: Utf8String::try_from(TOPIC).expect("it is a topic"),
        packet_id: (qos != QoS::AtMostOnce).then(|| packet_id(number)),
        properties: None,
        payload: PAYLOAD,
    }
}

pub(crate) fn packet_id(number: usize) -> PacketId {
    let id = number % usize::from(u16::MAX) + 1;
    NonZeroU16::new(id as u16).expect("it is at least 1")
}
