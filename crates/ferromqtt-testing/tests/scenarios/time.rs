//! Keep Alive, wills, and what expires (sections 3.1.2.10, 3.1.2.5, 3.3.2.3.3), all in virtual time.

use std::time::Duration;

use bytes::BytesMut;
use ferromqtt_proto::packet::{Disconnect, Packet, Properties, ProtocolVersion, QoS, ReasonCode};

use crate::scene::{Scene, VERSIONS, connect, connect_persistent, publish, retained, will};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn silence_of_one_and_a_half_keep_alives_closes_and_publishes_the_will_mqtt_3_1_2_22() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let watcher = scene.client(version, "watcher");
        scene.subscribe(watcher, "will", QoS::AtMostOnce);
        let mut alive = connect(version, "c");
        alive.keep_alive = 10;
        alive.will = Some(will("will", "gone"));
        let (client, _) = scene.join(alive);

        scene.pass(14 * SECOND);
        scene.send(client, &Packet::PingReq);
        assert_eq!(scene.next(client), Some(Packet::PingResp));
        scene.pass(15 * SECOND - Duration::from_millis(1));
        assert!(!scene.is_closed(client));
        scene.pass(Duration::from_millis(1));
        match scene.next(client) {
            Some(Packet::Disconnect(disconnect)) if version.is_v5() => {
                assert_eq!(disconnect.reason, ReasonCode::KeepAliveTimeout);
            }
            other => assert!(other.is_none() && !version.is_v5(), "{other:?}"),
        }
        assert!(scene.is_closed(client));
        assert_eq!(scene.payloads(watcher), ["gone"]);
    }
}

/// A client cannot send PINGREQ in the middle of a large PUBLISH: while that moves, there is no silence.
#[test]
fn a_packet_that_still_arrives_is_no_silence_while_it_moves_mqtt_3_1_2_22() {
    for (bytes_per_second, lives) in [(100, true), (60, false)] {
        let mut scene = Scene::new();
        let mut slow = connect(ProtocolVersion::V5, "c");
        slow.keep_alive = 10;
        let (client, _) = scene.join(slow);
        let mut input = BytesMut::from(&b"\x30\xff\xff\x7f"[..]);
        for _ in 0..60 {
            scene.pass(SECOND);
            input.resize(input.len() + bytes_per_second, 0);
            scene.feed(client, &mut input);
        }
        assert_eq!(scene.is_closed(client), !lives, "{bytes_per_second}");
    }
}

#[test]
fn keep_alive_0_waits_for_ever_mqtt_3_1_2_10() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V311, "c");
    assert_eq!(scene.broker.poll_timeout(), None);
    scene.pass(1_000_000 * SECOND);
    assert!(!scene.is_closed(client));
}

#[test]
fn a_connection_without_connect_is_closed_in_time_mqtt_3_1_4() {
    let mut scene = Scene::new();
    let client = scene.open(ProtocolVersion::V311);
    scene.send_bytes(client, b"\x10");
    scene.pass(10 * SECOND - Duration::from_millis(1));
    assert!(!scene.is_closed(client));
    scene.pass(Duration::from_millis(1));
    assert!(scene.is_closed(client));
    assert_eq!(scene.broker.stats().connections, 0);
}

#[test]
fn a_normal_disconnect_drops_the_will_and_any_other_end_publishes_it_mqtt_3_1_2_8_and_3_14_4_3() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let watcher = scene.client(version, "watcher");
        scene.subscribe(watcher, "will", QoS::AtMostOnce);
        let mut connect = connect(version, "c");
        connect.will = Some(will("will", "x"));

        let (client, _) = scene.join(connect.clone());
        scene.send(client, &Packet::Disconnect(Box::new(Disconnect::normal())));
        scene.cut(client);
        assert_eq!(scene.payloads(watcher), [""; 0]);

        let (client, _) = scene.join(connect.clone());
        scene.cut(client);
        assert_eq!(scene.payloads(watcher), ["x"]);

        let (client, _) = scene.join(connect.clone());
        scene.send_bytes(client, b"\x00\x00");
        assert_eq!(scene.payloads(watcher), ["x"]);

        scene.join(connect.clone());
        scene.join(connect.clone()); // takes over
        assert_eq!(scene.payloads(watcher), ["x"]);

        if version.is_v5() {
            let (client, _) = scene.join(connect);
            scene.payloads(watcher);
            let disconnect = Disconnect::because(ReasonCode::DisconnectWithWill);
            scene.send(client, &Packet::Disconnect(Box::new(disconnect)));
            assert_eq!(scene.payloads(watcher), ["x"]);
        }
    }
}

