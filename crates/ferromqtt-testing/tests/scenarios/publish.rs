//! PUBLISH in both directions at every QoS (sections 3.3, 4.3, 4.6, 4.9).

use std::collections::VecDeque;

use ferromqtt_proto::packet::{Ack, Packet, ProtocolVersion, QoS, ReasonCode};

use crate::scene::{Peer, Scene, VERSIONS, connect, connect_persistent, packet_id, publish};

fn pair(scene: &mut Scene, version: ProtocolVersion, qos: QoS) -> (Peer, Peer) {
    let publisher = scene.client(version, "publisher");
    let subscriber = scene.client(version, "subscriber");
    scene.subscribe(subscriber, "t", qos);
    (publisher, subscriber)
}

#[test]
fn a_message_goes_out_at_the_lower_of_both_qos_mqtt_3_8_4_8() {
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for version in VERSIONS {
        for granted in all {
            for published in all {
                let mut scene = Scene::new();
                let (publisher, subscriber) = pair(&mut scene, version, granted);
                scene.publish(publisher, publish("t", "x", published));
                let message = scene.message(subscriber);
                assert_eq!(message.qos, granted.min(published));
                assert_eq!(message.topic, "t");
                assert_eq!(message.payload, "x");
                assert!(!message.dup && !message.retain);
                assert_eq!(scene.next(subscriber), None);
            }
        }
    }
}

#[test]
fn a_repeated_qos_2_publish_is_routed_once_until_its_pubrel_mqtt_4_3_3_10() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let (publisher, subscriber) = pair(&mut scene, version, QoS::AtMostOnce);
        let mut again = publish("t", "x", QoS::ExactlyOnce);
        scene.send(publisher, &Packet::Publish(again.clone()));
        again.dup = true;
        scene.send(publisher, &Packet::Publish(again.clone()));
        for _ in 0..2 {
            assert_eq!(
                scene.next(publisher),
                Some(Packet::PubRec(Ack::success(packet_id(77))))
            );
        }
        scene.send(publisher, &Packet::PubRel(Ack::success(packet_id(77))));
        assert_eq!(
            scene.next(publisher),
            Some(Packet::PubComp(Ack::success(packet_id(77))))
        );
        assert_eq!(scene.payloads(subscriber), ["x"]);

        again.dup = false; // the identifier is free, so this is another message
        scene.publish(publisher, again);
        assert_eq!(scene.payloads(subscriber), ["x"]);
    }
}

#[test]
fn qos_0_does_not_overtake_what_waits_for_the_window_mqtt_4_6_0_6() {
    let mut scene = Scene::with(|options| options.inflight_window = 1.try_into().unwrap());
    let (publisher, subscriber) = pair(&mut scene, ProtocolVersion::V311, QoS::AtLeastOnce);
    for (number, qos) in [1, 0, 1, 0, 0, 1, 0].into_iter().enumerate() {
        let qos = QoS::from_value(qos).unwrap();
        scene.publish(publisher, publish("t", &number.to_string(), qos));
    }
    for expected in [&["0", "1"][..], &["2", "3", "4"], &["5", "6"]] {
        let mut last = None;
        for payload in expected {
            let message = scene.message(subscriber);
            assert_eq!(message.payload, payload);
            last = message.packet_id.or(last);
        }
        assert_eq!(scene.next(subscriber), None);
        if let Some(packet_id) = last {
            scene.send(subscriber, &Packet::PubAck(Ack::success(packet_id)));
        }
    }
    assert_eq!(scene.broker.stats().dropped, 0);
}

#[test]
fn qos_0_that_waited_ends_with_its_connection_and_the_rest_does_not_mqtt_4_4_0_1() {
    let mut scene = Scene::with(|options| options.inflight_window = 1.try_into().unwrap());
    let version = ProtocolVersion::V311;
    let publisher = scene.client(version, "publisher");
    let (subscriber, _) = scene.join(connect_persistent(version, "s"));
    scene.subscribe(subscriber, "t", QoS::AtLeastOnce);
    for (number, qos) in [1, 1, 0, 1].into_iter().enumerate() {
        let qos = QoS::from_value(qos).unwrap();
        scene.publish(publisher, publish("t", &number.to_string(), qos));
    }
    scene.cut(subscriber);
    let (subscriber, _) = scene.join(connect_persistent(version, "s"));
    for expected in ["0", "1", "3"] {
        let message = scene.message(subscriber);
        assert_eq!(message.payload, expected);
        let ack = Ack::success(message.packet_id.unwrap());
        scene.send(subscriber, &Packet::PubAck(ack));
    }
    assert_eq!(scene.next(subscriber), None);
}

