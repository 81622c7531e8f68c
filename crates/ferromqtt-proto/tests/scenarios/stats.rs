//! Counters: what an operator wants to see of a client.

use ferromqtt_proto::packet::{Ack, Packet};
use ferromqtt_proto::{OutgoingLimits, OutgoingPolicy, Properties, Publish, QueueId, ReasonCode};

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

#[test]
fn the_time_to_the_acknowledgement_is_taken_at_both_qos() {
    let mut pair = Pair::connected(resuming(V5));
    assert_eq!(pair.client.stats().latency(), None);
    pair.publish("t", "1", AtLeastOnce);
    pair.publish("t", "2", ExactlyOnce);
    pair.sent();
    assert_eq!(pair.client.stats().in_flight, 2);
    pair.advance(2 * SECOND);
    pair.server_sends(puback(1));
    pair.server_sends(pubrec(2));
    pair.sent();
    assert_eq!(pair.client.stats().in_flight, 1, "its PUBCOMP is due");
    pair.advance(4 * SECOND);
    pair.server_sends(pubcomp(2));
    let stats = pair.client.stats();
    let latency = stats.latency().unwrap();
    assert_eq!((latency.count, stats.in_flight), (2, 0));
    assert_eq!((latency.last, latency.max), (6 * SECOND, 6 * SECOND));
    assert_eq!(latency.mean, 4 * SECOND);
}

#[test]
fn the_time_of_a_message_that_is_sent_again_counts_from_there() {
    let mut pair = Pair::connected(resuming(V5));
    pair.publish("t", "1", AtLeastOnce);
    pair.publish("t", "2", ExactlyOnce);
    pair.sent();
    pair.server_sends(pubrec(2));
    pair.sent();
    pair.cut();
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    pair.sent();
    pair.advance(SECOND);
    pair.server_sends(puback(1));
    pair.server_sends(pubcomp(2));
    let stats = pair.client.stats();
    assert_eq!((stats.acknowledged, stats.reconnects), (2, 1));
    // Of the other one an earlier connection has carried the PUBLISH.
    let latency = stats.latency().unwrap();
    assert_eq!((latency.count, latency.last), (1, SECOND));
}

#[test]
fn a_refusal_by_the_server_is_counted() {
    let mut pair = Pair::connected(resuming(V5));
    pair.publish("t", "1", AtLeastOnce);
    pair.sent();
    pair.server_sends(Packet::PubAck(Ack::new(id(1), ReasonCode::NotAuthorized)));
    let stats = pair.client.stats();
    assert_eq!((stats.acknowledged, stats.refused), (0, 1));
    assert_eq!(stats.latency().unwrap().count, 1);
}

#[test]
fn what_waits_to_be_taken_and_to_be_acknowledged_is_counted() {
    let mut options = resuming(V5);
    options.incoming = by_application();
    let mut pair = Pair::connected(options);
    pair.receive("t", "1", AtLeastOnce, 1);
    pair.receive("t", "2", AtLeastOnce, 2);
    let stats = pair.client.stats();
    assert_eq!((stats.queued, stats.unacknowledged), (2, 2));
    assert_eq!(stats.queued_bytes, counted(&[1, 1]));
    let message = pair.take(QueueId::DEFAULT);
    let stats = pair.client.stats();
    assert_eq!((stats.queued, stats.unacknowledged), (1, 2));
    pair.acknowledge(message.delivery.unwrap());
    assert_eq!(pair.client.stats().unacknowledged, 1);
}
