//! Which packets a rule is for, and when its turn is.

use ferromqtt_proto::Properties;
use ferromqtt_proto::packet::{Packet, PacketType, QoS, TopicAlias};
use ferromqtt_testing::{FaultError, FaultRule};

use crate::scene::{Scene, VERSIONS, packet_id, publish};

use super::{SECOND, V5, add, encoded, pair, qos0, qos1};

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
