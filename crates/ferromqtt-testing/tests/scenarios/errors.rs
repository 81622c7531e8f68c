//! Clients that break the protocol or a limit (section 4.13).

use bytes::BytesMut;
use ferromqtt_proto::Utf8String;
use ferromqtt_proto::packet::{
    Ack, Auth, ConnAck, Packet, Properties, ProtocolVersion, QoS, ReasonCode, TopicAlias,
};

use crate::scene::{Scene, VERSIONS, connect, packet_id, publish, will};

#[test]
fn malformed_packets_end_the_connection_behind_what_came_before_mqtt_4_13_1_1() {
    for version in VERSIONS {
        for malformed in [
            &b"\x00\x00"[..],
            b"\x36\x05\x00\x01t\x00\x01",
            b"\x30\xff\xff\xff\xff\x01",
            b"\x80\x02\x00\x01",
        ] {
            let mut scene = Scene::new();
            let client = scene.client(version, "c");
            let mut bytes = BytesMut::new();
            Packet::PingReq.encode(version, &mut bytes);
            bytes.extend_from_slice(malformed);
            Packet::PingReq.encode(version, &mut bytes);
            scene.send_bytes(client, &bytes);
            assert_eq!(scene.next(client), Some(Packet::PingResp));
            scene.expect_end(client, ReasonCode::MalformedPacket);
        }
    }
}

#[test]
fn packets_that_only_servers_send_are_protocol_errors() {
    let connack = ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: Properties::default(),
    };
    for packet in [Packet::ConnAck(Box::new(connack)), Packet::PingResp] {
        for version in VERSIONS {
            let mut scene = Scene::new();
            let client = scene.client(version, "c");
            scene.send(client, &packet);
            scene.expect_end(client, ReasonCode::ProtocolError);
        }
    }
}

#[test]
fn auth_without_a_method_is_a_protocol_error_mqtt_4_12_0_6() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    let auth = Auth {
        reason: ReasonCode::ReAuthenticate,
        properties: Properties::default(),
    };
    scene.send(client, &Packet::Auth(Box::new(auth)));
    scene.expect_end(client, ReasonCode::ProtocolError);
}

#[test]
fn a_packet_over_the_maximum_is_refused_from_its_header_mqtt_3_2_2_15() {
    for version in VERSIONS {
        let mut scene =
            Scene::with(|options| options.maximum_packet_size = 100.try_into().unwrap());
        let client = scene.client(version, "c");
        scene.send_bytes(client, b"\x30\x7f");
        scene.expect_end(client, ReasonCode::PacketTooLarge);
    }
}

#[test]
fn a_large_packet_other_than_publish_is_refused_from_its_header() {
    for version in VERSIONS {
        for first_byte in [0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xe0, 0xf0] {
            let mut scene = Scene::new();
            let client = scene.client(version, "c");
            scene.send_bytes(client, &[0x30, 0x80, 0x80, 0x40, 0, 1, b't']);
            assert!(!scene.is_closed(client), "a PUBLISH may be larger");
            let client = scene.client(version, "d");
            scene.send_bytes(client, &[first_byte, 0x80, 0x80, 0x40]);
            scene.expect_end(client, ReasonCode::QuotaExceeded);
            assert_eq!(scene.broker.stats().refused, 1);
        }
    }
}

#[test]
fn before_connect_is_accepted_no_packet_may_be_larger_than_connect() {
    for first_byte in [0x10, 0x30, 0x32, 0xf0] {
        let mut scene = Scene::new();
        let client = scene.open(ProtocolVersion::V5);
        scene.send_bytes(client, &[first_byte, 0x80, 0x80, 0x40]);
        assert!(scene.is_closed(client), "{first_byte:#x}");
    }
    let mut scene = Scene::new();
    let subscriber = scene.client(ProtocolVersion::V5, "s");
    scene.subscribe(subscriber, "t", QoS::AtMostOnce);
    let mut bytes = BytesMut::new();
    let v5 = ProtocolVersion::V5;
    Packet::Connect(Box::new(connect(v5, "c"))).encode(v5, &mut bytes);
    let large = publish("t", &"x".repeat(2 << 20), QoS::AtMostOnce);
    Packet::Publish(large.clone()).encode(v5, &mut bytes);
    let client = scene.open(v5);
    scene.send_bytes(client, &bytes); // with CONNECT, and without waiting for CONNACK (section 3.1.4)
    assert_eq!(scene.message(subscriber), large);

    let mut bytes = BytesMut::new();
    Packet::Connect(Box::new(connect(v5, "d"))).encode(v5, &mut bytes);
    bytes.extend_from_slice(b"\xc0\x01\x00"); // a PINGREQ with a body
    let client = scene.open(v5);
    scene.send_bytes(client, &bytes);
    assert!(matches!(scene.next(client), Some(Packet::ConnAck(_))));
    scene.expect_end(client, ReasonCode::MalformedPacket);
}

