//! Sessions that outlive their connection (sections 4.1, 4.4).

use std::time::Duration;

use ferromqtt_proto::packet::{Ack, Disconnect, Packet, ProtocolVersion, QoS};

use crate::scene::{Peer, Scene, VERSIONS, connect, connect_persistent, packet_id, publish};

fn leave(scene: &mut Scene, client: Peer) {
    scene.send(client, &Packet::Disconnect(Box::new(Disconnect::normal())));
    assert!(scene.is_closed(client));
}

#[test]
fn what_was_missed_arrives_in_order_and_qos_0_does_not_mqtt_3_1_2_5() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let publisher = scene.client(version, "publisher");
        let (client, present) = scene.join(connect_persistent(version, "c"));
        assert!(!present);
        scene.subscribe(client, "t", QoS::ExactlyOnce);
        leave(&mut scene, client);
        for (number, qos) in [QoS::AtLeastOnce, QoS::AtMostOnce, QoS::ExactlyOnce]
            .into_iter()
            .enumerate()
        {
            scene.publish(publisher, publish("t", &number.to_string(), qos));
        }
        let (client, present) = scene.join(connect_persistent(version, "c"));
        assert!(present);
        let first = scene.message(client);
        assert!(first.payload == "0" && first.qos == QoS::AtLeastOnce && !first.dup);
        let second = scene.message(client);
        assert!(second.payload == "2" && second.qos == QoS::ExactlyOnce && !second.dup);
        assert_eq!(scene.next(client), None);
    }
}

#[test]
fn a_clean_start_forgets_session_and_subscriptions_mqtt_3_1_2_4() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let (client, _) = scene.join(connect_persistent(version, "c"));
        scene.subscribe(client, "t", QoS::AtLeastOnce);
        leave(&mut scene, client);
        let (client, present) = scene.join(connect(version, "c"));
        assert!(!present);
        scene.publish(client, publish("t", "x", QoS::AtLeastOnce));
        assert_eq!(scene.next(client), None);
        leave(&mut scene, client);
        let (_, present) = scene.join(connect_persistent(version, "c"));
        assert!(!present);
    }
}

#[test]
fn unacknowledged_messages_come_again_with_dup_in_order_mqtt_4_4_0_1_and_4_6_0_1() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let publisher = scene.client(version, "publisher");
        let (client, _) = scene.join(connect_persistent(version, "c"));
        scene.subscribe(client, "t", QoS::ExactlyOnce);
        for number in 0..6 {
            let qos = if number % 2 == 0 {
                QoS::AtLeastOnce
            } else {
                QoS::ExactlyOnce
            };
            scene.publish(publisher, publish("t", &number.to_string(), qos));
        }
        let sent: Vec<_> = (0..6).map(|_| scene.message(client)).collect();
        scene.send(
            client,
            &Packet::PubAck(Ack::success(sent[2].packet_id.unwrap())),
        );
        scene.cut(client);
        scene.publish(publisher, publish("t", "6", QoS::AtLeastOnce));

        let (client, present) = scene.join(connect_persistent(version, "c"));
        assert!(present);
        for number in [0, 1, 3, 4, 5] {
            let again = scene.message(client);
            assert!(again.dup);
            assert_eq!(again.packet_id, sent[number].packet_id);
            assert_eq!(again.payload, sent[number].payload);
        }
        let new = scene.message(client);
        assert!(!new.dup && new.payload == "6");
        assert_eq!(scene.next(client), None);
    }
}

