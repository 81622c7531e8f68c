//! Packets other than PUBLISH that are large: refused from the fixed header, and held once however many are told of them.

use std::num::NonZeroU32;
use std::sync::Arc;

use ferromqtt_proto::packet::{Disconnect, Packet};
use ferromqtt_proto::{
    ConnectionError, Event, Options, Outcome, Properties, ProtocolVersion, QueueOptions,
    ReasonCode, UserProperties,
};

use crate::support::*;

const MIB: usize = 1 << 20;

fn limited(version: ProtocolVersion, bytes: u32) -> Options {
    let mut options = resuming(version);
    options.maximum_non_publish_size = NonZeroU32::new(bytes).unwrap();
    options
}

/// So many bytes of User Properties, at 5 bytes each.
fn empty_pairs(bytes: usize) -> UserProperties {
    vec![(text(""), text("")); bytes / 5].into()
}

/// The head of a packet with a body of so many bytes, which takes three bytes to say.
fn head(first_byte: u8, body: usize) -> [u8; 4] {
    let digit = |shift: usize| (body >> shift & 0x7f) as u8;
    [first_byte, digit(0) | 0x80, digit(7) | 0x80, digit(14)]
}

/// The Reason Code is of section 2.4: "An implementation or administrative imposed limit has been exceeded".
#[test]
fn a_large_packet_other_than_publish_ends_the_connection_before_it_is_read() {
    for first_byte in [0x40, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xe0, 0xf0] {
        for version in VERSIONS {
            let mut pair = Pair::connected(limited(version, 20_000));
            pair.receive("t", "x", AtLeastOnce, 1);
            pair.sent();
            let begun = head(first_byte, 20_000 - 4);
            assert_eq!(pair.client.input_hint(&begun), 20_000 - 4);
            let begun = head(first_byte, 20_000 - 3);
            assert_eq!(
                pair.client.input_hint(&begun),
                1,
                "room for a packet that is refused"
            );
            pair.server_sends_bytes(&begun);
            assert!(!pair.client.is_connected(), "{first_byte:#x} {version:?}");
            let expected: &[_] = match version {
                V5 => &["DISCONNECT 0x97"],
                _ => &[],
            };
            assert_eq!(pair.sent(), expected);
            let cause = pair.cause();
            let (bytes, limit) = (20_001, 20_000);
            assert_eq!(cause, ConnectionError::NonPublishTooLarge { bytes, limit });
            let reported = cause.to_string();
            assert!(reported.contains("maximum_non_publish_size"), "{reported}");
            assert_eq!(pair.payloads(), ["x"]);
        }
    }
}

#[test]
fn a_large_connack_is_refused_before_it_is_read() {
    let mut pair = Pair::new(options(V5));
    pair.connect();
    pair.packets();
    pair.server_sends_bytes(&head(0x20, MIB));
    assert!(pair.client.is_idle());
    assert!(pair.sent().is_empty(), "no DISCONNECT before CONNACK");
    let (bytes, limit) = (MIB + 4, MIB);
    assert_eq!(
        pair.cause(),
        ConnectionError::NonPublishTooLarge { bytes, limit }
    );
}

#[test]
fn a_mebibyte_of_connack_is_accepted_by_default_and_a_publish_may_be_larger() {
    let user_properties = empty_pairs(MIB - 20);
    let properties = Properties {
        user_properties: user_properties.clone(),
        ..Properties::default()
    };
    let mut pair = Pair::connected_with(options(V5), properties);
    let reported = pair.connected_event().properties;
    assert_eq!(reported.user_properties, user_properties);
    pair.receive("t", &"x".repeat(2 * MIB), AtMostOnce, 0);
    assert_eq!(pair.payloads()[0].len(), 2 * MIB);
}

/// Maximum Packet Size is announced, so a packet that breaks both limits breaks a rule (MQTT-3.1.2-24).
#[test]
fn the_maximum_packet_size_is_looked_at_first() {
    let mut options = limited(V5, 20_000);
    options.maximum_packet_size = NonZeroU32::new(15_000);
    let mut pair = Pair::connected(options);
    pair.server_sends_bytes(&head(0xe0, 30_000));
    assert_eq!(pair.sent(), ["DISCONNECT 0x95"]);
    assert!(matches!(
        pair.cause(),
        ConnectionError::ProtocolViolation(_)
    ));
}

