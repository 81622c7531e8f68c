//! Faults of a link and of the whole broker, asked for here and now.

use std::num::NonZeroU32;
use std::time::Duration;

use ferromqtt_proto::packet::{Packet, ProtocolVersion, QoS, ReasonCode};
use ferromqtt_testing::{BrokerSide, RestartKeeps};

use crate::scene::{Scene, connect, connect_persistent, publish, retained, will};

const V5: ProtocolVersion = ProtocolVersion::V5;
const SECOND: Duration = Duration::from_secs(1);

fn qos0(payload: &str) -> Packet {
    Packet::Publish(publish("t", payload, QoS::AtMostOnce))
}

#[test]
fn a_link_that_is_cut_ends_on_both_sides() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    assert!(scene.broker.cut_link(scene.now, "c", false));
    assert!(scene.is_closed(client));
    assert!(!scene.broker.closes_by_reset(client.id));
    assert_eq!(scene.broker.stats().connections, 0);
    assert!(!scene.broker.cut_link(scene.now, "c", false), "it is gone");
    scene.send(client, &Packet::PingReq); // which a client may do that has not noticed
    scene.cut(client);
    assert_eq!(scene.next(client), None);
}

#[test]
fn a_half_open_link_passes_nothing_and_no_end_and_keep_alive_notices() {
    let mut scene = Scene::new();
    let mut sleepy = connect(V5, "c");
    sleepy.keep_alive = 10;
    let (client, _) = scene.join(sleepy);
    assert!(scene.broker.half_open_link(scene.now, "c"));
    scene.send(client, &Packet::PingReq);
    assert_eq!(scene.next(client), None);
    scene.pass(14 * SECOND);
    assert_eq!(scene.broker.stats().connections, 1);
    scene.pass(2 * SECOND);
    assert_eq!(scene.broker.stats().connections, 0);
    assert_eq!(scene.next(client), None, "not even DISCONNECT");
    assert!(!scene.is_closed(client));
}

#[test]
fn the_broker_does_not_see_that_the_client_of_a_half_open_link_has_gone() {
    let mut scene = Scene::new();
    let (client, _) = scene.join(connect_persistent(V5, "c"));
    scene.subscribe(client, "t", QoS::AtLeastOnce);
    scene.broker.half_open_link(scene.now, "c");
    scene.cut(client);
    assert!(scene.broker.session_stats("c").unwrap().connected);
    let writer = scene.client(V5, "writer");
    scene.publish(writer, publish("t", "x", QoS::AtLeastOnce));
    assert_eq!(scene.broker.session_stats("c").unwrap().in_flight, 1);
    let (client, present) = scene.join(connect_persistent(V5, "c"));
    assert!(present);
    assert!(scene.message(client).dup, "it was sent into the void");
}

#[test]
fn a_stalled_direction_holds_back_and_loses_nothing() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    assert!(
        scene
            .broker
            .stall_link(scene.now, "c", BrokerSide::Sends, true)
    );
    scene.send(client, &Packet::PingReq);
    assert_eq!(scene.next(client), None);
    scene
        .broker
        .stall_link(scene.now, "c", BrokerSide::Sends, false);
    assert_eq!(scene.next(client), Some(Packet::PingResp));

    scene
        .broker
        .stall_link(scene.now, "c", BrokerSide::Receives, true);
    assert!(scene.broker.input_paused(client.id));
    scene.send(client, &Packet::PingReq);
    assert_eq!(scene.next(client), None);
    scene
        .broker
        .stall_link(scene.now, "c", BrokerSide::Receives, false);
    assert!(!scene.broker.input_paused(client.id));
    assert_eq!(scene.next(client), Some(Packet::PingResp));
}

#[test]
fn bytes_arrive_at_the_rate_of_the_link() {
    let mut scene = Scene::new();
    let reader = scene.client(V5, "reader");
    scene.subscribe(reader, "t", QoS::AtMostOnce);
    let writer = scene.client(V5, "writer");
    assert!(
        scene
            .broker
            .limit_link(scene.now, "reader", NonZeroU32::new(100))
    );
    scene.send(writer, &qos0(&"x".repeat(94))); // 100 bytes as a packet
    scene.pass(SECOND / 2);
    assert_eq!(scene.bytes(reader).len(), 50);
    scene.pass(SECOND / 2);
    assert_eq!(scene.bytes(reader).len(), 50);
    scene.broker.limit_link(scene.now, "reader", None);
    scene.send(writer, &qos0("y"));
    assert_eq!(scene.payloads(reader), ["y"]);
}

