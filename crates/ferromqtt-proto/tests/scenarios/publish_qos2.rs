//! QoS 2 from the client.

use ferromqtt_proto::packet::{Ack, Packet};
use ferromqtt_proto::{Outcome, Properties, ReasonCode};

use crate::support::*;

/// MQTT-4.3.3-1, MQTT-4.3.3-2, MQTT-4.3.3-3, MQTT-4.3.3-4, MQTT-4.3.3-5, MQTT-3.6.1-1; 3.1.1: MQTT-4.3.3-1.
#[test]
fn publish_pubrec_pubrel_pubcomp() {
    for (version, publish) in [
        (V311, &b"\x34\x06\x00\x01t\x00\x01x"[..]),
        (V5, b"\x34\x07\x00\x01t\x00\x01\x00x"),
    ] {
        let mut pair = Pair::connected(options(version));
        let op = pair.publish("t", "x", ExactlyOnce);
        assert_eq!(pair.bytes(), publish);
        pair.server_sends_bytes(b"\x50\x02\x00\x01");
        assert_eq!(pair.bytes(), &b"\x62\x02\x00\x01"[..]);
        assert!(pair.outcomes().is_empty(), "not before PUBCOMP");
        pair.server_sends_bytes(b"\x70\x02\x00\x01");
        let outcome = Outcome::Acknowledged {
            reason: ReasonCode::Success,
            properties: None,
            resent_as_new: false,
        };
        assert_eq!(pair.outcome(op), outcome);
        assert!(pair.bytes().is_empty());
    }
}

/// MQTT-4.6.0-4; 3.1.1: MQTT-4.6.0-4. Pitfall 5.
#[test]
fn pubrels_follow_the_order_of_the_pubrecs() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        for payload in ["a", "b", "c"] {
            pair.publish("t", payload, ExactlyOnce);
        }
        pair.bytes();
        for id in [2, 3, 1] {
            pair.server_sends(pubrec(id));
        }
        assert_eq!(pair.sent(), ["PUBREL 2", "PUBREL 3", "PUBREL 1"]);
    }
}

/// MQTT-4.3.3-4, MQTT-4.4.0-2, MQTT-4.3.3-9: no PUBREL, the identifier and the slot are free. Pitfall 9.
#[test]
fn a_negative_pubrec_ends_the_exchange_without_pubrel() {
    let mut pair = Pair::connected_with(options(V5), receive_maximum(1));
    let first = pair.publish("t", "a", ExactlyOnce);
    pair.publish("t", "b", ExactlyOnce);
    assert_eq!(pair.sent(), ["PUBLISH q2 1 a"]);
    let refusal = Ack::new(id(1), ReasonCode::NotAuthorized);
    pair.server_sends(Packet::PubRec(refusal));
    let reason = ReasonCode::NotAuthorized;
    assert_eq!(
        pair.outcome(first),
        Outcome::Refused {
            reason,
            properties: None
        }
    );
    assert_eq!(
        pair.sent(),
        ["PUBLISH q2 2 b"],
        "no PUBREL, but the next message"
    );
    assert_eq!(pair.client.stats().acknowledged, 0);
}

/// A PUBREC that comes again is answered again; one that nobody waits for gets an answer too, so that the server can
/// free its side. Pitfall 19.
#[test]
fn repeated_and_unknown_pubrecs_are_answered() {
    for (version, unknown) in [(V311, "PUBREL 9"), (V5, "PUBREL 9 0x92")] {
        let mut pair = Pair::connected(options(version));
        let op = pair.publish("t", "x", ExactlyOnce);
        pair.bytes();
        pair.server_sends(pubrec(1));
        pair.server_sends(pubrec(1));
        pair.server_sends(pubrec(9));
        assert_eq!(pair.sent(), ["PUBREL 1", "PUBREL 1", unknown]);
        pair.server_sends(pubcomp(1));
        pair.server_sends(pubcomp(1));
        assert!(matches!(pair.outcome(op), Outcome::Acknowledged { .. }));
        assert!(pair.client.is_connected());
    }
}

