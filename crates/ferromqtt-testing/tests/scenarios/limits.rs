//! Limits of the broker: told to clients of 5.0 in CONNACK, and held (section 3.2.2.3). For 3.x: `limits_3x.rs`.

use std::time::Duration;

use ferromqtt_proto::packet::{
    Disconnect, Packet, Properties, ProtocolVersion, PublishPacket, QoS, ReasonCode,
    SubscribePacket, TopicAlias,
};
use ferromqtt_testing::BrokerOptions;

use crate::scene::{Scene, connect, connect_persistent, packet_id, publish, retained, text, will};

const V5: ProtocolVersion = ProtocolVersion::V5;

fn narrow(options: &mut BrokerOptions) {
    options.maximum_qos = QoS::AtLeastOnce;
    options.retain_available = false;
    options.topic_alias_maximum = 2;
    options.server_keep_alive = Some(10);
    options.maximum_session_expiry_interval = 60;
    options.wildcard_subscription_available = false;
    options.shared_subscription_available = false;
    options.subscription_identifier_available = false;
}

#[test]
fn every_limit_is_told_in_connack_mqtt_3_2_2_9() {
    let mut scene = Scene::with(narrow);
    let (_, connack) = scene.connect(connect_persistent(V5, "c"));
    let expected = Properties {
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        topic_alias_maximum: Some(2),
        server_keep_alive: Some(10),
        session_expiry_interval: Some(60),
        wildcard_subscription_available: Some(false),
        shared_subscription_available: Some(false),
        subscription_identifier_available: Some(false),
        ..Properties::default()
    };
    assert_eq!(connack.properties, expected);
}

#[test]
fn messages_and_wills_beyond_a_limit_are_refused_mqtt_3_2_2_12_and_13() {
    for (qos, retain, reason) in [
        (QoS::ExactlyOnce, false, ReasonCode::QosNotSupported),
        (QoS::AtMostOnce, true, ReasonCode::RetainNotSupported),
    ] {
        let mut scene = Scene::with(narrow);
        let client = scene.client(V5, "c");
        let mut message = retained("t", "x", qos);
        message.retain = retain;
        scene.send(client, &Packet::Publish(message));
        scene.expect_end(client, reason);

        let mut with_will = connect(V5, "c");
        let mut will = will("t", "x");
        (will.qos, will.retain) = (qos, retain);
        with_will.will = Some(will);
        assert_eq!(scene.connect(with_will).1.reason, reason);
    }
}

#[test]
fn a_subscription_is_granted_the_maximum_qos_mqtt_3_2_2_10() {
    let mut scene = Scene::with(narrow);
    let client = scene.client(V5, "c");
    let granted = scene.subscribe(client, "t", QoS::ExactlyOnce);
    assert_eq!(granted, ReasonCode::GrantedQos1);
}

#[test]
fn subscriptions_that_are_not_available_end_the_connection() {
    for (filter, identifiers, reason) in [
        ("a/+", vec![], ReasonCode::WildcardSubscriptionsNotSupported),
        (
            "$share/g/a",
            vec![],
            ReasonCode::SharedSubscriptionsNotSupported,
        ),
        (
            "a",
            vec![1],
            ReasonCode::SubscriptionIdentifiersNotSupported,
        ),
    ] {
        let mut scene = Scene::with(narrow);
        let client = scene.client(V5, "c");
        let subscribe = SubscribePacket {
            packet_id: packet_id(1),
            properties: Properties {
                subscription_identifiers: identifiers.into(),
                ..Properties::default()
            },
            filters: [(text(filter), QoS::AtMostOnce.into())].into(),
        };
        scene.send(client, &Packet::Subscribe(Box::new(subscribe)));
        scene.expect_end(client, reason);
    }
}

#[test]
fn server_keep_alive_and_the_longest_session_expiry_hold_mqtt_3_1_2_21() {
    let mut scene = Scene::with(narrow);
    let (client, _) = scene.join(connect_persistent(V5, "c")); // asks for no Keep Alive, and for an hour
    scene.pass(Duration::from_secs(14));
    assert!(!scene.is_closed(client));
    scene.pass(Duration::from_secs(1));
    scene.expect_end(client, ReasonCode::KeepAliveTimeout);
    scene.pass(Duration::from_secs(59));
    assert_eq!(scene.broker.stats().sessions, 1);
    scene.pass(Duration::from_secs(1));
    assert_eq!(scene.broker.stats().sessions, 0);
}