#[test]
fn messages_keep_their_order_and_the_window_of_3_x_mqtt_4_6_0_6() {
    let mut scene = Scene::with(|options| options.inflight_window = 3.try_into().unwrap());
    let (publisher, subscriber) = pair(&mut scene, ProtocolVersion::V311, QoS::AtLeastOnce);
    for number in 0..10 {
        scene.publish(
            publisher,
            publish("t", &number.to_string(), QoS::AtLeastOnce),
        );
    }
    let mut in_flight = VecDeque::new();
    for number in 0..10 {
        while let Some(Packet::Publish(message)) = scene.next(subscriber) {
            in_flight.push_back(message);
        }
        assert_eq!(in_flight.len(), 3.min(10 - number));
        let oldest = in_flight.pop_front().unwrap();
        assert_eq!(oldest.payload, number.to_string());
        scene.send(
            subscriber,
            &Packet::PubAck(Ack::success(oldest.packet_id.unwrap())),
        );
    }
}

#[test]
fn the_receive_maximum_of_the_client_bounds_what_is_in_flight_mqtt_3_3_4_9() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut scene = Scene::new();
        let publisher = scene.client(ProtocolVersion::V5, "publisher");
        let mut narrow = connect(ProtocolVersion::V5, "subscriber");
        narrow.properties.receive_maximum = Some(2.try_into().unwrap());
        let (subscriber, _) = scene.join(narrow);
        scene.subscribe(subscriber, "t", qos);
        for number in 0..4 {
            scene.publish(publisher, publish("t", &number.to_string(), qos));
        }

        let first = scene.message(subscriber).packet_id.unwrap();
        let second = scene.message(subscriber).packet_id.unwrap();
        assert_ne!(first, second);
        assert_eq!(scene.next(subscriber), None);

        if qos == QoS::ExactlyOnce {
            scene.send(subscriber, &Packet::PubRec(Ack::success(first)));
            assert_eq!(
                scene.next(subscriber),
                Some(Packet::PubRel(Ack::success(first)))
            );
            assert_eq!(scene.next(subscriber), None, "PUBREC frees nothing");
            scene.send(subscriber, &Packet::PubComp(Ack::success(first)));
        } else {
            scene.send(subscriber, &Packet::PubAck(Ack::success(first)));
        }
        assert_eq!(scene.payloads(subscriber), ["2"]);
    }
}

#[test]
fn a_pubrec_with_an_error_ends_the_message_mqtt_4_3_3_4() {
    let mut scene = Scene::new();
    let mut narrow = connect(ProtocolVersion::V5, "subscriber");
    narrow.properties.receive_maximum = Some(1.try_into().unwrap());
    let (subscriber, _) = scene.join(narrow);
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    scene.subscribe(subscriber, "t", QoS::ExactlyOnce);
    scene.publish(publisher, publish("t", "0", QoS::ExactlyOnce));
    scene.publish(publisher, publish("t", "1", QoS::ExactlyOnce));

    let first = scene.message(subscriber).packet_id.unwrap();
    let refused = Ack::new(first, ReasonCode::QuotaExceeded);
    scene.send(subscriber, &Packet::PubRec(refused));
    assert_eq!(
        scene.payloads(subscriber),
        ["1"],
        "no PUBREL, and room for the next"
    );
}

/// Nor to an identifier that is unknown, or released already.
#[test]
fn a_pubrec_with_an_error_is_never_answered_mqtt_4_3_3_4() {
    let mut scene = Scene::new();
    let subscriber = scene.client(ProtocolVersion::V5, "subscriber");
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    scene.subscribe(subscriber, "t", QoS::ExactlyOnce);
    scene.publish(publisher, publish("t", "x", QoS::ExactlyOnce));
    let id = scene.message(subscriber).packet_id.unwrap();
    scene.send(subscriber, &Packet::PubRec(Ack::success(id)));
    assert_eq!(
        scene.next(subscriber),
        Some(Packet::PubRel(Ack::success(id)))
    );
    for id in [id, packet_id(9)] {
        let refused = Ack::new(id, ReasonCode::QuotaExceeded);
        scene.send(subscriber, &Packet::PubRec(refused));
        assert_eq!(scene.next(subscriber), None);
    }
    scene.send(subscriber, &Packet::PubComp(Ack::success(id)));
    assert!(!scene.is_closed(subscriber));
}

#[test]
fn packet_identifiers_that_are_not_in_use_are_told_so_in_5_0_mqtt_4_3_3() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    let not_found = Ack::new(packet_id(9), ReasonCode::PacketIdentifierNotFound);
    scene.send(client, &Packet::PubRel(Ack::success(packet_id(9))));
    assert_eq!(scene.next(client), Some(Packet::PubComp(not_found.clone())));
    scene.send(client, &Packet::PubRec(Ack::success(packet_id(9))));
    assert_eq!(scene.next(client), Some(Packet::PubRel(not_found)));
    scene.send(client, &Packet::PubAck(Ack::success(packet_id(9))));
    scene.send(client, &Packet::PubComp(Ack::success(packet_id(9))));
    assert_eq!(scene.next(client), None);
    assert!(!scene.is_closed(client));
}

