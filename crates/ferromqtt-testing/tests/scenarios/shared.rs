//! Shared Subscriptions (section 4.8.2).

use ferromqtt_proto::packet::{
    Ack, Packet, Properties, ProtocolVersion, QoS, ReasonCode, SubscribePacket,
    SubscriptionOptions, UnsubscribePacket,
};

use crate::scene::{Peer, Scene, VERSIONS, connect_persistent, packet_id, publish, retained, text};

const FILTER: &str = "$share/group/t/+";

/// Clients that share one subscription, in the order of their names.
fn sharing<const COUNT: usize>(
    scene: &mut Scene,
    version: ProtocolVersion,
    qos: QoS,
) -> [Peer; COUNT] {
    std::array::from_fn(|number| {
        let (client, _) = scene.join(connect_persistent(version, &format!("sharing {number}")));
        assert!(!scene.subscribe(client, FILTER, qos).is_error());
        client
    })
}

fn publish_numbers(scene: &mut Scene, publisher: Peer, qos: QoS, numbers: std::ops::Range<u32>) {
    for number in numbers {
        scene.publish(publisher, publish("t/x", &number.to_string(), qos));
    }
}

#[test]
fn messages_go_round_among_those_who_share_once_each_mqtt_4_8_2() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let publisher = scene.client(version, "publisher");
        let clients: [_; 3] = sharing(&mut scene, version, QoS::AtMostOnce);
        publish_numbers(&mut scene, publisher, QoS::AtMostOnce, 0..7);
        assert_eq!(scene.payloads(clients[0]), ["0", "3", "6"]);
        assert_eq!(scene.payloads(clients[1]), ["1", "4"]);
        assert_eq!(scene.payloads(clients[2]), ["2", "5"]);
    }
}

#[test]
fn each_share_name_and_filter_gets_its_own_copy_beside_ordinary_subscriptions_mqtt_4_8_2() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    let client = scene.client(ProtocolVersion::V5, "c");
    for filter in ["$share/a/t/+", "$share/b/t/+", "$share/a/#", "t/x", "t/#"] {
        scene.subscribe(client, filter, QoS::AtMostOnce);
    }
    publish_numbers(&mut scene, publisher, QoS::AtMostOnce, 0..1);
    assert_eq!(scene.payloads(client), ["0"; 4]);
}

#[test]
fn the_granted_qos_of_the_chosen_one_holds_mqtt_4_8_2_3() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    let [low, high] = sharing(&mut scene, ProtocolVersion::V5, QoS::ExactlyOnce);
    scene.subscribe(low, FILTER, QoS::AtMostOnce); // again, with another QoS: it keeps its place
    publish_numbers(&mut scene, publisher, QoS::ExactlyOnce, 0..2);
    assert_eq!(scene.message(low).qos, QoS::AtMostOnce);
    assert_eq!(scene.message(high).qos, QoS::ExactlyOnce);
    assert_eq!(scene.next(low), None);
    assert_eq!(scene.next(high), None);
}

#[test]
fn who_is_away_is_passed_over_and_one_of_them_gets_all_back_when_nobody_is_there() {
    let version = ProtocolVersion::V5;
    let mut scene = Scene::new();
    let publisher = scene.client(version, "publisher");
    let [first, second] = sharing(&mut scene, version, QoS::AtLeastOnce);
    scene.cut(first);
    publish_numbers(&mut scene, publisher, QoS::AtLeastOnce, 0..2);
    assert_eq!(scene.payloads(second), ["0", "1"]);
    scene.cut(second);
    publish_numbers(&mut scene, publisher, QoS::AtLeastOnce, 2..6);

    let (first, _) = scene.join(connect_persistent(version, "sharing 0"));
    let (second, _) = scene.join(connect_persistent(version, "sharing 1"));
    assert_eq!(scene.payloads(first), ["2", "4"]);
    // What was in flight when its connection broke, then what was queued.
    assert_eq!(scene.payloads(second), ["0", "1", "3", "5"]);
}

