//! What the packets' coding has in common: round trips, and what is refused.

use std::num::{NonZeroU16, NonZeroU32};

use proptest::prelude::*;

use super::*;
use crate::text::Utf8String;

fn text(text: &str) -> Utf8String {
    Utf8String::try_from(text).unwrap()
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn encode(packet: &Packet, version: ProtocolVersion) -> Bytes {
    let mut out = BytesMut::new();
    packet.encode(version, &mut out);
    out.freeze()
}

fn read(bytes: &[u8], version: ProtocolVersion) -> Result<Packet, DecodeError> {
    let source = Bytes::copy_from_slice(bytes);
    let mut at = 0;
    let packet = decode(&source, &mut at, version)?;
    assert_eq!(at, bytes.len());
    Ok(packet)
}

fn full_message_properties() -> Properties {
    Properties {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(7),
        content_type: Some(text("text/plain")),
        response_topic: Some(text("answer")),
        correlation_data: Some(Bytes::from_static(b"\x00\x01")),
        user_properties: [(text("a"), text("1")), (text("a"), text("2"))].into(),
        ..Properties::default()
    }
}

fn one_of_each() -> Vec<Packet> {
    let reason = Properties {
        reason_string: Some(text("because")),
        user_properties: [(text("k"), text("v"))].into(),
        ..Properties::default()
    };
    let ack = Ack {
        packet_id: id(13_423),
        reason: ReasonCode::Success,
        properties: Some(Box::new(reason.clone())),
    };
    vec![
        Packet::Connect(Box::new(Connect {
            protocol: ProtocolVersion::V5,
            clean_start: true,
            keep_alive: 60,
            properties: Properties {
                session_expiry_interval: Some(10),
                receive_maximum: NonZeroU16::new(20),
                maximum_packet_size: NonZeroU32::new(1_000_000),
                topic_alias_maximum: Some(3),
                request_problem_information: Some(true),
                request_response_information: Some(false),
                authentication_method: Some(text("m")),
                authentication_data: Some(Bytes::from_static(b"d")),
                ..Properties::default()
            },
            client_identifier: text("me"),
            will: Some(Will {
                topic: text("gone"),
                payload: Bytes::from_static(b"bye"),
                qos: QoS::ExactlyOnce,
                retain: true,
                properties: Properties {
                    will_delay_interval: Some(5),
                    ..full_message_properties()
                },
            }),
            user_name: Some(text("")),
            password: Some(Bytes::from_static(b"secret")),
        })),
        Packet::ConnAck(Box::new(ConnAck {
            session_present: true,
            reason: ReasonCode::Success,
            properties: Properties {
                assigned_client_identifier: Some(text("you")),
                server_keep_alive: Some(9),
                response_information: Some(text("r")),
                server_reference: Some(text("other")),
                maximum_qos: Some(QoS::AtLeastOnce),
                retain_available: Some(false),
                wildcard_subscription_available: Some(true),
                subscription_identifier_available: Some(true),
                shared_subscription_available: Some(false),
                ..reason.clone()
            },
        })),
        Packet::Publish(PublishPacket {
            dup: true,
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: text("a/b"),
            packet_id: Some(id(1)),
            properties: Some(Box::new(Properties {
                topic_alias: NonZeroU16::new(4).map(TopicAlias),
                subscription_identifiers: [1, 268_435_455].into(),
                ..full_message_properties()
            })),
            payload: Bytes::from_static(b"payload"),
        }),
        Packet::PubAck(ack.clone()),
        Packet::PubRec(ack.clone()),
        Packet::PubRel(ack.clone()),
        Packet::PubComp(ack),
        Packet::Subscribe(Box::new(SubscribePacket {
            packet_id: id(65_535),
            properties: Properties {
                subscription_identifiers: [300].into(),
                ..Properties::default()
            },
            filters: [(
                text("a/#"),
                SubscriptionOptions {
                    qos: QoS::ExactlyOnce,
                    no_local: true,
                    retain_as_published: true,
                    retain_handling: RetainHandling::Never,
                },
            )]
            .into(),
        })),
        Packet::SubAck(Box::new(SubAck {
            packet_id: id(7),
            properties: reason.clone(),
            reasons: vec![ReasonCode::GrantedQos2, ReasonCode::NotAuthorized],
        })),
        Packet::Unsubscribe(Box::new(UnsubscribePacket {
            packet_id: id(8),
            properties: Properties::default(),
            filters: [text("a"), text("b")].into(),
        })),
        Packet::UnsubAck(Box::new(UnsubAck {
            packet_id: id(8),
            properties: Properties::default(),
            reasons: vec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted],
        })),
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect(Box::new(Disconnect {
            reason: ReasonCode::ServerMoved,
            properties: reason.clone(),
        })),
        Packet::Auth(Box::new(Auth {
            reason: ReasonCode::ContinueAuthentication,
            properties: reason,
        })),
    ]
}

