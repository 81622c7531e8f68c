//! Well-formed packets of every type. What a field may hold in which version and when is for the code under test to know.

use bytes::Bytes;
use ferromqtt_proto::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, PublishPacket, SubAck,
    SubscribePacket, UnsubAck, UnsubscribePacket,
};
use ferromqtt_proto::{
    PacketId, Properties, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions,
    Will,
};

use crate::properties;
use crate::source::Source;

/// A packet of the given type.
pub fn of_type(
    packet_type: PacketType,
    version: ProtocolVersion,
    source: &mut Source<'_>,
) -> Packet {
    match packet_type {
        PacketType::Connect => Packet::Connect(Box::new(connect(version, source))),
        PacketType::ConnAck => Packet::ConnAck(Box::new(ConnAck {
            session_present: source.flag(),
            reason: reason(source),
            properties: properties::any(source),
        })),
        PacketType::Publish => Packet::Publish(publish(source)),
        PacketType::PubAck => Packet::PubAck(ack(source)),
        PacketType::PubRec => Packet::PubRec(ack(source)),
        PacketType::PubRel => Packet::PubRel(ack(source)),
        PacketType::PubComp => Packet::PubComp(ack(source)),
        PacketType::Subscribe => Packet::Subscribe(Box::new(SubscribePacket {
            packet_id: packet_id(source),
            properties: properties::any(source),
            filters: (0..=source.below(3))
                .map(|_| (source.filter().as_utf8().clone(), subscription(source)))
                .collect(),
        })),
        PacketType::SubAck => Packet::SubAck(Box::new(SubAck {
            packet_id: packet_id(source),
            properties: properties::any(source),
            reasons: reasons(source),
        })),
        PacketType::Unsubscribe => Packet::Unsubscribe(Box::new(UnsubscribePacket {
            packet_id: packet_id(source),
            properties: properties::any(source),
            filters: (0..=source.below(3))
                .map(|_| source.filter().as_utf8().clone())
                .collect(),
        })),
        PacketType::UnsubAck => Packet::UnsubAck(Box::new(UnsubAck {
            packet_id: packet_id(source),
            properties: properties::any(source),
            reasons: reasons(source),
        })),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(Box::new(disconnect(source))),
        PacketType::Auth => Packet::Auth(Box::new(auth(source))),
    }
}

/// A CONNECT of a client with one of a few names.
fn connect(version: ProtocolVersion, source: &mut Source<'_>) -> Connect {
    let v5 = version.is_v5();
    Connect {
        protocol: version,
        clean_start: source.flag(),
        keep_alive: source.byte().into(),
        properties: match v5 {
            true => properties::some_of(&properties::OF_CONNECT, source),
            false => Properties::default(),
        },
        client_identifier: source.text(),
        will: source.option(will),
        user_name: source.option(Source::text),
        password: source.option(|source| Bytes::copy_from_slice(source.bytes())),
    }
}

/// A will.
pub fn will(source: &mut Source<'_>) -> Will {
    Will {
        topic: source.topic().as_utf8().clone(),
        payload: Bytes::copy_from_slice(source.bytes()),
        qos: source.qos(),
        retain: source.flag(),
        properties: properties::some_of(&[0, 1, 2, 3, 4, 11, 25], source),
    }
}

/// A PUBLISH with the Packet Identifier that its QoS needs.
fn publish(source: &mut Source<'_>) -> PublishPacket {
    let qos = source.qos();
    let topic = source.text();
    PublishPacket {
        dup: qos != QoS::AtMostOnce && source.flag(),
        qos,
        retain: source.flag(),
        topic,
        packet_id: (qos != QoS::AtMostOnce).then(|| packet_id(source)),
        properties: source
            .option(|source| Box::new(properties::some_of(&[0, 1, 2, 3, 4, 18, 25, 26], source))),
        payload: source.payload(),
    }
}

fn ack(source: &mut Source<'_>) -> Ack {
    Ack {
        packet_id: packet_id(source),
        reason: reason(source),
        properties: source.option(|source| Box::new(properties::any(source))),
    }
}

/// A DISCONNECT.
pub fn disconnect(source: &mut Source<'_>) -> Disconnect {
    Disconnect {
        reason: reason(source),
        properties: properties::any(source),
    }
}

/// An AUTH with a Reason Code of its own.
pub fn auth(source: &mut Source<'_>) -> Auth {
    Auth {
        reason: source.pick(&[
            ReasonCode::ContinueAuthentication,
            ReasonCode::ReAuthenticate,
            ReasonCode::Success,
        ]),
        properties: properties::some_of(&[8, 9, 15, 25], source),
    }
}

/// Subscription Options.
pub fn subscription(source: &mut Source<'_>) -> SubscriptionOptions {
    let bits = source.byte();
    SubscriptionOptions {
        qos: QoS::from_value(bits & 3).unwrap_or_default(),
        no_local: bits & 4 != 0,
        retain_as_published: bits & 8 != 0,
        retain_handling: match bits >> 4 & 3 {
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => RetainHandling::OnSubscribe,
        },
    }
}

/// A Reason Code: mostly Success.
pub fn reason(source: &mut Source<'_>) -> ReasonCode {
    ReasonCode::from_value(source.byte()).unwrap_or(ReasonCode::Success)
}

fn reasons(source: &mut Source<'_>) -> Vec<ReasonCode> {
    (0..=source.below(3)).map(|_| reason(source)).collect()
}

/// A Packet Identifier: a low one, as those in use are, or any.
pub fn packet_id(source: &mut Source<'_>) -> PacketId {
    let value = match source.byte() {
        u8::MAX => source.u16(),
        small => small.into(),
    };
    PacketId::new(value).unwrap_or(PacketId::MIN)
}