#[test]
fn an_unfinished_qos_2_message_waits_for_its_client_and_goes_to_nobody_else_mqtt_4_8_2_4_and_5() {
    let version = ProtocolVersion::V5;
    for comes_back in [true, false] {
        let mut scene = Scene::new();
        let publisher = scene.client(version, "publisher");
        let [first, second] = sharing(&mut scene, version, QoS::ExactlyOnce);
        publish_numbers(&mut scene, publisher, QoS::ExactlyOnce, 0..1);
        assert_eq!(scene.payloads(first), ["0"]);
        scene.cut(first);
        if comes_back {
            let (first, _) = scene.join(connect_persistent(version, "sharing 0"));
            assert!(scene.message(first).dup);
        } else {
            let mut anew = connect_persistent(version, "sharing 0");
            anew.clean_start = true;
            let (first, session_present) = scene.join(anew);
            assert!(!session_present);
            assert_eq!(scene.next(first), None);
        }
        assert_eq!(scene.next(second), None);
    }
}

#[test]
fn when_all_are_away_a_session_that_keeps_the_message_comes_first() {
    for version in VERSIONS {
        let mut scene = Scene::with(|options| options.maximum_queued_messages = 2);
        let publisher = scene.client(version, "publisher");
        let qos = [
            QoS::AtMostOnce,
            QoS::AtLeastOnce,
            QoS::AtMostOnce,
            QoS::ExactlyOnce,
        ];
        let names: Vec<String> = (0..qos.len()).map(|number| format!("s{number}")).collect();
        for (name, qos) in names.iter().zip(qos) {
            let (client, _) = scene.join(connect_persistent(version, name));
            scene.subscribe(client, FILTER, qos);
            scene.cut(client);
        }
        publish_numbers(&mut scene, publisher, QoS::AtLeastOnce, 0..4);
        assert_eq!(scene.broker.stats().dropped, 0);
        for number in 4..7 {
            // Both queues are full: somebody has the turn, and the message is lost.
            publish_numbers(&mut scene, publisher, QoS::AtLeastOnce, number..number + 1);
        }
        for (name, expected) in names.iter().zip([&[][..], &["0", "2"], &[], &["1", "3"]]) {
            assert_eq!(
                scene.broker.session_stats(name).unwrap().queued,
                expected.len()
            );
            let (client, _) = scene.join(connect_persistent(version, name));
            assert_eq!(scene.payloads(client), expected, "{name}");
        }
    }
}

#[test]
fn a_full_queue_keeps_nothing_so_another_session_gets_the_message() {
    let mut scene = Scene::with(|options| options.maximum_queued_messages = 1);
    let version = ProtocolVersion::V5;
    let publisher = scene.client(version, "publisher");
    let [full, free] = sharing(&mut scene, version, QoS::AtLeastOnce);
    scene.subscribe(full, "of its own", QoS::AtLeastOnce);
    scene.cut(full);
    scene.cut(free);
    scene.publish(publisher, publish("of its own", "x", QoS::AtLeastOnce));
    publish_numbers(&mut scene, publisher, QoS::AtLeastOnce, 0..1);
    let (free, _) = scene.join(connect_persistent(version, "sharing 1"));
    assert_eq!(scene.payloads(free), ["0"]);
    assert_eq!(scene.broker.stats().dropped, 0);
}

#[test]
fn who_is_connected_comes_before_a_session_that_keeps_the_message() {
    let mut scene = Scene::new();
    let version = ProtocolVersion::V5;
    let publisher = scene.client(version, "publisher");
    let (away, _) = scene.join(connect_persistent(version, "away"));
    scene.subscribe(away, FILTER, QoS::AtLeastOnce);
    scene.cut(away);
    let here = scene.client(version, "here");
    scene.subscribe(here, FILTER, QoS::AtMostOnce);
    publish_numbers(&mut scene, publisher, QoS::AtLeastOnce, 0..3);
    assert_eq!(scene.payloads(here), ["0", "1", "2"]);
}

