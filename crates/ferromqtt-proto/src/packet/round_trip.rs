//! Whatever a packet holds, reading gives back what was written, in every version.

use std::num::{NonZeroU16, NonZeroU32};

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::text::Utf8String;
use crate::topic::TopicName;

type Setter = fn(&mut Properties, u32, &Utf8String);

/// One for each property: a value made of a number and a text.
const PROPERTIES: [Setter; 27] = [
    |it, number, _| it.payload_format_indicator = Some(number & 1 == 1),
    |it, number, _| it.message_expiry_interval = Some(number),
    |it, _, text| it.content_type = Some(text.clone()),
    |it, _, text| it.response_topic = TopicName::check(text).is_ok().then(|| text.clone()),
    |it, _, text| it.correlation_data = Some(binary(text)),
    |it, number, _| it.session_expiry_interval = Some(number),
    |it, _, text| it.assigned_client_identifier = Some(text.clone()),
    |it, number, _| it.server_keep_alive = Some(number as u16),
    |it, _, text| it.authentication_method = Some(text.clone()),
    |it, _, text| it.authentication_data = Some(binary(text)),
    |it, number, _| it.request_problem_information = Some(number & 1 == 1),
    |it, number, _| it.will_delay_interval = Some(number),
    |it, number, _| it.request_response_information = Some(number & 1 == 1),
    |it, _, text| it.response_information = Some(text.clone()),
    |it, _, text| it.server_reference = Some(text.clone()),
    |it, _, text| it.reason_string = Some(text.clone()),
    |it, number, _| it.receive_maximum = NonZeroU16::new(number as u16),
    |it, number, _| it.topic_alias_maximum = Some(number as u16),
    |it, number, _| it.topic_alias = NonZeroU16::new(number as u16).map(TopicAlias),
    |it, number, _| it.maximum_qos = QoS::from_value(number as u8 & 1),
    |it, number, _| it.retain_available = Some(number & 1 == 1),
    |it, number, _| it.maximum_packet_size = NonZeroU32::new(number),
    |it, number, _| it.wildcard_subscription_available = Some(number & 1 == 1),
    |it, number, _| it.subscription_identifier_available = Some(number & 1 == 1),
    |it, number, _| it.shared_subscription_available = Some(number & 1 == 1),
    |it, number, _| it.subscription_identifiers = [number % 268_435_455 + 1].into(),
    |it, _, text| it.user_properties = vec![(text.clone(), text.clone()); 2].into(),
];

fn binary(text: &Utf8String) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn any_text() -> impl Strategy<Value = Utf8String> {
    prop_oneof![Just(String::new()), "\\PC{0,12}", "[a-c/]{1,200}"]
        .prop_filter_map("U+0000", |text| Utf8String::try_from(text.as_str()).ok())
}

fn any_topic() -> impl Strategy<Value = Utf8String> {
    any_text().prop_filter("no Topic Name", |text| TopicName::check(text).is_ok())
}

fn any_binary() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

/// Any properties that may stand in `place`; before 5.0 none.
fn properties(place: PropertyPlace, version: ProtocolVersion) -> BoxedStrategy<Properties> {
    if !version.is_v5() {
        return Just(Properties::default()).boxed();
    }
    let number = prop_oneof![select(vec![0, 1, 127, 128, u32::MAX]), any::<u32>()];
    let some = subsequence(&PROPERTIES[..], 0..=PROPERTIES.len());
    (some, number, any_text())
        .prop_map(move |(setters, number, text)| {
            let mut properties = Properties::default();
            for set in setters {
                let mut alone = Properties::default();
                set(&mut alone, number, &text);
                if alone.check(place).is_ok() {
                    set(&mut properties, number, &text);
                }
            }
            properties
        })
        .boxed()
}

fn of(packet: PacketType, version: ProtocolVersion) -> BoxedStrategy<Properties> {
    properties(PropertyPlace::of(packet), version)
}

fn any_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_filter_map("0", PacketId::new)
}

fn any_qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

