//! Who may connect, publish and subscribe (sections 3.1.4, 3.4.2.1, 3.9.3).

use ferromqtt_proto::TopicFilter;
use ferromqtt_proto::packet::{Ack, Packet, ProtocolVersion, QoS, ReasonCode};
use ferromqtt_testing::{BrokerOptions, User};

use crate::scene::{Scene, VERSIONS, connect, packet_id, publish, text, will};

fn filters(filters: &[&str]) -> Vec<TopicFilter> {
    (filters.iter())
        .map(|&filter| TopicFilter::new(filter).unwrap())
        .collect()
}

#[test]
fn only_the_right_user_name_and_password_connect_mqtt_3_1_4_2() {
    let (bad, none) = (ReasonCode::BadUserNameOrPassword, ReasonCode::NotAuthorized);
    for version in VERSIONS {
        let mut scene = Scene::with(|options| {
            options.users = vec![User::new("a", "one"), User::new("b", "two")]
        });
        for (user_name, password, expected) in [
            (Some("a"), Some("one"), ReasonCode::Success),
            (Some("b"), Some("two"), ReasonCode::Success),
            (Some("a"), Some("two"), bad),
            (Some("c"), Some("one"), bad),
            (Some("a"), None, bad),
            (None, None, none),
        ] {
            let mut connect = connect(version, "c");
            connect.user_name = user_name.map(text);
            connect.password = password.map(Into::into);
            let (client, connack) = scene.connect(connect);
            assert_eq!(connack.reason, expected, "{user_name:?}");
            assert_eq!(scene.is_closed(client), expected.is_error());
        }
    }
}

#[test]
fn no_debug_output_shows_a_password() {
    let mut options = BrokerOptions::default();
    options.users = vec![User::new("somebody", "s3cret")];
    let shown = format!("{options:?}");
    assert!(shown.contains("somebody") && !shown.contains("s3cret"));
    assert!(!shown.contains(&format!("{:?}", b"s3cret")));
}

#[test]
fn a_refused_publish_reaches_nobody_and_5_0_is_told_mqtt_3_3_5_2() {
    for version in VERSIONS {
        let mut scene = Scene::with(|options| options.deny_publish = filters(&["secret/#"]));
        let client = scene.client(version, "c");
        scene.subscribe(client, "#", QoS::AtMostOnce);
        let reason = if version.is_v5() {
            ReasonCode::NotAuthorized
        } else {
            ReasonCode::Success
        };
        let ack = Ack::new(packet_id(77), reason);
        for (qos, answer) in [
            (QoS::AtMostOnce, None),
            (QoS::AtLeastOnce, Some(Packet::PubAck(ack.clone()))),
            (QoS::ExactlyOnce, Some(Packet::PubRec(ack.clone()))),
        ] {
            scene.send(client, &Packet::Publish(publish("secret/x", "x", qos)));
            assert_eq!(scene.next(client), answer);
            assert_eq!(scene.next(client), None);
        }
        scene.publish(client, publish("open", "y", QoS::AtMostOnce));
        assert_eq!(scene.payloads(client), ["y"]);
    }
}

#[test]
fn a_will_that_may_not_be_published_is_refused_with_connect() {
    for version in VERSIONS {
        let mut scene = Scene::with(|options| options.deny_publish = filters(&["secret/#"]));
        let mut connect = connect(version, "c");
        connect.will = Some(will("secret/x", "x"));
        let (client, connack) = scene.connect(connect);
        assert_eq!(connack.reason, ReasonCode::NotAuthorized);
        assert!(scene.is_closed(client));
    }
}

#[test]
fn filters_inside_a_denied_one_are_not_authorized_mqtt_3_9_3() {
    let mut scene = Scene::with(|options| options.deny_subscribe = filters(&["secret/#", "a/+"]));
    let client = scene.client(ProtocolVersion::V5, "c");
    for (filter, denied) in [
        ("secret", true),
        ("secret/x/+", true),
        ("secret/#", true),
        ("$share/g/secret/x", true),
        ("a/b", true),
        ("a/+", true),
        ("a/#", false),
        ("a/b/c", false),
        ("+/b", false),
        ("#", false),
    ] {
        let expected = if denied {
            ReasonCode::NotAuthorized
        } else {
            ReasonCode::Success
        };
        let reason = scene.subscribe(client, filter, QoS::AtMostOnce);
        assert_eq!(reason, expected, "{filter}");
    }
}
