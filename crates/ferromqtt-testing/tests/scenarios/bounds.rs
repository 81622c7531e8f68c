//! Memory has bounds: in numbers, and in bytes of the whole that is held.

use std::time::Duration;

use bytes::BytesMut;
use ferromqtt_proto::packet::{
    Ack, Packet, Properties, ProtocolVersion, PublishPacket, QoS, ReasonCode, SubscribePacket,
    UnsubscribePacket,
};
use ferromqtt_testing::SessionStats;

use crate::scene::{
    Peer, Scene, VERSIONS, connect, connect_persistent, packet_id, publish, retained, text, will,
};

const V5: ProtocolVersion = ProtocolVersion::V5;

/// A message without payload, and with User Properties of so many bytes.
fn with_properties(topic: &str, bytes: usize, qos: QoS) -> PublishPacket {
    let properties = Properties {
        user_properties: [(text("name"), text(&"x".repeat(bytes)))].into(),
        ..Properties::default()
    };
    PublishPacket {
        properties: Some(Box::new(properties)),
        ..publish(topic, "", qos)
    }
}

fn stats(scene: &Scene, name: &str) -> SessionStats {
    scene.broker.session_stats(name).unwrap()
}

#[test]
fn a_queue_counts_topics_and_properties_not_payloads_alone() {
    let big = 60_000;
    for message in [
        with_properties("t", big, QoS::AtLeastOnce),
        publish(&format!("t/{}", "x".repeat(big)), "", QoS::AtLeastOnce),
        publish("t", &"x".repeat(big), QoS::AtLeastOnce),
    ] {
        let limit = 10 * (big + 2000);
        let mut scene = Scene::with(|options| options.maximum_queued_bytes = limit);
        let publisher = scene.client(V5, "publisher");
        let (client, _) = scene.join(connect_persistent(V5, "c"));
        scene.subscribe(client, "t/#", QoS::AtLeastOnce);
        scene.cut(client);
        for _ in 0..30 {
            scene.publish(publisher, message.clone());
        }
        let stats = stats(&scene, "c");
        assert!((9..=10).contains(&stats.queued), "{stats:?}");
        assert!(stats.queued_bytes >= stats.queued * big && stats.queued_bytes <= limit);
        assert_eq!(stats.dropped as usize, 30 - stats.queued);
        assert_eq!(scene.broker.stats().dropped, stats.dropped);
    }
}

#[test]
fn messages_in_flight_count_until_they_are_acknowledged() {
    let mut scene = Scene::with(|options| options.maximum_queued_bytes = 5000);
    let publisher = scene.client(V5, "publisher");
    let client = scene.client(V5, "c");
    scene.subscribe(client, "t", QoS::ExactlyOnce);
    let payload = "x".repeat(1000);
    for _ in 0..10 {
        scene.publish(publisher, publish("t", &payload, QoS::AtLeastOnce));
        scene.publish(publisher, publish("t", &payload, QoS::ExactlyOnce));
    }
    let full = stats(&scene, "c");
    assert!(full.in_flight == 3 && full.queued_bytes <= 5000, "{full:?}");
    assert_eq!(full.dropped, 17);
    for _ in 0..full.in_flight {
        let message = scene.message(client);
        let ack = Ack::success(message.packet_id.unwrap());
        let before = stats(&scene, "c").queued_bytes;
        if message.qos == QoS::AtLeastOnce {
            scene.send(client, &Packet::PubAck(ack));
        } else {
            scene.send(client, &Packet::PubRec(ack)); // now only the identifier is left of it
        }
        assert!(stats(&scene, "c").queued_bytes + 1000 < before);
    }
    assert!((1..1000).contains(&stats(&scene, "c").queued_bytes));
    assert_eq!(stats(&scene, "c").in_flight, 1);
}