/// Any Reason Code that the packet may carry; before 5.0 those that have a form there.
fn reason(packet: PacketType, version: ProtocolVersion) -> impl Strategy<Value = ReasonCode> {
    let codes: Vec<_> = (0..=u8::MAX)
        .filter_map(|value| ReasonCode::read(packet, value).ok())
        .filter(|code| match packet {
            _ if version.is_v5() => true,
            PacketType::ConnAck => matches!(code.value(), 0 | 0x84..=0x88),
            PacketType::SubAck => code.value() <= 0x80,
            _ => code.value() == 0,
        })
        .filter(|code| *code != ReasonCode::BadUserNameOrPassword || version.is_v5())
        .collect();
    select(codes)
}

fn any_ack(packet: PacketType, version: ProtocolVersion) -> impl Strategy<Value = Ack> {
    (any_id(), reason(packet, version), of(packet, version)).prop_map(
        |(packet_id, reason, properties)| Ack {
            packet_id,
            reason,
            properties: properties.boxed(),
        },
    )
}

fn any_publish(version: ProtocolVersion) -> impl Strategy<Value = PublishPacket> {
    let flags = (any::<bool>(), any::<bool>(), any_qos(), any_id());
    let properties = of(PacketType::Publish, version);
    (flags, any_topic(), properties, any_binary()).prop_map(
        |((dup, retain, qos, id), topic, properties, payload)| PublishPacket {
            dup: dup && qos != QoS::AtMostOnce,
            qos,
            retain,
            topic,
            packet_id: (qos != QoS::AtMostOnce).then_some(id),
            properties: properties.boxed(),
            payload,
        },
    )
}

fn any_connect(version: ProtocolVersion) -> impl Strategy<Value = Connect> {
    let will = (
        any_topic(),
        any_binary(),
        any_qos(),
        any::<bool>(),
        properties(PropertyPlace::WILL, version),
    )
        .prop_map(|(topic, payload, qos, retain, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            properties,
        });
    (
        (any::<bool>(), any::<u16>()),
        of(PacketType::Connect, version),
        any_text().prop_filter("3.x needs a name", |it| !it.is_empty()),
        prop::option::of(will),
        prop::option::of((any_text(), prop::option::of(any_binary()))),
    )
        .prop_map(
            move |((clean_start, keep_alive), mut properties, client_identifier, will, login)| {
                if properties.authentication_method.is_none() {
                    properties.authentication_data = None;
                }
                let (user_name, password) = login.unzip();
                Connect {
                    protocol: version,
                    clean_start,
                    keep_alive,
                    properties,
                    client_identifier,
                    will,
                    user_name,
                    password: password.flatten(),
                }
            },
        )
}

fn any_subscribe(version: ProtocolVersion) -> impl Strategy<Value = SubscribePacket> {
    let retain_handling = select(vec![
        RetainHandling::OnSubscribe,
        RetainHandling::IfNew,
        RetainHandling::Never,
    ]);
    let options = (any_qos(), any::<bool>(), any::<bool>(), retain_handling).prop_map(
        move |(qos, no_local, retain_as_published, retain_handling)| {
            if version.is_v5() {
                SubscriptionOptions {
                    qos,
                    no_local,
                    retain_as_published,
                    retain_handling,
                }
            } else {
                qos.into()
            }
        },
    );
    let filters = prop::collection::vec((any_topic(), options), 1..5);
    (any_id(), of(PacketType::Subscribe, version), filters).prop_map(
        |(packet_id, properties, filters)| SubscribePacket {
            packet_id,
            properties,
            filters: filters.into(),
        },
    )
}

