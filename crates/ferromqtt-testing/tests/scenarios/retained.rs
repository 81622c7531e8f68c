//! Retained messages (section 3.3.1.3).

use ferromqtt_proto::packet::{ProtocolVersion, QoS, RetainHandling, SubscriptionOptions};

use crate::scene::{Scene, VERSIONS, retained};

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
