//! A caller that no longer waits: by its own time limit, or because it was cancelled
//! (`docs/design/0005-lost-sessions.md`).

use std::num::NonZeroU16;

use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{Delivery, Properties, ReasonCode};

use crate::support::*;

#[test]
fn what_never_reached_the_wire_is_dropped() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        pair.cut();
        let publish = pair.publish("t", "x", AtLeastOnce);
        let at_most_once = pair.publish("t", "y", AtMostOnce);
        let subscribe = pair.subscribe(&["a"]);
        let unsubscribe = pair.unsubscribe(&["b"]);
        for op in [publish, at_most_once, subscribe, unsubscribe] {
            assert_eq!(pair.client.abandon(op), Some(Delivery::NotSent));
            assert_eq!(pair.client.abandon(op), None, "twice");
        }
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert!(pair.bytes().is_empty());
        assert_eq!(pair.outcomes(), []);
    }
}

/// The identifier stays in use until the answer, which completes nothing.
#[test]
fn what_reached_the_wire_stays_in_the_session() {
    for version in VERSIONS {
        let mut pair = Pair::connected_with(resuming(version), receive_maximum(2));
        let first = pair.publish("t", "a", AtLeastOnce);
        let second = pair.publish("t", "b", ExactlyOnce);
        pair.server_sends(pubrec(2));
        for op in [first, second] {
            assert_eq!(pair.client.abandon(op), Some(Delivery::Unknown));
            assert_eq!(pair.client.abandon(op), None, "twice");
        }
        pair.reconnect(true);
        assert_eq!(pair.sent(), ["PUBREL 2", "PUBLISH q1 1 DUP a"]);
        pair.publish("t", "c", AtLeastOnce);
        assert_eq!(pair.sent(), ["PUBLISH q1 3 c"], "1 and 2 are in use");
        pair.server_sends(puback(1));
        pair.server_sends(pubcomp(2));
        assert_eq!(pair.outcomes(), []);
    }
}

/// Nobody waits for it any more, so a lost session takes it along (`docs/design/0005-lost-sessions.md`).
#[test]
fn what_nobody_waits_for_is_not_sent_anew_into_a_fresh_session() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let op = pair.publish("t", "a", AtLeastOnce);
        pair.client.abandon(op);
        pair.reconnect(false);
        assert!(pair.bytes().is_empty());
        assert_eq!(pair.outcomes(), []);
    }
}

/// A late SUBACK is harmless, and completes nothing. Pitfalls 1 and 19.
#[test]
fn a_late_suback_of_an_abandoned_subscribe_is_harmless() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let op = pair.subscribe(&["a"]);
        assert_eq!(pair.client.abandon(op), Some(Delivery::Unknown));
        assert_eq!(pair.client.abandon(op), None, "twice");
        let next = pair.subscribe(&["b"]);
        assert_eq!(
            pair.sent(),
            ["SUBSCRIBE 1 a", "SUBSCRIBE 2 b"],
            "1 is in use"
        );
        pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
        assert_eq!(pair.outcomes(), []);
        pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
        pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
        let completed: Vec<_> = pair.outcomes().into_iter().map(|(op, _)| op).collect();
        assert_eq!(completed, [next]);
    }
}

/// No outcome follows, whatever ends the connection.
#[test]
fn an_abandoned_operation_gets_no_outcome() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let ops = [
            pair.publish("t", "a", AtLeastOnce),
            pair.publish("t", "b", ExactlyOnce),
            pair.subscribe(&["a"]),
        ];
        for op in ops {
            pair.client.abandon(op);
        }
        pair.client.disconnect(pair.now, Disconnect::normal());
        pair.pump();
        assert_eq!(pair.outcomes(), []);
    }
}

/// Abandoning what has completed changes nothing.
#[test]
fn a_completed_operation_cannot_be_abandoned() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let op = pair.publish("t", "a", AtLeastOnce);
        pair.server_sends(puback(1));
        assert_eq!(pair.client.abandon(op), None);
        assert_eq!(pair.outcomes().len(), 1);
    }
}

/// It makes room in the outgoing queue, too.
#[test]
fn abandoning_a_waiting_publish_makes_room() {
    let mut options = resuming(V5);
    options.outgoing.messages = Some(1);
    options.outgoing.bytes = Some(10);
    let mut pair = Pair::connected(options);
    pair.cut();
    for _ in 0..3 {
        let op = pair.publish("t", "0123456789", AtLeastOnce);
        pair.client.abandon(op);
    }
}

/// Some are released, some in flight and some wait; every third is given up, from both ends. The rest is sent in its order
/// and completes.
#[test]
fn giving_up_in_any_order_leaves_the_others_as_they_were() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.max_in_flight = NonZeroU16::new(6);
        let mut pair = Pair::connected(options);
        let ops: Vec<_> = (0..12)
            .map(|number| pair.publish("t", &number.to_string(), ExactlyOnce))
            .collect();
        [3, 1]
            .into_iter()
            .for_each(|id| pair.server_sends(pubrec(id)));
        pair.sent();
        for (at, delivery) in [
            (0, Delivery::Unknown),
            (9, Delivery::NotSent),
            (3, Delivery::Unknown),
            (6, Delivery::NotSent),
        ] {
            assert_eq!(pair.client.abandon(ops[at]), Some(delivery), "{at}");
            assert_eq!(pair.client.abandon(ops[at]), None, "{at} twice");
        }
        pair.reconnect(true);
        let resent = [
            "PUBREL 3",
            "PUBREL 1",
            "PUBLISH q2 2 DUP 1",
            "PUBLISH q2 4 DUP 3",
            "PUBLISH q2 5 DUP 4",
            "PUBLISH q2 6 DUP 5",
            "PUBLISH q2 7 7",
            "PUBLISH q2 8 8",
        ];
        assert_eq!(pair.sent(), resent);
        [2, 4, 5, 6, 7, 8]
            .into_iter()
            .for_each(|id| pair.server_sends(pubrec(id)));
        (1..=8).for_each(|id| pair.server_sends(pubcomp(id)));
        [9, 10]
            .into_iter()
            .for_each(|id| pair.server_sends(pubrec(id)));
        [9, 10]
            .into_iter()
            .for_each(|id| pair.server_sends(pubcomp(id)));
        let completed: Vec<_> = pair.outcomes().into_iter().map(|(op, _)| op).collect();
        assert_eq!(completed, [1, 2, 4, 5, 7, 8, 10, 11].map(|at| ops[at]));
    }
}

/// A server may answer what it cannot have. Whatever that message was, the order of those around it stays.
#[test]
fn a_pubrec_for_what_was_never_handed_over_changes_no_order() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        pair.writable = false;
        for payload in ["a", "b", "c", "d"] {
            pair.publish("t", payload, ExactlyOnce);
        }
        let byte = pair.client.poll_transmit_up_to(pair.now, 1);
        assert!(
            byte.is_some(),
            "all is encoded, and one byte is handed over"
        );
        pair.server_sends(pubrec(3));
        pair.writable = true;
        pair.reconnect(true);
        let sent = [
            "PUBREL 3",
            "PUBLISH q2 1 DUP a",
            "PUBLISH q2 2 DUP b",
            "PUBLISH q2 5 d",
        ];
        assert_eq!(pair.sent(), sent);
    }
}