#[test]
fn a_client_that_leaves_is_gone_when_what_it_sent_has_arrived() {
    let mut scene = Scene::new();
    let reader = scene.client(V5, "reader");
    scene.subscribe(reader, "t", QoS::AtMostOnce);
    let writer = scene.client(V5, "writer");
    let (latency, jitter) = (SECOND, SECOND / 2);
    assert!(scene.broker.slow_link(scene.now, "writer", latency, jitter));
    for payload in ["1", "2", "3"] {
        scene.send(writer, &qos0(payload));
    }
    scene.cut(writer);
    assert_eq!(scene.payloads(reader), [""; 0]);
    scene.pass(SECOND / 2 - Duration::from_millis(1));
    assert_eq!(scene.payloads(reader), [""; 0]);
    assert_eq!(scene.broker.stats().connections, 2);
    scene.pass(SECOND + Duration::from_millis(1));
    assert_eq!(scene.payloads(reader), ["1", "2", "3"]);
    assert_eq!(scene.broker.stats().connections, 1);
}

#[test]
fn a_link_is_cut_in_the_middle_of_its_bytes() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    assert!(
        scene
            .broker
            .cut_link_after(scene.now, "c", BrokerSide::Sends, 3)
    );
    scene.send(client, &Packet::PingReq);
    scene.send(client, &Packet::PingReq);
    assert_eq!(scene.bytes(client), b"\xd0\x00\xd0");
    assert!(scene.is_closed(client));
}

#[test]
fn a_partition_stops_everything_until_it_heals() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    let leaver = scene.client(V5, "leaver");
    scene.broker.partition(scene.now, false);
    assert!(!scene.broker.is_reachable(scene.now));
    scene.send(client, &Packet::PingReq);
    scene.cut(leaver);
    assert_eq!(scene.next(client), None);
    assert_eq!(
        scene.broker.stats().connections,
        2,
        "the broker knows of no end"
    );
    let refused = scene.open(V5);
    assert!(scene.is_closed(refused));
    scene.broker.heal(scene.now);
    assert_eq!(scene.next(client), Some(Packet::PingResp));
    assert_eq!(scene.broker.stats().connections, 1);
    scene.client(V5, "another");
}

/// Each attempt of its client to connect would have left one behind.
#[test]
fn a_link_that_both_sides_have_left_during_a_partition_is_forgotten() {
    let mut scene = Scene::new();
    let mut sleepy = connect(V5, "c");
    sleepy.keep_alive = 10;
    let (client, _) = scene.join(sleepy);
    scene.broker.partition(scene.now, true);
    scene.send(client, &Packet::PingReq);
    assert!(scene.broker.postponed_bytes() > 0);
    scene.pass(30 * SECOND); // the broker closes it, which the client does not see
    assert_eq!(scene.broker.stats().connections, 0);
    scene.cut(client);
    assert_eq!(scene.broker.postponed_bytes(), 0);
    assert!(scene.broker.linked_clients().is_empty());
}

#[test]
fn a_connection_hangs_while_the_partition_says_so() {
    let mut scene = Scene::new();
    scene.broker.partition(scene.now, true);
    assert!(scene.broker.is_reachable(scene.now));
    let client = scene.open(V5);
    scene.send(client, &Packet::Connect(Box::new(connect(V5, "c"))));
    assert_eq!(scene.next(client), None);
    assert!(!scene.is_closed(client));
    scene.broker.heal(scene.now);
    assert!(matches!(scene.next(client), Some(Packet::ConnAck(_))));
}