#[test]
fn pubrels_come_again_in_the_order_of_the_pubrecs_mqtt_4_4_0_1_and_4_6_0_4() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    let (client, _) = scene.join(connect_persistent(ProtocolVersion::V5, "c"));
    scene.subscribe(client, "t", QoS::ExactlyOnce);
    for number in 0..3 {
        scene.publish(
            publisher,
            publish("t", &number.to_string(), QoS::ExactlyOnce),
        );
    }
    let ids: Vec<_> = (0..3)
        .map(|_| scene.message(client).packet_id.unwrap())
        .collect();
    for index in [2, 0] {
        scene.send(client, &Packet::PubRec(Ack::success(ids[index])));
        assert_eq!(
            scene.next(client),
            Some(Packet::PubRel(Ack::success(ids[index])))
        );
    }
    scene.cut(client);

    let (client, _) = scene.join(connect_persistent(ProtocolVersion::V5, "c"));
    assert_eq!(
        scene.next(client),
        Some(Packet::PubRel(Ack::success(ids[2])))
    );
    assert_eq!(
        scene.next(client),
        Some(Packet::PubRel(Ack::success(ids[0])))
    );
    let again = scene.message(client);
    assert!(again.dup && again.packet_id == Some(ids[1]));
    for id in [ids[2], ids[0]] {
        scene.send(client, &Packet::PubComp(Ack::success(id)));
    }
    assert_eq!(scene.next(client), None);
}

#[test]
fn a_smaller_receive_maximum_also_holds_for_what_comes_again_mqtt_3_3_4_9() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    let (client, _) = scene.join(connect_persistent(ProtocolVersion::V5, "c"));
    scene.subscribe(client, "t", QoS::AtLeastOnce);
    for number in 0..4 {
        scene.publish(
            publisher,
            publish("t", &number.to_string(), QoS::AtLeastOnce),
        );
    }
    scene.cut(client);
    let mut narrow = connect_persistent(ProtocolVersion::V5, "c");
    narrow.properties.receive_maximum = Some(1.try_into().unwrap());
    let (client, _) = scene.join(narrow);
    for number in 0..4 {
        let message = scene.message(client);
        assert_eq!(message.payload, number.to_string());
        assert_eq!(scene.next(client), None);
        scene.send(
            client,
            &Packet::PubAck(Ack::success(message.packet_id.unwrap())),
        );
    }
}

#[test]
fn a_qos_2_publish_repeated_on_the_next_connection_is_routed_once_mqtt_4_3_3_10() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let subscriber = scene.client(version, "subscriber");
        scene.subscribe(subscriber, "t", QoS::AtMostOnce);
        let (client, _) = scene.join(connect_persistent(version, "c"));
        let mut message = publish("t", "x", QoS::ExactlyOnce);
        scene.send(client, &Packet::Publish(message.clone()));
        scene.cut(client);
        let (client, _) = scene.join(connect_persistent(version, "c"));
        message.dup = true;
        scene.publish(client, message);
        assert_eq!(scene.payloads(subscriber), ["x"]);
    }
}

#[test]
fn taking_over_a_session_keeps_it_mqtt_3_1_4_3() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let publisher = scene.client(version, "publisher");
        let (old, _) = scene.join(connect_persistent(version, "c"));
        scene.subscribe(old, "t", QoS::AtLeastOnce);
        scene.publish(publisher, publish("t", "x", QoS::AtLeastOnce));
        let (new, present) = scene.join(connect_persistent(version, "c"));
        assert!(present);
        assert!(scene.is_closed(old));
        let again = scene.message(new);
        assert!(again.dup && again.payload == "x");
        assert_eq!(scene.next(new), None);
    }
}

#[test]
fn a_session_ends_when_its_expiry_interval_is_over_mqtt_3_1_2_23() {
    for (wait, expected) in [(3599, true), (3600, false)] {
        let mut scene = Scene::new();
        let (client, _) = scene.join(connect_persistent(ProtocolVersion::V5, "c"));
        scene.pass(Duration::from_secs(100_000)); // does not count while connected
        scene.cut(client);
        scene.pass(Duration::from_secs(wait));
        assert_eq!(scene.broker.stats().sessions, usize::from(expected));
        let (_, present) = scene.join(connect_persistent(ProtocolVersion::V5, "c"));
        assert_eq!(present, expected);
    }
}