#[test]
fn exchanges_that_wait_for_pubcomp_count_until_it_comes() {
    let mut scene = Scene::with(|options| options.maximum_queued_bytes = 5000);
    let publisher = scene.client(V5, "publisher");
    let client = scene.client(V5, "c");
    scene.subscribe(client, "t", QoS::ExactlyOnce);
    let empty = scene.broker.stats().session_bytes;
    for _ in 0..100 {
        scene.publish(publisher, publish("t", "", QoS::ExactlyOnce));
        let Some(Packet::Publish(message)) = scene.next(client) else {
            break; // no room
        };
        let ack = Ack::success(message.packet_id.unwrap());
        scene.send(client, &Packet::PubRec(ack.clone()));
        assert_eq!(scene.next(client), Some(Packet::PubRel(ack)));
    }
    let full = stats(&scene, "c");
    assert!((5..20).contains(&full.in_flight), "{full:?}");
    assert_eq!((full.queued, full.dropped), (0, 1));
    assert!((4000..=5000).contains(&full.queued_bytes), "{full:?}");
    let held = scene.broker.stats().session_bytes;
    assert_eq!(held, empty + full.queued_bytes);

    for number in 1..=full.in_flight {
        let id = packet_id(number.try_into().unwrap());
        scene.send(client, &Packet::PubComp(Ack::success(id)));
        scene.send(client, &Packet::PubComp(Ack::success(id))); // a repetition takes off nothing
        let left = full.queued_bytes / full.in_flight * (full.in_flight - number);
        assert_eq!(stats(&scene, "c").queued_bytes, left);
    }
    assert_eq!(scene.broker.stats().session_bytes, empty);
}

/// A message keeps the text alive that names the subscription which it was taken from, also when that has ended.
#[test]
fn names_of_shared_subscriptions_count_with_the_messages_taken_from_them() {
    let limit = 1_000_000;
    let mut scene = Scene::with(|options| options.maximum_queued_bytes = limit);
    let publisher = scene.client(V5, "publisher");
    let clients = ["a", "b"].map(|name| scene.client(V5, name));
    for number in 0..40 {
        let filter = format!("$share/{number}{}/t", "n".repeat(60_000));
        for client in clients {
            scene.subscribe(client, &filter, QoS::AtLeastOnce);
        }
        scene.publish(publisher, publish("t", "", QoS::AtLeastOnce));
        for client in clients {
            while let Some(Packet::Publish(_)) = scene.next(client) {}
            let unsubscribe = UnsubscribePacket {
                packet_id: packet_id(1),
                properties: Properties::default(),
                filters: [text(&filter)].into(),
            };
            scene.send(client, &Packet::Unsubscribe(Box::new(unsubscribe)));
            assert!(matches!(scene.next(client), Some(Packet::UnsubAck(_))));
        }
    }
    for name in ["a", "b"] {
        let stats = stats(&scene, name);
        assert_eq!(
            (stats.queued + stats.in_flight, stats.subscriptions),
            (16, 0),
            "{stats:?}"
        );
        assert!(
            stats.queued_bytes > 16 * 60_000 && stats.queued_bytes <= limit,
            "{stats:?}"
        );
    }
    // The one who has room is chosen as long as there is one.
    assert_eq!(scene.broker.stats().dropped, 40 - 2 * 16);
}

#[test]
fn messages_that_the_client_does_not_release_count_with_its_session() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let publisher = scene.client(version, "publisher");
        let before = scene.broker.stats().session_bytes;
        for number in (1..=1000).chain(1..=1000) {
            let message = PublishPacket {
                packet_id: Some(packet_id(number)),
                ..publish("t", "", QoS::ExactlyOnce)
            };
            scene.send(publisher, &Packet::Publish(message));
            assert!(matches!(scene.next(publisher), Some(Packet::PubRec(_))));
        }
        let more = scene.broker.stats().session_bytes - before;
        assert!((4_000..100_000).contains(&more), "{more} bytes");
        for number in (1..=1000).chain(1..=1000) {
            let ack = Ack::success(packet_id(number));
            scene.send(publisher, &Packet::PubRel(ack));
            assert!(matches!(scene.next(publisher), Some(Packet::PubComp(_))));
        }
        assert_eq!(scene.broker.stats().session_bytes, before);
    }
}

#[test]
fn qos_0_messages_that_wait_behind_others_count_until_the_connection_ends() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V311, "publisher");
    let (client, _) = scene.join(connect_persistent(ProtocolVersion::V311, "c"));
    scene.subscribe(client, "t", QoS::AtLeastOnce);
    for _ in 0..21 {
        scene.publish(publisher, publish("t", "x", QoS::AtLeastOnce)); // one more than the window
    }
    let before = stats(&scene, "c").queued_bytes;
    scene.publish(publisher, publish("t", "x", QoS::AtMostOnce));
    assert!(stats(&scene, "c").queued_bytes > before);
    scene.cut(client);
    assert_eq!(stats(&scene, "c").queued_bytes, before);
}

