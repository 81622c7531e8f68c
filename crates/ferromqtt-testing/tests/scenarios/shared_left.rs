//! Messages of Shared Subscriptions that a session leaves behind when it ends (section 4.8.2).

use std::time::Duration;

use ferromqtt_proto::packet::{
    Ack, Disconnect, Packet, Properties, ProtocolVersion, QoS, ReasonCode, SubscribePacket,
};

use crate::scene::{Peer, Scene, VERSIONS, connect, connect_persistent, packet_id, publish, text};

const V5: ProtocolVersion = ProtocolVersion::V5;
const FILTER: &str = "$share/group/t/+";

/// How the session of the client "first" ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Its connection breaks, and the session is over with it.
    Cut,
    /// So with DISCONNECT.
    Disconnect,
    /// DISCONNECT sets the Session Expiry Interval to 0.
    DisconnectForGood,
    /// Its connection breaks, and the Session Expiry Interval passes.
    Expires,
    /// Another connection takes it over with Clean Start.
    TakenOver,
    /// Its connection breaks, and it comes back with Clean Start.
    Anew,
}

impl End {
    const ALL: [Self; 6] = [
        Self::Cut,
        Self::Disconnect,
        Self::DisconnectForGood,
        Self::Expires,
        Self::TakenOver,
        Self::Anew,
    ];

    /// Whether 3.x has it.
    fn is_of(self, version: ProtocolVersion) -> bool {
        version.is_v5() || !matches!(self, Self::DisconnectForGood | Self::Expires)
    }

    fn join(self, scene: &mut Scene, version: ProtocolVersion) -> Peer {
        match self {
            Self::Cut | Self::Disconnect => scene.client(version, "first"),
            _ => scene.join(connect_persistent(version, "first")).0,
        }
    }

    fn play(self, scene: &mut Scene, first: Peer) {
        match self {
            Self::Cut => scene.cut(first),
            Self::Disconnect => {
                scene.send(first, &Packet::Disconnect(Box::new(Disconnect::normal())));
            }
            Self::DisconnectForGood => {
                let mut end = Disconnect::normal();
                end.properties.session_expiry_interval = Some(0);
                scene.send(first, &Packet::Disconnect(Box::new(end)));
            }
            Self::Expires => {
                scene.cut(first);
                scene.pass(Duration::from_secs(3600));
            }
            Self::TakenOver => _ = scene.client(first.version, "first"),
            Self::Anew => {
                scene.cut(first);
                scene.client(first.version, "first");
            }
        }
    }
}

fn share(scene: &mut Scene, client: Peer, qos: QoS) {
    assert!(!scene.subscribe(client, FILTER, qos).is_error());
}

#[test]
fn unacknowledged_qos_1_messages_go_to_another_when_the_session_ends_mqtt_4_8_2() {
    for version in VERSIONS {
        for end in End::ALL.into_iter().filter(|end| end.is_of(version)) {
            let mut scene = Scene::with(|options| {
                options.inflight_window = 2.try_into().unwrap();
            });
            let publisher = scene.client(version, "publisher");
            let first = end.join(&mut scene, version);
            share(&mut scene, first, QoS::AtLeastOnce);
            for number in ["0", "1", "2", "3"] {
                scene.publish(publisher, publish("t/x", number, QoS::AtLeastOnce));
            }
            let acknowledged = scene.message(first).packet_id.unwrap();
            scene.send(first, &Packet::PubAck(Ack::success(acknowledged)));

            let second = scene.client(version, "second");
            share(&mut scene, second, QoS::AtLeastOnce);
            assert_eq!(scene.next(second), None);
            end.play(&mut scene, first);
            // At 3.x two were in flight and one was queued; 5.0 has them all in flight.
            let mut left = Vec::new();
            while let Some(packet) = scene.next(second) {
                let Packet::Publish(message) = packet else {
                    panic!("PUBLISH expected, got {packet:?}");
                };
                assert!(!message.dup, "new to this client");
                left.push(String::from_utf8(message.payload.to_vec()).unwrap());
                let ack = Ack::success(message.packet_id.unwrap());
                scene.send(second, &Packet::PubAck(ack));
            }
            assert_eq!(left, ["1", "2", "3"], "{version:?}, {end:?}");
            assert_eq!(scene.broker.stats().dropped, 0);
        }
    }
}

#[test]
fn messages_queued_for_a_client_that_is_away_go_to_another_when_its_session_ends_mqtt_4_8_2() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut scene = Scene::new();
        let publisher = scene.client(V5, "publisher");
        let (first, _) = scene.join(connect_persistent(V5, "first"));
        share(&mut scene, first, qos);
        scene.cut(first);
        for number in ["0", "1"] {
            scene.publish(publisher, publish("t/x", number, qos));
        }
        let second = scene.client(V5, "second");
        share(&mut scene, second, qos);
        scene.pass(Duration::from_secs(3599));
        assert_eq!(
            scene.next(second),
            None,
            "the session still waits for its client"
        );
        scene.pass(Duration::from_secs(1));
        assert_eq!(scene.payloads(second), ["0", "1"]);
    }
}