#[test]
fn a_session_with_the_largest_interval_and_one_of_3_x_never_expire_3_1_2_11_2() {
    let mut scene = Scene::new();
    let mut forever = connect_persistent(ProtocolVersion::V5, "c");
    forever.properties.session_expiry_interval = Some(u32::MAX);
    let (client, _) = scene.join(forever.clone());
    scene.cut(client);
    let (old, _) = scene.join(connect_persistent(ProtocolVersion::V311, "old"));
    scene.cut(old);
    scene.pass(Duration::from_secs(20 * 365 * 24 * 3600));
    assert!(scene.join(forever).1);
    assert!(
        scene
            .join(connect_persistent(ProtocolVersion::V311, "old"))
            .1
    );
}

#[test]
fn disconnect_may_change_the_expiry_interval_but_not_from_0_mqtt_3_14_2_2() {
    let mut scene = Scene::new();
    let (client, _) = scene.join(connect_persistent(ProtocolVersion::V5, "c"));
    let mut end = Disconnect::normal();
    end.properties.session_expiry_interval = Some(0);
    scene.send(client, &Packet::Disconnect(Box::new(end.clone())));
    assert_eq!(scene.broker.stats().sessions, 0);

    let client = scene.client(ProtocolVersion::V5, "c");
    end.properties.session_expiry_interval = Some(1);
    scene.send(client, &Packet::Disconnect(Box::new(end)));
    let Some(Packet::Disconnect(answer)) = scene.next(client) else {
        panic!("DISCONNECT expected");
    };
    assert_eq!(
        answer.reason,
        ferromqtt_proto::packet::ReasonCode::ProtocolError
    );
    assert!(scene.is_closed(client));
}

#[test]
fn a_full_queue_drops_the_newest_and_counts_it() {
    let mut scene = Scene::with(|options| options.maximum_queued_messages = 2);
    let publisher = scene.client(ProtocolVersion::V311, "publisher");
    let (client, _) = scene.join(connect_persistent(ProtocolVersion::V311, "c"));
    scene.subscribe(client, "t", QoS::AtLeastOnce);
    scene.cut(client);
    for number in 0..4 {
        scene.publish(
            publisher,
            publish("t", &number.to_string(), QoS::AtLeastOnce),
        );
    }
    assert_eq!(scene.broker.stats().dropped, 2);
    let away = scene.broker.session_stats("c").unwrap();
    assert!(!away.connected);
    assert_eq!((away.queued, away.in_flight, away.dropped), (2, 0, 2));
    let (client, _) = scene.join(connect_persistent(ProtocolVersion::V311, "c"));
    assert_eq!(scene.payloads(client), ["0", "1"]);
    let back = scene.broker.session_stats("c").unwrap();
    assert!(back.connected);
    assert_eq!((back.queued, back.in_flight, back.dropped), (0, 2, 2));
    assert_eq!(scene.broker.session_stats("nobody"), None);
}

#[test]
fn an_acknowledgement_of_an_earlier_connection_frees_no_room_twice() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V5, "publisher");
    let mut narrow = connect_persistent(ProtocolVersion::V5, "c");
    narrow.properties.receive_maximum = Some(1.try_into().unwrap());
    let (client, _) = scene.join(narrow.clone());
    scene.subscribe(client, "t", QoS::AtLeastOnce);
    for number in 0..3 {
        scene.publish(
            publisher,
            publish("t", &number.to_string(), QoS::AtLeastOnce),
        );
    }
    assert_eq!(scene.message(client).packet_id, Some(packet_id(1)));
    scene.cut(client);
    let (client, _) = scene.join(narrow);
    assert_eq!(scene.message(client).packet_id, Some(packet_id(1)));
    for _ in 0..2 {
        scene.send(client, &Packet::PubAck(Ack::success(packet_id(1))));
    }
    assert_eq!(scene.payloads(client), ["1"]);
}