#[test]
fn a_message_for_many_sessions_is_held_once() {
    let mut scene = Scene::new();
    let publisher = scene.client(V5, "publisher");
    for number in 0..100 {
        let (client, _) = scene.join(connect_persistent(V5, &format!("c{number}")));
        scene.subscribe(client, "t", QoS::AtLeastOnce);
        scene.cut(client);
    }
    let before = scene.broker.stats().session_bytes;
    scene.publish(
        publisher,
        publish("t", &"x".repeat(1 << 20), QoS::AtLeastOnce),
    );
    let more = scene.broker.stats().session_bytes - before;
    assert!((1 << 20..2 << 20).contains(&more), "{more} bytes");
}

#[test]
fn sessions_give_back_all_that_they_held() {
    let mut scene = Scene::new();
    let publisher = scene.client(V5, "publisher");
    let before = scene.broker.stats().session_bytes;
    let mut leaving = connect_persistent(V5, "c");
    let mut delayed = will("t", "gone");
    delayed.properties.will_delay_interval = Some(60);
    leaving.will = Some(delayed);
    let (client, _) = scene.join(leaving);
    for filter in ["t", "a/b/c", "a/b/c", "$share/g/x"] {
        scene.subscribe(client, filter, QoS::ExactlyOnce);
    }
    scene.publish(publisher, publish("t", "x", QoS::AtLeastOnce));
    scene.cut(client);
    scene.publish(publisher, publish("t", "y", QoS::ExactlyOnce));
    assert!(scene.broker.stats().session_bytes > before);
    assert_eq!(stats(&scene, "c").subscriptions, 3);
    scene.pass(Duration::from_secs(3600));
    assert_eq!(scene.broker.stats().session_bytes, before);
}

#[test]
fn all_sessions_together_have_a_bound_for_messages() {
    let mut scene = Scene::with(|options| options.maximum_session_bytes = 100_000);
    let publisher = scene.client(V5, "publisher");
    for name in ["a", "b"] {
        let (client, _) = scene.join(connect_persistent(V5, name));
        scene.subscribe(client, name, QoS::AtLeastOnce);
        scene.cut(client);
    }
    for number in 0..100 {
        let topic = if number % 2 == 0 { "a" } else { "b" };
        scene.publish(
            publisher,
            publish(topic, &"x".repeat(2000), QoS::AtLeastOnce),
        );
    }
    let held = scene.broker.stats();
    assert!(
        held.session_bytes <= 100_000 && held.session_bytes > 90_000,
        "{held:?}"
    );
    let queued = stats(&scene, "a").queued + stats(&scene, "b").queued;
    assert_eq!(held.dropped as usize, 100 - queued);
    assert!(queued > 20, "{queued}");
}

/// Expects CONNECT to be refused for lack of room.
fn expect_refused(scene: &mut Scene, connect: ferromqtt_proto::packet::Connect) {
    let version = connect.protocol;
    let (client, connack) = scene.connect(connect);
    let expected = match version.is_v5() {
        true => ReasonCode::QuotaExceeded,
        false => ReasonCode::ServerUnavailable,
    };
    assert_eq!(connack.reason, expected);
    assert!(scene.is_closed(client));
}

#[test]
fn sessions_beyond_their_number_are_refused_and_old_ones_are_not_3_2_2_2() {
    for version in VERSIONS {
        let mut scene = Scene::with(|options| options.maximum_sessions = 2);
        let (first, _) = scene.join(connect_persistent(version, "first"));
        scene.cut(first);
        let second = scene.client(version, "second");
        expect_refused(&mut scene, connect(version, "third"));
        assert_eq!(scene.broker.stats().refused, 1);
        assert_eq!(scene.broker.stats().sessions, 2);
        assert!(scene.join(connect_persistent(version, "first")).1);
        scene.cut(second);
        scene.client(version, "third");
    }
}

#[test]
fn sessions_beyond_their_bytes_are_refused_and_so_are_wills_3_2_2_2() {
    let mut scene = Scene::with(|options| options.maximum_session_bytes = 20_000);
    let (client, _) = scene.join(connect_persistent(V5, "c"));
    let mut with_will = connect_persistent(V5, "c");
    with_will.will = Some(will("t", &"x".repeat(20_000)));
    expect_refused(&mut scene, with_will);
    assert!(
        !scene.is_closed(client),
        "a refused CONNECT takes nothing over"
    );
    let long = "x".repeat(20_000);
    expect_refused(&mut scene, connect(V5, &long));
    expect_refused(&mut scene, connect(ProtocolVersion::V311, &long));
    assert_eq!(scene.broker.stats().refused, 3);
    scene.client(V5, "d");
}

