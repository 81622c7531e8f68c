//! The right answer to a packet, so that the fuzzer gets past CONNACK and through whole exchanges.

use ferromqtt_proto::packet::{Ack, Auth, ConnAck, Packet, SubAck, UnsubAck};
use ferromqtt_proto::{Properties, ProtocolVersion, ReasonCode, Utf8String};

use crate::packets;
use crate::properties;
use crate::source::Source;

/// What either side answers to a part of a PUBLISH exchange.
pub fn to_publish(packet: &Packet, source: &mut Source<'_>) -> Option<Packet> {
    let mut answer = |id| Ack::new(id, packets::reason(source));
    Some(match packet {
        Packet::Publish(publish) => match publish.qos.value() {
            0 => return None,
            1 => Packet::PubAck(answer(publish.packet_id?)),
            _ => Packet::PubRec(answer(publish.packet_id?)),
        },
        Packet::PubRec(ack) => Packet::PubRel(answer(ack.packet_id)),
        Packet::PubRel(ack) => Packet::PubComp(answer(ack.packet_id)),
        _ => return None,
    })
}

/// What the server answers. `method` is the Authentication Method of CONNECT, and `accepted` says whether CONNACK was sent.
pub fn of_server(
    packet: &Packet,
    version: ProtocolVersion,
    method: Option<&Utf8String>,
    accepted: bool,
    source: &mut Source<'_>,
) -> Option<Packet> {
    let with_method = |mut properties: Properties| {
        properties.authentication_method = method.cloned();
        properties
    };
    Some(match packet {
        Packet::Connect(_) | Packet::Auth(_) if !accepted => {
            if method.is_some() && source.flag() {
                return Some(Packet::Auth(Box::new(Auth {
                    reason: ReasonCode::ContinueAuthentication,
                    properties: with_method(Properties::default()),
                })));
            }
            let clean_start = matches!(packet, Packet::Connect(connect) if connect.clean_start);
            let session_present = source.flag() && !clean_start;
            let properties = match version.is_v5() {
                true => properties::some_of(&properties::OF_CONNACK, source),
                false => Properties::default(),
            };
            Packet::ConnAck(Box::new(ConnAck {
                session_present,
                reason: ReasonCode::Success,
                properties: with_method(properties),
            }))
        }
        Packet::Auth(_) => Packet::Auth(Box::new(Auth {
            reason: source.pick(&[ReasonCode::Success, ReasonCode::ContinueAuthentication]),
            properties: with_method(Properties::default()),
        })),
        Packet::Subscribe(subscribe) => Packet::SubAck(Box::new(SubAck {
            packet_id: subscribe.packet_id,
            properties: Properties::default(),
            reasons: (subscribe.filters.iter())
                .map(|_| packets::reason(source))
                .collect(),
        })),
        Packet::Unsubscribe(unsubscribe) => Packet::UnsubAck(Box::new(UnsubAck {
            packet_id: unsubscribe.packet_id,
            properties: Properties::default(),
            reasons: (unsubscribe.filters.iter())
                .map(|_| packets::reason(source))
                .collect(),
        })),
        Packet::PingReq => Packet::PingResp,
        packet => return to_publish(packet, source),
    })
}
