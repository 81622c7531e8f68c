//! The journal: packets, links and accepted messages, within its bounds.

use std::time::Duration;

use ferromqtt_proto::packet::{Packet, PacketType, ProtocolVersion, QoS, ReasonCode};
use ferromqtt_proto::{Properties, TopicFilter};
use ferromqtt_testing::{
    BrokerJournal, BrokerSide, FaultRule, JournalEvent, LinkChange, MessageFilter, PacketFilter,
};

use crate::scene::{Scene, VERSIONS, connect, packet_id, publish, text, will};

const V5: ProtocolVersion = ProtocolVersion::V5;

fn recorded() -> Scene {
    Scene::with(|options| options.journal_packets = Some(1_000))
}

fn journal(scene: &Scene) -> &BrokerJournal {
    scene.broker.journal().expect("it was asked for")
}

fn published(scene: &Scene, filter: &str) -> Vec<String> {
    let filter = MessageFilter::new(filter);
    let messages = journal(scene).published(&filter);
    messages
        .map(|it| String::from_utf8(it.payload.to_vec()).unwrap())
        .collect()
}

#[test]
fn a_broker_without_faults_keeps_no_journal_unless_it_is_to() {
    assert!(Scene::new().broker.journal().is_none());
    assert!(recorded().broker.journal().is_some());
}

#[test]
fn every_packet_is_in_the_journal_with_its_client_and_direction() {
    for version in VERSIONS {
        let mut scene = recorded();
        let client = scene.client(version, "pump-7");
        scene.pass(Duration::from_secs(2));
        scene.publish(client, publish("a/b", "42", QoS::ExactlyOnce));
        scene.cut(client);
        let kinds: Vec<_> = journal(&scene)
            .packets(&PacketFilter::new().client("pump-7"))
            .map(|packet| (packet.side, packet.kind.unwrap()))
            .collect();
        use BrokerSide::{Receives, Sends};
        use PacketType::*;
        let expected = [
            (Receives, Connect),
            (Sends, ConnAck),
            (Receives, Publish),
            (Sends, PubRec),
            (Receives, PubRel),
            (Sends, PubComp),
        ];
        assert_eq!(kinds, expected);
        let links: Vec<_> = journal(&scene)
            .events()
            .filter_map(|event| match event {
                JournalEvent::Link(link) => Some(link.change),
                _ => None,
            })
            .collect();
        assert_eq!(links, [LinkChange::Opened, LinkChange::ClosedByClient]);
        let chart = journal(&scene).chart(100);
        let line = chart.lines().find(|line| line.contains("PUBLISH"));
        let line = line.expect("it is in the chart");
        let shown = r#"PUBLISH (id 77, QoS 2, topic "a/b", payload 2 bytes "42")"#;
        assert!(line.contains(shown), "{chart}");
        assert!(line.trim_start().starts_with("+2.000 s  pump-7"), "{chart}");
        assert!(line.ends_with("->"), "{chart}");
    }
}

#[test]
fn an_accepted_message_is_in_the_journal_once_however_often_it_is_repeated() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    let message = Packet::Publish(publish("t", "once", QoS::ExactlyOnce));
    scene.send(client, &message);
    scene.send(client, &message);
    assert_eq!(published(&scene, "t"), ["once"]);
    let filter = PacketFilter::from(PacketType::Publish);
    assert_eq!(journal(&scene).packets(&filter).count(), 2);
}

#[test]
fn a_denied_message_is_not_accepted_and_a_will_is() {
    let mut scene = Scene::with(|options| {
        options.journal_packets = Some(100);
        let filter = TopicFilter::new("secret/#").unwrap();
        (options.deny_publish(filter, ReasonCode::NotAuthorized)).unwrap();
    });
    let mut mortal = connect(V5, "mortal");
    mortal.will = Some(will("gone", "bye"));
    let (client, _) = scene.join(mortal);
    scene.send(
        client,
        &Packet::Publish(publish("secret/x", "no", QoS::AtMostOnce)),
    );
    scene.cut(client);
    assert_eq!(published(&scene, "#"), ["bye"]);
    let message = journal(&scene).messages().next().unwrap();
    assert_eq!((&*message.topic, message.retain), ("gone", false));
}