#[test]
fn a_restart_keeps_what_it_is_to_keep_and_publishes_no_will() {
    for keeps in [RestartKeeps::ALL, RestartKeeps::default()] {
        let mut scene = Scene::new();
        let mut mortal = connect_persistent(V5, "c");
        mortal.will = Some(will("t", "will"));
        let (client, _) = scene.join(mortal.clone());
        scene.subscribe(client, "t", QoS::AtLeastOnce);
        let writer = scene.client(V5, "writer");
        scene.publish(writer, retained("kept", "x", QoS::AtLeastOnce));
        scene.broker.restart(scene.now, 5 * SECOND, keeps);
        assert!(scene.is_closed(client) && scene.is_closed(writer));
        let early = scene.open(V5);
        assert!(scene.is_closed(early));
        assert!(!scene.broker.is_reachable(scene.now));
        scene.pass(5 * SECOND);
        let (client, present) = scene.join(mortal);
        assert_eq!(present, keeps.sessions);
        assert_eq!(scene.next(client), None, "no will");
        assert_eq!(
            scene.broker.stats().retained_messages,
            usize::from(keeps.retained)
        );
        assert_eq!(scene.broker.stats().sessions, 1);
    }
}

#[test]
fn a_forgotten_session_is_not_there_when_its_client_comes_back() {
    let mut scene = Scene::new();
    let (client, _) = scene.join(connect_persistent(V5, "c"));
    assert!(scene.broker.forget_session(scene.now, "c"));
    assert!(scene.is_closed(client));
    let (_, present) = scene.join(connect_persistent(V5, "c"));
    assert!(!present);
    assert!(!scene.broker.forget_session(scene.now, "nobody"));
}

#[test]
fn a_client_that_is_taken_over_is_told_so() {
    let mut scene = Scene::new();
    let (client, _) = scene.join(connect_persistent(V5, "c"));
    assert!(scene.broker.take_over(scene.now, "c"));
    scene.expect_end(client, ReasonCode::SessionTakenOver);
    assert!(!scene.broker.take_over(scene.now, "c"));
    assert!(scene.broker.session_stats("c").is_some());
}

#[test]
fn the_will_of_a_killed_client_does_not_wait() {
    let mut scene = Scene::new();
    let watcher = scene.client(V5, "watcher");
    scene.subscribe(watcher, "will", QoS::AtMostOnce);
    for cut in [true, false] {
        let mut mortal = connect_persistent(V5, "c");
        let mut delayed = will("will", "gone");
        delayed.properties.will_delay_interval = Some(60);
        mortal.will = Some(delayed);
        let (client, _) = scene.join(mortal);
        if cut {
            assert!(scene.broker.cut_link(scene.now, "c", false));
            assert_eq!(scene.payloads(watcher), [""; 0]);
        } else {
            assert!(scene.broker.kill_client(scene.now, "c"));
            assert_eq!(scene.payloads(watcher), ["gone"]);
        }
        assert!(scene.is_closed(client));
    }
}

#[test]
fn packets_and_bytes_are_sent_that_a_right_broker_would_not_send() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    scene.send(client, &Packet::PingReq);
    assert!(scene.broker.send_packet(scene.now, "c", &Packet::PingResp));
    assert!(scene.broker.send_raw(scene.now, "c", (&b"\x00"[..]).into()));
    assert_eq!(scene.bytes(client), b"\xd0\x00\xd0\x00\x00");
    assert!(!scene.broker.send_packet(scene.now, "x", &Packet::PingResp));
    assert!(!scene.broker.send_raw(scene.now, "x", (&b"\x00"[..]).into()));
    assert_eq!(scene.broker.linked_clients(), ["c"]);
}

#[test]
fn the_broker_itself_publishes() {
    let mut scene = Scene::new();
    let reader = scene.client(V5, "reader");
    scene.subscribe(reader, "t", QoS::AtLeastOnce);
    scene
        .broker
        .publish(scene.now, publish("t", "x", QoS::AtLeastOnce));
    assert_eq!(scene.payloads(reader), ["x"]);
    assert!(!scene.broker.is_idle(), "it is in flight");
}

#[test]
fn a_will_is_published_when_its_link_is_cut() {
    let mut scene = Scene::new();
    let watcher = scene.client(V5, "watcher");
    scene.subscribe(watcher, "will", QoS::AtMostOnce);
    let mut mortal = connect(V5, "c");
    mortal.will = Some(will("will", "gone"));
    scene.join(mortal);
    scene.broker.cut_link(scene.now, "c", true);
    assert_eq!(scene.payloads(watcher), ["gone"]);
    assert!(scene.broker.is_idle());
}
