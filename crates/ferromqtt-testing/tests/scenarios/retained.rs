//! Retained messages (section 3.3.1.3).

use std::num::NonZeroU16;
use std::time::Duration;

use ferromqtt_proto::packet::{
    Packet, Properties, ProtocolVersion, PublishPacket, QoS, RetainHandling, SubscribePacket,
    SubscriptionOptions,
};

use crate::scene::{Peer, Scene, VERSIONS, connect_persistent, packet_id, retained, text};

/// Subscribes to all of `filters` in one packet, and expects SUBACK to grant them.
fn subscribe_to<'a>(
    scene: &mut Scene,
    client: Peer,
    filters: impl IntoIterator<Item = (&'a str, SubscriptionOptions)>,
) {
    let filters = filters
        .into_iter()
        .map(|(filter, options)| (text(filter), options));
    let subscribe = SubscribePacket {
        packet_id: packet_id(1),
        properties: Properties::default(),
        filters: filters.collect(),
    };
    let count = subscribe.filters.len();
    scene.send(client, &Packet::Subscribe(Box::new(subscribe)));
    match scene.next(client) {
        Some(Packet::SubAck(suback)) => {
            assert_eq!(suback.reasons.len(), count);
            assert!(suback.reasons.iter().all(|reason| !reason.is_error()));
        }
        other => panic!("SUBACK expected, got {other:?}"),
    }
}

#[test]
fn a_new_subscription_gets_the_last_retained_message_with_its_flag_mqtt_3_3_1_5_and_3_3_1_8() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let client = scene.client(version, "c");
        scene.publish(client, retained("a/b", "old", QoS::ExactlyOnce));
        scene.publish(client, retained("a/b", "new", QoS::ExactlyOnce));
        scene.publish(client, retained("a", "above", QoS::AtMostOnce));
        scene.publish(client, retained("ab", "beside", QoS::AtMostOnce));
        scene.publish(client, retained("$x/b", "hidden", QoS::AtMostOnce));
        assert_eq!(scene.broker.stats().retained_messages, 4);

        scene.subscribe(client, "a/#", QoS::AtLeastOnce);
        let above = scene.message(client);
        assert!(above.retain && above.payload == "above");
        let message = scene.message(client);
        assert!(message.retain && message.payload == "new");
        assert_eq!(message.qos, QoS::AtLeastOnce);
        assert_eq!(scene.next(client), None);

        scene.subscribe(client, "+/b", QoS::AtMostOnce);
        assert_eq!(scene.payloads(client), ["new"]);
    }
}

#[test]
fn an_empty_retained_message_forgets_the_topic_mqtt_3_3_1_6() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V311, "c");
    scene.publish(client, retained("t", "x", QoS::AtMostOnce));
    scene.publish(client, retained("t", "", QoS::AtMostOnce));
    scene.subscribe(client, "t", QoS::AtMostOnce);
    assert_eq!(scene.next(client), None);
    assert_eq!(scene.broker.stats().retained_messages, 0);
}

#[test]
fn a_subscription_that_exists_gets_it_without_the_flag_mqtt_3_3_1_9_and_3_3_1_12() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    let as_published = scene.client(ProtocolVersion::V5, "as published");
    scene.subscribe(client, "t", QoS::AtMostOnce);
    let options = SubscriptionOptions {
        retain_as_published: true,
        ..SubscriptionOptions::default()
    };
    scene.subscribe(as_published, "t", options);
    scene.publish(client, retained("t", "x", QoS::AtMostOnce));
    assert!(!scene.message(client).retain);
    assert!(scene.message(as_published).retain);
}

#[test]
fn retain_handling_decides_who_gets_it_mqtt_3_3_1_10_and_3_3_1_11() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    scene.publish(client, retained("t", "x", QoS::AtMostOnce));
    for (retain_handling, expected) in [
        (RetainHandling::Never, 0),
        (RetainHandling::IfNew, 0), // the subscription before made it old
        (RetainHandling::OnSubscribe, 1),
    ] {
        let options = SubscriptionOptions {
            retain_handling,
            ..SubscriptionOptions::default()
        };
        scene.subscribe(client, "t", options);
        assert_eq!(
            scene.payloads(client).len(),
            expected,
            "{retain_handling:?}"
        );
    }
    let options = SubscriptionOptions {
        retain_handling: RetainHandling::IfNew,
        ..SubscriptionOptions::default()
    };
    scene.subscribe(client, "+", options);
    assert_eq!(scene.payloads(client), ["x"]);
}

