//! QoS 0 from the client.

use bytes::Bytes;
use ferromqtt_proto::packet::PublishRef;
use ferromqtt_proto::{
    ConnectionError, Delivery, Event, InvalidPublish, Outcome, Properties, Publish, TopicName,
    TransportError,
};

use crate::support::*;

fn borrowed<'a>(topic: &'a str, payload: &[u8]) -> PublishRef<'a> {
    PublishRef {
        dup: false,
        qos: AtMostOnce,
        retain: false,
        topic: topic.as_bytes(),
        packet_id: None,
        properties: None,
        payload_len: payload.len(),
    }
}

/// MQTT-2.2.1-2, MQTT-2.2.2-1, MQTT-3.3.1-2, MQTT-4.3.1-1; 3.1.1: MQTT-2.3.1-5, MQTT-4.3.1-1.
#[test]
fn no_packet_identifier_no_dup_and_done_when_handed_over() {
    for (version, expected) in [
        (V311, &b"\x30\x04\x00\x01tx"[..]),
        (V5, b"\x30\x05\x00\x01t\x00x"),
    ] {
        let mut pair = Pair::connected(options(version));
        let op = pair.publish("t", "x", AtMostOnce);
        assert_eq!(pair.bytes(), expected);
        assert_eq!(pair.outcome(op), Outcome::Sent);
    }
}

/// MQTT-3.3.2-18: properties as they were given, User Properties in their order.
#[test]
fn retain_and_properties_are_on_the_wire() {
    let mut pair = Pair::connected(options(V5));
    let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
    publish.retain = true;
    publish.properties = Some(Box::new(Properties {
        payload_format_indicator: Some(true),
        correlation_data: Some(Bytes::new()),
        user_properties: [
            (text("b"), text("1")),
            (text("a"), text("")),
            (text("b"), text("1")),
        ]
        .into(),
        ..Properties::default()
    }));
    pair.client.publish(pair.now, publish).unwrap();
    pair.pump();
    let expected = b"\x31\x1e\x00\x01t\x19\x01\x01\x09\x00\x00\
        \x26\x00\x01b\x00\x011\x26\x00\x01a\x00\x00\x26\x00\x01b\x00\x011x";
    let bytes = pair.bytes();
    assert_eq!(bytes, &expected[..]);
}

#[test]
fn a_message_of_any_size_is_one_packet_uncopied_when_large() {
    for length in [0, 1, 4_095, 4_096, 70_000, 2_097_152] {
        let mut pair = Pair::connected(options(V311));
        pair.bytes();
        let payload = Bytes::from(vec![7; length]);
        let publish = Publish::new(TopicName::new("t").unwrap(), payload.clone());
        pair.client.publish(pair.now, publish).unwrap();
        let mut uncopied = false;
        let mut wire = Vec::new();
        while let Some(chunk) = pair.client.poll_transmit(pair.now) {
            uncopied |= chunk.as_ptr() == payload.as_ptr();
            wire.extend_from_slice(&chunk);
        }
        assert!(wire.ends_with(&payload));
        assert!(wire.len() - payload.len() <= 8);
        assert_eq!(uncopied, length >= 4_096, "{length}");
    }
}

#[test]
fn the_fast_way_writes_the_same_bytes_in_the_order_of_the_calls() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let topic = TopicName::new("t").unwrap();
        let client = &mut pair.client;
        assert_eq!(client.publish_at_once(borrowed("t", b"1"), b"1"), Ok(true));
        client.publish(pair.now, Publish::new(topic, "2")).unwrap();
        // A message waits, so the fast way would overtake it.
        assert_eq!(client.publish_at_once(borrowed("t", b"3"), b"3"), Ok(false));
        pair.pump();
        assert_eq!(
            pair.client.publish_at_once(borrowed("t", b"3"), b"3"),
            Ok(true)
        );
        pair.pump();
        assert_eq!(
            pair.sent(),
            ["PUBLISH q0 1", "PUBLISH q0 2", "PUBLISH q0 3"]
        );
        assert_eq!(pair.client.stats().sent_qos0, 3);
    }
}

#[test]
fn the_fast_way_is_closed_while_the_transport_is_full_or_absent() {
    let payload = vec![7; 4_000];
    let mut pair = Pair::connected(options(V5));
    let mut written = 0;
    while pair
        .client
        .publish_at_once(borrowed("t", &payload), &payload)
        == Ok(true)
    {
        written += 1;
        assert!(written < 100, "never full");
    }
    assert!(pair.client.pending_transmit() >= 64 * 1024);
    pair.cut();
    assert_eq!(
        pair.client.publish_at_once(borrowed("t", b""), b""),
        Ok(false)
    );
}

/// MQTT-3.3.4-6, MQTT-3.3.2-14: Subscription Identifiers are not the caller's.
#[test]
fn properties_that_a_client_must_not_send_are_refused() {
    let none = Properties::default();
    for properties in [
        Properties {
            subscription_identifiers: [1].into(),
            ..none.clone()
        },
        Properties {
            response_topic: Some(text("a/#")),
            ..none.clone()
        },
        Properties {
            response_topic: Some(text("")),
            ..none.clone()
        },
        Properties {
            server_keep_alive: Some(1),
            ..none.clone()
        },
        Properties {
            correlation_data: Some(Bytes::from(vec![0; 65_536])),
            ..none
        },
    ] {
        let mut pair = Pair::connected(options(V5));
        let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
        publish.properties = Some(Box::new(properties));
        let error = pair.client.publish(pair.now, publish).unwrap_err();
        assert!(matches!(error, InvalidPublish::Property(_)), "{error}");
        pair.pump();
        assert!(pair.bytes().is_empty());
    }
    let mut pair = Pair::connected(options(V311));
    let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
    publish.properties = Some(Box::new(Properties {
        content_type: Some(text("x")),
        ..Properties::default()
    }));
    let error = pair.client.publish(pair.now, publish).unwrap_err();
    assert!(matches!(error, InvalidPublish::Property(_)));
}

/// What was reported as sent but never handed to the transport is counted; what was not even encoded was not sent.
#[test]
fn a_lost_connection_tells_how_many_were_never_handed_over() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        for _ in 0..3 {
            pair.publish("t", "handed over", AtMostOnce);
        }
        pair.events();
        pair.writable = false;
        for _ in 0..2 {
            let fast = pair.client.publish_at_once(borrowed("t", b"x"), b"x");
            assert_eq!(fast, Ok(true));
        }
        let waiting = pair.publish("t", "y", AtMostOnce);
        pair.cut();
        let events = pair.events();
        let cause = ConnectionError::Transport(TransportError::EndOfStream);
        let delivery = Delivery::NotSent;
        assert_eq!(
            events,
            [
                Event::Disconnected {
                    cause: cause.clone(),
                    retry_at: None,
                    unflushed: 2
                },
                Event::Completed {
                    op: waiting,
                    outcome: Outcome::Disconnected { cause, delivery }
                },
            ]
        );
        assert_eq!(pair.client.stats().unflushed, 2);
    }
}

/// MQTT-3.3.2-2, MQTT-4.7.3-1, MQTT-4.7.3-2.
#[test]
fn the_fast_way_refuses_a_topic_that_cannot_be_published_to() {
    let mut pair = Pair::connected(options(V5));
    for topic in ["", "a/#", "+", "a\0b"] {
        let result = pair.client.publish_at_once(borrowed(topic, b"x"), b"x");
        assert!(matches!(result, Err(InvalidPublish::Topic(_))), "{topic:?}");
    }
    assert!(pair.bytes().is_empty());
}
