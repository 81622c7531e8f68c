//! Topic Aliases that the broker assigns (section 3.3.2.3.4).

use ferromqtt_proto::packet::{Ack, Connect, Packet, ProtocolVersion, PublishPacket, QoS};

use crate::scene::{Peer, Scene, connect, connect_persistent, packet_id, publish};

const V5: ProtocolVersion = ProtocolVersion::V5;

fn with_maximum(mut connect: Connect, topic_alias_maximum: u16) -> Connect {
    connect.properties.topic_alias_maximum = Some(topic_alias_maximum);
    connect
}

/// A subscriber to everything, and somebody else.
fn pair(scene: &mut Scene, connect: Connect, qos: QoS) -> (Peer, Peer) {
    let (subscriber, _) = scene.join(connect);
    scene.subscribe(subscriber, "#", qos);
    (subscriber, scene.client(V5, "publisher"))
}

/// Topic and alias as they stand in the packet.
fn topic_of(message: &PublishPacket) -> (String, Option<u16>) {
    let properties = message.properties.as_ref();
    let alias = properties.and_then(|it| it.topic_alias);
    (message.topic.to_string(), alias.map(|alias| alias.0.get()))
}

fn pass_on(scene: &mut Scene, pair: (Peer, Peer), topic: &str) -> (String, Option<u16>) {
    let (subscriber, publisher) = pair;
    scene.publish(publisher, publish(topic, "x", QoS::AtMostOnce));
    topic_of(&scene.message(subscriber))
}

#[test]
fn aliases_stay_within_the_clients_maximum_and_the_oldest_is_used_anew_mqtt_3_1_2_26() {
    let mut scene = Scene::new();
    let pair = pair(
        &mut scene,
        with_maximum(connect(V5, "s"), 2),
        QoS::AtMostOnce,
    );
    for (topic, on_the_wire, alias) in [
        ("long/a", "long/a", Some(1)),
        ("long/a", "", Some(1)),
        ("long/b", "long/b", Some(2)),
        ("t/c", "t/c", None), // its alias would be longer
        ("long/a", "", Some(1)),
        ("long/c", "long/c", Some(1)),
        ("long/a", "long/a", Some(2)),
        ("long/c", "", Some(1)),
    ] {
        let expected = (on_the_wire.to_owned(), alias);
        assert_eq!(pass_on(&mut scene, pair, topic), expected, "{topic}");
    }
}

#[test]
fn no_client_gets_an_alias_that_did_not_ask_for_it_mqtt_3_1_2_27() {
    for connect in [
        connect(V5, "s"),
        with_maximum(connect(V5, "s"), 0),
        connect(ProtocolVersion::V311, "s"),
    ] {
        let mut scene = Scene::new();
        let pair = pair(&mut scene, connect, QoS::AtMostOnce);
        for _ in 0..2 {
            let expected = ("long/topic".to_owned(), None);
            assert_eq!(pass_on(&mut scene, pair, "long/topic"), expected);
        }
    }
}

#[test]
fn the_option_limits_them_and_turns_them_off() {
    for (option, alias) in [(0, None), (1, Some(1))] {
        let mut scene = Scene::with(|options| options.topic_aliases_out = option);
        let pair = pair(
            &mut scene,
            with_maximum(connect(V5, "s"), 10),
            QoS::AtMostOnce,
        );
        for topic in ["long/a", "long/b"] {
            assert_eq!(pass_on(&mut scene, pair, topic), (topic.to_owned(), alias));
        }
    }
}

#[test]
fn a_new_connection_knows_no_alias_mqtt_3_3_2_7() {
    let mut scene = Scene::new();
    let join = with_maximum(connect_persistent(V5, "s"), 5);
    let (subscriber, publisher) = pair(&mut scene, join.clone(), QoS::AtLeastOnce);
    for _ in 0..2 {
        scene.publish(publisher, publish("long/a", "x", QoS::AtLeastOnce));
    }
    assert_eq!(scene.message(subscriber).topic, *"long/a");
    assert_eq!(scene.message(subscriber).topic, *"");
    let ack = Ack::success(packet_id(1));
    scene.send(subscriber, &Packet::PubAck(ack)); // so that the one without a topic is left
    scene.cut(subscriber);
    let (subscriber, _) = scene.join(join);
    let again = scene.message(subscriber);
    assert!(again.dup);
    assert_eq!(topic_of(&again), ("long/a".to_owned(), Some(1)));
}

#[test]
fn an_alias_does_not_make_a_packet_too_large_mqtt_3_1_2_24() {
    let mut scene = Scene::new();
    let mut narrow = with_maximum(connect(V5, "s"), 5);
    let without_alias = 2 + 2 + "long/a".len() + 1 + "x".len();
    let maximum = u32::try_from(without_alias).unwrap();
    narrow.properties.maximum_packet_size = Some(maximum.try_into().unwrap());
    let pair = pair(&mut scene, narrow, QoS::AtMostOnce);
    for _ in 0..2 {
        assert_eq!(
            pass_on(&mut scene, pair, "long/a"),
            ("long/a".to_owned(), None)
        );
    }
}