fn properties_of(cause: &ConnectionError) -> &Arc<Properties> {
    match cause {
        ConnectionError::Disconnected { properties, .. }
        | ConnectionError::Refused { properties, .. } => properties,
        other => panic!("{other:?}"),
    }
}

/// One copy: what 1,000 operations and the event are told is the same.
#[test]
fn every_operation_that_a_disconnect_ends_shares_its_properties() {
    let mut pair = Pair::connected(options(V5));
    let filters: Vec<_> = (0..10).map(|number| format!("t/{number}")).collect();
    for number in 0..1_000 {
        match number % 3 {
            0 => pair.publish("t", "x", AtLeastOnce),
            1 => pair.publish("t", "x", ExactlyOnce),
            _ => pair.subscribe(&[&filters[number % 10]]),
        };
    }
    let mut disconnect = Disconnect::because(ReasonCode::ServerShuttingDown);
    disconnect.properties.user_properties = empty_pairs(256 << 10);
    pair.server_sends(Packet::Disconnect(Box::new(disconnect)));
    let mut causes = Vec::new();
    for event in pair.events() {
        match event {
            Event::Disconnected { cause, .. } => causes.push(cause),
            Event::Completed {
                outcome: Outcome::Disconnected { cause, .. },
                ..
            } => causes.push(cause),
            _ => {}
        }
    }
    assert_eq!(causes.len(), 1_001);
    let first = properties_of(&causes[0]);
    assert_eq!(first.user_properties.len(), (256 << 10) / 5);
    assert!((causes.iter()).all(|cause| Arc::ptr_eq(first, properties_of(cause))));
}

/// Whoever keeps an answer keeps that, and not the read that it came in.
#[test]
fn what_a_packet_says_keeps_no_input_alive() {
    let mut pair = Pair::new(options(V5));
    pair.connect();
    pair.packets();
    let mut input = bytes::BytesMut::new();
    let said = || Properties {
        reason_string: Some(text("because")),
        user_properties: empty_pairs(50),
        ..Properties::default()
    };
    accepted(false, said()).encode(V5, &mut input);
    let mut disconnect = Disconnect::because(ReasonCode::ServerBusy);
    disconnect.properties = said();
    Packet::Disconnect(Box::new(disconnect)).encode(V5, &mut input);
    let source = input.as_ptr_range();
    pair.client.handle_input(pair.now, &mut input);
    let inside = |properties: &Properties| {
        let string = properties.reason_string.as_ref().unwrap().as_bytes();
        source.contains(&string.as_ptr())
            || (properties.user_properties.iter()).any(|(name, _)| source.contains(&name.as_ptr()))
    };
    let mut reported = 0;
    while let Some(event) = pair.client.poll_event() {
        match event {
            Event::Connected(connected) => {
                assert!(!inside(&connected.properties));
                reported += 1;
            }
            Event::Disconnected { cause, .. } => {
                assert!(!inside(properties_of(&cause)));
                reported += 1;
            }
            _ => {}
        }
    }
    assert_eq!(reported, 2);
}

/// MQTT-3.3.4-4: a message has an identifier for each subscription, and each queue that one feeds gets it.
#[test]
fn queues_share_the_subscription_identifiers_of_a_message() {
    let mut pair = Pair::connected(options(V5));
    let queues = ["t", "+"].map(|filter| pair.queue(&[filter], QueueOptions::default()));
    let mut publish = message("t", "x", AtMostOnce, 0);
    publish.properties = Some(Box::new(Properties {
        subscription_identifiers: (1..100).collect(),
        ..Properties::default()
    }));
    pair.server_sends(Packet::Publish(publish));
    let [one, other] = queues.map(|queue| {
        let mut messages = pair.messages_of(queue);
        assert_eq!(messages.len(), 1);
        let properties = messages.remove(0).properties.unwrap();
        properties.subscription_identifiers
    });
    assert!(one.iter().copied().eq(1..100));
    assert_eq!(one.as_ptr(), other.as_ptr());
}
