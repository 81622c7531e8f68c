//! Rules for faults: where x when x what.

use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::Properties;
use ferromqtt_proto::packet::{
    Ack, Disconnect, Packet, PacketType, ProtocolVersion, QoS, ReasonCode, TopicAlias,
    UnsubscribePacket,
};
use ferromqtt_testing::{BrokerSide, FaultError, FaultId, FaultRule, FaultTextError};

use crate::scene::{
    Peer, Scene, VERSIONS, connect, connect_persistent, packet_id, publish, text, will,
};

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;
const SECOND: Duration = Duration::from_secs(1);

fn add(scene: &mut Scene, rule: FaultRule) -> FaultId {
    scene
        .broker
        .add_fault(scene.now, rule)
        .expect("it makes sense")
}

/// A client that subscribes to everything, and one that publishes.
fn pair(scene: &mut Scene, version: ProtocolVersion, qos: QoS) -> (Peer, Peer) {
    let reader = scene.client(version, "reader");
    scene.subscribe(reader, "#", qos);
    (reader, scene.client(version, "writer"))
}

fn qos0(topic: &str, payload: &str) -> Packet {
    Packet::Publish(publish(topic, payload, QoS::AtMostOnce))
}

fn qos1(payload: &str) -> Packet {
    Packet::Publish(publish("t", payload, QoS::AtLeastOnce))
}

fn puback() -> Option<Packet> {
    Some(Packet::PubAck(Ack::success(packet_id(77))))
}

#[test]
fn a_lost_puback_never_comes_and_the_next_one_does() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        add(&mut scene, FaultRule::sends(PacketType::PubAck).lose());
        let client = scene.client(version, "c");
        scene.send(client, &qos1("x"));
        assert_eq!(scene.next(client), None);
        scene.send(client, &qos1("x"));
        assert!(matches!(scene.next(client), Some(Packet::PubAck(_))));
        assert!(scene.broker.unused_faults().is_empty());
    }
}

#[test]
fn a_lost_publish_never_reaches_the_broker() {
    let mut scene = Scene::new();
    let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish)
            .nth(2)
            .times(2)
            .lose(),
    );
    for payload in ["1", "2", "3", "4"] {
        scene.send(writer, &qos0("t", payload));
    }
    assert_eq!(scene.payloads(reader), ["1", "4"]);
}

#[test]
fn a_rule_is_narrowed_by_client_topic_qos_and_packet_identifier() {
    let rules = [
        FaultRule::receives(PacketType::Publish)
            .client("writer")
            .topic("a/+")
            .always()
            .lose(),
        FaultRule::receives(PacketType::Publish)
            .qos(QoS::AtMostOnce)
            .topic("a/b")
            .always()
            .lose(),
        FaultRule::sends(None)
            .client("reader")
            .topic("a/b")
            .always()
            .lose(),
    ];
    for rule in rules {
        let mut scene = Scene::new();
        let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
        add(&mut scene, rule);
        add(
            &mut scene,
            FaultRule::receives(PacketType::Publish)
                .client("nobody")
                .lose(),
        );
        scene.send(writer, &qos0("a/b", "lost"));
        scene.send(writer, &qos0("c", "arrives"));
        assert_eq!(scene.payloads(reader), ["arrives"]);
        assert_eq!(scene.broker.unused_faults().len(), 1);
    }
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    add(
        &mut scene,
        FaultRule::sends(PacketType::PubAck).packet_id(77).lose(),
    );
    add(
        &mut scene,
        FaultRule::sends(PacketType::PubAck).packet_id(78).lose(),
    );
    scene.send(client, &qos1("x"));
    assert_eq!(scene.next(client), None);
    let unused = scene.broker.unused_faults();
    assert_eq!(unused[0].to_string(), "sends PUBACK packet_id 78 lose");
}

#[test]
fn the_first_rule_whose_turn_it_is_fires_and_the_others_keep_theirs() {
    let mut scene = Scene::new();
    let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
    for _ in 0..2 {
        add(&mut scene, FaultRule::receives(PacketType::Publish).lose());
    }
    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish).nth(4).lose(),
    );
    for payload in ["1", "2", "3", "4", "5"] {
        scene.send(writer, &qos0("t", payload));
    }
    assert_eq!(scene.payloads(reader), ["3", "5"]);
}

