//! Messages from the server, and their acknowledgements.

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{Packet, decode};
use ferromqtt_proto::{ConnectionError, Options, Properties, QueueOptions, ReasonCode};

use crate::support::*;

/// MQTT-3.3.4-1, MQTT-4.3.2-4, MQTT-4.3.3-8, MQTT-2.2.1-5; 3.1.1: MQTT-3.3.4-1, MQTT-2.3.1-6, MQTT-4.3.1-1.
#[test]
fn the_answer_depends_on_the_qos() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        for (qos, packet_id, answer) in [
            (AtMostOnce, 0, &b""[..]),
            (AtLeastOnce, 13_423, b"\x40\x02\x34\x6f"),
            (ExactlyOnce, 13_423, b"\x50\x02\x34\x6f"),
        ] {
            let publish = message("t", "x", qos, packet_id);
            pair.server_sends(Packet::Publish(publish.clone()));
            assert_eq!(pair.bytes(), answer);
            let received = pair.messages().remove(0);
            assert_eq!(received.topic.as_utf8(), &publish.topic);
            assert_eq!(received.payload, publish.payload);
            assert_eq!(received.qos, publish.qos);
            assert_eq!(received.packet_id, publish.packet_id);
            assert!(!received.dup && !received.retain);
        }
    }
}

/// MQTT-4.6.0-2, MQTT-4.6.0-3; 3.1.1: MQTT-4.6.0-2, MQTT-4.6.0-3. Pitfall 5.
#[test]
fn acknowledgements_follow_the_order_of_arrival() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let mut segment = BytesMut::new();
        for (qos, packet_id) in [
            (ExactlyOnce, 9),
            (AtLeastOnce, 3),
            (ExactlyOnce, 1),
            (AtLeastOnce, 7),
        ] {
            Packet::Publish(message("t", "x", qos, packet_id)).encode(version, &mut segment);
        }
        pair.server_sends_bytes(&segment);
        assert_eq!(
            pair.sent(),
            ["PUBREC 9", "PUBACK 3", "PUBREC 1", "PUBACK 7"]
        );
    }
}

/// MQTT-4.3.2-5; 3.1.1: MQTT-4.3.2-2: at QoS 1 the same identifier is a new message, whatever DUP says.
#[test]
fn at_qos_1_a_repeated_publish_is_delivered_again() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let mut publish = message("t", "x", AtLeastOnce, 5);
        pair.server_sends(Packet::Publish(publish.clone()));
        publish.dup = true;
        pair.server_sends(Packet::Publish(publish));
        assert_eq!(pair.sent(), ["PUBACK 5", "PUBACK 5"]);
        let flags: Vec<_> = pair.messages().iter().map(|it| it.dup).collect();
        assert_eq!(flags, [false, true]);
    }
}

/// MQTT-4.3.3-10, MQTT-4.3.3-11, MQTT-4.3.3-12; 3.1.1: MQTT-4.3.3-2, and MQTT-4.1.0-2 as the session is a clean one.
#[test]
fn at_qos_2_a_repeat_is_answered_but_not_delivered_until_pubrel() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let mut publish = message("t", "x", ExactlyOnce, 5);
        pair.server_sends(Packet::Publish(publish.clone()));
        publish.dup = true;
        pair.server_sends(Packet::Publish(publish.clone()));
        assert_eq!(pair.sent(), ["PUBREC 5", "PUBREC 5"]);
        assert_eq!(pair.payloads(), ["x"]);
        pair.server_sends(pubrel(5));
        assert_eq!(pair.sent(), ["PUBCOMP 5"]);
        publish.dup = false;
        pair.server_sends(Packet::Publish(publish));
        assert_eq!(pair.sent(), ["PUBREC 5"]);
        assert_eq!(pair.payloads(), ["x"], "a new message");
        assert_eq!(pair.client.stats().received, 2);
    }
}

