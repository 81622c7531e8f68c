//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11).

use ferromqtt_proto::packet::{
    Packet, Properties, ProtocolVersion, QoS, ReasonCode, SubscribePacket, SubscriptionOptions,
    UnsubscribePacket,
};

use crate::scene::{Scene, VERSIONS, packet_id, publish, text};

#[test]
fn each_filter_gets_a_code_of_its_own_in_order_mqtt_3_8_4_5() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let mut scene = Scene::new();
        let client = scene.client(version, "c");
        let subscribe = SubscribePacket {
            packet_id: packet_id(5),
            properties: Properties::default(),
            filters: [
                (text("a"), QoS::ExactlyOnce.into()),
                (text("b/#/c"), QoS::AtMostOnce.into()),
                (text("c"), QoS::AtMostOnce.into()),
                (text("$share/g/d"), QoS::AtLeastOnce.into()),
                (text("e"), QoS::AtLeastOnce.into()),
            ]
            .into(),
        };
        scene.send(client, &Packet::Subscribe(Box::new(subscribe)));
        let Some(Packet::SubAck(suback)) = scene.next(client) else {
            panic!("SUBACK expected");
        };
        let invalid = if version.is_v5() {
            ReasonCode::TopicFilterInvalid
        } else {
            ReasonCode::UnspecifiedError
        };
        assert_eq!(suback.packet_id, packet_id(5));
        assert_eq!(
            suback.reasons,
            [
                ReasonCode::GrantedQos2,
                invalid,
                ReasonCode::Success,
                ReasonCode::GrantedQos1,
                ReasonCode::GrantedQos1
            ]
        );
    }
}

#[test]
fn overlapping_subscriptions_bring_one_copy_at_the_highest_qos_mqtt_3_3_4_2() {
    let mut scene = Scene::new();
    let publisher = scene.client(ProtocolVersion::V311, "publisher");
    let client = scene.client(ProtocolVersion::V311, "c");
    scene.subscribe(client, "a/+", QoS::AtMostOnce);
    scene.subscribe(client, "a/#", QoS::AtLeastOnce);
    scene.subscribe(client, "a/b", QoS::AtMostOnce);
    scene.publish(publisher, publish("a/b", "x", QoS::ExactlyOnce));
    assert_eq!(scene.message(client).qos, QoS::AtLeastOnce);
    assert_eq!(scene.next(client), None);
}

#[test]
fn the_same_filter_again_replaces_the_subscription_mqtt_3_8_4_3() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V311, "c");
    assert_eq!(
        scene.subscribe(client, "t", QoS::ExactlyOnce),
        ReasonCode::GrantedQos2
    );
    assert_eq!(
        scene.subscribe(client, "t", QoS::AtMostOnce),
        ReasonCode::Success
    );
    scene.send(client, &Packet::Publish(publish("t", "x", QoS::AtMostOnce)));
    assert_eq!(scene.message(client).qos, QoS::AtMostOnce);
    assert_eq!(scene.next(client), None);
}

#[test]
fn wildcards_at_the_front_do_not_reach_dollar_topics_mqtt_4_7_2_1() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V311, "c");
    scene.subscribe(client, "#", QoS::AtMostOnce);
    scene.subscribe(client, "+/x", QoS::AtMostOnce);
    scene.publish(client, publish("$own/x", "hidden", QoS::AtMostOnce));
    assert_eq!(scene.next(client), None);
    scene.subscribe(client, "$own/#", QoS::AtMostOnce);
    scene.publish(client, publish("$own/x", "asked for", QoS::AtMostOnce));
    assert_eq!(scene.payloads(client), ["asked for"]);
}

#[test]
fn unsubscribe_stops_messages_and_says_what_there_was_mqtt_3_10_4_1_and_3_11_3_2() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let client = scene.client(version, "c");
        scene.subscribe(client, "a/#", QoS::AtMostOnce);
        scene.subscribe(client, "a/b", QoS::AtMostOnce);
        let unsubscribe = UnsubscribePacket {
            packet_id: packet_id(6),
            properties: Properties::default(),
            filters: [text("a/#"), text("a"), text("a#")].into(),
        };
        scene.send(client, &Packet::Unsubscribe(Box::new(unsubscribe)));
        let Some(Packet::UnsubAck(unsuback)) = scene.next(client) else {
            panic!("UNSUBACK expected");
        };
        assert_eq!(unsuback.packet_id, packet_id(6));
        if version.is_v5() {
            assert_eq!(
                unsuback.reasons,
                [
                    ReasonCode::Success,
                    ReasonCode::NoSubscriptionExisted,
                    ReasonCode::TopicFilterInvalid
                ]
            );
        }
        scene.publish(client, publish("a", "no more", QoS::AtMostOnce));
        scene.publish(client, publish("a/b", "still", QoS::AtMostOnce));
        assert_eq!(scene.payloads(client), ["still"]);
    }
}

#[test]
fn no_local_keeps_own_messages_away_mqtt_3_8_3_3() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    let other = scene.client(ProtocolVersion::V5, "other");
    let options = SubscriptionOptions {
        no_local: true,
        ..SubscriptionOptions::default()
    };
    scene.subscribe(client, "t", options);
    scene.publish(client, publish("t", "own", QoS::AtMostOnce));
    scene.publish(other, publish("t", "other", QoS::AtMostOnce));
    assert_eq!(scene.payloads(client), ["other"]);
}

#[test]
fn a_message_names_the_subscriptions_that_it_matched_mqtt_3_3_4_3() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    for (filter, identifier) in [
        ("a/b", Some(7)),
        ("a/+", None),
        ("a/#", Some(268_435_455)),
        ("x", Some(1)),
    ] {
        let subscribe = SubscribePacket {
            packet_id: packet_id(1),
            properties: Properties {
                subscription_identifiers: identifier.into_iter().collect(),
                ..Properties::default()
            },
            filters: [(text(filter), QoS::AtMostOnce.into())].into(),
        };
        scene.send(client, &Packet::Subscribe(Box::new(subscribe)));
        assert!(matches!(scene.next(client), Some(Packet::SubAck(_))));
    }
    scene.publish(client, publish("a/b", "x", QoS::AtMostOnce));
    let mut identifiers = scene
        .message(client)
        .properties
        .unwrap()
        .subscription_identifiers
        .to_vec();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [7, 268_435_455]);
    assert_eq!(scene.next(client), None);
}
