//! The server's Receive Maximum (MQTT 5.0, section 4.9), and our own bound on publishes in flight.

use std::num::NonZeroU16;

use ferromqtt_proto::packet::{Ack, Packet};
use ferromqtt_proto::{Properties, QueueId, ReasonCode, Subscribe};

use crate::support::*;

/// MQTT-3.3.4-7, MQTT-4.9.0-1, MQTT-4.9.0-2. Pitfall 7.
#[test]
fn with_a_limit_of_two_there_are_two_and_then_silence() {
    let mut pair = Pair::connected_with(options(V5), receive_maximum(2));
    for payload in ["a", "b", "c", "d"] {
        pair.publish("t", payload, AtLeastOnce);
    }
    assert_eq!(pair.sent(), ["PUBLISH q1 1 a", "PUBLISH q1 2 b"]);
    pair.advance(1_000 * SECOND);
    assert!(pair.bytes().is_empty());
    pair.server_sends(puback(2));
    assert_eq!(pair.sent(), ["PUBLISH q1 3 c"]);
    pair.server_sends(puback(7)); // answers nothing, so it frees nothing
    pair.server_sends(puback(2));
    assert!(pair.bytes().is_empty());
    pair.server_sends(puback(1));
    assert_eq!(pair.sent(), ["PUBLISH q1 4 d"]);
}

/// MQTT-3.3.4-7: a QoS 2 slot is free at PUBCOMP, not at PUBREC. Pitfall 7.
#[test]
fn at_qos_2_the_slot_is_free_at_pubcomp() {
    let mut pair = Pair::connected_with(options(V5), receive_maximum(1));
    pair.publish("t", "a", ExactlyOnce);
    pair.publish("t", "b", ExactlyOnce);
    pair.server_sends(pubrec(1));
    pair.server_sends(pubrec(1));
    assert_eq!(pair.sent(), ["PUBLISH q2 1 a", "PUBREL 1", "PUBREL 1"]);
    pair.server_sends(pubcomp(1));
    assert_eq!(pair.sent(), ["PUBLISH q2 2 b"]);
    pair.server_sends(pubcomp(1)); // once more: there is no second slot
    pair.publish("t", "c", AtLeastOnce);
    assert!(pair.bytes().is_empty());
}

/// MQTT-3.3.4-8, MQTT-4.9.0-3: only PUBLISH waits.
#[test]
fn a_full_window_delays_nothing_but_publish() {
    let mut options = options(V5);
    options.keep_alive = 10;
    let mut pair = Pair::connected_with(options, receive_maximum(1));
    pair.publish("t", "a", AtLeastOnce);
    pair.publish("t", "b", AtLeastOnce);
    pair.bytes();
    pair.subscribe(&["s"]);
    pair.unsubscribe(&["u"]);
    pair.server_sends(Packet::Publish(message("t", "x", ExactlyOnce, 9)));
    pair.server_sends(pubrel(9));
    pair.advance(10 * SECOND);
    assert_eq!(
        pair.sent(),
        [
            "SUBSCRIBE 2 s",
            "UNSUBSCRIBE 3 u",
            "PUBREC 9",
            "PUBCOMP 9",
            "PINGREQ"
        ]
    );
}

/// A QoS 0 message is a PUBLISH as well, and may be held behind others; overtaking would change the order of a topic.
#[test]
fn qos_0_never_overtakes_an_earlier_publish() {
    let mut pair = Pair::connected_with(options(V5), receive_maximum(1));
    for (payload, qos) in [
        ("a", AtLeastOnce),
        ("b", AtMostOnce),
        ("c", AtLeastOnce),
        ("d", AtMostOnce),
    ] {
        pair.publish("t", payload, qos);
    }
    assert_eq!(pair.sent(), ["PUBLISH q1 1 a", "PUBLISH q0 b"]);
    pair.server_sends(puback(1));
    assert_eq!(pair.sent(), ["PUBLISH q1 2 c", "PUBLISH q0 d"]);
}

/// MQTT-3.3.4-7: the limit is that of the new connection, and what is sent again counts. Pitfall 7.
#[test]
fn resends_count_on_the_new_connection() {
    let mut pair = Pair::connected_with(resuming(V5), receive_maximum(3));
    for payload in ["a", "b", "c", "d"] {
        pair.publish("t", payload, AtLeastOnce);
    }
    assert_eq!(pair.sent().len(), 3);
    pair.reconnect_with(true, receive_maximum(2));
    assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP a", "PUBLISH q1 2 DUP b"]);
    pair.publish("t", "q0", AtMostOnce);
    assert!(pair.bytes().is_empty(), "nothing new before the resends");
    pair.server_sends(puback(1));
    assert_eq!(pair.sent(), ["PUBLISH q1 3 DUP c"]);
    pair.server_sends(puback(2));
    assert_eq!(pair.sent(), ["PUBLISH q1 4 d", "PUBLISH q0 q0"]);
    pair.server_sends(puback(3));
    pair.server_sends(puback(4));
    assert!(pair.bytes().is_empty());
}

