//! Strings, Topic Names and Topic Filters: what is sent, what is refused, and what matches.

use bytes::Bytes;
use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    Properties, Publish, QueueOptions, StringError, TopicError, TopicFilter, TopicName, Utf8String,
    Will,
};

use crate::support::*;

/// Characters of two, three and four bytes; U+FEFF among them, as text and not as a byte order mark.
const TEXT: &str = "\u{feff}\u{e9}\u{1f600}";
/// The same as the wire carries it: the length counts bytes.
const WIRE: &[u8] = b"\x00\x09\xef\xbb\xbf\xc3\xa9\xf0\x9f\x98\x80";

fn joined(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

/// MQTT-1.5.4-1, MQTT-1.5.4-3, MQTT-3.1.3-4, MQTT-3.1.3-11, MQTT-3.1.3-12;
/// 3.1.1: MQTT-1.5.3-1, MQTT-1.5.3-3, MQTT-3.1.3-4, MQTT-3.1.3-10, MQTT-3.1.3-11. Pitfall 18.
#[test]
fn the_strings_of_connect_are_utf8_with_their_length_in_bytes() {
    for (version, head, properties) in [
        (V311, &b"\x10\x2d\x00\x04MQTT\x04\x86\x00\x00"[..], &b""[..]),
        (V5, b"\x10\x2f\x00\x04MQTT\x05\x86\x00\x00", b"\x00"),
    ] {
        let mut options = options(version);
        options.client_identifier = text(TEXT);
        options.user_name = Some(text(TEXT));
        options.will = Some(Will {
            topic: text(TEXT),
            payload: Bytes::new(),
            qos: AtMostOnce,
            retain: false,
            properties: Properties::default(),
        });
        let mut pair = Pair::new(options);
        pair.connect();
        let will_payload = b"\x00\x00";
        let expected = [head, properties, WIRE, properties, WIRE, will_payload, WIRE];
        assert_eq!(pair.bytes(), joined(&expected), "{version:?}");
    }
}

/// MQTT-3.3.2-1, MQTT-3.8.3-1, MQTT-3.10.3-1, MQTT-1.5.4-3;
/// 3.1.1: MQTT-3.3.2-1, MQTT-3.8.3-1, MQTT-3.10.3-1, MQTT-1.5.3-3. Pitfall 18.
#[test]
fn topics_are_utf8_with_their_length_in_bytes() {
    for (version, publish, subscribe, unsubscribe) in [
        (
            V311,
            joined(&[b"\x30\x0c", WIRE, b"x"]),
            joined(&[b"\x82\x0e\x00\x01", WIRE, b"\x01"]),
            joined(&[b"\xa2\x0d\x00\x02", WIRE]),
        ),
        (
            V5,
            joined(&[b"\x30\x0d", WIRE, b"\x00x"]),
            joined(&[b"\x82\x0f\x00\x01\x00", WIRE, b"\x01"]),
            joined(&[b"\xa2\x0e\x00\x02\x00", WIRE]),
        ),
    ] {
        let mut pair = Pair::connected(options(version));
        pair.publish(TEXT, "x", AtMostOnce);
        assert_eq!(pair.bytes(), publish);
        pair.subscribe(&[TEXT]);
        assert_eq!(pair.bytes(), subscribe);
        pair.unsubscribe(&[TEXT]);
        assert_eq!(pair.bytes(), unsubscribe);
        pair.server_sends_bytes(&publish);
        assert_eq!(pair.messages()[0].topic, TEXT);
    }
}

/// MQTT-3.3.2-13, MQTT-3.3.2-19, MQTT-1.5.7-1.
#[test]
fn the_strings_among_the_properties_are_utf8_too() {
    let mut pair = Pair::connected(options(V5));
    let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
    publish.properties = Some(Box::new(Properties {
        content_type: Some(text(TEXT)),
        response_topic: Some(text(TEXT)),
        user_properties: [(text(TEXT), text(TEXT))].into(),
        ..Properties::default()
    }));
    pair.client.publish(pair.now, publish).unwrap();
    pair.pump();
    let bytes = pair.bytes();
    assert!(bytes.starts_with(b"\x30\x34\x00\x01t\x2f"), "{bytes:?}");
    for property in [
        &[b"\x03", WIRE].concat()[..],
        &[b"\x08", WIRE].concat(),
        &[b"\x26", WIRE, WIRE].concat(),
    ] {
        let found = bytes.windows(property.len()).any(|part| part == property);
        assert!(found, "{property:02x?} in {bytes:02x?}");
    }
}

/// MQTT-1.5.4-2, MQTT-4.7.3-2, MQTT-4.7.3-3; 3.1.1: MQTT-1.5.3-2, MQTT-4.7.3-2, MQTT-4.7.3-3. Pitfall 18.
#[test]
fn no_string_holds_u_0000_or_more_bytes_than_its_length_can_tell() {
    let too_long = "\u{e9}".repeat(32_768);
    for (bad, error) in [
        ("a\0b", StringError::Nul),
        (&too_long, StringError::TooLong { bytes: 65_536 }),
    ] {
        assert_eq!(Utf8String::try_from(bad), Err(error));
        assert_eq!(TopicName::new(bad), Err(TopicError::String(error)));
        assert_eq!(TopicFilter::new(bad), Err(TopicError::String(error)));
    }
}

/// MQTT-3.3.2-2, MQTT-4.7.0-1, MQTT-4.7.3-1; 3.1.1: MQTT-3.3.2-2, MQTT-4.7.1-1, MQTT-4.7.3-1.
#[test]
fn no_topic_name_is_empty_or_holds_a_wildcard() {
    for (bad, error) in [
        ("", TopicError::Empty),
        ("#", TopicError::WildcardInName),
        ("a/#", TopicError::WildcardInName),
        ("+", TopicError::WildcardInName),
        ("a+b", TopicError::WildcardInName),
    ] {
        assert_eq!(TopicName::new(bad), Err(error), "{bad}");
        assert_eq!(TopicName::check(bad), Err(error), "{bad}");
    }
}

/// MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-1, MQTT-4.8.2-1, MQTT-4.8.2-2;
/// 3.1.1: MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.3-1.
#[test]
fn a_malformed_topic_filter_cannot_be_asked_for() {
    for (error, filters) in [
        (TopicError::Empty, &[""][..]),
        (
            TopicError::MisplacedWildcard,
            &["a#", "#/", "a/#/b", "a+", "+a/b", "$share/g/a#"],
        ),
        (
            TopicError::MalformedShare,
            &["$share//x", "$share/g", "$share/g/", "$share/g+/x"],
        ),
    ] {
        for filter in filters {
            assert_eq!(TopicFilter::new(*filter), Err(error), "{filter}");
        }
    }
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        pair.subscribe(&["#", "+", "/", "a/+/b/#", "$share/g/#"]);
        assert_eq!(pair.sent(), ["SUBSCRIBE 1 # + / a/+/b/# $share/g/#"]);
    }
}