#[test]
fn every_packet_of_5_0_survives_a_round_trip() {
    for packet in one_of_each() {
        let bytes = encode(&packet, ProtocolVersion::V5);
        assert_eq!(read(&bytes, ProtocolVersion::V5), Ok(packet));
    }
}

#[test]
fn a_packet_cut_anywhere_or_lengthened_is_malformed_and_never_panics() {
    for packet in one_of_each() {
        let whole = encode(&packet, ProtocolVersion::V5);
        let header = FixedHeader::read(&whole).unwrap().unwrap();
        let body = &whole[header.header_len..];
        for cut in 0..body.len() {
            let mut shorter = BytesMut::from(&whole[..1]);
            put_with_length(&mut shorter, |out| out.put_slice(&body[..cut]));
            let _ = read(&shorter, ProtocolVersion::V5); // short forms may be whole packets of their own
        }
        let has_open_end = matches!(
            packet,
            Packet::Publish(_)
                | Packet::Subscribe(_)
                | Packet::SubAck(_)
                | Packet::Unsubscribe(_)
                | Packet::UnsubAck(_)
        );
        let mut longer = BytesMut::from(&whole[..1]);
        put_with_length(&mut longer, |out| {
            out.put_slice(body);
            out.put_u8(0);
        });
        assert_eq!(
            read(&longer, ProtocolVersion::V5).is_err(),
            !has_open_end
                || !matches!(
                    packet,
                    Packet::Publish(_) | Packet::SubAck(_) | Packet::UnsubAck(_)
                ),
            "{packet:?}"
        );
    }
}

#[test]
fn reserved_bits_of_the_fixed_header_are_checked_mqtt_2_1_3_1() {
    for packet in one_of_each() {
        if matches!(packet, Packet::Publish(_)) {
            continue;
        }
        let bytes = encode(&packet, ProtocolVersion::V5);
        for flags in 0..16 {
            let mut changed = bytes.to_vec();
            changed[0] = changed[0] & 0xF0 | flags;
            let expected = changed[0] == bytes[0];
            assert_eq!(read(&changed, ProtocolVersion::V5).is_ok(), expected);
        }
    }
    assert!(read(&[0x00, 0x00], ProtocolVersion::V5).is_err());
}

#[test]
fn publish_flags_that_contradict_are_malformed_mqtt_3_3_1_2_and_3_3_1_4() {
    assert!(read(b"\x36\x05\x00\x01a\x00\x01", ProtocolVersion::V311).is_err());
    assert!(read(b"\x38\x03\x00\x01a", ProtocolVersion::V311).is_err());
    assert!(read(b"\x32\x05\x00\x01a\x00\x00", ProtocolVersion::V311).is_err()); // Packet Identifier 0
    assert!(read(b"\x30\x03\x00\x01+", ProtocolVersion::V311).is_err());
    assert!(read(b"\x30\x02\x00\x00", ProtocolVersion::V311).is_err());
}

#[test]
fn properties_twice_misplaced_or_out_of_range_are_refused_mqtt_2_2_2() {
    let publish = |properties: &[u8]| {
        let mut bytes = BytesMut::from(&b"\x30"[..]);
        put_with_length(&mut bytes, |out| {
            out.put_slice(b"\x00\x01a");
            put_with_length(out, |out| out.put_slice(properties));
        });
        read(&bytes, ProtocolVersion::V5).map_err(|error| error.reason)
    };
    assert!(publish(b"\x01\x01").is_ok());
    assert_eq!(publish(b"\x01\x01\x01\x01"), Err(ReasonCode::ProtocolError));
    assert_eq!(publish(b"\x01\x02"), Err(ReasonCode::ProtocolError));
    assert_eq!(publish(b"\x23\x00\x00"), Err(ReasonCode::TopicAliasInvalid));
    assert_eq!(publish(b"\x0b\x00"), Err(ReasonCode::ProtocolError));
    assert_eq!(publish(b"\x21\x00\x01"), Err(ReasonCode::ProtocolError));
    assert_eq!(publish(b"\x7f\x00"), Err(ReasonCode::MalformedPacket));
    assert_eq!(publish(b"\x08\x00\x01#"), Err(ReasonCode::ProtocolError));
}

