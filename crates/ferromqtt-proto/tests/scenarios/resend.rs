//! What is sent again into a session that the server resumed.

use ferromqtt_proto::packet::{Ack, Packet};
use ferromqtt_proto::{Outcome, Properties, Publish, ReasonCode, TopicName};

use crate::support::*;

/// MQTT-4.4.0-1, MQTT-3.3.1-1, MQTT-3.2.2-2; 3.1.1: MQTT-4.4.0-1, MQTT-3.2.2-2, MQTT-3.3.1-1, MQTT-2.3.1-3. Pitfalls 2 and 3.
#[test]
fn an_unacknowledged_publish_comes_again_with_dup_and_its_identifier() {
    for (version, expected) in [
        (
            V311,
            &b"\x3a\x06\x00\x01t\x00\x01x\x3c\x06\x00\x01t\x00\x02y"[..],
        ),
        (
            V5,
            b"\x3a\x07\x00\x01t\x00\x01\x00x\x3c\x07\x00\x01t\x00\x02\x00y",
        ),
    ] {
        let mut pair = Pair::connected(resuming(version));
        let first = pair.publish("t", "x", AtLeastOnce);
        pair.publish("t", "y", ExactlyOnce);
        pair.reconnect(true);
        assert_eq!(pair.bytes(), expected);
        pair.server_sends(puback(1));
        let outcome = pair.outcome(first);
        assert!(
            matches!(
                outcome,
                Outcome::Acknowledged {
                    resent_as_new: false,
                    ..
                }
            ),
            "{outcome:?}"
        );
        assert_eq!(pair.client.stats().resent, 2);
    }
}

/// MQTT-4.6.0-1, MQTT-4.6.0-4; 3.1.1: MQTT-4.6.0-1, MQTT-4.6.0-4. Pitfalls 4 and 5: order of sending, QoS 1 and 2 mixed; PUBRELs in order of the PUBRECs.
#[test]
fn everything_comes_again_in_the_order_it_was_sent_and_before_what_is_new() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        for (payload, qos) in [
            ("a", AtLeastOnce),
            ("b", ExactlyOnce),
            ("c", ExactlyOnce),
            ("d", AtLeastOnce),
            ("e", ExactlyOnce),
        ] {
            pair.publish("t", payload, qos);
        }
        pair.server_sends(pubrec(5));
        pair.server_sends(pubrec(2));
        pair.bytes();
        pair.cut();
        pair.publish("t", "new", AtLeastOnce);
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert_eq!(
            pair.sent(),
            [
                "PUBREL 5",
                "PUBREL 2",
                "PUBLISH q1 1 DUP a",
                "PUBLISH q2 3 DUP c",
                "PUBLISH q1 4 DUP d",
                "PUBLISH q1 6 new",
            ]
        );
    }
}

/// MQTT-4.3.3-6: the message is not sent again once PUBREC has come, on however many connections. Pitfall 4.
#[test]
fn after_pubrec_pubrel_is_what_comes_again() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let op = pair.publish("t", "x", ExactlyOnce);
        pair.server_sends(pubrec(1));
        pair.bytes();
        for _ in 0..3 {
            pair.reconnect(true);
            assert_eq!(pair.bytes(), &b"\x62\x02\x00\x01"[..]);
        }
        pair.server_sends(pubcomp(1));
        assert!(matches!(pair.outcome(op), Outcome::Acknowledged { .. }));
        pair.reconnect(true);
        assert!(pair.bytes().is_empty());
    }
}

/// MQTT-4.3.3-7: once it was on the wire, its time no longer counts; it must not vanish from the server's exchange.
#[test]
fn a_message_that_was_sent_comes_again_though_it_has_expired() {
    let mut pair = Pair::connected(resuming(V5));
    let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
    publish.qos = ExactlyOnce;
    publish.properties = Some(Box::new(Properties {
        message_expiry_interval: Some(1),
        ..Properties::default()
    }));
    let op = pair.client.publish(pair.now, publish).unwrap();
    pair.pump();
    assert_eq!(pair.sent(), ["PUBLISH q2 1 x"]);
    pair.events();
    pair.advance(10 * SECOND);
    pair.reconnect(true);
    assert_eq!(pair.sent(), ["PUBLISH q2 1 DUP x"]);
    pair.server_sends(pubrec(1));
    assert_eq!(pair.sent(), ["PUBREL 1"]);
    pair.events();
    pair.server_sends(pubcomp(1));
    assert!(matches!(pair.outcome(op), Outcome::Acknowledged { .. }));
}

