//! QoS 1 from the client.

use ferromqtt_proto::packet::{Ack, Packet};
use ferromqtt_proto::{ConnectionError, Event, Outcome, Properties, ReasonCode, TopicName};

use crate::support::*;

fn acknowledged(reason: ReasonCode) -> Outcome {
    Outcome::Acknowledged {
        reason,
        properties: None,
        resent_as_new: false,
    }
}

/// MQTT-4.3.2-1, MQTT-4.3.2-2, MQTT-4.3.2-3, MQTT-2.2.1-3, MQTT-3.3.1-3; 3.1.1: MQTT-4.3.2-1, MQTT-2.3.1-1, MQTT-3.3.1-3.
#[test]
fn dup_0_an_identifier_and_done_at_puback() {
    for (version, expected) in [
        (V311, &b"\x32\x06\x00\x01t\x00\x01x"[..]),
        (V5, b"\x32\x07\x00\x01t\x00\x01\x00x"),
    ] {
        let mut pair = Pair::connected(options(version));
        let op = pair.publish("t", "x", AtLeastOnce);
        assert_eq!(pair.bytes(), expected);
        assert!(pair.outcomes().is_empty(), "not before PUBACK");
        pair.server_sends_bytes(b"\x40\x02\x00\x01");
        assert_eq!(pair.outcome(op), acknowledged(ReasonCode::Success));
        assert!(pair.bytes().is_empty());
    }
}

#[test]
fn acknowledgements_complete_their_own_publishes_in_any_order() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let ops = ["a", "b", "c"].map(|payload| pair.publish("t", payload, AtLeastOnce));
        assert_eq!(
            pair.sent(),
            ["PUBLISH q1 1 a", "PUBLISH q1 2 b", "PUBLISH q1 3 c"]
        );
        for (id, op) in [(2, ops[1]), (3, ops[2]), (1, ops[0])] {
            pair.server_sends(puback(id));
            assert_eq!(pair.outcome(op), acknowledged(ReasonCode::Success));
        }
    }
}

/// Section 3.4.2.1: the short forms, with and without properties.
#[test]
fn puback_tells_its_reason_code_and_properties() {
    let because = Box::new(Properties {
        reason_string: Some(text("why")),
        ..Properties::default()
    });
    let plain = |reason| (reason, None);
    for (puback, (reason, properties)) in [
        (
            &b"\x40\x03\x00\x01\x10"[..],
            plain(ReasonCode::NoMatchingSubscribers),
        ),
        (b"\x40\x04\x00\x01\x00\x00", plain(ReasonCode::Success)),
        (
            b"\x40\x0a\x00\x01\x00\x06\x1f\x00\x03why",
            (ReasonCode::Success, Some(because.clone())),
        ),
    ] {
        let mut pair = Pair::connected(options(V5));
        let op = pair.publish("t", "x", AtLeastOnce);
        pair.server_sends_bytes(puback);
        let resent_as_new = false;
        let outcome = Outcome::Acknowledged {
            reason,
            properties,
            resent_as_new,
        };
        assert_eq!(pair.outcome(op), outcome);
    }
    let mut pair = Pair::connected(options(V5));
    let op = pair.publish("t", "x", AtLeastOnce);
    pair.server_sends_bytes(b"\x40\x0a\x00\x01\x87\x06\x1f\x00\x03why");
    let (reason, properties) = (ReasonCode::NotAuthorized, Some(because));
    assert_eq!(pair.outcome(op), Outcome::Refused { reason, properties });
}

/// MQTT-4.4.0-2: reported right before the outcome, and also when no caller waits for that.
#[test]
fn a_refusal_is_reported_with_its_topic_also_when_nobody_waits_for_the_outcome() {
    for abandoned in [false, true] {
        let mut pair = Pair::connected(options(V5));
        let op = pair.publish("t", "x", AtLeastOnce);
        assert_eq!(pair.sent(), ["PUBLISH q1 1 x"]);
        if abandoned {
            pair.client.abandon(op);
        }
        pair.events();
        let reason = ReasonCode::QuotaExceeded;
        pair.server_sends(Packet::PubAck(Ack::new(id(1), reason)));
        let refused = Event::PublishRefused {
            topic: TopicName::new("t").unwrap(),
            reason,
            op: (!abandoned).then_some(op),
            key: None,
        };
        let properties = None;
        let outcome = Outcome::Refused { reason, properties };
        let completed = (!abandoned).then_some(Event::Completed { op, outcome });
        let expected: Vec<_> = [refused].into_iter().chain(completed).collect();
        assert_eq!(pair.events(), expected);
    }
}

/// MQTT-4.4.0-2: a PUBACK with an error acknowledges too, so nothing is sent again and the slot is free.
#[test]
fn a_negative_puback_ends_the_exchange() {
    let mut pair = Pair::connected_with(resuming(V5), receive_maximum(1));
    let first = pair.publish("t", "a", AtLeastOnce);
    pair.publish("t", "b", AtLeastOnce);
    assert_eq!(pair.sent(), ["PUBLISH q1 1 a"]);
    pair.server_sends(Packet::PubAck(Ack::new(id(1), ReasonCode::QuotaExceeded)));
    let reason = ReasonCode::QuotaExceeded;
    assert_eq!(
        pair.outcome(first),
        Outcome::Refused {
            reason,
            properties: None
        }
    );
    assert_eq!(pair.sent(), ["PUBLISH q1 2 b"]);
    pair.reconnect(true);
    assert_eq!(pair.sent(), ["PUBLISH q1 2 DUP b"]);
}

/// MQTT-2.2.1-6. Pitfall 19: an acknowledgement that nobody asked for completes nothing and closes nothing.
#[test]
fn unknown_acknowledgements_are_ignored() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let publish = pair.publish("t", "x", AtLeastOnce);
        let subscribe = pair.subscribe(&["a"]);
        pair.bytes();
        for packet in [
            puback(7),
            pubcomp(7),
            suback(7, &[ReasonCode::Success]),
            unsuback(
                7,
                if version == V5 {
                    &[ReasonCode::Success]
                } else {
                    &[]
                },
            ),
            // Identifiers in use, but by an exchange of another kind.
            puback(2),
            suback(1, &[ReasonCode::Success]),
            Packet::PingResp,
        ] {
            pair.server_sends(packet);
        }
        assert!(pair.outcomes().is_empty());
        assert!(pair.bytes().is_empty());
        assert!(pair.client.is_connected());
        pair.server_sends(puback(1));
        assert_eq!(pair.outcome(publish), acknowledged(ReasonCode::Success));
        pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
        assert!(matches!(
            pair.outcome(subscribe),
            Outcome::Subscribed { .. }
        ));
        pair.server_sends(puback(1)); // once more
        assert!(pair.outcomes().is_empty());
    }
}

/// An acknowledgement of the wrong kind for a PUBLISH that is open breaks the protocol.
#[test]
fn the_wrong_kind_of_acknowledgement_closes_the_connection() {
    for version in VERSIONS {
        for (qos, packet) in [
            (AtLeastOnce, pubrec(1)),
            (AtLeastOnce, pubcomp(1)),
            (ExactlyOnce, puback(1)),
            (ExactlyOnce, pubcomp(1)),
        ] {
            let mut pair = Pair::connected(options(version));
            pair.publish("t", "x", qos);
            pair.bytes();
            pair.server_sends(packet);
            let expected = if version == V5 {
                &b"\xe0\x01\x82"[..]
            } else {
                b""
            };
            assert_eq!(pair.bytes(), expected);
            assert!(matches!(
                pair.cause(),
                ConnectionError::ProtocolViolation(_)
            ));
        }
    }
}
