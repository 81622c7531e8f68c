//! Packets that come twice, later, or in another order.

use std::time::Duration;

use ferromqtt_proto::packet::{Disconnect, Packet, PacketType, QoS, ReasonCode};
use ferromqtt_testing::FaultRule;

use crate::scene::{Scene, connect};

use super::{SECOND, V5, V311, add, pair, puback, qos0, qos1};

#[test]
fn a_duplicate_has_dup_and_comes_at_once_or_later() {
    let mut scene = Scene::new();
    let (reader, writer) = pair(&mut scene, V5, QoS::AtLeastOnce);
    add(
        &mut scene,
        FaultRule::sends(PacketType::Publish).duplicate(),
    );
    let rule = FaultRule::receives(PacketType::Publish).nth(2);
    add(&mut scene, rule.duplicate_after(SECOND, false));
    scene.send(writer, &qos1("1"));
    let dups = [scene.message(reader).dup, scene.message(reader).dup];
    assert_eq!(dups, [false, true]);
    scene.send(writer, &qos1("2"));
    assert_eq!(scene.payloads(reader), ["2"]);
    scene.pass(SECOND);
    let again = scene.message(reader);
    assert_eq!((&again.payload[..], again.dup), (&b"2"[..], false));
}

#[test]
fn a_delayed_packet_keeps_its_place_among_its_own_and_others_go_by() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    add(
        &mut scene,
        FaultRule::sends(PacketType::PubAck).delay(3 * SECOND),
    );
    for packet in [qos1("1"), qos1("2"), Packet::PingReq] {
        scene.send(client, &packet);
    }
    assert_eq!(scene.next(client), Some(Packet::PingResp));
    assert_eq!(scene.next(client), None);
    scene.pass(3 * SECOND - Duration::from_millis(1));
    assert_eq!(scene.next(client), None);
    scene.pass(Duration::from_millis(1));
    assert!(matches!(scene.next(client), Some(Packet::PubAck(_))));
    assert!(matches!(scene.next(client), Some(Packet::PubAck(_))));
}

#[test]
fn nothing_overtakes_a_delayed_connect_or_connack() {
    for rule in [
        FaultRule::sends(PacketType::ConnAck).delay(SECOND),
        FaultRule::receives(PacketType::Connect).delay(SECOND),
    ] {
        let mut scene = Scene::new();
        add(&mut scene, rule);
        let client = scene.open(V5);
        scene.send(client, &Packet::Connect(Box::new(connect(V5, "c"))));
        scene.send(client, &Packet::PingReq);
        assert_eq!(scene.next(client), None);
        scene.pass(SECOND);
        assert!(matches!(scene.next(client), Some(Packet::ConnAck(_))));
        assert_eq!(scene.next(client), Some(Packet::PingResp));
    }
}

#[test]
fn a_message_that_is_late_still_arrives_before_the_end_of_its_client() {
    let mut scene = Scene::new();
    let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish).delay(SECOND),
    );
    scene.send(writer, &qos0("t", "late"));
    scene.send(writer, &Packet::Disconnect(Box::new(Disconnect::normal())));
    scene.cut(writer);
    assert_eq!(scene.payloads(reader), [""; 0]);
    scene.pass(SECOND);
    assert_eq!(scene.payloads(reader), ["late"]);
    assert_eq!(scene.broker.stats().connections, 1);
}

#[test]
fn a_held_packet_waits_until_it_is_released() {
    let mut scene = Scene::new();
    let client = scene.client(V311, "c");
    let rule = add(&mut scene, FaultRule::sends(PacketType::PubAck).hold());
    scene.send(client, &qos1("1"));
    scene.pass(1000 * SECOND);
    assert_eq!(scene.next(client), None);
    assert!(!scene.broker.is_idle());
    assert_eq!(scene.broker.release_fault(scene.now, rule), 1);
    assert_eq!(scene.next(client), puback());
    assert!(scene.broker.is_idle());
    assert_eq!(scene.broker.release_fault(scene.now, rule), 0);
    assert_eq!(scene.broker.fault_fired(rule), Some(1));
    assert!(scene.broker.remove_fault(scene.now, rule));
    assert!(!scene.broker.remove_fault(scene.now, rule));
    assert_eq!(scene.broker.faults().count(), 0);
}

#[test]
fn what_is_held_ends_with_its_link() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    add(&mut scene, FaultRule::sends(PacketType::PubAck).hold());
    scene.send(client, &qos1("1"));
    let reason = ReasonCode::AdministrativeAction;
    assert!(
        scene
            .broker
            .disconnect_client(scene.now, "c", reason, None)
            .unwrap()
    );
    scene.expect_end(client, reason);
}

#[test]
fn a_reordered_packet_is_overtaken_by_the_next_of_its_type() {
    let mut scene = Scene::new();
    let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish).reorder(2),
    );
    scene.send(writer, &qos0("t", "1"));
    scene.send(writer, &Packet::PingReq);
    for payload in ["2", "3", "4"] {
        scene.send(writer, &qos0("t", payload));
    }
    assert_eq!(scene.payloads(reader), ["2", "3", "1", "4"]);
}

#[test]
fn beyond_the_bound_the_oldest_of_what_is_held_goes_on() {
    let mut scene = Scene::with(|options| options.maximum_postponed = 1_000);
    let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish).always().hold(),
    );
    for number in 0..100 {
        scene.send(writer, &qos0("t", &number.to_string()));
    }
    let through = scene.payloads(reader);
    assert_eq!(through.len(), 100 - 1_000 / (128 + 7));
    assert_eq!(through[0], "0");
}