/// MQTT-4.4.0-1: once a connection, right behind CONNACK, and on no timer. Pitfall 3.
#[test]
fn nothing_comes_again_within_a_connection() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        pair.publish("t", "x", AtLeastOnce);
        pair.bytes();
        pair.advance(100_000 * SECOND);
        assert!(pair.bytes().is_empty());
        pair.reconnect(true);
        assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP x"]);
        pair.advance(100_000 * SECOND);
        assert!(pair.bytes().is_empty());
    }
}

/// MQTT-3.3.1-3; 3.1.1: MQTT-3.3.1-3. Pitfall 2: what only waited was never sent, and so has no DUP.
#[test]
fn a_first_send_has_no_dup_however_many_connections_it_waited_for() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        pair.writable = false;
        pair.publish("t", "x", AtLeastOnce);
        for _ in 0..3 {
            pair.cut();
            pair.publish("t", "y", ExactlyOnce);
            pair.wait_for_transport();
        }
        pair.writable = true;
        pair.pump();
        pair.accept(true, Properties::default());
        assert_eq!(
            pair.sent(),
            [
                "PUBLISH q1 1 x",
                "PUBLISH q2 2 y",
                "PUBLISH q2 3 y",
                "PUBLISH q2 4 y"
            ]
        );
    }
}

/// The connection breaks again in the middle of resending: nothing is left out the next time, nor sent twice in one.
#[test]
fn resending_that_was_interrupted_starts_over() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        for payload in ["a", "b", "c"] {
            pair.publish("t", payload, AtLeastOnce);
        }
        pair.bytes();
        pair.reconnect_with(true, receive_maximum(1));
        let before = if version == V5 { 1 } else { 3 };
        assert_eq!(pair.sent().len(), before);
        pair.reconnect(true);
        assert_eq!(
            pair.sent(),
            [
                "PUBLISH q1 1 DUP a",
                "PUBLISH q1 2 DUP b",
                "PUBLISH q1 3 DUP c"
            ]
        );
    }
}

/// The server may answer, after a reconnect, what it got on the connection before.
#[test]
fn an_acknowledgement_that_comes_before_the_resend_spares_it() {
    let mut pair = Pair::connected(resuming(V5));
    let ops = ["a", "b", "c"].map(|payload| pair.publish("t", payload, ExactlyOnce));
    pair.bytes();
    pair.reconnect_with(true, receive_maximum(1));
    assert_eq!(pair.sent(), ["PUBLISH q2 1 DUP a"]);
    pair.server_sends(pubrec(2));
    let refusal = Ack::new(id(3), ReasonCode::QuotaExceeded);
    pair.server_sends(Packet::PubRec(refusal));
    assert!(matches!(pair.outcome(ops[2]), Outcome::Refused { .. }));
    assert_eq!(pair.sent(), ["PUBREL 2"]);
    pair.server_sends(pubcomp(2));
    assert!(matches!(pair.outcome(ops[1]), Outcome::Acknowledged { .. }));
    assert!(pair.sent().is_empty(), "the slot belongs to 1");
    pair.server_sends(pubrec(1));
    pair.server_sends(pubcomp(1));
    assert_eq!(pair.sent(), ["PUBREL 1"]);
    assert!(matches!(pair.outcome(ops[0]), Outcome::Acknowledged { .. }));
}

/// MQTT-4.6.0-1. Pitfall 5: the order is that of sending, not that of identifiers, which differ once they have wrapped.
#[test]
fn the_order_of_sending_holds_when_identifiers_have_wrapped() {
    let mut options = resuming(V311);
    options.outgoing = ferromqtt_proto::OutgoingLimits::NONE;
    let mut pair = Pair::connected(options);
    for id in 1..=65_533 {
        pair.publish("t", "x", AtLeastOnce);
        pair.server_sends(puback(id));
    }
    pair.bytes();
    pair.events();
    for payload in ["a", "b", "c", "d"] {
        pair.publish("t", payload, AtLeastOnce);
    }
    pair.bytes();
    pair.reconnect(true);
    assert_eq!(
        pair.sent(),
        [
            "PUBLISH q1 65534 DUP a",
            "PUBLISH q1 65535 DUP b",
            "PUBLISH q1 1 DUP c",
            "PUBLISH q1 2 DUP d",
        ]
    );
}

/// Topic Aliases live for one connection (MQTT-3.3.2-7): what comes again carries its whole topic. Pitfall 13.
#[test]
fn a_resend_carries_its_whole_topic() {
    let mut pair = Pair::connected_with(
        resuming(V5),
        Properties {
            topic_alias_maximum: Some(10),
            ..Properties::default()
        },
    );
    pair.publish("a/b", "x", AtLeastOnce);
    pair.publish("a/b", "y", AtLeastOnce);
    pair.reconnect(true);
    for packet in pair.packets() {
        if let Packet::Publish(publish) = packet {
            assert_eq!(publish.topic, "a/b");
            assert_eq!(publish.properties, None);
        }
    }
}