#[test]
fn the_table_of_properties_is_that_of_what_is_read_mqtt_2_2_2() {
    for row in property_table() {
        let value: &[u8] = match row.kind {
            PropertyKind::Flag | PropertyKind::Number(_, 1 | 268_435_455) => &[1],
            PropertyKind::Number(_, 65_535) => &[0, 1],
            PropertyKind::Number(..) => &[0, 0, 0, 1],
            PropertyKind::Text | PropertyKind::Binary => b"\0\x01a",
            PropertyKind::Pair => b"\0\x01a\0\x01b",
        };
        let is_read = |packet_type: u8, value: &[u8]| {
            let place = match PacketType::from_first_byte(packet_type << 4) {
                Some(packet) => PropertyPlace::of(packet),
                None => PropertyPlace::WILL,
            };
            let one = [&[row.identifier][..], value].concat();
            let block = Bytes::from([&[one.len() as u8][..], &one].concat());
            let body = &mut BodyReader::new(&block, 0, block.len());
            Properties::decode(place, body).is_ok()
        };
        let without_properties = [PacketType::PingReq as u8, PacketType::PingResp as u8];
        let places = (0..=15).filter(|place| !without_properties.contains(place));
        let read: Vec<u8> = places.filter(|place| is_read(*place, value)).collect();
        assert_eq!(row.packet_types().collect::<Vec<_>>(), read, "{row:?}");
        if let PropertyKind::Number(minimum, _) = row.kind {
            let zero = vec![0; value.len()];
            assert_eq!(is_read(read[0], &zero), minimum == 0, "{row:?}");
        }
    }
}

#[test]
fn the_high_four_bits_of_a_first_byte_name_the_type_mqtt_2_1_2() {
    let named = (0..=u8::MAX).map(PacketType::from_first_byte);
    let numbers = named.map(|it| it.map_or(0, |packet_type| packet_type as u8));
    assert!(numbers.eq((0..=u8::MAX).map(|first_byte| first_byte >> 4)));
}

#[test]
fn reason_codes_outside_a_packets_table_are_refused_mqtt_3_4_2_1() {
    assert!(read(b"\x40\x03\x00\x01\x10", ProtocolVersion::V5).is_ok());
    assert!(read(b"\x40\x03\x00\x01\x92", ProtocolVersion::V5).is_err());
    assert!(read(b"\x62\x03\x00\x01\x92", ProtocolVersion::V5).is_ok());
    assert!(read(b"\x90\x04\x00\x01\x00\x03", ProtocolVersion::V5).is_err());
    assert!(read(b"\x90\x03\x00\x01\x80", ProtocolVersion::V311).is_ok());
    assert!(read(b"\x90\x03\x00\x01\x87", ProtocolVersion::V311).is_err());
}

#[test]
fn a_packet_over_the_maximum_packet_size_is_refused_from_its_header_mqtt_3_1_2_24() {
    let error = whole_packets(b"\xd0\x00\x30\xff\x7f", 100).unwrap_err();
    assert_eq!(error.0, 2);
    assert_eq!(error.1.reason, ReasonCode::PacketTooLarge);
}

#[test]
fn v31_connect_says_mqisdp_level_3() {
    let connect = Connect {
        protocol: ProtocolVersion::V31,
        clean_start: true,
        keep_alive: 1,
        properties: Properties::default(),
        client_identifier: text("c"),
        will: None,
        user_name: None,
        password: None,
    };
    let bytes = encode(&Packet::Connect(Box::new(connect)), ProtocolVersion::V31);
    assert_eq!(
        &bytes[..],
        b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x01\x00\x01c"
    );
}

#[test]
fn a_will_whose_response_topic_has_a_wildcard_is_refused_mqtt_3_3_2_14() {
    let mut packet = one_of_each().remove(0);
    let Packet::Connect(connect) = &mut packet else {
        panic!("not CONNECT");
    };
    let will = connect.will.as_mut().unwrap();
    will.properties.response_topic = Some(text("answers/#"));
    let bytes = encode(&packet, ProtocolVersion::V5);
    assert_eq!(
        read(&bytes, ProtocolVersion::V5).map_err(|error| error.reason),
        Err(ReasonCode::ProtocolError)
    );
}

#[test]
fn debug_output_never_shows_a_password() {
    let shown = format!("{:?}", one_of_each().remove(0));
    assert!(!shown.contains("secret"), "{shown}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), five in any::<bool>()) {
        let version = if five { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
        let source = Bytes::from(bytes);
        let mut at = 0;
        while at < source.len() && decode(&source, &mut at, version).is_ok() {}
    }

    #[test]
    fn what_decodes_encodes_to_something_that_decodes_the_same(
        first in 1u8..16, body in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = BytesMut::new();
        let packet_type = PacketType::from_first_byte(first << 4).unwrap();
        bytes.put_u8(packet_type.first_byte());
        put_with_length(&mut bytes, |out| out.put_slice(&body));
        if let Ok(packet) = read(&bytes, ProtocolVersion::V5) {
            let again = encode(&packet, ProtocolVersion::V5);
            prop_assert_eq!(read(&again, ProtocolVersion::V5), Ok(packet));
        }
    }
}
