//! Who may connect, publish and subscribe (sections 3.1.4, 3.4.2.1, 3.9.3).

use ferromqtt_proto::TopicFilter;
use ferromqtt_proto::packet::{Ack, Packet, ProtocolVersion, QoS, ReasonCode};
use ferromqtt_testing::{BrokerOptions, User};

use crate::scene::{Scene, VERSIONS, connect, packet_id, publish, text, will};

fn filter(filter: &str) -> TopicFilter {
    TopicFilter::new(filter).unwrap()
}

fn secret(options: &mut BrokerOptions) {
    let denied = filter("secret/#");
    options
        .deny_publish(denied, ReasonCode::NotAuthorized)
        .unwrap();
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
        let mut scene = Scene::with(secret);
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
        let mut scene = Scene::with(secret);
        let mut connect = connect(version, "c");
        connect.will = Some(will("secret/x", "x"));
        let (client, connack) = scene.connect(connect);
        assert_eq!(connack.reason, ReasonCode::NotAuthorized);
        assert!(scene.is_closed(client));
    }
}

#[test]
fn filters_inside_a_denied_one_are_not_authorized_mqtt_3_9_3() {
    let mut scene = Scene::with(|options| {
        for denied in ["secret/#", "a/+"] {
            let denied = filter(denied);
            options
                .deny_subscribe(denied, ReasonCode::NotAuthorized)
                .unwrap();
        }
    });
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

#[test]
fn each_denial_has_a_reason_code_of_its_own_and_the_first_that_fits_decides() {
    let mut scene = Scene::with(|options| {
        for (denied, reason) in [
            ("full/x", ReasonCode::QuotaExceeded),
            ("full/#", ReasonCode::PayloadFormatInvalid),
        ] {
            options.deny_publish(filter(denied), reason).unwrap();
        }
        let denied = filter("full/#");
        options
            .deny_subscribe(denied, ReasonCode::QuotaExceeded)
            .unwrap();
    });
    let client = scene.client(ProtocolVersion::V5, "c");
    for (topic, reason) in [
        ("full/x", ReasonCode::QuotaExceeded),
        ("full/y", ReasonCode::PayloadFormatInvalid),
    ] {
        let message = publish(topic, "x", QoS::AtLeastOnce);
        scene.send(client, &Packet::Publish(message));
        let expected = Packet::PubAck(Ack::new(packet_id(77), reason));
        assert_eq!(scene.next(client), Some(expected));
    }
    let reason = scene.subscribe(client, "full/y", QoS::AtMostOnce);
    assert_eq!(reason, ReasonCode::QuotaExceeded);
}

#[test]
fn client_identifiers_are_denied_by_name_or_beginning_mqtt_3_1_4_2() {
    for version in VERSIONS {
        let mut scene = Scene::with(|options| {
            options.deny_connect("bad", ReasonCode::Banned).unwrap();
            options
                .deny_connect("busy-*", ReasonCode::ServerBusy)
                .unwrap();
        });
        for (name, in_5_0, in_3) in [
            ("bad", ReasonCode::Banned, ReasonCode::NotAuthorized),
            ("badly", ReasonCode::Success, ReasonCode::Success),
            (
                "busy-",
                ReasonCode::ServerBusy,
                ReasonCode::ServerUnavailable,
            ),
            (
                "busy-1",
                ReasonCode::ServerBusy,
                ReasonCode::ServerUnavailable,
            ),
            ("busy", ReasonCode::Success, ReasonCode::Success),
        ] {
            let expected = if version.is_v5() { in_5_0 } else { in_3 };
            let (client, connack) = scene.connect(connect(version, name));
            assert_eq!(connack.reason, expected, "{name}");
            assert_eq!(scene.is_closed(client), expected.is_error());
        }
    }
}

#[test]
fn denials_stand_in_3_1_1_as_failure_and_close_3_1() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
        let mut scene = Scene::with(|options| {
            let denied = filter("secret/#");
            options
                .deny_subscribe(denied, ReasonCode::NotAuthorized)
                .unwrap();
        });
        let client = scene.client(version, "c");
        if version == ProtocolVersion::V311 {
            let reason = scene.subscribe(client, "secret/x", QoS::AtMostOnce);
            assert_eq!(reason, ReasonCode::UnspecifiedError);
        } else {
            scene.send_bytes(client, b"\x82\x0d\x00\x01\x00\x08secret/x\x00");
            scene.expect_end(client, ReasonCode::Success);
        }
    }
}

#[test]
fn a_reason_code_that_the_answer_cannot_hold_is_an_error() {
    let mut options = BrokerOptions::default();
    for (error, section) in [
        (options.deny_connect("c", ReasonCode::Success), "3.2.2.2"),
        (
            options.deny_connect("c", ReasonCode::KeepAliveTimeout),
            "3.2.2.2",
        ),
        (
            options.deny_publish(filter("t"), ReasonCode::NoMatchingSubscribers),
            "3.4.2.1",
        ),
        (
            options.deny_publish(filter("t"), ReasonCode::Banned),
            "3.4.2.1",
        ),
        (
            options.deny_subscribe(filter("t"), ReasonCode::GrantedQos1),
            "3.9.3",
        ),
        (
            options.deny_subscribe(filter("t"), ReasonCode::TopicNameInvalid),
            "3.9.3",
        ),
    ] {
        let text = error.unwrap_err().to_string();
        assert!(text.contains(section), "{text}");
    }
    assert_eq!(options, BrokerOptions::default());
}