#[test]
fn a_rule_that_begins_later_ignores_what_comes_before() {
    let mut scene = Scene::new();
    let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish)
            .after(SECOND)
            .lose(),
    );
    scene.send(writer, &qos0("t", "before"));
    scene.pass(SECOND);
    scene.send(writer, &qos0("t", "lost"));
    assert_eq!(scene.payloads(reader), ["before"]);
}

#[test]
fn the_seed_decides_about_probabilities() {
    let survivors = |seed| {
        let mut scene = Scene::new();
        let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
        scene.broker.set_fault_seed(seed);
        let rule = FaultRule::receives(PacketType::Publish).with_probability(0.5);
        add(&mut scene, rule.lose());
        for number in 0..200 {
            scene.send(writer, &qos0("t", &number.to_string()));
        }
        scene.payloads(reader)
    };
    let once = survivors(7);
    assert_eq!(once, survivors(7));
    assert_ne!(once, survivors(8));
    assert!((60..140).contains(&once.len()), "{}", once.len());
}

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
fn an_alias_whose_first_packet_was_lost_is_still_understood() {
    let aliased = |topic: &str, payload: &str| {
        let mut message = publish(topic, payload, QoS::AtMostOnce);
        message.properties = Some(Box::new(Properties {
            topic_alias: Some(TopicAlias(packet_id(1))),
            ..Properties::default()
        }));
        Packet::Publish(message)
    };
    let mut scene = Scene::with(|options| options.topic_alias_maximum = 1);
    let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
    add(
        &mut scene,
        FaultRule::receives(PacketType::Publish)
            .topic("some/topic")
            .lose(),
    );
    scene.send(writer, &aliased("some/topic", "lost"));
    scene.send(writer, &aliased("", "1"));
    scene.send(writer, &aliased("", "2"));
    assert_eq!(scene.payloads(reader), ["1", "2"]);
    assert!(!scene.is_closed(writer));
}

#[test]
fn rules_and_journal_see_links_that_were_open_before() {
    let mut scene = Scene::new();
    let (reader, writer) = pair(&mut scene, V5, QoS::AtMostOnce);
    let long = "x".repeat(10_000); // its payload is a chunk of its own
    scene
        .broker
        .handle_input(scene.now, writer.id, &mut encoded(&qos0("t", &long)));
    // The host has taken the first chunk when the rule is made.
    let first = scene.broker.poll_transmit(reader.id).unwrap();
    add(
        &mut scene,
        FaultRule::sends(PacketType::Publish)
            .client("reader")
            .lose(),
    );
    let rest = scene.broker.poll_transmit(reader.id).unwrap();
    assert_eq!(first.len() + rest.len(), 10_000 + 7);
    scene.send(writer, &qos0("t", "lost"));
    scene.send(writer, &qos0("t", "arrives"));
    assert_eq!(scene.payloads(reader), ["arrives"]);
}