#[test]
fn a_publish_without_subscribers_says_so_in_5_0_mqtt_3_4_2_1() {
    let mut scene = Scene::new();
    let (publisher, _) = pair(&mut scene, ProtocolVersion::V5, QoS::AtMostOnce);
    for (topic, reason) in [
        ("t", ReasonCode::Success),
        ("other", ReasonCode::NoMatchingSubscribers),
    ] {
        scene.send(
            publisher,
            &Packet::Publish(publish(topic, "", QoS::AtLeastOnce)),
        );
        assert_eq!(
            scene.next(publisher),
            Some(Packet::PubAck(Ack::new(packet_id(77), reason)))
        );
    }
}

#[test]
fn packet_identifiers_of_both_directions_are_independent_mqtt_2_2_1() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V311, "c");
    scene.subscribe(client, "t", QoS::ExactlyOnce);
    let mut own = publish("t", "x", QoS::ExactlyOnce);
    own.packet_id = Some(packet_id(1));
    scene.send(client, &Packet::Publish(own));
    let echo = scene.message(client);
    assert_eq!(echo.packet_id, Some(packet_id(1)));
    assert_eq!(
        scene.next(client),
        Some(Packet::PubRec(Ack::success(packet_id(1))))
    );
    scene.send(client, &Packet::PubRec(Ack::success(packet_id(1))));
    assert_eq!(
        scene.next(client),
        Some(Packet::PubRel(Ack::success(packet_id(1))))
    );
    scene.send(client, &Packet::PubRel(Ack::success(packet_id(1))));
    assert_eq!(
        scene.next(client),
        Some(Packet::PubComp(Ack::success(packet_id(1))))
    );
    scene.send(client, &Packet::PubComp(Ack::success(packet_id(1))));
    assert_eq!(scene.next(client), None);
}

#[test]
fn packet_identifiers_wrap_around_and_skip_those_in_use_mqtt_2_2_1_3() {
    let mut scene = Scene::new();
    let (publisher, subscriber) = pair(&mut scene, ProtocolVersion::V311, QoS::AtLeastOnce);
    scene.publish(publisher, publish("t", "stays", QoS::AtLeastOnce));
    assert_eq!(scene.message(subscriber).packet_id, Some(packet_id(1)));
    for round in 1..=65_536_u32 {
        scene.send(
            publisher,
            &Packet::Publish(publish("t", "", QoS::AtLeastOnce)),
        );
        let received = scene.message(subscriber).packet_id.unwrap();
        let expected = if round < 65_535 {
            round + 1
        } else {
            round - 65_533
        };
        assert_eq!(u32::from(received.get()), expected);
        scene.send(subscriber, &Packet::PubAck(Ack::success(received)));
    }
}

#[test]
fn properties_travel_with_the_message_but_for_the_senders_own_mqtt_3_3_2_17() {
    use crate::scene::text;
    use ferromqtt_proto::packet::Properties;
    let mut scene = Scene::new();
    let (publisher, subscriber) = pair(&mut scene, ProtocolVersion::V5, QoS::AtMostOnce);
    let old = scene.client(ProtocolVersion::V311, "old");
    scene.subscribe(old, "t", QoS::AtMostOnce);
    let properties = Properties {
        payload_format_indicator: Some(true),
        content_type: Some(text("text/plain")),
        response_topic: Some(text("answers")),
        correlation_data: Some("7".into()),
        user_properties: [(text("a"), text("1")), (text("a"), text("2"))].into(),
        ..Properties::default()
    };
    let mut with_properties = publish("t", "x", QoS::AtMostOnce);
    with_properties.properties = Some(Box::new(properties));
    scene.publish(publisher, with_properties.clone());
    assert_eq!(scene.message(subscriber), with_properties);
    assert_eq!(scene.message(old).properties, None);
}

#[test]
fn a_packet_larger_than_the_clients_maximum_is_dropped_as_if_it_was_sent_mqtt_3_1_2_25() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    let mut small = connect(ProtocolVersion::V5, "small");
    small.properties.maximum_packet_size = Some(100.try_into().unwrap());
    let (small, _) = scene.join(small);
    scene.subscribe(small, "t", QoS::AtLeastOnce);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        scene.publish(publisher, publish("t", &"x".repeat(100), qos));
        scene.publish(publisher, publish("t", "fits", qos));
    }
    assert_eq!(scene.payloads(small), ["fits", "fits"]);
    assert_eq!(scene.broker.stats().dropped, 2);
}

#[test]
fn large_payloads_arrive_whole_between_small_ones() {
    let mut scene = Scene::new();
    let (publisher, subscriber) = pair(&mut scene, ProtocolVersion::V311, QoS::AtLeastOnce);
    let sizes = [0, 1, 4095, 4096, 70_000, 3_000_000, 5];
    for size in sizes {
        scene.publish(publisher, publish("t", &"x".repeat(size), QoS::AtLeastOnce));
    }
    let lengths: Vec<_> = scene.payloads(subscriber).iter().map(String::len).collect();
    assert_eq!(lengths, sizes);
}
