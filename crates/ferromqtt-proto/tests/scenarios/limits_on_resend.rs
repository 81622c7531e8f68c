//! What a resumed session owes is sent again only as far as the limits of the new connection allow.

use bytes::Bytes;
use ferromqtt_proto::{InvalidPublish, OpId, Outcome, Properties, Publish, QoS, TopicName};

use crate::support::*;

fn publish(pair: &mut Pair, payload: &'static str, qos: QoS, retain: bool) -> OpId {
    let mut publish = Publish::new(TopicName::new("t").unwrap(), Bytes::from(payload));
    publish.qos = qos;
    publish.retain = retain;
    let op = pair.client.publish(pair.now, publish).unwrap();
    pair.pump();
    op
}

fn too_large(bytes: usize, limit: usize) -> InvalidPublish {
    let whose = "the server";
    InvalidPublish::TooLarge {
        bytes,
        limit,
        whose,
    }
}

/// MQTT-3.2.2-11, MQTT-3.2.2-14, MQTT-3.2.2-15: never on the wire, and the rest keeps its order. Pitfalls 15 and 16.
#[test]
fn what_the_new_connection_forbids_is_not_sent_again() {
    let maximum_qos = Properties {
        maximum_qos: Some(AtLeastOnce),
        ..Properties::default()
    };
    let no_retain = Properties {
        retain_available: Some(false),
        ..Properties::default()
    };
    // A QoS 1 PUBLISH to `t` has 8 bytes beside its payload.
    for (limits, error) in [
        (
            maximum_qos,
            InvalidPublish::QosNotSupported {
                maximum: 1,
                whose: "the server",
            },
        ),
        (
            no_retain,
            InvalidPublish::RetainNotSupported {
                whose: "the server",
            },
        ),
        (maximum_packet_size(12), too_large(16, 12)),
    ] {
        let mut pair = Pair::connected(resuming(V5));
        publish(&mut pair, "a", AtLeastOnce, false);
        let forbidden = publish(&mut pair, "too long", ExactlyOnce, true);
        publish(&mut pair, "b", AtLeastOnce, false);
        pair.reconnect_with(true, limits);
        assert_eq!(
            pair.sent(),
            ["PUBLISH q1 1 DUP a", "PUBLISH q1 3 DUP b"],
            "{error}"
        );
        assert_eq!(
            pair.outcomes(),
            [(forbidden, Outcome::GivenUp(error.clone()))]
        );
        assert_eq!(pair.client.stats().resent, 2);
        pair.reconnect(true);
        let sent = pair.sent();
        assert_eq!(
            sent,
            ["PUBLISH q1 1 DUP a", "PUBLISH q1 3 DUP b"],
            "for good"
        );
    }
}

/// MQTT-3.2.2-15: a packet of exactly the limit is sent again. Pitfall 15.
#[test]
fn a_resend_of_exactly_maximum_packet_size_passes() {
    let mut pair = Pair::connected(resuming(V5));
    publish(&mut pair, "1234", AtLeastOnce, false);
    pair.reconnect_with(true, maximum_packet_size(12));
    assert_eq!(pair.bytes().len(), 12);
    pair.reconnect_with(true, maximum_packet_size(11));
    assert!(pair.bytes().is_empty());
}

/// MQTT-2.2.1-3: the identifier is free again, for all 65,535 to be drawn. MQTT-4.9.0-2: and it takes no slot.
#[test]
fn what_is_given_up_keeps_neither_identifier_nor_slot() {
    let mut options = resuming(V5);
    options.outgoing = ferromqtt_proto::OutgoingLimits::NONE;
    let mut pair = Pair::connected(options);
    for _ in 0..u16::MAX {
        publish(&mut pair, "too long", AtLeastOnce, false);
    }
    let waits = publish(&mut pair, "c", AtLeastOnce, false);
    assert_eq!(pair.packets().len(), usize::from(u16::MAX));
    pair.cut();
    pair.events();
    let mut limits = maximum_packet_size(12);
    limits.receive_maximum = receive_maximum(1).receive_maximum;
    pair.wait_for_transport();
    pair.accept(true, limits);
    assert_eq!(pair.sent(), ["PUBLISH q1 1 c"]);
    assert_eq!(pair.outcomes().len(), usize::from(u16::MAX));
    pair.server_sends(puback(1));
    assert!(matches!(pair.outcome(waits), Outcome::Acknowledged { .. }));
}

/// MQTT-4.4.0-1: a PUBREL is owed whatever the limits on PUBLISH are; its message is with the server.
#[test]
fn pubrel_is_resent_under_any_limit_on_publish() {
    let mut pair = Pair::connected(resuming(V5));
    let op = publish(&mut pair, "too long", ExactlyOnce, true);
    pair.server_sends(pubrec(1));
    pair.bytes();
    let limits = Properties {
        maximum_qos: Some(AtMostOnce),
        retain_available: Some(false),
        ..maximum_packet_size(4)
    };
    pair.reconnect_with(true, limits);
    assert_eq!(pair.bytes(), &b"\x62\x02\x00\x01"[..]);
    pair.events();
    pair.server_sends(pubcomp(1));
    assert!(matches!(pair.outcome(op), Outcome::Acknowledged { .. }));
}

/// Given up without anybody waiting for it, it reports nothing.
#[test]
fn an_abandoned_publish_is_given_up_in_silence() {
    let mut pair = Pair::connected(resuming(V5));
    let op = publish(&mut pair, "too long", AtLeastOnce, false);
    pair.client.abandon(op).unwrap();
    pair.bytes();
    pair.reconnect_with(true, maximum_packet_size(12));
    assert!(pair.bytes().is_empty());
    assert!(pair.outcomes().is_empty());
}