#[test]
fn a_qos_2_message_that_was_sent_goes_to_nobody_else_mqtt_4_8_2_5() {
    for is_received in [false, true] {
        for end in End::ALL {
            let mut scene = Scene::new();
            let publisher = scene.client(V5, "publisher");
            let first = end.join(&mut scene, V5);
            share(&mut scene, first, QoS::ExactlyOnce);
            scene.publish(publisher, publish("t/x", "0", QoS::ExactlyOnce));
            let id = scene.message(first).packet_id.unwrap();
            if is_received {
                scene.send(first, &Packet::PubRec(Ack::success(id)));
            }
            let second = scene.client(V5, "second");
            share(&mut scene, second, QoS::ExactlyOnce);
            end.play(&mut scene, first);
            assert_eq!(scene.next(second), None, "{end:?}");
        }
    }
}

#[test]
fn those_of_ordinary_subscriptions_end_with_their_session() {
    let mut scene = Scene::new();
    let publisher = scene.client(V5, "publisher");
    let first = scene.client(V5, "first");
    scene.subscribe(first, "t/+", QoS::AtLeastOnce);
    let second = scene.client(V5, "second");
    share(&mut scene, second, QoS::AtLeastOnce);
    scene.publish(publisher, publish("t/x", "0", QoS::AtLeastOnce));
    assert_eq!(scene.payloads(second), ["0"]);
    scene.cut(first);
    assert_eq!(scene.next(second), None);
}

#[test]
fn without_another_to_take_it_a_message_is_dropped_and_counted() {
    let mut scene = Scene::new();
    let publisher = scene.client(V5, "publisher");
    let first = scene.client(V5, "first");
    share(&mut scene, first, QoS::AtLeastOnce);
    scene.publish(publisher, publish("t/x", "0", QoS::AtLeastOnce));
    scene.cut(first);
    assert_eq!(scene.broker.stats().dropped, 1);

    // One is left, but away, and its session keeps no QoS 0.
    let first = scene.client(V5, "first");
    share(&mut scene, first, QoS::AtLeastOnce);
    let (away, _) = scene.join(connect_persistent(V5, "away"));
    share(&mut scene, away, QoS::AtMostOnce);
    scene.cut(away);
    scene.publish(publisher, publish("t/x", "1", QoS::AtLeastOnce));
    scene.cut(first);
    assert_eq!(scene.broker.stats().dropped, 2);
}

#[test]
fn the_other_gets_it_on_its_own_terms_mqtt_4_8_2_3() {
    let mut scene = Scene::new();
    let publisher = scene.client(V5, "publisher");
    let first = scene.client(V5, "first");
    share(&mut scene, first, QoS::AtLeastOnce);
    scene.publish(publisher, publish("t/x", "0", QoS::AtLeastOnce));
    let second = scene.client(V5, "second");
    let subscribe = SubscribePacket {
        packet_id: packet_id(1),
        properties: Properties {
            subscription_identifiers: [7].into(),
            ..Properties::default()
        },
        filters: vec![(text(FILTER), QoS::AtMostOnce.into())].into(),
    };
    scene.send(second, &Packet::Subscribe(Box::new(subscribe)));
    assert!(matches!(scene.next(second), Some(Packet::SubAck(_))));
    scene.cut(first);
    let message = scene.message(second);
    assert_eq!((message.qos, message.dup), (QoS::AtMostOnce, false));
    assert_eq!(message.properties.unwrap().subscription_identifiers, [7]);
}

#[test]
fn what_expires_meanwhile_goes_to_nobody_mqtt_3_3_2_5() {
    let mut scene = Scene::new();
    let publisher = scene.client(V5, "publisher");
    let first = scene.client(V5, "first");
    share(&mut scene, first, QoS::AtLeastOnce);
    for (payload, seconds) in [("late", 5), ("in time", 50)] {
        let mut message = publish("t/x", payload, QoS::AtLeastOnce);
        let properties = Properties {
            message_expiry_interval: Some(seconds),
            ..Properties::default()
        };
        message.properties = Some(Box::new(properties));
        scene.publish(publisher, message);
    }
    let second = scene.client(V5, "second");
    share(&mut scene, second, QoS::AtLeastOnce);
    scene.pass(Duration::from_secs(10));
    scene.cut(first);
    let message = scene.message(second);
    assert_eq!(message.payload, "in time");
    let seconds_left = message.properties.unwrap().message_expiry_interval;
    assert_eq!(seconds_left, Some(40));
    assert_eq!(scene.next(second), None);
    assert_eq!(scene.broker.stats().dropped, 1);
}

#[test]
fn a_message_passed_on_twice_arrives_and_a_refused_one_does_not_mqtt_4_8_2_6() {
    let mut scene = Scene::new();
    let publisher = scene.client(V5, "publisher");
    let clients = ["a", "b", "c"].map(|name| scene.join(connect(V5, name)).0);
    share(&mut scene, clients[0], QoS::AtLeastOnce);
    for number in ["0", "1"] {
        scene.publish(publisher, publish("t/x", number, QoS::AtLeastOnce));
    }
    let refused = scene.message(clients[0]).packet_id.unwrap();
    let refusal = Ack::new(refused, ReasonCode::NotAuthorized);
    scene.send(clients[0], &Packet::PubAck(refusal));
    share(&mut scene, clients[1], QoS::AtLeastOnce);
    scene.cut(clients[0]);
    assert_eq!(scene.payloads(clients[1]), ["1"]);
    share(&mut scene, clients[2], QoS::AtLeastOnce);
    scene.cut(clients[1]);
    assert_eq!(scene.payloads(clients[2]), ["1"]);
}
