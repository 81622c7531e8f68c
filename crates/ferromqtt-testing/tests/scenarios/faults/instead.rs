//! What happens in place of a packet: the end of its link, an answer, other bytes.

use bytes::Bytes;
use ferromqtt_proto::Properties;
use ferromqtt_proto::packet::{
    Ack, Packet, PacketType, ProtocolVersion, QoS, ReasonCode, UnsubscribePacket,
};
use ferromqtt_testing::FaultRule;

use crate::scene::{Scene, VERSIONS, connect, connect_persistent, packet_id, publish, text, will};

use super::{V5, V311, add, pair, qos0, qos1};

#[test]
fn a_cut_ends_the_link_behind_before_or_inside_of_a_packet() {
    for (rule, arrives) in [
        (
            FaultRule::sends(PacketType::PubAck).cut(),
            &b"\x40\x02\x00\x4d"[..],
        ),
        (FaultRule::sends(PacketType::PubAck).cut_before(), b""),
        (
            FaultRule::sends(PacketType::PubAck).cut_after_bytes(3),
            b"\x40\x02\x00",
        ),
        (FaultRule::sends(PacketType::PubAck).lose().cut(), b""),
    ] {
        let mut scene = Scene::new();
        let (watcher, _) = scene.join(connect(V311, "watcher"));
        scene.subscribe(watcher, "will", QoS::AtMostOnce);
        let mut mortal = connect(V311, "mortal");
        mortal.will = Some(will("will", "gone"));
        let (client, _) = scene.join(mortal);
        add(&mut scene, rule);
        scene.send(client, &qos1("x"));
        assert_eq!(scene.bytes(client), arrives);
        assert!(scene.is_closed(client));
        assert_eq!(scene.payloads(watcher), ["gone"]);
        assert_eq!(scene.broker.stats().connections, 1);
    }
}

#[test]
fn a_cut_of_what_the_broker_receives_shows_it_as_much() {
    for (rule, published) in [
        (FaultRule::receives(PacketType::Publish).cut(), &["x"][..]),
        (FaultRule::receives(PacketType::Publish).cut_before(), &[]),
        (
            FaultRule::receives(PacketType::Publish).cut_after_bytes(5),
            &[],
        ),
    ] {
        let mut scene = Scene::new();
        let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
        add(&mut scene, rule);
        scene.send(writer, &qos1("x"));
        assert!(scene.is_closed(writer));
        assert_eq!(scene.payloads(reader), published);
    }
}

#[test]
fn a_reset_is_told_to_the_host() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    add(
        &mut scene,
        FaultRule::receives(PacketType::PingReq).cut().reset(),
    );
    scene.send(client, &Packet::PingReq);
    assert!(scene.is_closed(client));
    assert!(scene.broker.closes_by_reset(client.id));
}

#[test]
fn a_refused_packet_is_answered_in_the_words_of_its_version() {
    let reason = ReasonCode::NotAuthorized;
    for version in VERSIONS {
        let v5 = version == V5;
        let mut scene = Scene::new();
        add(
            &mut scene,
            FaultRule::receives(PacketType::Connect).refuse_with(reason, "no"),
        );
        let (peer, connack) = scene.connect(connect(version, "c"));
        assert_eq!(connack.reason, reason);
        let told = connack.properties.reason_string;
        assert_eq!(told, v5.then(|| text("no")));
        assert!(scene.is_closed(peer));

        let client = scene.client(version, "c");
        add(
            &mut scene,
            FaultRule::receives(PacketType::Subscribe)
                .topic("secret/#")
                .refuse(reason),
        );
        if version != ProtocolVersion::V31 {
            assert_eq!(
                scene.subscribe(client, "open", QoS::AtLeastOnce),
                ReasonCode::GrantedQos1
            );
            let refused = scene.subscribe(client, "secret/#", QoS::AtLeastOnce);
            assert_eq!(
                refused,
                if v5 {
                    reason
                } else {
                    ReasonCode::UnspecifiedError
                }
            );
        }
        add(
            &mut scene,
            FaultRule::receives(PacketType::Publish).refuse(reason),
        );
        scene.send(client, &qos1("x"));
        if v5 {
            let ack = Ack::new(packet_id(77), reason);
            assert_eq!(scene.next(client), Some(Packet::PubAck(ack)));
        } else {
            assert!(scene.is_closed(client));
        }
    }
}