#[test]
fn topics_beyond_the_limit_are_not_retained_and_counted() {
    let mut scene = Scene::with(|options| options.maximum_retained_messages = 1);
    let client = scene.client(ProtocolVersion::V311, "c");
    scene.publish(client, retained("a", "1", QoS::AtMostOnce));
    scene.publish(client, retained("b", "1", QoS::AtMostOnce));
    scene.publish(client, retained("a", "2", QoS::AtMostOnce));
    scene.subscribe(client, "#", QoS::AtMostOnce);
    assert_eq!(scene.payloads(client), ["2"]);
    assert_eq!(scene.broker.stats().dropped, 1);
}

#[test]
fn a_filter_that_comes_again_in_one_packet_gets_retained_messages_once_as_it_comes_last() {
    for version in VERSIONS {
        let mut scene = Scene::new();
        let client = scene.client(version, "c");
        scene.publish(client, retained("t", "x", QoS::ExactlyOnce));
        scene.publish(client, retained("u", "y", QoS::ExactlyOnce));
        let filters = [
            ("t", QoS::ExactlyOnce),
            ("+", QoS::AtMostOnce),
            ("t", QoS::AtMostOnce),
            ("u", QoS::ExactlyOnce),
            ("t", QoS::AtLeastOnce),
        ];
        subscribe_to(
            &mut scene,
            client,
            filters.map(|(it, qos)| (it, qos.into())),
        );
        let got: Vec<_> = std::iter::from_fn(|| match scene.next(client)? {
            Packet::Publish(publish) => Some((publish.topic.to_string(), publish.qos)),
            other => panic!("PUBLISH expected, got {other:?}"),
        })
        .collect();
        let expected = [
            ("t", QoS::AtMostOnce),
            ("u", QoS::AtMostOnce),
            ("u", QoS::ExactlyOnce),
            ("t", QoS::AtLeastOnce),
        ];
        assert_eq!(got, expected.map(|(topic, qos)| (topic.to_owned(), qos)));
    }
}

#[test]
fn a_filter_that_comes_again_as_one_that_wants_no_retained_messages_gets_those_asked_for_before() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    scene.publish(client, retained("t", "x", QoS::AtMostOnce));
    let if_new = SubscriptionOptions {
        retain_handling: RetainHandling::IfNew,
        ..SubscriptionOptions::default()
    };
    subscribe_to(&mut scene, client, [("t", if_new), ("t", if_new)]);
    assert_eq!(scene.payloads(client), ["x"]);
}

#[test]
fn one_subscribe_whose_retained_messages_find_no_room_stops_looking_for_more() {
    let topics = 400;
    // All of these match all topics.
    let mut filters = vec![String::new()];
    for _ in 0..6 {
        let longer = filters
            .iter()
            .flat_map(|it| ["a/", "+/"].map(|level| it.clone() + level));
        filters = longer.collect();
    }
    filters.iter_mut().for_each(|it| it.push('#'));
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut scene = Scene::with(|options| {
            options.maximum_queued_messages = 10;
            options.maximum_output = 1000;
        });
        let publisher = scene.client(ProtocolVersion::V5, "publisher");
        for number in 0..topics {
            let topic = format!("a/a/a/a/a/a/{number}");
            scene.publish(publisher, retained(&topic, "x", qos));
        }
        let mut connect = connect_persistent(ProtocolVersion::V5, "c");
        connect.properties.receive_maximum = NonZeroU16::new(1);
        let (client, _) = scene.join(connect);
        let all = filters
            .iter()
            .map(|it| (it.as_str(), QoS::ExactlyOnce.into()));
        subscribe_to(&mut scene, client, all);
        let stats = scene.broker.session_stats("c").unwrap();
        assert_eq!(stats.subscriptions, filters.len());
        assert!(
            (10_000..10_000 + topics).contains(&stats.dropped),
            "{stats:?}"
        );
    }
}

#[test]
fn a_retained_message_that_has_expired_is_forgotten_when_a_subscription_finds_it() {
    let mut scene = Scene::new();
    let client = scene.client(ProtocolVersion::V5, "c");
    for (topic, seconds) in [("a", Some(10)), ("b", Some(11)), ("c", None)] {
        let properties = Properties {
            message_expiry_interval: seconds,
            ..Properties::default()
        };
        let message = PublishPacket {
            properties: Some(Box::new(properties)),
            ..retained(topic, topic, QoS::AtMostOnce)
        };
        scene.publish(client, message);
    }
    scene.pass(Duration::from_secs(10));
    scene.subscribe(client, "#", QoS::AtMostOnce);
    assert_eq!(scene.payloads(client), ["b", "c"]);
    assert_eq!(scene.broker.stats().retained_messages, 2);
}