#[test]
fn an_assigned_identifier_takes_memory_too() {
    let mut scene = Scene::with(|_| {});
    scene.client(V5, "");
    let needed = scene.broker.stats().session_bytes;
    for missing in [0, 1] {
        let mut scene = Scene::with(|options| options.maximum_session_bytes = needed - missing);
        match missing {
            0 => _ = scene.client(V5, ""),
            _ => expect_refused(&mut scene, connect(V5, "")),
        }
        assert!(scene.broker.stats().session_bytes <= needed - missing);
    }
}

#[test]
fn connections_beyond_their_number_are_refused_but_may_take_over_3_2_2_2() {
    for version in VERSIONS {
        let mut scene = Scene::with(|options| options.maximum_connections = 2);
        let first = scene.client(version, "first");
        let second = scene.client(version, "second");
        expect_refused(&mut scene, connect(version, "third"));
        let again = scene.client(version, "first");
        assert!(scene.is_closed(first));
        scene.cut(second);
        scene.client(version, "third");
        assert!(!scene.is_closed(again));
    }
}

#[test]
fn transports_without_a_client_are_closed_beyond_a_hundred() {
    let mut scene = Scene::with(|options| options.maximum_connections = 1);
    scene.client(V5, "c");
    let silent: Vec<Peer> = (0..100).map(|_| scene.open(V5)).collect();
    assert!(silent.iter().all(|&peer| !scene.is_closed(peer)));
    let more: Vec<Peer> = (0..5).map(|_| scene.open(V5)).collect();
    assert!(more.iter().all(|&peer| scene.is_closed(peer)));
    assert_eq!(scene.broker.stats().connections, 101);
    assert_eq!(scene.broker.stats().refused, 5);
    scene.pass(Duration::from_secs(10)); // nobody sent CONNECT
    assert_eq!(scene.broker.stats().connections, 1);
    let late = scene.open(V5);
    assert!(!scene.is_closed(late));
}

#[test]
fn subscriptions_beyond_their_number_are_refused_one_by_one_3_9_3() {
    for version in [ProtocolVersion::V311, V5] {
        let mut scene = Scene::with(|options| options.maximum_subscriptions = 2);
        let client = scene.client(version, "c");
        let filters = ["a", "b", "c", "a"];
        let subscribe = SubscribePacket {
            packet_id: packet_id(1),
            properties: Properties::default(),
            filters: filters
                .map(|filter| (text(filter), QoS::AtMostOnce.into()))
                .into(),
        };
        scene.send(client, &Packet::Subscribe(Box::new(subscribe)));
        let Some(Packet::SubAck(suback)) = scene.next(client) else {
            panic!("SUBACK expected");
        };
        let refused = match version.is_v5() {
            true => ReasonCode::QuotaExceeded,
            false => ReasonCode::UnspecifiedError,
        };
        let granted = ReasonCode::Success;
        assert_eq!(suback.reasons, [granted, granted, refused, granted]);
        assert_eq!(scene.broker.stats().refused, 1);
        scene.publish(client, publish("c", "x", QoS::AtMostOnce));
        assert_eq!(scene.next(client), None);
    }
}

#[test]
fn a_client_of_3_1_that_asks_for_too_many_subscriptions_is_closed() {
    let mut scene = Scene::with(|options| options.maximum_subscriptions = 1);
    let client = scene.client(ProtocolVersion::V31, "c");
    scene.subscribe(client, "a", QoS::AtMostOnce);
    let subscribe = SubscribePacket {
        packet_id: packet_id(1),
        properties: Properties::default(),
        filters: vec![(text("b"), QoS::AtMostOnce.into())].into(),
    };
    scene.send(client, &Packet::Subscribe(Box::new(subscribe)));
    scene.expect_end(client, ReasonCode::QuotaExceeded);
}