#[test]
fn a_will_can_be_retained_mqtt_3_1_2_15() {
    let mut scene = Scene::new();
    let mut connect = connect(ProtocolVersion::V311, "c");
    let mut status = will("status", "offline");
    status.retain = true;
    status.qos = QoS::AtLeastOnce;
    connect.will = Some(status);
    let (client, _) = scene.join(connect);
    scene.cut(client);
    let watcher = scene.client(ProtocolVersion::V311, "watcher");
    scene.subscribe(watcher, "status", QoS::ExactlyOnce);
    let message = scene.message(watcher);
    assert!(message.retain && message.qos == QoS::AtLeastOnce && message.payload == "offline");
}

#[test]
fn a_will_waits_for_its_delay_or_the_end_of_the_session_mqtt_3_1_3_9() {
    for (session_expiry, expected_after) in [(100, 30), (20, 20), (0, 0)] {
        let mut scene = Scene::new();
        let watcher = scene.client(ProtocolVersion::V5, "watcher");
        scene.subscribe(watcher, "will", QoS::AtMostOnce);
        let mut connect = connect(ProtocolVersion::V5, "c");
        connect.properties.session_expiry_interval = Some(session_expiry);
        let mut delayed = will("will", "x");
        delayed.properties.will_delay_interval = Some(30);
        connect.will = Some(delayed);
        let (client, _) = scene.join(connect);
        scene.cut(client);
        if expected_after > 0 {
            scene.pass(SECOND * (expected_after - 1));
            assert_eq!(scene.payloads(watcher), [""; 0]);
            scene.pass(SECOND);
        }
        assert_eq!(scene.payloads(watcher), ["x"]);
        scene.pass(1000 * SECOND);
        assert_eq!(scene.payloads(watcher), [""; 0], "once");
    }
}

#[test]
fn coming_back_in_time_cancels_a_delayed_will_mqtt_3_1_3_9() {
    let mut scene = Scene::new();
    let watcher = scene.client(ProtocolVersion::V5, "watcher");
    scene.subscribe(watcher, "will", QoS::AtMostOnce);
    let mut connect = connect_persistent(ProtocolVersion::V5, "c");
    let mut delayed = will("will", "x");
    delayed.properties.will_delay_interval = Some(30);
    connect.will = Some(delayed);
    let (client, _) = scene.join(connect.clone());
    scene.cut(client);
    scene.pass(29 * SECOND);
    scene.join(connect);
    scene.pass(1000 * SECOND);
    assert_eq!(scene.payloads(watcher), [""; 0]);
}

#[test]
fn messages_expire_in_queue_and_store_and_tell_the_time_left_mqtt_3_3_2_5_and_3_3_2_6() {
    for (wait, left) in [(4, Some(6)), (10, None)] {
        let mut scene = Scene::new();
        let publisher = scene.client(ProtocolVersion::V5, "publisher");
        let (client, _) = scene.join(connect_persistent(ProtocolVersion::V5, "c"));
        scene.subscribe(client, "t", QoS::AtLeastOnce);
        scene.cut(client);
        let properties = Properties {
            message_expiry_interval: Some(10),
            ..Properties::default()
        };
        let mut queued = publish("t", "x", QoS::AtLeastOnce);
        queued.properties = Some(Box::new(properties.clone()));
        let mut stored = retained("stored", "x", QoS::AtMostOnce);
        stored.properties = Some(Box::new(properties));
        scene.publish(publisher, queued);
        scene.publish(publisher, stored);

        scene.pass(wait * SECOND);
        let (client, _) = scene.join(connect_persistent(ProtocolVersion::V5, "c"));
        let interval = |packet| match packet {
            Some(Packet::Publish(publish)) => {
                publish.properties.and_then(|p| p.message_expiry_interval)
            }
            _ => None,
        };
        assert_eq!(interval(scene.next(client)), left);
        scene.subscribe(client, "stored", QoS::AtMostOnce);
        assert_eq!(interval(scene.next(client)), left);
    }
}
