//! Packet Identifiers: one space for PUBLISH, SUBSCRIBE and UNSUBSCRIBE.

use std::num::NonZeroU16;

use ferromqtt_proto::{
    InvalidSubscribe, OutgoingLimits, Properties, QueueId, ReasonCode, Subscribe,
};

use crate::support::*;

fn unbounded(version: ferromqtt_proto::ProtocolVersion) -> Pair {
    let mut options = resuming(version);
    options.outgoing = OutgoingLimits::NONE;
    options.max_in_flight = Some(NonZeroU16::MAX);
    Pair::connected(options)
}

/// MQTT-2.2.1-3; 3.1.1: MQTT-2.3.1-1, MQTT-2.3.1-2. Pitfall 1.
#[test]
fn the_three_packets_share_one_space() {
    for version in VERSIONS {
        let mut pair = unbounded(version);
        pair.publish("t", "x", AtLeastOnce);
        pair.subscribe(&["a"]);
        pair.unsubscribe(&["b"]);
        pair.publish("t", "y", ExactlyOnce);
        assert_eq!(
            pair.sent(),
            [
                "PUBLISH q1 1 x",
                "SUBSCRIBE 2 a",
                "UNSUBSCRIBE 3 b",
                "PUBLISH q2 4 y"
            ]
        );
    }
}

/// MQTT-2.2.1-3; 3.1.1: MQTT-2.3.1-2, MQTT-2.3.1-3: the count wraps from 65,535 to 1 and skips what is in use. Pitfall 1.
#[test]
fn the_count_wraps_and_skips_identifiers_in_use() {
    for version in VERSIONS {
        let mut pair = unbounded(version);
        pair.publish("t", "kept", AtLeastOnce);
        pair.subscribe(&["kept"]);
        pair.publish("t", "kept", ExactlyOnce);
        pair.server_sends(pubrec(3));
        for id in 4..=65_535 {
            pair.publish("t", "x", AtLeastOnce);
            pair.server_sends(puback(id));
        }
        pair.bytes();
        pair.publish("t", "y", AtLeastOnce);
        assert_eq!(pair.sent(), ["PUBLISH q1 4 y"]);
        // PUBCOMP, not PUBREC, frees an identifier of QoS 2; SUBACK that of a SUBSCRIBE.
        pair.server_sends(pubcomp(3));
        pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
        for id in 5..=65_535 {
            pair.publish("t", "x", AtLeastOnce);
            pair.server_sends(puback(id));
        }
        pair.bytes();
        pair.publish("t", "z", AtLeastOnce);
        pair.publish("t", "z", AtLeastOnce);
        assert_eq!(pair.sent(), ["PUBLISH q1 2 z", "PUBLISH q1 3 z"]);
    }
}

/// Pitfall 1: "all 65,535 in use" has an answer: publishes wait, requests are refused, and both go on when one is free.
#[test]
fn with_every_identifier_in_use_publishes_wait_and_requests_are_refused() {
    let mut pair = unbounded(V311);
    for _ in 0..65_536 {
        pair.publish("t", "x", AtLeastOnce);
    }
    assert_eq!(pair.packets().len(), 65_535);
    let subscribe = Subscribe {
        filters: vec![(filter("a"), at(AtMostOnce))],
        properties: Properties::default(),
        queue: QueueId::DEFAULT,
    };
    let refused = pair.client.subscribe(pair.now, subscribe.clone());
    assert_eq!(refused, Err(InvalidSubscribe::NoPacketIdentifier));
    pair.server_sends(puback(77));
    assert_eq!(pair.sent(), ["PUBLISH q1 77 x"], "it had waited longest");
    pair.server_sends(puback(78));
    pair.client.subscribe(pair.now, subscribe).unwrap();
    pair.pump();
    assert_eq!(pair.sent(), ["SUBSCRIBE 78 a"]);
}

/// Whoever closes a queue cannot ask again, so an UNSUBSCRIBE waits instead.
#[test]
fn with_every_identifier_in_use_an_unsubscribe_waits_for_one() {
    let mut pair = unbounded(V311);
    let queue = pair.client.open_queue(Default::default());
    pair.subscribe_to(&["a"], queue);
    pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
    for _ in 0..65_535 {
        pair.publish("t", "x", AtLeastOnce);
    }
    pair.bytes();
    assert_eq!(pair.client.close_queue(queue), [filter("a")]);
    let op = pair.unsubscribe(&["a"]);
    assert!(pair.sent().is_empty());
    pair.server_sends(puback(77));
    assert_eq!(pair.sent(), ["UNSUBSCRIBE 77 a"]);
    pair.events();
    pair.server_sends(unsuback(77, &[]));
    pair.outcome(op);
}

/// The same, when it is the answer to another request that frees one.
#[test]
fn an_answered_request_gives_its_identifier_to_one_that_waits() {
    let mut pair = unbounded(V311);
    for _ in 0..65_534 {
        pair.publish("t", "x", AtLeastOnce);
    }
    pair.subscribe(&["a"]);
    pair.cut();
    pair.subscribe(&["b"]);
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    let subscribes = |sent: Vec<String>| -> Vec<String> {
        sent.into_iter()
            .filter(|packet| packet.starts_with("SUB"))
            .collect()
    };
    assert_eq!(subscribes(pair.sent()), ["SUBSCRIBE 65535 a"]);
    pair.server_sends(suback(65_535, &[ReasonCode::GrantedQos1]));
    assert_eq!(pair.sent(), ["SUBSCRIBE 65535 b"]);
}

/// A request accepted offline finds every identifier in use after the reconnect: it waits for one.
#[test]
fn a_request_that_waited_gets_the_next_free_identifier() {
    let mut pair = unbounded(V311);
    for _ in 0..65_535 {
        pair.publish("t", "x", AtLeastOnce);
    }
    pair.bytes();
    pair.cut();
    pair.subscribe(&["a"]);
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    assert!(
        !pair
            .sent()
            .iter()
            .any(|packet| packet.starts_with("SUBSCRIBE"))
    );
    pair.server_sends(puback(500));
    assert_eq!(pair.sent(), ["SUBSCRIBE 500 a"]);
}