fn encoded(packet: &Packet) -> bytes::BytesMut {
    let mut bytes = bytes::BytesMut::new();
    packet.encode(V5, &mut bytes);
    bytes
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

#[test]
fn a_rule_that_makes_no_sense_is_refused_in_words() {
    use PacketType::{ConnAck, PingReq, PubAck, Publish, Subscribe};
    let reason = ReasonCode::NotAuthorized;
    for (rule, words) in [
        (FaultRule::sends(PubAck), "needs an action"),
        (
            FaultRule::sends(PubAck).lose().delay(SECOND),
            "lose and delay 1s contradict",
        ),
        (
            FaultRule::sends(PubAck).hold().delay(SECOND),
            "hold and delay 1s contradict",
        ),
        (
            FaultRule::sends(PubAck).lose().truncate(1),
            "lose and truncate 1 contradict",
        ),
        (
            FaultRule::sends(PubAck).cut().cut_before(),
            "cut before and cut before contradict",
        ),
        (
            FaultRule::sends(PubAck)
                .disconnect(ReasonCode::ServerBusy)
                .cut(),
            "contradict",
        ),
        (
            FaultRule::receives(PingReq).refuse(reason),
            "cannot refuse PINGREQ",
        ),
        (
            FaultRule::receives(None).refuse(reason),
            "cannot refuse packets of any type",
        ),
        (
            FaultRule::sends(PubAck).refuse(reason),
            "cannot refuse what the broker sends",
        ),
        (
            FaultRule::receives(Publish).refuse(ReasonCode::Success),
            "PUBACK cannot carry Success",
        ),
        (
            FaultRule::receives(Subscribe).refuse(ReasonCode::Banned),
            "SUBACK cannot carry Banned",
        ),
        (FaultRule::sends(PubAck).disconnect(reason).nth(2), ""),
        (
            FaultRule::sends(Subscribe).lose(),
            "the broker never sends SUBSCRIBE",
        ),
        (
            FaultRule::receives(ConnAck).lose(),
            "the broker never receives CONNACK",
        ),
        (
            FaultRule::sends(PubAck).topic("a").lose(),
            "PUBACK has no topic",
        ),
        (FaultRule::sends(Publish).topic("a/#/b").lose(), "\"a/#/b\""),
        (
            FaultRule::sends(Publish).nth(0).lose(),
            "nth of a fault rule must be at least 1",
        ),
        (
            FaultRule::sends(Publish).with_probability(2.0).lose(),
            "from 0 to 1, not 2",
        ),
        (
            FaultRule::receives(Publish).refuse_with(reason, "a\0b"),
            "the text of refuse",
        ),
    ] {
        let mut scene = Scene::new();
        let result = scene.broker.add_fault(scene.now, rule);
        match words {
            "" => assert!(result.is_ok()),
            _ => {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(words), "{error}");
            }
        }
    }
}

#[test]
fn a_rule_that_is_replaced_keeps_its_counts() {
    let mut scene = Scene::new();
    let client = scene.client(V5, "c");
    let rule = FaultRule::sends(PacketType::PingResp).lose();
    let id = add(&mut scene, rule.clone());
    scene.send(client, &Packet::PingReq);
    assert_eq!(scene.broker.change_fault(id, rule.times(2)), Ok(true));
    scene.send(client, &Packet::PingReq);
    assert_eq!(scene.next(client), None);
    scene.send(client, &Packet::PingReq);
    assert_eq!(scene.next(client), Some(Packet::PingResp));
    let wrong = FaultRule::sends(PacketType::PingResp);
    assert_eq!(
        scene.broker.change_fault(id, wrong),
        Err(FaultError::NoAction)
    );
}

#[test]
fn a_text_that_is_no_rule_says_what_is_wrong() {
    let error = |text: &str| text.parse::<FaultRule>().unwrap_err().to_string();
    assert_eq!(
        error(""),
        "fault rule: sends or receives is missing before the end"
    );
    assert_eq!(
        error("sends PUBAK lose"),
        "fault rule: the name of a packet, or any is missing before \"PUBAK\""
    );
    assert_eq!(
        error("sends any nth x lose"),
        "fault rule: a number is missing before \"x\""
    );
    assert_eq!(
        error("sends any"),
        "fault rule: an action such as lose or cut is missing before the end"
    );
    assert_eq!(
        error("sends any delay 3"),
        "fault rule: a duration such as 3s or 50ms is missing before \"3\""
    );
    assert_eq!(
        error("sends any client x lose"),
        "fault rule: a Client Identifier in quotation marks is missing before \"x\""
    );
    for text in [
        "sends any nth 1 nth 2 lose",
        "sends any loose",
        "sends any lose cut",
    ] {
        let error = text.parse::<FaultRule>().unwrap_err();
        assert!(matches!(error, FaultTextError::Unknown(_)), "{error}");
    }
    for text in [
        r#"sends any client "x lose"#,
        r#"sends any client "\u{110000}" lose"#,
        r#"sends any client "\q" lose"#,
    ] {
        let error = text.parse::<FaultRule>().unwrap_err();
        assert!(matches!(error, FaultTextError::Quotes(_)), "{error}");
    }
    assert_eq!(BrokerSide::Sends.to_string(), "sends");
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
