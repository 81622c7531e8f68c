//! A queue under [`Overflow::Wait`] that nobody reads: it stops holding back input after 5 s, and loses its newest QoS 0
//! messages.

use std::time::Duration;

use ferromqtt_proto::{Event, Overflow, QueueId};

use crate::support::*;

fn forgotten(pair: &mut Pair) -> Vec<QueueId> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::Forgotten(queue) => Some(queue),
            _ => None,
        })
        .collect()
}

fn receive(pair: &mut Pair, topic: &str, count: usize) {
    for _ in 0..count {
        pair.receive(topic, "x", AtMostOnce, 0);
    }
}

/// It goes on for the others; the forgotten queue keeps what it has, and its losses are counted and reported once.
#[test]
fn a_queue_that_nobody_reads_for_5_seconds_holds_up_nobody() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let queue = pair.queue(&["t"], limited(2, Overflow::Wait));
        let other = pair.queue(&["other"], limited(2, Overflow::Wait));
        receive(&mut pair, "t", 3);
        receive(&mut pair, "other", 1);
        pair.advance(Duration::from_millis(4_999));
        assert!(pair.client.input_paused());
        assert_eq!(pair.client.queue_len(other), 0);
        pair.advance(Duration::from_millis(1));
        assert!(!pair.client.input_paused());
        assert!(pair.client.is_forgotten(queue));
        assert_eq!(pair.client.queue_len(other), 1);
        assert_eq!(pair.client.queue_lost(queue), 1);
        receive(&mut pair, "t", 10);
        receive(&mut pair, "other", 1);
        assert!(!pair.client.input_paused());
        assert_eq!(pair.client.queue_len(queue), 2, "the oldest stay");
        assert_eq!(pair.client.queue_len(other), 2);
        assert_eq!(pair.client.queue_lost(queue), 11);
        assert_eq!(pair.client.stats().lost, 11);
        assert_eq!(forgotten(&mut pair), [queue], "once");
    }
}

/// To be read again is all it takes: it holds back input again, and a second neglect is reported again.
#[test]
fn a_forgotten_queue_counts_again_when_it_is_read() {
    let mut pair = Pair::connected(options(V5));
    let queue = pair.queue(&["t"], limited(2, Overflow::Wait));
    receive(&mut pair, "t", 3);
    pair.advance(5 * SECOND);
    assert_eq!(forgotten(&mut pair), [queue]);
    pair.take(queue);
    assert!(!pair.client.is_forgotten(queue));
    receive(&mut pair, "t", 2);
    assert!(pair.client.input_paused());
    assert_eq!(pair.client.take_lost(queue), 1);
    pair.advance(4 * SECOND);
    assert!(pair.client.input_paused());
    pair.advance(2 * SECOND);
    assert!(!pair.client.input_paused());
    assert_eq!(forgotten(&mut pair), [queue]);
}

/// A slow reader is no forgotten one. A second's grace is for not asking the clock with every message.
#[test]
fn a_queue_that_is_read_now_and_then_goes_on_to_wait() {
    let mut pair = Pair::connected(options(V5));
    let queue = pair.queue(&["t"], limited(1_000, Overflow::Wait));
    receive(&mut pair, "t", 1_001);
    for _ in 0..400 {
        assert!(pair.client.input_paused());
        pair.advance(Duration::from_millis(4_900));
        pair.take(queue);
    }
    pair.advance(Duration::from_millis(6_000));
    assert!(pair.client.is_forgotten(queue));
}

/// A queue that was not read for long is known when it fills up: it holds up nobody at all.
#[test]
fn a_queue_that_was_never_read_is_known_before_it_is_full() {
    let mut pair = Pair::connected(options(V5));
    let queue = pair.queue(&["t"], limited(2, Overflow::Wait));
    receive(&mut pair, "t", 1);
    pair.advance(5 * SECOND);
    receive(&mut pair, "t", 3);
    assert!(!pair.client.input_paused());
    assert_eq!(pair.client.queue_lost(queue), 2);
    assert_eq!(pair.client.stats().pauses, 0);
}

/// A reader that waits at an empty queue is reading it, however long ago its last message was.
#[test]
fn a_reader_that_waits_at_an_empty_queue_is_there() {
    let mut pair = Pair::connected(options(V5));
    let queue = pair.queue(&["t"], limited(2, Overflow::Wait));
    receive(&mut pair, "t", 1);
    pair.take(queue);
    assert!(pair.client.next_message(queue).is_none());
    pair.advance(3_600 * SECOND);
    receive(&mut pair, "t", 3);
    assert!(pair.client.input_paused());
}

/// The policy of the default queue may be this one too, and then follows the same rule.
#[test]
fn a_default_queue_that_waits_and_is_not_read_holds_up_nobody() {
    let mut options = options(V5);
    options.incoming = limited(1, Overflow::Wait);
    let mut pair = Pair::connected(options);
    let other = pair.queue(&["other"], limited(1, Overflow::Wait));
    receive(&mut pair, "stray", 2);
    assert!(pair.client.input_paused());
    pair.advance(5 * SECOND);
    receive(&mut pair, "other", 1);
    assert_eq!(pair.client.queue_len(other), 1);
    assert_eq!(forgotten(&mut pair), [QueueId::DEFAULT]);
}

/// QoS 1 and 2 are withheld however long: nothing of them is lost in a forgotten queue.
#[test]
fn a_forgotten_queue_loses_no_message_of_qos_1_and_2() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let queue = pair.queue(&["t"], limited(1, Overflow::Wait));
        receive(&mut pair, "t", 2);
        pair.advance(60 * SECOND);
        pair.receive("t", "one", AtLeastOnce, 1);
        pair.receive("t", "two", ExactlyOnce, 2);
        pair.advance(3_600 * SECOND);
        assert!(pair.sent().is_empty());
        assert_eq!(pair.payloads_of(queue), ["x", "one", "two"]);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2"]);
        assert_eq!(pair.client.take_lost(queue), 1);
    }
}