/// MQTT-4.7.3-3; 3.1.1: MQTT-4.7.3-3. Pitfall 18.
#[test]
fn the_longest_topic_passes_both_ways() {
    let longest = "t".repeat(65_535);
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        pair.subscribe(&[&longest]);
        let Packet::Subscribe(subscribe) = pair.packets().remove(0) else {
            panic!("not a SUBSCRIBE");
        };
        assert_eq!(subscribe.filters.iter().next().unwrap().0.len(), 65_535);
        pair.server_sends(Packet::Publish(message(&longest, "x", AtMostOnce, 0)));
        assert_eq!(pair.messages()[0].topic.len(), 65_535);
    }
}

/// MQTT-4.7.2-1, MQTT-4.7.3-4; 3.1.1: MQTT-4.7.2-1, MQTT-4.7.3-4: "e" with an accent is one character or two, and those
/// are different topics.
#[test]
fn messages_are_matched_character_by_character() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let composed = pair.client.open_queue(QueueOptions::default());
        let everything = pair.client.open_queue(QueueOptions::default());
        pair.subscribe_to(&["\u{e9}/+"], composed);
        pair.subscribe_to(&["#"], everything);
        for (topic, payload) in [
            ("\u{e9}/x", "one"),
            ("e\u{301}/x", "two"),
            ("E\u{301}/x", "three"),
            ("$SYS/x", "server"),
        ] {
            pair.server_sends(Packet::Publish(message(topic, payload, AtMostOnce, 0)));
        }
        assert_eq!(pair.payloads_of(composed), ["one"]);
        assert_eq!(pair.payloads_of(everything), ["one", "two", "three"]);
        assert_eq!(pair.payloads(), ["server"], "wanted by no filter");
    }
}