#[test]
fn an_answer_that_the_client_has_no_room_for_ends_its_connection_mqtt_3_1_2_24() {
    let mut scene = Scene::new();
    let mut narrow = connect(V5, "c");
    narrow.properties.maximum_packet_size = Some(10.try_into().unwrap());
    let (client, _) = scene.join(narrow.clone());
    let filters = |count| {
        let subscribe = SubscribePacket {
            packet_id: packet_id(1),
            properties: Properties::default(),
            filters: vec![(text("a"), QoS::AtMostOnce.into()); count].into(),
        };
        Packet::Subscribe(Box::new(subscribe))
    };
    scene.send(client, &filters(5)); // SUBACK has 2 + 2 + 1 bytes before its codes
    assert!(matches!(scene.next(client), Some(Packet::SubAck(_))));
    scene.send(client, &filters(6));
    scene.expect_end(client, ReasonCode::PacketTooLarge);

    narrow.client_identifier = text(""); // an assigned one does not fit into CONNACK
    let client = scene.open(V5);
    scene.send(client, &Packet::Connect(Box::new(narrow)));
    assert_eq!(scene.next(client), None);
    assert!(scene.is_closed(client));
}

#[test]
fn the_end_is_explained_as_far_as_the_client_has_room_mqtt_3_14_2_3() {
    for (maximum, explained) in [(1000, true), (5, false)] {
        let mut scene = Scene::new();
        let mut connect = connect(V5, "c");
        connect.properties.maximum_packet_size = Some(maximum.try_into().unwrap());
        let (client, _) = scene.join(connect);
        scene.send(client, &Packet::PingResp);
        let Some(Packet::Disconnect(disconnect)) = scene.next(client) else {
            panic!("DISCONNECT expected");
        };
        assert_eq!(disconnect.reason, ReasonCode::ProtocolError);
        assert_eq!(disconnect.properties.reason_string.is_some(), explained);
    }
}

#[test]
fn the_receive_maximum_counts_the_messages_of_this_connection_mqtt_3_3_4_7() {
    let mut scene = Scene::with(|options| options.receive_maximum = 1.try_into().unwrap());
    let send = |scene: &mut Scene, client, id| {
        let mut message = publish("t", "x", QoS::ExactlyOnce);
        message.packet_id = Some(packet_id(id));
        scene.send(client, &Packet::Publish(message));
    };
    let (client, _) = scene.join(connect_persistent(V5, "c"));
    send(&mut scene, client, 1);
    assert!(matches!(scene.next(client), Some(Packet::PubRec(_))));
    scene.cut(client);
    let (client, _) = scene.join(connect_persistent(V5, "c"));
    send(&mut scene, client, 2); // the first is still not released, but that was another connection
    assert!(matches!(scene.next(client), Some(Packet::PubRec(_))));
    send(&mut scene, client, 3);
    scene.expect_end(client, ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn disconnect_cannot_ask_for_a_longer_session_than_the_limit() {
    let mut scene = Scene::with(narrow);
    let (client, _) = scene.join(connect_persistent(V5, "c"));
    let mut leave = Disconnect::normal();
    leave.properties.session_expiry_interval = Some(3600);
    scene.send(client, &Packet::Disconnect(Box::new(leave)));
    scene.pass(Duration::from_secs(59));
    assert_eq!(scene.broker.stats().sessions, 1);
    scene.pass(Duration::from_secs(1));
    assert_eq!(scene.broker.stats().sessions, 0);
}

fn aliased(topic: &str, payload: &str, alias: u16) -> PublishPacket {
    let mut message = publish("t", payload, QoS::AtMostOnce);
    message.topic = text(topic);
    message.properties = Some(Box::new(Properties {
        topic_alias: Some(TopicAlias(alias.try_into().unwrap())),
        ..Properties::default()
    }));
    message
}

#[test]
fn topic_aliases_are_resolved_up_to_the_maximum_mqtt_3_3_2_9() {
    let mut scene = Scene::with(narrow);
    let client = scene.client(V5, "c");
    scene.subscribe(client, "a", QoS::AtMostOnce);
    for message in [
        aliased("a", "1", 2),
        aliased("", "2", 2),
        aliased("b", "3", 2),
        aliased("", "4", 2),
    ] {
        scene.send(client, &Packet::Publish(message));
    }
    for payload in ["1", "2"] {
        let message = scene.message(client);
        assert_eq!((message.topic, message.properties), (text("a"), None));
        assert_eq!(message.payload, payload);
    }
    assert_eq!(scene.next(client), None);
    scene.send(client, &Packet::Publish(aliased("a", "x", 3)));
    scene.expect_end(client, ReasonCode::TopicAliasInvalid);

    let client = scene.client(V5, "c"); // aliases end with their connection (MQTT-3.3.2-7)
    scene.send(client, &Packet::Publish(aliased("", "x", 2)));
    scene.expect_end(client, ReasonCode::ProtocolError);
}