#[test]
fn every_packet_that_can_be_refused_gets_its_own_answer() {
    let mut scene = Scene::new();
    let (reader, client) = pair(&mut scene, V5, QoS::ExactlyOnce);
    let refused = ReasonCode::NotAuthorized;
    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish)
            .qos(QoS::ExactlyOnce)
            .refuse(refused),
    );
    scene.send(
        client,
        &Packet::Publish(publish("t", "x", QoS::ExactlyOnce)),
    );
    let pubrec = Packet::PubRec(Ack::new(packet_id(77), refused));
    assert_eq!(scene.next(client), Some(pubrec));

    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish)
            .qos(QoS::AtMostOnce)
            .refuse(refused),
    );
    scene.send(client, &qos0("t", "lost"));
    assert_eq!(scene.next(client), None);
    assert_eq!(scene.payloads(reader), [""; 0]);

    let unknown = ReasonCode::PacketIdentifierNotFound;
    add(
        &mut scene,
        FaultRule::receives(PacketType::PubRel).refuse(unknown),
    );
    scene.send(client, &Packet::PubRel(Ack::success(packet_id(9))));
    let pubcomp = Packet::PubComp(Ack::new(packet_id(9), unknown));
    assert_eq!(scene.next(client), Some(pubcomp));

    add(
        &mut scene,
        FaultRule::receives(PacketType::Unsubscribe)
            .topic("a")
            .refuse(refused),
    );
    let unsubscribe = UnsubscribePacket {
        packet_id: packet_id(4),
        properties: Properties::default(),
        filters: [text("a"), text("b")].into_iter().collect(),
    };
    scene.send(client, &Packet::Unsubscribe(Box::new(unsubscribe)));
    match scene.next(client) {
        Some(Packet::UnsubAck(unsuback)) => assert_eq!(unsuback.reasons, [refused, refused]),
        other => panic!("UNSUBACK expected, got {other:?}"),
    }
}

#[test]
fn bytes_garbage_and_a_part_take_the_place_of_a_packet() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    add(
        &mut scene,
        FaultRule::sends(PacketType::PingResp).replace(&b"\x00\x01"[..]),
    );
    add(
        &mut scene,
        FaultRule::sends(PacketType::PingResp).garbage(9),
    );
    add(
        &mut scene,
        FaultRule::sends(PacketType::PingResp).truncate(1),
    );
    let answer = |scene: &mut Scene| {
        scene.send(client, &Packet::PingReq);
        scene.bytes(client)
    };
    assert_eq!(answer(&mut scene), b"\x00\x01");
    let garbage = answer(&mut scene);
    assert_eq!(garbage.len(), 9);
    assert_eq!(answer(&mut scene), b"\xd0");
    assert_eq!(answer(&mut scene), b"\xd0\x00");

    let mut other = Scene::new();
    let peer = other.client(V5, "c");
    other.broker.set_fault_seed(1);
    add(
        &mut other,
        FaultRule::sends(PacketType::PingResp).garbage(9),
    );
    other.send(peer, &Packet::PingReq);
    assert_ne!(other.bytes(peer), garbage, "another seed");
}

#[test]
fn malformed_input_ends_the_connection_as_the_standard_says() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    add(
        &mut scene,
        FaultRule::receives(PacketType::PingReq).replace(Bytes::from_static(b"\x00\x00")),
    );
    scene.send(client, &Packet::PingReq);
    scene.expect_end(client, ReasonCode::MalformedPacket);
}

#[test]
fn a_disconnect_stands_in_for_a_packet_of_either_side() {
    let reason = ReasonCode::ServerShuttingDown;
    for rule in [
        FaultRule::receives(PacketType::PingReq).disconnect(reason),
        FaultRule::sends(PacketType::PingResp).disconnect(reason),
    ] {
        for version in VERSIONS {
            let mut scene = Scene::new();
            let client = scene.client(version, "c");
            add(&mut scene, rule.clone());
            scene.send(client, &Packet::PingReq);
            scene.expect_end(client, reason);
        }
    }
}

#[test]
fn what_was_lost_with_its_link_is_sent_again_on_the_next() {
    let mut scene = Scene::new();
    let (reader, _) = scene.join(connect_persistent(V5, "reader"));
    scene.subscribe(reader, "t", QoS::AtLeastOnce);
    add(
        &mut scene,
        FaultRule::sends(PacketType::Publish).lose().cut(),
    );
    let writer = scene.client(V5, "writer");
    scene.send(writer, &qos1("x"));
    assert!(scene.is_closed(reader));
    let (reader, present) = scene.join(connect_persistent(V5, "reader"));
    assert!(present);
    let again = scene.message(reader);
    assert!(again.dup);
}
