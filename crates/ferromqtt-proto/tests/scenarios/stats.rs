//! Counters: what an operator wants to see of a client.

use ferromqtt_proto::{OutgoingLimits, OutgoingPolicy, Properties, Publish};

use crate::support::*;

#[test]
fn what_was_dropped_and_what_waits_is_counted() {
    for (policy, left) in [
        (OutgoingPolicy::DropOldest, "3"),
        (OutgoingPolicy::DropNewest, "2"),
    ] {
        let mut options = resuming(V5);
        options.outgoing_policy = policy;
        options.outgoing = OutgoingLimits {
            messages: Some(2),
            bytes: None,
        };
        let mut pair = Pair::connected(options);
        pair.cut();
        for payload in ["1", "2", "3"] {
            pair.publish("t", payload, AtLeastOnce);
        }
        let stats = pair.client.stats();
        assert_eq!((stats.dropped, stats.expired), (1, 0));
        let counted = counted(&[1, 1]);
        assert_eq!((stats.outgoing, stats.outgoing_bytes), (2, counted));
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert!(pair.sent()[1].ends_with(left));
        assert_eq!(pair.client.stats().outgoing, 2, "unacknowledged");
        pair.server_sends(puback(1));
        pair.server_sends(puback(2));
        let stats = pair.client.stats();
        assert_eq!((stats.outgoing, stats.outgoing_bytes), (0, 0));
        assert_eq!(stats.acknowledged, 2);
    }
}

#[test]
fn what_expired_is_counted() {
    let mut pair = Pair::connected(resuming(V5));
    pair.cut();
    let mut publish = Publish::new("t".try_into().unwrap(), "x");
    publish.properties = Some(Box::new(Properties {
        message_expiry_interval: Some(1),
        ..Properties::default()
    }));
    pair.client.publish(pair.now, publish).unwrap();
    pair.advance(2 * SECOND);
    let stats = pair.client.stats();
    assert_eq!((stats.expired, stats.outgoing), (1, 0));
}

#[test]
fn attempts_are_counted_beside_the_connections_that_came_of_them() {
    let mut pair = Pair::connected(resuming(V5));
    pair.cut();
    pair.wait_for_transport();
    pair.cut(); // before CONNACK
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    let stats = pair.client.stats();
    assert_eq!((stats.attempts, stats.connections), (3, 2));
}