fn any_packet(version: ProtocolVersion) -> BoxedStrategy<Packet> {
    let connack = (
        any::<bool>(),
        reason(PacketType::ConnAck, version),
        of(PacketType::ConnAck, version),
    )
        .prop_map(|(present, reason, properties)| ConnAck {
            session_present: present && reason == ReasonCode::Success,
            reason,
            properties,
        });
    let reasons = |packet| prop::collection::vec(reason(packet, version), 1..5);
    let suback = (
        any_id(),
        of(PacketType::SubAck, version),
        reasons(PacketType::SubAck),
    )
        .prop_map(|(packet_id, properties, reasons)| SubAck {
            packet_id,
            properties,
            reasons,
        });
    let topics = prop::collection::vec(any_topic(), 1..5);
    let unsubscribe = (any_id(), of(PacketType::Unsubscribe, version), topics).prop_map(
        |(packet_id, properties, filters)| UnsubscribePacket {
            packet_id,
            properties,
            filters: filters.into(),
        },
    );
    let unsuback = (
        any_id(),
        of(PacketType::UnsubAck, version),
        reasons(PacketType::UnsubAck),
    )
        .prop_map(move |(packet_id, properties, reasons)| UnsubAck {
            packet_id,
            properties,
            reasons: if version.is_v5() { reasons } else { Vec::new() },
        });
    let disconnect = (
        reason(PacketType::Disconnect, version),
        of(PacketType::Disconnect, version),
    )
        .prop_map(|(reason, properties)| Disconnect { reason, properties });
    let auth = (
        reason(PacketType::Auth, version),
        of(PacketType::Auth, version),
    )
        .prop_map(|(reason, properties)| Auth { reason, properties });
    let both = prop_oneof![
        any_connect(version).prop_map(|it| Packet::Connect(Box::new(it))),
        connack.prop_map(|it| Packet::ConnAck(Box::new(it))),
        any_publish(version).prop_map(Packet::Publish),
        any_ack(PacketType::PubAck, version).prop_map(Packet::PubAck),
        any_ack(PacketType::PubRec, version).prop_map(Packet::PubRec),
        any_ack(PacketType::PubRel, version).prop_map(Packet::PubRel),
        any_ack(PacketType::PubComp, version).prop_map(Packet::PubComp),
        any_subscribe(version).prop_map(|it| Packet::Subscribe(Box::new(it))),
        suback.prop_map(|it| Packet::SubAck(Box::new(it))),
        unsubscribe.prop_map(|it| Packet::Unsubscribe(Box::new(it))),
        unsuback.prop_map(|it| Packet::UnsubAck(Box::new(it))),
        disconnect.prop_map(|it| Packet::Disconnect(Box::new(it))),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
    ];
    if version.is_v5() {
        prop_oneof![14 => both, 1 => auth.prop_map(|it| Packet::Auth(Box::new(it)))].boxed()
    } else {
        both.boxed()
    }
}

fn survives(packet: &Packet, version: ProtocolVersion) {
    let mut encoded = BytesMut::new();
    packet.encode(version, &mut encoded);
    let expected = match packet {
        Packet::Subscribe(it) => {
            let filters = it.filters.iter();
            let filters = filters.map(|(filter, _)| SubscribePacket::filter_len(filter.len()));
            filters_packet_len(version, &it.properties, filters.sum())
        }
        Packet::Unsubscribe(it) => {
            let filters = it.filters.iter();
            let filters = filters.map(|filter| UnsubscribePacket::filter_len(filter.len()));
            filters_packet_len(version, &it.properties, filters.sum())
        }
        Packet::PingReq => PINGREQ_LEN,
        _ => encoded.len(),
    };
    assert_eq!(expected, encoded.len());
    let source = encoded.freeze();
    assert_eq!(
        PacketType::from_first_byte(source[0]),
        Some(packet.packet_type())
    );
    // Behind the fixed header, but for PUBLISH, which has its topic in front of it.
    let packet_id = packet.packet_id().map(|it| it.get().to_be_bytes());
    let header = FixedHeader::read(&source).unwrap().unwrap();
    let body = &source[source.len() - header.remaining_length..];
    if let (Some(packet_id), false) = (packet_id, matches!(packet, Packet::Publish(_))) {
        assert_eq!(body[..2], packet_id);
    }
    let whole = whole_packets(&source, source.len()).unwrap();
    assert_eq!(whole.bytes, source.len());
    let mut at = 0;
    assert_eq!(decode(&source, &mut at, version).as_ref(), Ok(packet));
    assert_eq!(at, source.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8 * ProptestConfig::default().cases))]

    #[test]
    fn any_packet_survives_a_round_trip_in_5_0(packet in any_packet(ProtocolVersion::V5)) {
        survives(&packet, ProtocolVersion::V5);
    }

    #[test]
    fn any_packet_survives_a_round_trip_in_3_1_1(packet in any_packet(ProtocolVersion::V311)) {
        survives(&packet, ProtocolVersion::V311);
    }

    #[test]
    fn any_packet_survives_a_round_trip_in_3_1(packet in any_packet(ProtocolVersion::V31)) {
        survives(&packet, ProtocolVersion::V31);
    }
}
