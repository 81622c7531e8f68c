//! Leaving: what was accepted, and is waited for, has its outcome before the connection is closed.

use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{
    ConnectionError, Delivery, Event, InvalidPublish, Outcome, Properties, Publish, TopicName,
    TransportRequest,
};

use crate::support::*;

fn leave(pair: &mut Pair, seconds: u32) {
    let until = pair.now + seconds * SECOND;
    pair.client
        .leave(pair.now, Disconnect::normal(), Some(until));
    pair.pump();
}

const CLOSED: ConnectionError = ConnectionError::Closed;

/// 100 messages, of which the window lets 20 out at a time.
#[test]
fn all_that_is_waited_for_is_delivered_before_disconnect() {
    for version in VERSIONS {
        let mut pair = Pair::connected(window_of_20(version));
        pair.events();
        for number in 0..100 {
            pair.publish("t", &number.to_string(), AtLeastOnce);
        }
        leave(&mut pair, 10);
        let mut delivered = 0;
        while delivered < 100 {
            let sent = pair.sent();
            assert!(!sent.is_empty() && sent.iter().all(|it| it.starts_with("PUBLISH")));
            for _ in sent {
                delivered += 1;
                pair.server_sends(puback(delivered));
            }
        }
        assert_eq!(pair.sent(), ["DISCONNECT 0x00"], "{version:?}");
        assert_eq!(pair.requests, [TransportRequest::Finish]);
        let outcomes = pair.outcomes();
        assert_eq!(outcomes.len(), 100);
        let good = |outcome: &Outcome| matches!(outcome, Outcome::Acknowledged { .. });
        assert!(outcomes.iter().all(|(_, outcome)| good(outcome)));
        assert!(pair.client.is_idle());
    }
}

fn window_of_20(version: ferromqtt_proto::ProtocolVersion) -> ferromqtt_proto::Options {
    let mut options = options(version);
    options.max_in_flight = std::num::NonZeroU16::new(20);
    options
}

#[test]
fn new_operations_are_refused_and_messages_still_come() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        pair.publish("t", "x", AtLeastOnce);
        pair.sent();
        leave(&mut pair, 10);
        for qos in [AtMostOnce, AtLeastOnce] {
            let mut publish = Publish::new(TopicName::new("t").unwrap(), "y");
            publish.qos = qos;
            let refused = pair.client.publish(pair.now, publish.clone());
            assert_eq!(refused, Err(InvalidPublish::NotConnected));
            let packet = ferromqtt_proto::packet::PublishRef {
                dup: false,
                qos,
                retain: false,
                topic: b"t",
                packet_id: None,
                properties: None,
                payload_len: 1,
            };
            assert_eq!(pair.client.publish_at_once(packet, b"y"), Ok(false));
        }
        pair.server_sends(ferromqtt_proto::packet::Packet::Publish(message(
            "t",
            "received",
            AtLeastOnce,
            1,
        )));
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert_eq!(pair.payloads(), ["received"]);
        pair.server_sends(puback(1));
        assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
    }
}

#[test]
fn subscribing_is_waited_for_too() {
    let mut pair = Pair::connected(options(V5));
    pair.subscribe(&["a"]);
    pair.sent();
    leave(&mut pair, 10);
    assert!(pair.sent().is_empty());
    pair.server_sends(suback(1, &[ferromqtt_proto::ReasonCode::GrantedQos1]));
    assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
}

/// A server that never acknowledges: DISCONNECT is sent all the same, so the will is not published.
#[test]
fn when_the_time_is_over_disconnect_is_sent_and_each_operation_ends() {
    let mut pair = Pair::connected(options(V5));
    pair.events();
    let op = pair.publish("t", "x", AtLeastOnce);
    pair.sent();
    leave(&mut pair, 10);
    pair.advance(SECOND * 99 / 10);
    assert!(pair.client.is_connected() && pair.sent().is_empty());
    pair.advance(SECOND / 10);
    assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
    let (cause, delivery) = (CLOSED, Delivery::Unknown);
    assert_eq!(pair.outcome(op), Outcome::Disconnected { cause, delivery });
}