/// MQTT-4.3.3-13: the exchange goes on, whatever has become of the message meanwhile.
#[test]
fn an_expired_message_at_qos_2_is_acknowledged_to_the_end() {
    let mut pair = Pair::connected(resuming(V5));
    let mut publish = message("t", "x", ExactlyOnce, 5);
    publish.properties = Some(Box::new(Properties {
        message_expiry_interval: Some(1),
        ..Properties::default()
    }));
    pair.server_sends(Packet::Publish(publish.clone()));
    assert_eq!(pair.sent(), ["PUBREC 5"]);
    pair.advance(10 * SECOND);
    publish.dup = true;
    pair.server_sends(Packet::Publish(publish));
    assert_eq!(pair.sent(), ["PUBREC 5"]);
    pair.reconnect(true);
    pair.server_sends(pubrel(5));
    assert_eq!(pair.sent(), ["PUBCOMP 5"]);
}

/// MQTT-4.3.3-10, MQTT-3.1.2-23; 3.1.1: MQTT-3.1.2-4. Pitfall 19.
#[test]
fn qos_2_identifiers_survive_a_reconnect_into_the_same_session() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let mut publish = message("t", "x", ExactlyOnce, 5);
        pair.server_sends(Packet::Publish(publish.clone()));
        pair.bytes();
        assert_eq!(pair.payloads(), ["x"]);
        pair.reconnect(true);
        publish.dup = true;
        pair.server_sends(Packet::Publish(publish));
        pair.server_sends(pubrel(5));
        assert_eq!(pair.sent(), ["PUBREC 5", "PUBCOMP 5"]);
        assert!(pair.payloads().is_empty());
    }
}

/// An attempt got no answer, so the session that is resumed may have been started by it: its first identifiers are those of
/// messages that are to come for the first time, without DUP (MQTT-3.3.1-1).
#[test]
fn after_an_attempt_without_an_answer_a_new_message_may_have_an_identifier_of_before() {
    for version in VERSIONS {
        for dup in [false, true] {
            let mut pair = Pair::connected(resuming(version));
            pair.server_sends(Packet::Publish(message("t", "x", ExactlyOnce, 5)));
            pair.cut();
            pair.wait_for_transport();
            pair.cut();
            pair.wait_for_transport();
            pair.accept(true, Properties::default());
            let mut publish = message("t", "y", ExactlyOnce, 5);
            publish.dup = dup;
            pair.server_sends(Packet::Publish(publish.clone()));
            publish.dup = false;
            pair.server_sends(Packet::Publish(publish));
            assert_eq!(pair.sent(), ["PUBREC 5", "PUBREC 5"]);
            let taken = pair.payloads();
            assert_eq!(taken.len(), if dup { 1 } else { 2 }, "{taken:?}");
        }
    }
}

/// MQTT-3.2.2-5, MQTT-3.1.2-4; 3.1.1: MQTT-3.2.2-2, MQTT-3.1.2-6. Pitfall 6.
#[test]
fn qos_2_identifiers_are_forgotten_with_the_session() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let publish = Packet::Publish(message("t", "x", ExactlyOnce, 5));
        pair.server_sends(publish.clone());
        pair.reconnect(false);
        pair.server_sends(publish);
        assert_eq!(pair.payloads(), ["x", "x"]);
    }
}

/// MQTT-4.3.3-11, MQTT-3.7.2-1. Pitfall 19: otherwise the server would never free its message.
#[test]
fn an_unknown_pubrel_is_answered() {
    for (version, answer) in [
        (V311, &b"\x70\x02\x00\x09"[..]),
        (V5, b"\x70\x03\x00\x09\x92"),
    ] {
        let mut pair = Pair::connected(options(version));
        pair.server_sends(pubrel(9));
        assert_eq!(pair.bytes(), answer);
        assert!(pair.client.is_connected());
    }
}

/// MQTT-4.5.0-2, MQTT-3.3.2-3; 3.1.1: MQTT-4.5.0-2: acknowledged, wanted or not. Pitfall 19.
#[test]
fn messages_without_a_subscription_or_without_room_are_acknowledged() {
    for version in VERSIONS {
        let mut options = options(version);
        options.incoming = QueueOptions {
            limit: Some(1),
            ..QueueOptions::LATEST
        };
        let mut pair = Pair::connected(options);
        for packet_id in 1..=3 {
            pair.server_sends(Packet::Publish(message(
                "never/asked",
                "x",
                AtLeastOnce,
                packet_id,
            )));
        }
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2", "PUBACK 3"]);
        assert_eq!(pair.payloads(), ["x"]);
    }
}