#[test]
fn a_topic_alias_does_not_hide_the_topic() {
    let mut scene = Scene::with(|options| {
        options.journal_packets = Some(100);
        options.topic_alias_maximum = 5;
    });
    let client = scene.client(V5, "c");
    for topic in ["long/topic", ""] {
        let mut message = publish(topic, "x", QoS::AtMostOnce);
        message.properties = Some(Box::new(Properties {
            topic_alias: Some(ferromqtt_proto::packet::TopicAlias(packet_id(3))),
            ..Properties::default()
        }));
        scene.send(client, &Packet::Publish(message));
    }
    assert_eq!(published(&scene, "long/topic"), ["x", "x"]);
    let filter = PacketFilter::from(PacketType::Publish);
    for packet in journal(&scene).packets(&filter) {
        assert_eq!(packet.topic.as_deref(), Some("long/topic"));
    }
}

#[test]
fn an_assigned_client_identifier_names_its_packets_from_connack_on() {
    let mut scene = recorded();
    scene.client(ProtocolVersion::V311, "");
    let filter = PacketFilter::from(PacketType::ConnAck);
    let connack = journal(&scene).packets(&filter).next().unwrap();
    assert_eq!(connack.client, text("assigned-1"));
}

#[test]
fn the_oldest_entries_are_dropped_beyond_the_bounds() {
    let mut scene = Scene::with(|options| {
        options.journal_packets = Some(10);
        options.journal_bytes = 10_000;
    });
    let client = scene.client(V5, "c");
    for index in 0..50 {
        let payload = index.to_string();
        scene.send(
            client,
            &Packet::Publish(publish("t", &payload, QoS::AtMostOnce)),
        );
    }
    assert_eq!(journal(&scene).events().count(), 10);
    assert_eq!(published(&scene, "t").len(), 10);
    assert_eq!(published(&scene, "t")[9], "49");
    assert_eq!(journal(&scene).dropped(), 43 + 40); // with the opening, CONNECT and CONNACK
    let large = "x".repeat(6_000);
    scene.send(
        client,
        &Packet::Publish(publish("t", &large, QoS::AtMostOnce)),
    );
    scene.send(
        client,
        &Packet::Publish(publish("t", &large, QoS::AtMostOnce)),
    );
    assert_eq!(published(&scene, "t").len(), 1);
    assert_eq!(journal(&scene).events().count(), 1);
}

#[test]
fn what_is_no_packet_is_in_the_journal_too() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    scene.send_bytes(client, b"\xf7\x01\x00");
    let filter = PacketFilter::new().client("c");
    let packet = (journal(&scene).packets(&filter))
        .find(|it| it.kind == Some(PacketType::Auth))
        .unwrap();
    assert!(packet.packet.is_none());
    assert_eq!(packet.to_string(), "AUTH (3 bytes, malformed)");
}

