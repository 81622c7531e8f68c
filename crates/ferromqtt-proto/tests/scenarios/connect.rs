//! CONNECT on the wire, and options that no CONNECT can be made of.

use bytes::Bytes;
use ferromqtt_proto::{
    CleanStart, Client, InvalidOptions, Options, Properties, QoS, Session, Will,
};

use crate::support::*;

fn connect_bytes(options: Options) -> Bytes {
    let mut pair = Pair::new(options);
    pair.connect();
    pair.bytes()
}

fn refusal(options: Options) -> InvalidOptions {
    Client::new(options, Session::default(), 1).unwrap_err()
}

/// MQTT-3.1.0-1, MQTT-3.1.2-1, MQTT-3.1.2-3, MQTT-3.1.2-11, MQTT-3.1.2-13, MQTT-2.2.2-1, MQTT-3.1.3-3;
/// 3.1.1: MQTT-3.1.0-1, MQTT-3.1.2-1, MQTT-3.1.2-3, MQTT-3.1.2-11, -13, -15, -18, -20, MQTT-3.1.3-3.
#[test]
fn a_plain_connect_in_each_version() {
    for (version, expected) in [
        (
            V31,
            &b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x02me"[..],
        ),
        (V311, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me"),
        (V5, b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02me"),
    ] {
        let mut options = options(version);
        options.keep_alive = 60;
        assert_eq!(connect_bytes(options), expected, "{version:?}");
    }
}

fn with_everything(options: &mut Options) {
    options.keep_alive = 258;
    options.will = Some(Will {
        topic: text("gone"),
        payload: Bytes::from_static(b"\x00\xff"),
        qos: ExactlyOnce,
        retain: true,
        properties: Properties::default(),
    });
    options.user_name = Some(text("you"));
    options.password = Some(Bytes::from_static(b"\xfe"));
}

/// MQTT-3.1.2-9, MQTT-3.1.3-1; 3.1.1: MQTT-3.1.2-9, MQTT-3.1.2-19, MQTT-3.1.2-21, MQTT-3.1.3-1.
#[test]
fn will_user_name_and_password_follow_in_the_order_of_the_standard() {
    for version in [V31, V311] {
        let mut options = options(version);
        with_everything(&mut options);
        let bytes = connect_bytes(options);
        let tail = b"\xf6\x01\x02\x00\x02me\x00\x04gone\x00\x02\x00\xff\x00\x03you\x00\x01\xfe";
        assert!(bytes.ends_with(tail), "{version:?} {bytes:?}");
    }
}

/// MQTT-3.1.2-12; 3.1.1: MQTT-3.1.2-14. No value of the type stands for QoS 3.
#[test]
fn will_qos_and_will_retain_are_flags_of_connect() {
    for version in VERSIONS {
        for (qos, retain, flags) in [
            (AtMostOnce, false, 0b0000_0110),
            (AtLeastOnce, false, 0b0000_1110),
            (ExactlyOnce, true, 0b0011_0110),
        ] {
            let mut options = options(version);
            with_everything(&mut options);
            (options.user_name, options.password) = (None, None);
            let will = options.will.as_mut().unwrap();
            (will.qos, will.retain) = (qos, retain);
            assert_eq!(connect_bytes(options)[9], flags, "{version:?} {qos:?}");
        }
    }
    assert_eq!(QoS::from_value(3), None);
}

/// MQTT-3.1.2-9, MQTT-3.1.3-1, MQTT-3.1.3-10, MQTT-2.2.2-1.
#[test]
fn properties_of_connect_and_of_the_will_stand_before_what_they_belong_to() {
    let mut options = options(V5);
    with_everything(&mut options);
    options.properties.session_expiry_interval = Some(3600);
    options.properties.receive_maximum = receive_maximum(20).receive_maximum;
    let will = &mut options.will.as_mut().unwrap().properties;
    will.will_delay_interval = Some(5);
    will.user_properties = [(text("b"), text("1")), (text("a"), text("2"))].into();
    let expected = b"\x10\x3d\x00\x04MQTT\x05\xf6\x01\x02\
        \x08\x11\x00\x00\x0e\x10\x21\x00\x14\
        \x00\x02me\
        \x13\x18\x00\x00\x00\x05\x26\x00\x01b\x00\x011\x26\x00\x01a\x00\x012\
        \x00\x04gone\x00\x02\x00\xff\x00\x03you\x00\x01\xfe";
    assert_eq!(connect_bytes(options), &expected[..]);
}

/// MQTT-3.1.2-16, MQTT-3.1.2-17: present with length 0 is not absent.
#[test]
fn an_empty_user_name_is_sent_as_such() {
    for version in VERSIONS {
        let mut options = options(version);
        options.user_name = Some(text(""));
        let bytes = connect_bytes(options);
        assert!(bytes.ends_with(b"\x00\x02me\x00\x00"), "{bytes:?}");
        assert_eq!(bytes[9], 0x82, "flags");
    }
}

/// MQTT-3.1.2-18, MQTT-3.1.2-19; 3.1.1: MQTT-3.1.2-22.
#[test]
fn a_password_without_a_user_name_is_for_5_0_alone() {
    for version in [V31, V311] {
        let mut options = options(version);
        options.password = Some(Bytes::from_static(b"p"));
        assert_eq!(refusal(options), InvalidOptions::PasswordWithoutUserName);
    }
    let mut options = options(V5);
    options.password = Some(Bytes::from_static(b"p"));
    let bytes = connect_bytes(options);
    assert_eq!(bytes[9], 0x42, "flags");
    assert!(bytes.ends_with(b"\x00\x02me\x00\x01p"), "{bytes:?}");
}

/// MQTT-3.1.3-3; 3.1.1: MQTT-3.1.3-7.
#[test]
fn an_empty_client_identifier_needs_a_clean_session_before_5_0() {
    for version in VERSIONS {
        let mut options = options(version);
        options.client_identifier = text("");
        options.clean_start = CleanStart::Always;
        assert!(connect_bytes(options).ends_with(b"\x00\x00"), "{version:?}");
    }
    let mut kept = options(V311);
    kept.client_identifier = text("");
    kept.clean_start = CleanStart::Never;
    assert_eq!(refusal(kept.clone()), InvalidOptions::IdentifierNeeded);
    kept.protocol = V5;
    let bytes = connect_bytes(kept);
    assert_eq!(bytes[9], 0, "Clean Start 0");
    assert!(bytes.ends_with(b"\x00\x00"));
}

/// 3.1 has no empty one; its bound of 23 characters is left to the server, as most take more.
#[test]
fn mqtt_3_1_always_wants_a_client_identifier() {
    let mut options = options(V31);
    options.client_identifier = text("");
    assert_eq!(refusal(options.clone()), InvalidOptions::IdentifierNeeded);
    options.client_identifier = text(&"x".repeat(24));
    options.check().unwrap();
}

#[test]
fn what_connect_cannot_hold_is_refused_at_once() {
    let long = Bytes::from(vec![0; 65_536]);
    let mut with_password = options(V5);
    with_password.password = Some(long.clone());
    assert!(matches!(
        refusal(with_password),
        InvalidOptions::TooLong { bytes: 65_536, .. }
    ));

    let mut with_will = options(V5);
    with_everything(&mut with_will);
    with_will.will.as_mut().unwrap().payload = long;
    assert!(matches!(refusal(with_will), InvalidOptions::TooLong { .. }));

    for topic in ["", "a/+", "#"] {
        let mut with_topic = options(V5);
        with_everything(&mut with_topic);
        with_topic.will.as_mut().unwrap().topic = text(topic);
        assert!(
            matches!(refusal(with_topic), InvalidOptions::WillTopic(_)),
            "{topic}"
        );
    }
    // MQTT-3.3.2-14: nor a Response Topic.
    for topic in ["", "a/+", "#"] {
        let mut with_response = options(V5);
        with_everything(&mut with_response);
        let will = &mut with_response.will.as_mut().unwrap().properties;
        will.response_topic = Some(text(topic));
        assert!(matches!(
            refusal(with_response),
            InvalidOptions::Property(_)
        ));
    }

    let mut before_5 = options(V311);
    before_5.properties.session_expiry_interval = Some(1);
    assert!(matches!(refusal(before_5), InvalidOptions::Property(_)));

    let mut misplaced = options(V5);
    misplaced.properties.topic_alias_maximum = Some(1);
    misplaced.check().unwrap();
    misplaced.properties.server_keep_alive = Some(1);
    assert!(matches!(refusal(misplaced), InvalidOptions::Property(_)));
}

/// Binary data has two length bytes (section 1.5.6): what is longer would break the framing. Pitfalls 17 and 18.
#[test]
fn a_property_too_long_for_its_length_field_is_refused() {
    let long = Some(Bytes::from(vec![0; 65_536]));
    let mut with_data = options(V5);
    with_data.properties.authentication_data.clone_from(&long);
    assert!(matches!(refusal(with_data), InvalidOptions::Property(_)));

    let mut with_will = options(V5);
    with_everything(&mut with_will);
    with_will.will.as_mut().unwrap().properties.correlation_data = long;
    assert!(matches!(refusal(with_will), InvalidOptions::Property(_)));
}

#[test]
fn debug_output_does_not_show_the_password() {
    let mut options = options(V5);
    options.user_name = Some(text("you"));
    options.password = Some(Bytes::from_static(b"s3cret"));
    let client = Client::new(options, Session::default(), 1).unwrap();
    let shown = format!("{client:?}");
    assert!(
        shown.contains("you") && !shown.contains("s3cret"),
        "{shown}"
    );
}

/// 5.0: Clean Start on the first connection only; 3.1.1, where a clean session ends with its
/// connection, on every one. `flags` of three connections.
#[test]
fn clean_start_by_choice_and_version() {
    for (version, clean_start, flags) in [
        (V5, CleanStart::FirstOnly, [2, 0, 0]),
        (V311, CleanStart::FirstOnly, [2, 2, 2]),
        (V5, CleanStart::Always, [2, 2, 2]),
        (V311, CleanStart::Always, [2, 2, 2]),
        (V5, CleanStart::Never, [0, 0, 0]),
        (V311, CleanStart::Never, [0, 0, 0]),
    ] {
        let mut options = resuming(version);
        options.clean_start = clean_start;
        let mut pair = Pair::new(options);
        pair.connect();
        for expected in flags {
            pair.wait_for_transport();
            let connect = pair.accept(false, Properties::default());
            assert_eq!(
                connect.clean_start,
                expected == 2,
                "{version:?} {clean_start:?}"
            );
            pair.cut();
        }
    }
}