/// MQTT-4.3.3-4: a PUBREC of 0x80 or above ends an exchange. PUBREL is for one that goes on, so none follows, whether we know
/// the identifier or not. Pitfall 9.
#[test]
fn a_pubrec_with_an_error_is_never_answered() {
    let refusal = |packet_id| Packet::PubRec(Ack::new(id(packet_id), ReasonCode::QuotaExceeded));
    let mut pair = Pair::connected(options(V5));
    pair.server_sends(refusal(9)); // unknown
    pair.subscribe(&["a"]);
    pair.bytes();
    pair.server_sends(refusal(1)); // of a SUBSCRIBE
    assert!(pair.bytes().is_empty());
    let op = pair.publish("t", "x", ExactlyOnce);
    pair.server_sends(pubrec(2));
    pair.bytes();
    pair.server_sends(refusal(2)); // released: the server has the message
    assert!(pair.bytes().is_empty());
    pair.server_sends(pubcomp(2));
    assert!(matches!(pair.outcome(op), Outcome::Acknowledged { .. }));
    assert!(pair.client.is_connected());
}

/// MQTT-3.7.2-1, MQTT-4.3.3-8, section 3.7.2.1: the server took the message over by PUBREC, and then its session state did not
/// match. Nobody knows whether it delivers the message, so this is no success; the identifier and the slot are free.
#[test]
fn pubcomp_with_packet_identifier_not_found_leaves_the_delivery_unknown() {
    let mut pair = Pair::connected_with(options(V5), receive_maximum(1));
    let op = pair.publish("t", "x", ExactlyOnce);
    let next = pair.publish("t", "y", ExactlyOnce);
    pair.server_sends(pubrec(1));
    pair.sent();
    pair.server_sends_bytes(b"\x70\x0a\x00\x01\x92\x06\x1f\x00\x03why");
    let why = Properties {
        reason_string: Some("why".try_into().unwrap()),
        ..Properties::default()
    };
    let properties = Some(Box::new(why));
    assert_eq!(pair.outcome(op), Outcome::Unreleased { properties });
    assert_eq!(pair.sent(), ["PUBLISH q2 2 y"]);
    let stats = pair.client.stats();
    let counted = (stats.acknowledged, stats.refused, stats.unreleased);
    assert_eq!((counted, stats.latency_count), ((0, 0, 1), 1));
    pair.server_sends(pubrec(2));
    pair.server_sends(pubcomp(2));
    assert!(matches!(pair.outcome(next), Outcome::Acknowledged { .. }));
}

/// Section 3.7.2.1: "This is not an error during recovery". The first PUBREL may have arrived and its PUBCOMP been lost.
#[test]
fn pubcomp_with_packet_identifier_not_found_completes_a_pubrel_that_was_sent_again_mqtt_4_3_3_5() {
    let mut pair = Pair::connected(resuming(V5));
    let op = pair.publish("t", "x", ExactlyOnce);
    pair.server_sends(pubrec(1));
    pair.sent();
    pair.reconnect(true);
    assert_eq!(pair.sent(), ["PUBREL 1"]);
    let lost = Ack::new(id(1), ReasonCode::PacketIdentifierNotFound);
    pair.server_sends(Packet::PubComp(lost));
    let outcome = Outcome::Acknowledged {
        reason: ReasonCode::Success,
        properties: None,
        resent_as_new: false,
    };
    assert_eq!(pair.outcome(op), outcome);
    let stats = pair.client.stats();
    assert_eq!((stats.acknowledged, stats.unreleased), (1, 0));
}

/// The same of a PUBLISH that was sent again: its PUBREL is the first, and no recovery.
#[test]
fn a_pubrel_for_a_publish_that_was_sent_again_is_sent_once() {
    let mut pair = Pair::connected(resuming(V5));
    let op = pair.publish("t", "x", ExactlyOnce);
    pair.sent();
    pair.reconnect(true);
    assert_eq!(pair.sent(), ["PUBLISH q2 1 DUP x"]);
    pair.server_sends(pubrec(1));
    let lost = Ack::new(id(1), ReasonCode::PacketIdentifierNotFound);
    pair.server_sends(Packet::PubComp(lost));
    let properties = None;
    assert_eq!(pair.outcome(op), Outcome::Unreleased { properties });
}