/// MQTT-3.3.2-15 to MQTT-3.3.2-20, MQTT-3.3.4-3 to MQTT-3.3.4-5, MQTT-1.5.4-3. Pitfalls 14 and 18.
#[test]
fn properties_reach_the_application_as_they_came() {
    let properties = Properties {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(7),
        content_type: Some(text("\u{feff}text")),
        response_topic: Some(text("answer")),
        correlation_data: Some(Bytes::new()),
        subscription_identifiers: [1, 268_435_455, 1].into(),
        user_properties: [
            (text("b"), text("1")),
            (text("a"), text("2")),
            (text("b"), text("1")),
        ]
        .into(),
        ..Properties::default()
    };
    let mut pair = Pair::connected(options(V5));
    let mut publish = message("\u{feff}t", "x", AtMostOnce, 0);
    publish.retain = true;
    publish.properties = Some(Box::new(properties.clone()));
    pair.server_sends(Packet::Publish(publish));
    let received = pair.messages().remove(0);
    assert_eq!(received.topic, "\u{feff}t");
    assert_eq!(received.properties.as_deref(), Some(&properties));
    assert!(received.retain);
}

/// No copy: the payload is a slice of the receive buffer.
#[test]
fn the_payload_lies_in_the_receive_buffer() {
    let mut pair = Pair::connected(options(V311));
    let mut input = BytesMut::with_capacity(1_000);
    Packet::Publish(message("t", "payload", AtMostOnce, 0)).encode(V311, &mut input);
    let range = input.as_ptr() as usize..input.as_ptr() as usize + input.len();
    pair.client.handle_input(pair.now, &mut input);
    let received = pair.messages().remove(0);
    assert!(range.contains(&(received.payload.as_ptr() as usize)));
}

fn with_own_receive_maximum(limit: u16) -> Options {
    let mut options = resuming(V5);
    options.properties = receive_maximum(limit);
    options
}

/// MQTT-3.3.4-9: one more than announced. Pitfall 8.
#[test]
fn a_server_beyond_our_receive_maximum_is_disconnected_with_0x93() {
    let mut pair = Pair::connected(with_own_receive_maximum(2));
    for packet_id in [1, 2] {
        pair.server_sends(Packet::Publish(message("t", "x", ExactlyOnce, packet_id)));
    }
    // A repeat is no further message, and a PUBREL makes room.
    pair.server_sends(Packet::Publish(message("t", "x", ExactlyOnce, 2)));
    pair.server_sends(pubrel(1));
    pair.server_sends(Packet::Publish(message("t", "x", ExactlyOnce, 3)));
    assert!(pair.client.is_connected());
    pair.bytes();
    pair.events();
    pair.server_sends(Packet::Publish(message("t", "one more", ExactlyOnce, 4)));
    assert_eq!(pair.bytes(), &b"\xe0\x01\x93"[..]);
    let ConnectionError::ProtocolViolation(error) = pair.cause() else {
        panic!("not told as a violation");
    };
    assert_eq!(error.reason, ReasonCode::ReceiveMaximumExceeded);
    assert_eq!(pair.payloads(), ["x"; 3]);
}

/// Section 4.9: the count is not kept across connections, so what an earlier one left open does not use it up.
#[test]
fn our_receive_maximum_counts_anew_on_each_connection() {
    let mut pair = Pair::connected(with_own_receive_maximum(1));
    pair.server_sends(Packet::Publish(message("t", "a", ExactlyOnce, 1)));
    pair.reconnect(true);
    pair.server_sends(Packet::Publish(message("t", "b", ExactlyOnce, 2)));
    pair.server_sends(pubrel(1));
    assert_eq!(pair.sent(), ["PUBREC 2", "PUBCOMP 1"]);
    pair.server_sends(Packet::Publish(message("t", "c", ExactlyOnce, 3)));
    assert_eq!(pair.sent(), ["DISCONNECT 0x93"], "2 is still open");
}

/// What the client answers can be read back by the server's own rules.
#[test]
fn acknowledgements_are_whole_packets_of_their_version() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        pair.server_sends(Packet::Publish(message("t", "x", ExactlyOnce, 1)));
        let bytes = pair.bytes();
        let mut at = 0;
        assert_eq!(decode(&bytes, &mut at, version), Ok(pubrec(1)));
        assert_eq!(at, bytes.len());
    }
}