#[test]
fn subscriptions_have_a_bound_in_bytes_3_9_3() {
    let mut scene = Scene::with(|options| options.maximum_session_bytes = 100_000);
    let client = scene.client(V5, "c");
    let long = "x".repeat(60_000);
    let refused = ReasonCode::QuotaExceeded;
    assert_eq!(scene.subscribe(client, &long, QoS::AtMostOnce), refused);
    let granted = ReasonCode::Success;
    assert_eq!(scene.subscribe(client, "short", QoS::AtMostOnce), granted);
    assert_eq!(scene.broker.stats().refused, 1);
}

#[test]
fn retained_messages_have_a_bound_in_bytes() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut scene = Scene::with(|options| options.maximum_retained_bytes = 100_000);
        let client = scene.client(ProtocolVersion::V311, "c");
        for number in 0..20 {
            let message = retained(&number.to_string(), &"x".repeat(10_000), qos);
            scene.publish(client, message);
        }
        let stats = scene.broker.stats();
        assert_eq!((stats.retained_messages, stats.dropped), (9, 11));
        assert!(
            (90_000..=100_000).contains(&stats.retained_bytes),
            "{stats:?}"
        );
        // One that takes the place of another needs no more room than that leaves.
        scene.publish(client, retained("3", &"y".repeat(10_000), qos));
        assert_eq!(scene.broker.stats().dropped, 11);
        scene.publish(client, retained("3", "", qos));
        scene.publish(client, retained("new", "x", qos));
        assert_eq!(scene.broker.stats().retained_messages, 9);
        assert_eq!(scene.broker.stats().dropped, 11);
    }
}

#[test]
fn a_retained_message_beyond_the_bound_is_refused_where_it_can_be_3_4_2_1_and_3_5_2_1() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut scene = Scene::with(|options| options.maximum_retained_messages = 0);
        let client = scene.client(V5, "c");
        let subscriber = scene.client(V5, "subscriber");
        scene.subscribe(subscriber, "t", QoS::AtMostOnce);
        let refusal = Ack::new(packet_id(77), ReasonCode::QuotaExceeded);
        let expected = match qos {
            QoS::AtLeastOnce => Packet::PubAck(refusal),
            _ => Packet::PubRec(refusal),
        };
        for _ in 0..2 {
            // Refused, the identifier is free again: it is no repetition.
            scene.send(client, &Packet::Publish(retained("t", "x", qos)));
            assert_eq!(scene.next(client), Some(expected.clone()));
        }
        assert_eq!(scene.next(subscriber), None);
        assert_eq!(scene.broker.stats().refused, 2);
        assert_eq!(scene.broker.stats().dropped, 0);
        scene.publish(client, publish("t", "y", qos));
        assert_eq!(scene.payloads(subscriber), ["y"]);
    }
}

#[test]
fn answers_that_nobody_reads_end_the_connection_within_one_input() {
    let mut scene = Scene::with(|options| options.maximum_output = 1000);
    let client = scene.client(ProtocolVersion::V311, "c");
    let pings = [0xC0, 0].repeat(1_000_000);
    let mut input = BytesMut::from(&pings[..]);
    scene.broker.handle_input(scene.now, client.id, &mut input);
    let mut output = 0;
    while let Some(chunk) = scene.broker.poll_transmit(client.id) {
        output += chunk.len();
    }
    assert!(output <= 1002, "{output} bytes of answers");
    assert!(scene.is_closed(client));
}

#[test]
fn kept_messages_hold_back_no_receive_buffer() {
    for size in [1, 5000] {
        let mut scene = Scene::new();
        let publisher = scene.client(V5, "publisher");
        let client = scene.client(V5, "c");
        scene.subscribe(client, "t", QoS::AtLeastOnce);
        let mut input = BytesMut::new();
        let mut message = publish("t", &"x".repeat(size), QoS::AtLeastOnce);
        message.properties = with_properties("t", 100, QoS::AtLeastOnce).properties;
        message.retain = true;
        Packet::Publish(message).encode(V5, &mut input);
        let behind = with_properties("other", 60_000, QoS::AtMostOnce);
        Packet::Publish(behind).encode(V5, &mut input);

        let length = input.len();
        scene.feed(publisher, &mut input);
        assert!(matches!(scene.next(client), Some(Packet::Publish(_))));
        let stats = stats(&scene, "c");
        assert_eq!(
            (stats.in_flight, scene.broker.stats().retained_messages),
            (1, 1)
        );
        // Possible only when nobody else holds it.
        assert!(input.try_reclaim(length), "payload of {size}");
    }
}