#[test]
fn a_refused_message_goes_to_nobody_else_mqtt_4_8_2_6() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    let [first, second] = sharing(&mut scene, ProtocolVersion::V5, QoS::AtLeastOnce);
    publish_numbers(&mut scene, publisher, QoS::AtLeastOnce, 0..1);
    let id = scene.message(first).packet_id.unwrap();
    scene.send(
        first,
        &Packet::PubAck(Ack::new(id, ReasonCode::QuotaExceeded)),
    );
    assert_eq!(scene.next(first), None);
    assert_eq!(scene.next(second), None);
}

#[test]
fn retained_messages_are_not_sent_to_a_shared_subscription_mqtt_3_8_3_1() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    scene.publish(client, retained("t/x", "kept", QoS::AtMostOnce));
    scene.subscribe(client, FILTER, QoS::AtMostOnce);
    assert_eq!(scene.next(client), None);
    scene.publish(client, retained("t/x", "live", QoS::AtMostOnce));
    assert!(!scene.message(client).retain);
}

#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error_mqtt_3_8_3_4() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    let options = SubscriptionOptions {
        no_local: true,
        ..SubscriptionOptions::default()
    };
    let subscribe = SubscribePacket {
        packet_id: packet_id(1),
        properties: Properties::default(),
        filters: [(text("a"), QoS::AtMostOnce.into()), (text(FILTER), options)].into(),
    };
    scene.send(client, &Packet::Subscribe(Box::new(subscribe)));
    let Some(Packet::Disconnect(disconnect)) = scene.next(client) else {
        panic!("DISCONNECT expected");
    };
    assert_eq!(disconnect.reason, ReasonCode::ProtocolError);
    assert!(scene.is_closed(client));
}

#[test]
fn who_unsubscribes_or_ends_its_session_shares_no_more_mqtt_3_10_4_1() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    let [first, second, third] = sharing(&mut scene, ProtocolVersion::V5, QoS::AtMostOnce);
    publish_numbers(&mut scene, publisher, QoS::AtMostOnce, 0..1);
    assert_eq!(scene.payloads(first), ["0"]);
    let unsubscribe = UnsubscribePacket {
        packet_id: packet_id(6),
        properties: Properties::default(),
        filters: [text(FILTER), text(FILTER), text("t/+")].into(),
    };
    scene.send(first, &Packet::Unsubscribe(Box::new(unsubscribe)));
    let Some(Packet::UnsubAck(unsuback)) = scene.next(first) else {
        panic!("UNSUBACK expected");
    };
    assert_eq!(
        unsuback.reasons,
        [
            ReasonCode::Success,
            ReasonCode::NoSubscriptionExisted,
            ReasonCode::NoSubscriptionExisted
        ]
    );
    publish_numbers(&mut scene, publisher, QoS::AtMostOnce, 1..4);
    assert_eq!(scene.next(first), None);
    assert_eq!(scene.payloads(second), ["1", "3"]);
    assert_eq!(scene.payloads(third), ["2"]);

    scene.cut(second);
    scene.pass(std::time::Duration::from_secs(3600)); // its Session Expiry Interval
    publish_numbers(&mut scene, publisher, QoS::AtMostOnce, 4..6);
    assert_eq!(scene.payloads(third), ["4", "5"]);
    scene.cut(third);
    scene.pass(std::time::Duration::from_secs(3600));
    let mut last = publish("t/x", "nobody", QoS::AtLeastOnce);
    last.packet_id = Some(packet_id(9));
    scene.send(publisher, &Packet::Publish(last));
    assert_eq!(
        scene.next(publisher),
        Some(Packet::PubAck(Ack::new(
            packet_id(9),
            ReasonCode::NoMatchingSubscribers
        )))
    );
}