/// MQTT-4.9.0-1: absent means 65,535, also when the connection before had a limit.
#[test]
fn the_limit_does_not_outlive_its_connection() {
    let mut pair = Pair::connected_with(resuming(V5), receive_maximum(1));
    for payload in ["a", "b", "c"] {
        pair.publish("t", payload, AtLeastOnce);
    }
    assert_eq!(pair.sent().len(), 1);
    pair.reconnect(true);
    assert_eq!(
        pair.sent(),
        ["PUBLISH q1 1 DUP a", "PUBLISH q1 2 b", "PUBLISH q1 3 c"]
    );
}

/// Section 4.9: PUBREL takes no slot, so its PUBCOMP gives none back, or more than the limit would follow.
#[test]
fn pubcomp_for_a_pubrel_that_was_sent_again_frees_no_slot() {
    let mut pair = Pair::connected_with(resuming(V5), receive_maximum(2));
    pair.publish("t", "a", ExactlyOnce);
    pair.publish("t", "b", ExactlyOnce);
    pair.server_sends(pubrec(1));
    pair.server_sends(pubrec(2));
    pair.bytes();
    pair.reconnect_with(true, receive_maximum(2));
    for payload in ["c", "d", "e", "f"] {
        pair.publish("t", payload, AtLeastOnce);
    }
    let sent = ["PUBREL 1", "PUBREL 2", "PUBLISH q1 3 c", "PUBLISH q1 4 d"];
    assert_eq!(pair.sent(), sent);
    pair.server_sends(pubcomp(1));
    pair.server_sends(pubcomp(2));
    assert!(pair.bytes().is_empty(), "c and d are still unacknowledged");
    pair.server_sends(puback(3));
    assert_eq!(pair.sent(), ["PUBLISH q1 5 e"]);
}

/// A PUBREC with an error frees the slot of a message that was sent again, too.
#[test]
fn a_negative_pubrec_for_a_resend_frees_its_slot() {
    let mut pair = Pair::connected(resuming(V5));
    pair.publish("t", "a", ExactlyOnce);
    pair.publish("t", "b", ExactlyOnce);
    pair.bytes();
    pair.reconnect_with(true, receive_maximum(1));
    assert_eq!(pair.sent(), ["PUBLISH q2 1 DUP a"]);
    pair.server_sends(Packet::PubRec(Ack::new(id(1), ReasonCode::QuotaExceeded)));
    assert_eq!(pair.sent(), ["PUBLISH q2 2 DUP b"]);
}

/// Where neither side has set a limit: a server of 5.0 that says nothing takes all; one of 3.x cannot say, and gets few.
#[test]
fn without_a_limit_there_are_20_in_flight_before_5_0() {
    for (version, expected) in [(V31, 20), (V311, 20), (V5, 50)] {
        let mut pair = Pair::connected_with(options(version), Properties::default());
        for _ in 0..50 {
            pair.publish("t", "x", ExactlyOnce);
        }
        assert_eq!(pair.sent().len(), expected, "{version:?}");
    }
}

/// Our own bound holds on 3.1.1 as well, where the server cannot announce one; the smaller of the two counts.
#[test]
fn our_own_bound_on_publishes_in_flight() {
    for (version, own, servers, expected) in [
        (V311, 2, 65_535, 2),
        (V5, 2, 65_535, 2),
        (V5, 3, 2, 2),
        (V5, 2, 3, 2),
    ] {
        let mut options = options(version);
        options.max_in_flight = NonZeroU16::new(own);
        let mut pair = Pair::connected_with(options, receive_maximum(servers));
        for _ in 0..5 {
            pair.publish("t", "x", ExactlyOnce);
        }
        assert_eq!(pair.sent().len(), expected, "{version:?} {own} {servers}");
        let subscribe = Subscribe {
            filters: vec![(filter("a"), at(AtMostOnce))],
            properties: Properties::default(),
            queue: QueueId::DEFAULT,
        };
        pair.client.subscribe(pair.now, subscribe).unwrap();
        pair.pump();
        assert_eq!(pair.sent().len(), 1);
    }
}