#[test]
fn nobody_waits_for_what_was_abandoned_or_has_no_caller() {
    for abandoned in [true, false] {
        let mut pair = Pair::connected(options(V5));
        let op = pair.publish("t", "x", AtLeastOnce);
        if abandoned {
            pair.client.abandon(op);
        } else {
            pair.client.retain_callers(|it| it != op);
        }
        leave(&mut pair, 10);
        assert_eq!(pair.sent(), ["PUBLISH q1 1 x", "DISCONNECT 0x00"]);
        let unawaited = Event::Unawaited {
            not_sent: 0,
            unknown: 1,
        };
        assert_eq!(pair.events().last(), Some(&unawaited));
    }
}

/// A program that publishes and forgets: what the window lets out goes before DISCONNECT, and all of QoS 0 that is before it.
#[test]
fn what_nobody_waits_for_is_sent_as_far_as_the_window_allows() {
    let mut pair = Pair::connected(window_of_20(V311));
    pair.writable = false;
    let large = "x".repeat(10_000);
    for number in 0..30 {
        let qos = if number % 2 == 0 {
            AtLeastOnce
        } else {
            AtMostOnce
        };
        pair.publish("t", &large, qos);
    }
    for _ in 0..10 {
        pair.publish("t", "small", AtLeastOnce);
    }
    pair.client.retain_callers(|_| false);
    pair.writable = true;
    leave(&mut pair, 10);
    let sent = pair.packets();
    assert_eq!(sent.len(), 20 + 15 + 1);
    let last = sent.last().unwrap();
    assert!(matches!(
        last,
        ferromqtt_proto::packet::Packet::Disconnect(_)
    ));
}

/// The last caller gives up while the client waits for it.
#[test]
fn abandoning_the_last_operation_ends_the_wait() {
    let mut pair = Pair::connected(options(V5));
    let op = pair.publish("t", "x", AtLeastOnce);
    leave(&mut pair, 10);
    pair.client.abandon(op);
    pair.pump();
    assert_eq!(pair.sent(), ["PUBLISH q1 1 x", "DISCONNECT 0x00"]);
}

#[test]
fn a_link_that_is_down_is_not_waited_for() {
    let mut pair = Pair::connected(resuming(V5));
    pair.cut();
    let op = pair.publish("t", "x", AtLeastOnce);
    pair.events();
    leave(&mut pair, 10);
    assert!(pair.client.is_idle());
    let (cause, delivery) = (CLOSED, Delivery::NotSent);
    assert_eq!(pair.outcome(op), Outcome::Disconnected { cause, delivery });
}

#[test]
fn a_connection_that_is_lost_meanwhile_is_not_made_again() {
    let mut pair = Pair::connected(resuming(V5));
    let op = pair.publish("t", "x", AtLeastOnce);
    pair.events();
    leave(&mut pair, 10);
    pair.cut();
    assert!(pair.client.is_idle());
    assert!(matches!(
        pair.outcome(op),
        Outcome::Disconnected {
            cause: ConnectionError::Transport(_),
            delivery: Delivery::Unknown
        }
    ));
}

/// Nobody reads: the wait and the second that writing DISCONNECT gets are all that leaving takes.
#[test]
fn a_server_that_does_not_read_is_left_a_second_after_the_limit() {
    let mut pair = Pair::connected(options(V5));
    pair.writable = false;
    pair.publish("t", "x", AtLeastOnce);
    leave(&mut pair, 10);
    pair.advance(10 * SECOND);
    assert!(pair.requests.is_empty());
    pair.advance(SECOND);
    assert_eq!(pair.requests, [TransportRequest::Abort]);
    assert!(pair.client.is_idle());
}

/// A client that has left can be used again.
#[test]
fn connecting_again_after_leaving() {
    let mut pair = Pair::connected(options(V5));
    leave(&mut pair, 10);
    pair.connect();
    pair.accept(false, Properties::default());
    pair.publish("t", "x", AtLeastOnce);
    assert_eq!(pair.sent(), ["PUBLISH q1 1 x"]);
}
