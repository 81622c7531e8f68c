//! Limits of the broker and clients of 3.1 and 3.1.1, which cannot be told of them.

use std::time::Duration;

use ferromqtt_proto::packet::{
    Packet, Properties, ProtocolVersion, QoS, ReasonCode, SubAck, SubscribePacket,
};
use ferromqtt_testing::BrokerOptions;

use crate::scene::{Scene, connect, connect_persistent, packet_id, publish, retained, text, will};

const V31: ProtocolVersion = ProtocolVersion::V31;
const V311: ProtocolVersion = ProtocolVersion::V311;

fn narrow(options: &mut BrokerOptions) {
    options.maximum_qos = QoS::AtLeastOnce;
    options.retain_available = false;
    options.wildcard_subscription_available = false;
    options.shared_subscription_available = false;
}

/// Asks for a filter that is there, and for one that is not.
fn subscribe(refused: &str) -> Packet {
    Packet::Subscribe(Box::new(SubscribePacket {
        packet_id: packet_id(1),
        properties: Properties::default(),
        filters: [
            (text("t"), QoS::ExactlyOnce.into()),
            (text(refused), QoS::ExactlyOnce.into()),
        ]
        .into(),
    }))
}

#[test]
fn a_message_beyond_a_limit_closes_the_connection_and_reaches_nobody() {
    for version in [V31, V311] {
        for message in [
            publish("t", "x", QoS::ExactlyOnce),
            retained("t", "x", QoS::AtMostOnce),
        ] {
            let mut scene = Scene::with(narrow);
            let other = scene.client(version, "other");
            scene.subscribe(other, "t", QoS::AtMostOnce);
            let client = scene.client(version, "c");
            scene.send(client, &Packet::Publish(message));
            scene.expect_end(client, ReasonCode::Success);
            assert_eq!(scene.next(other), None);
            assert_eq!(scene.broker.stats().retained_messages, 0);
        }
    }
}

#[test]
fn a_will_beyond_a_limit_is_answered_server_unavailable() {
    for version in [V31, V311] {
        for (qos, retain) in [(QoS::ExactlyOnce, false), (QoS::AtMostOnce, true)] {
            let mut scene = Scene::with(narrow);
            let mut connect = connect(version, "c");
            let mut will = will("t", "x");
            (will.qos, will.retain) = (qos, retain);
            connect.will = Some(will);
            let (client, connack) = scene.connect(connect);
            assert_eq!(connack.reason, ReasonCode::ServerUnavailable);
            assert!(scene.is_closed(client));
        }
    }
}

#[test]
fn suback_of_3_1_1_refuses_one_filter_and_grants_the_other_mqtt_3_9_3_2() {
    for refused in ["a/+", "$share/g/a", "a/#/b"] {
        let mut scene = Scene::with(narrow);
        let client = scene.client(V311, "c");
        scene.send(client, &subscribe(refused));
        let expected = SubAck {
            packet_id: packet_id(1),
            properties: Properties::default(),
            reasons: vec![ReasonCode::GrantedQos1, ReasonCode::UnspecifiedError],
        };
        assert_eq!(scene.next(client), Some(Packet::SubAck(Box::new(expected))));
        scene.publish(client, publish("t", "x", QoS::AtMostOnce));
        assert_eq!(scene.payloads(client), ["x"]);
    }
}

#[test]
fn suback_of_3_1_cannot_refuse_so_the_connection_is_closed() {
    for refused in ["a/+", "$share/g/a", "a/#/b"] {
        let mut scene = Scene::with(narrow);
        let (client, _) = scene.join(connect_persistent(V31, "c"));
        scene.send(client, &subscribe(refused));
        scene.expect_end(client, ReasonCode::Success);

        let publisher = scene.client(V31, "publisher");
        scene.publish(publisher, publish("t", "x", QoS::AtLeastOnce));
        let (client, session_present) = scene.join(connect_persistent(V31, "c"));
        assert!(session_present);
        assert_eq!(scene.next(client), None, "nothing of SUBSCRIBE was granted");
    }
}

#[test]
fn what_3_x_cannot_know_does_not_bind_it() {
    for version in [V31, V311] {
        let mut scene = Scene::with(|options| {
            options.receive_maximum = 1.try_into().unwrap();
            options.server_keep_alive = Some(1);
            options.maximum_session_expiry_interval = 1;
        });
        let (client, _) = scene.join(connect_persistent(version, "c"));
        for id in 1..=3 {
            let mut message = publish("t", "x", QoS::ExactlyOnce);
            message.packet_id = Some(packet_id(id));
            scene.send(client, &Packet::Publish(message));
            assert!(matches!(scene.next(client), Some(Packet::PubRec(_))));
        }
        scene.pass(Duration::from_secs(3600));
        assert!(!scene.is_closed(client));
        scene.cut(client);
        scene.pass(Duration::from_secs(3600));
        assert_eq!(scene.broker.stats().sessions, 1);
    }
}

#[test]
fn an_identifier_is_not_assigned_when_that_is_off() {
    for version in [V311, ProtocolVersion::V5] {
        let mut scene = Scene::with(|options| options.assign_client_identifiers = false);
        let (client, connack) = scene.connect(connect(version, ""));
        assert_eq!(connack.reason, ReasonCode::ClientIdentifierNotValid);
        assert!(scene.is_closed(client));
        assert_eq!(scene.broker.stats().sessions, 0);
    }
}
