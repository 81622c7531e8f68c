//! Which packets can be refused, and with which Reason Codes.

use bytes::BytesMut;
use ferromqtt_proto::packet::{
    self, Ack, ConnAck, Packet, PacketId, PacketType, Properties, ProtocolVersion, ReasonCode,
    SubAck, UnsubAck,
};

/// An answer that refuses a packet of this type; `None` where there is none.
pub(crate) fn refusal(kind: PacketType, reason: ReasonCode) -> Option<Packet> {
    let packet_id = PacketId::MIN;
    let properties = Properties::default();
    Some(match kind {
        PacketType::Connect => Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason,
            properties,
        })),
        PacketType::Publish => Packet::PubAck(Ack::new(packet_id, reason)),
        PacketType::PubRel => Packet::PubComp(Ack::new(packet_id, reason)),
        PacketType::Subscribe => Packet::SubAck(Box::new(SubAck {
            packet_id,
            properties,
            reasons: vec![reason],
        })),
        PacketType::Unsubscribe => Packet::UnsubAck(Box::new(UnsubAck {
            packet_id,
            properties,
            reasons: vec![reason],
        })),
        _ => return None,
    })
}

/// Checks that a packet can carry a Reason Code as a refusal: the codec knows which those are.
///
/// # Errors
/// The section of MQTT 5.0 that lists them.
pub(crate) fn check_reason(answer: &Packet, reason: ReasonCode) -> Result<(), &'static str> {
    if reason.is_error() && is_allowed(answer) {
        return Ok(());
    }
    Err(match answer.packet_type() {
        PacketType::ConnAck => "3.2.2.2",
        PacketType::PubAck => "3.4.2.1",
        PacketType::PubComp => "3.7.2.1",
        PacketType::SubAck => "3.9.3",
        PacketType::UnsubAck => "3.11.3",
        PacketType::Disconnect => "3.14.2.1",
        _ => "2.4", // which lists those of all packets
    })
}

/// Whether a client could read the packet.
pub(crate) fn is_allowed(packet: &Packet) -> bool {
    let mut bytes = BytesMut::new();
    packet.encode(ProtocolVersion::V5, &mut bytes);
    packet::decode(&bytes.freeze(), &mut 0, ProtocolVersion::V5).is_ok()
}