#[test]
fn the_chart_marks_faults_and_leaves_out_what_is_old() {
    let mut scene = recorded();
    let rule = FaultRule::sends(PacketType::PubAck).lose();
    scene.broker.add_fault(scene.now, rule).unwrap();
    let client = scene.client(ProtocolVersion::V311, "c");
    scene.send(
        client,
        &Packet::Publish(publish("t", "x", QoS::AtLeastOnce)),
    );
    let chart = journal(&scene).chart(2);
    let expected = "\
(3 earlier lines are left out)
        time  client                                                                broker
    +0.000 s  c       PUBLISH (id 77, QoS 1, topic \"t\", payload 1 byte \"x\") ---->
    +0.000 s  c       x------------------------------------------- PUBACK (id 77)  ! sends PUBACK lose
";
    assert_eq!(chart, expected);
    assert_eq!(
        Scene::with(|it| it.journal_packets = Some(1))
            .broker
            .journal()
            .unwrap()
            .chart(9),
        "(no packets)\n"
    );
}

#[test]
fn pings_that_come_again_and_again_are_one_line_of_the_chart() {
    let mut scene = recorded();
    let (one, two) = (scene.client(V5, "one"), scene.client(V5, "two"));
    scene.send(one, &Packet::PingReq);
    assert_eq!(scene.next(one), Some(Packet::PingResp));
    scene.publish(one, publish("t", "1", QoS::AtLeastOnce));
    for _ in 0..60 {
        scene.pass(Duration::from_secs(10));
        for client in [one, two] {
            scene.send(client, &Packet::PingReq);
            assert_eq!(scene.next(client), Some(Packet::PingResp));
        }
    }
    scene.publish(two, publish("t", "2", QoS::AtLeastOnce));
    let chart = journal(&scene).chart(30);
    assert!(!chart.contains("left out"), "{chart}");
    for name in ["one", "two"] {
        let folded = "-- PINGREQ, PINGRESP x60, until +600.000 s --";
        let found = (chart.lines()).filter(|it| it.contains(name) && it.ends_with(folded));
        assert_eq!(found.count(), 1, "{chart}");
    }
    let single = chart.lines().filter(|it| it.contains("PINGREQ ---"));
    assert_eq!(single.count(), 1, "one exchange is shown as it is: {chart}");
    assert_eq!(chart.matches("PUBLISH").count(), 2, "{chart}");
}

#[test]
fn a_ping_that_a_fault_befell_is_a_line_of_its_own() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    let rule = FaultRule::sends(PacketType::PingResp).nth(4).lose();
    scene.broker.add_fault(scene.now, rule).unwrap();
    for _ in 0..6 {
        scene.send(client, &Packet::PingReq);
        scene.bytes(client);
    }
    let chart = journal(&scene).chart(30);
    assert!(chart.contains("PINGREQ x4, PINGRESP x3"), "{chart}");
    assert!(chart.contains("x-"), "{chart}");
    assert!(chart.contains("-- PINGREQ, PINGRESP x2, until"), "{chart}");
}

#[test]
fn a_rule_that_never_fired_says_what_went_by_instead() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    for rule in [
        FaultRule::sends(PacketType::Publish).topic("a").lose(),
        FaultRule::receives(PacketType::Publish)
            .topic("a")
            .nth(3)
            .lose(),
        FaultRule::receives(PacketType::Publish).topic("b").lose(),
    ] {
        scene.broker.add_fault(scene.now, rule).unwrap();
    }
    scene.publish(client, publish("a", "1", QoS::AtLeastOnce));
    scene.publish(client, publish("a", "2", QoS::AtLeastOnce));
    assert_eq!(
        scene.broker.explain_unused_faults(),
        [
            r#"sends PUBLISH topic "a" lose   (the broker received 2 such packets: was receives meant?)"#,
            r#"receives PUBLISH topic "a" nth 3 lose   (2 packets matched)"#,
            r#"receives PUBLISH topic "b" lose"#,
        ]
    );
    let text = (scene.broker).explain_missing("no message matched", &MessageFilter::new("x"));
    assert!(text.contains("was receives meant?"), "{text}");
}

#[test]
fn a_broker_that_is_not_idle_says_what_is_pending() {
    let mut scene = recorded();
    let client = scene.client(V5, "c");
    assert_eq!(scene.broker.unfinished(), [""; 0]);
    let rule = FaultRule::sends(PacketType::PubAck).hold();
    scene.broker.add_fault(scene.now, rule).unwrap();
    let mut message = publish("t", "1", QoS::AtLeastOnce);
    message.packet_id = Some(packet_id(1));
    scene.send(client, &Packet::Publish(message));
    scene.bytes(client);
    assert!(!scene.broker.is_idle());
    let expected = ["to c: PUBACK held until it is released"];
    assert_eq!(scene.broker.unfinished(), expected);
    scene.broker.partition(scene.now, false);
    scene.send(client, &Packet::PingReq);
    assert_eq!(
        scene.broker.unfinished(),
        [
            "from c: 2 bytes stopped by a stall or a partition",
            expected[0]
        ]
    );
}