#[test]
fn more_unreleased_qos_2_messages_than_the_receive_maximum_mqtt_3_3_4_7() {
    let mut scene = Scene::with(|options| options.receive_maximum = 2.try_into().unwrap());
    let client = scene.client(ProtocolVersion::V5, "c");
    for id in [1, 2, 2] {
        let mut message = publish("t", "x", QoS::ExactlyOnce);
        message.packet_id = Some(packet_id(id));
        scene.send(client, &Packet::Publish(message));
        assert!(matches!(scene.next(client), Some(Packet::PubRec(_))));
    }
    let mut third = publish("t", "x", QoS::ExactlyOnce);
    third.packet_id = Some(packet_id(3));
    scene.send(client, &Packet::Publish(third));
    scene.expect_end(client, ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn topic_aliases_are_not_granted_and_so_invalid_mqtt_3_3_2_9() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    let mut aliased = publish("t", "x", QoS::AtMostOnce);
    aliased.properties = Some(Box::new(Properties {
        topic_alias: Some(TopicAlias(1.try_into().unwrap())),
        ..Properties::default()
    }));
    scene.send(client, &Packet::Publish(aliased));
    scene.expect_end(client, ReasonCode::TopicAliasInvalid);
}

#[test]
fn a_subscription_identifier_from_a_client_is_a_protocol_error_mqtt_3_3_4_6() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    let mut message = publish("t", "x", QoS::AtMostOnce);
    message.properties = Some(Box::new(Properties {
        subscription_identifiers: [1].into(),
        ..Properties::default()
    }));
    scene.send(client, &Packet::Publish(message));
    scene.expect_end(client, ReasonCode::ProtocolError);
}

#[test]
fn an_empty_response_topic_is_a_protocol_error_mqtt_4_7_3_1() {
    let properties = Properties {
        response_topic: Some(Utf8String::new()),
        ..Properties::default()
    };
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    let mut message = publish("t", "x", QoS::AtMostOnce);
    message.properties = Some(Box::new(properties.clone()));
    scene.send(client, &Packet::Publish(message));
    scene.expect_end(client, ReasonCode::ProtocolError);

    let mut with_will = connect(ProtocolVersion::V5, "c");
    let mut will = will("t", "x");
    will.properties = properties;
    with_will.will = Some(will);
    let client = scene.open(ProtocolVersion::V5);
    scene.send(client, &Packet::Connect(Box::new(with_will)));
    assert!(scene.is_closed(client));
}

#[test]
fn acknowledgements_of_another_qos_are_protocol_errors_mqtt_4_3_2_and_4_3_3() {
    let wrong: [fn(Ack) -> Packet; 3] = [Packet::PubAck, Packet::PubRec, Packet::PubComp];
    for (qos, packet) in [
        (QoS::ExactlyOnce, wrong[0]),
        (QoS::AtLeastOnce, wrong[1]),
        (QoS::ExactlyOnce, wrong[2]),
    ] {
        let mut scene = Scene::new();
        let client = scene.client(ProtocolVersion::V5, "c");
        let publisher = scene.client(ProtocolVersion::V5, "publisher");
        scene.subscribe(client, "t", qos);
        scene.publish(publisher, publish("t", "x", qos));
        let id = scene.message(client).packet_id.unwrap();
        scene.send(client, &packet(Ack::success(id)));
        scene.expect_end(client, ReasonCode::ProtocolError);
    }
}

#[test]
fn a_will_topic_with_a_wildcard_is_not_accepted_mqtt_3_1_3_11() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let mut bad = connect(version, "c");
        bad.will = Some(will("a/#", "x"));
        let client = scene.open(version);
        scene.send(client, &Packet::Connect(Box::new(bad)));
        assert!(scene.is_closed(client));
        assert_eq!(scene.broker.stats().sessions, 0);
    }
}

#[test]
fn input_after_the_end_is_ignored() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V311, "c");
    scene.send_bytes(client, b"\xe0\x00\xc0\x00");
    scene.send_bytes(client, b"\xc0\x00");
    assert_eq!(scene.next(client), None);
    scene.cut(client);
    scene.cut(client);
    assert_eq!(scene.broker.stats().connections, 0);
}

#[test]
fn qos_0_for_a_client_that_does_not_read_is_dropped_at_the_limit_and_counted() {
    let mut scene = Scene::with(|options| options.maximum_output = 1000);
    let client = scene.client(ProtocolVersion::V311, "c");
    let publisher = scene.client(ProtocolVersion::V311, "publisher");
    scene.subscribe(client, "t", QoS::AtMostOnce);
    let mut bytes = BytesMut::new();
    for _ in 0..10 {
        Packet::Publish(publish("t", &"x".repeat(245), QoS::AtMostOnce))
            .encode(publisher.version, &mut bytes);
    }
    scene.send_bytes(publisher, &bytes); // in one go: nothing is written between
    assert_eq!(scene.payloads(client).len(), 4);
    assert_eq!(scene.broker.stats().dropped, 6);
}

#[test]
fn a_client_that_asks_and_does_not_read_is_disconnected() {
    let mut scene = Scene::with(|options| options.maximum_output = 1000);
    let client = scene.client(ProtocolVersion::V5, "c");
    scene.send_bytes(client, &b"\xc0\x00".repeat(501));
    for _ in 0..501 {
        assert_eq!(scene.next(client), Some(Packet::PingResp));
    }
    scene.expect_end(client, ReasonCode::QuotaExceeded);
}

#[test]
fn output_that_nobody_takes_does_not_keep_a_closed_connection() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    let mut input = BytesMut::from(&b"\x00\x00"[..]);
    scene.broker.handle_input(scene.now, client.id, &mut input);
    assert_eq!(
        scene.broker.poll_close(),
        None,
        "DISCONNECT is not written yet"
    );
    let deadline = scene.broker.poll_timeout().unwrap();
    scene.broker.handle_timeout(deadline);
    assert_eq!(scene.broker.poll_close(), Some(client.id));
    assert_eq!(scene.broker.stats().connections, 0);
}
