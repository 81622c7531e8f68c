//! Queues of received messages.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{Event, Overflow, Properties, QueueId, QueueOptions, ReasonCode};

use crate::support::*;

fn bounded(limit: usize, overflow: Overflow) -> QueueOptions {
    QueueOptions {
        limit: Some(limit),
        overflow,
        ..QueueOptions::default()
    }
}

fn receive(pair: &mut Pair, topic: &str, payload: &str) {
    pair.server_sends(Packet::Publish(message(topic, payload, AtMostOnce, 0)));
}

fn announced(pair: &mut Pair) -> Vec<QueueId> {
    pair.events()
        .into_iter()
        .filter_map(|event| match event {
            Event::MessageReady(queue) => Some(queue),
            _ => None,
        })
        .collect()
}

/// Told once while the queue is not empty, and again after it was emptied.
#[test]
fn a_queue_is_announced_when_it_is_no_longer_empty() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        receive(&mut pair, "t", "a");
        receive(&mut pair, "t", "b");
        assert_eq!(announced(&mut pair), [QueueId::DEFAULT]);
        assert_eq!(pair.client.queue_len(QueueId::DEFAULT), 2);
        assert_eq!(pair.payloads(), ["a", "b"]);
        receive(&mut pair, "t", "c");
        assert_eq!(announced(&mut pair), [QueueId::DEFAULT]);
    }
}

/// MQTT-4.5.0-2: acknowledged all the same; each loss is counted and told once.
#[test]
fn a_full_queue_drops_by_its_policy_and_counts() {
    for (overflow, kept) in [
        (Overflow::DropOldest, ["c", "d"]),
        (Overflow::DropNewest, ["a", "b"]),
    ] {
        let mut options = options(V5);
        options.incoming = bounded(2, overflow);
        let mut pair = Pair::connected(options);
        for payload in ["a", "b", "c", "d"] {
            receive(&mut pair, "t", payload);
        }
        assert_eq!(pair.client.take_lost(QueueId::DEFAULT), 2);
        assert_eq!(pair.client.take_lost(QueueId::DEFAULT), 0);
        assert_eq!(pair.payloads(), kept);
        assert_eq!(pair.client.stats().received, 4);
    }
}

/// Bounds at their edges: a queue of one keeps the newest and is announced once; a queue of none holds nothing.
#[test]
fn queues_of_one_and_of_none() {
    for (limit, kept, announcements) in [(1, vec!["c"], 1), (0, vec![], 0)] {
        let mut options = options(V5);
        options.incoming = bounded(limit, Overflow::DropOldest);
        let mut pair = Pair::connected(options);
        for payload in ["a", "b", "c"] {
            receive(&mut pair, "t", payload);
        }
        assert_eq!(announced(&mut pair).len(), announcements);
        assert_eq!(pair.client.take_lost(QueueId::DEFAULT), 3 - limit as u64);
        assert_eq!(pair.payloads(), kept);
    }
}

/// Every matching queue gets a message once, and the default queue those that no other wants.
#[test]
fn messages_go_to_the_queues_of_the_filters_they_match() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let one = pair.client.open_queue(QueueOptions::default());
        let two = pair.client.open_queue(QueueOptions::default());
        pair.subscribe_to(&["a/#", "a/+"], one);
        pair.subscribe_to(&["+/b", "$share/g/s/#"], two);
        pair.events();
        receive(&mut pair, "a/b", "both");
        receive(&mut pair, "a/c", "one");
        receive(&mut pair, "s/x", "two");
        receive(&mut pair, "other", "none");
        receive(&mut pair, "$SYS/b", "none");
        assert_eq!(pair.payloads_of(one), ["both", "one"]);
        assert_eq!(pair.payloads_of(two), ["both", "two"]);
        assert_eq!(pair.payloads(), ["none", "none"]);
        assert_eq!(announced(&mut pair).len(), 3);
    }
}

/// A subscription of the default queue beside one of another: both get the message.
#[test]
fn the_default_queue_may_share_a_filter() {
    let mut pair = Pair::connected(options(V5));
    let own = pair.client.open_queue(QueueOptions::default());
    pair.subscribe(&["a"]);
    pair.subscribe_to(&["a"], own);
    receive(&mut pair, "a", "x");
    assert_eq!(pair.payloads(), ["x"]);
    assert_eq!(pair.payloads_of(own), ["x"]);
}

/// Retained messages may come before SUBACK.
#[test]
fn routing_begins_with_the_subscribe_and_ends_with_a_refusal() {
    let mut pair = Pair::connected(options(V5));
    let own = pair.client.open_queue(QueueOptions::default());
    pair.subscribe_to(&["a"], own);
    receive(&mut pair, "a", "retained");
    assert_eq!(pair.payloads_of(own), ["retained"]);
    pair.server_sends(suback(1, &[ReasonCode::NotAuthorized]));
    receive(&mut pair, "a", "x");
    assert_eq!(pair.payloads(), ["x"]);
    assert!(pair.payloads_of(own).is_empty());
}

/// The bound of one queue is no other's.
#[test]
fn a_full_queue_does_not_delay_another() {
    let mut pair = Pair::connected(options(V5));
    let small = pair.client.open_queue(bounded(1, Overflow::DropNewest));
    let large = pair.client.open_queue(QueueOptions::default());
    pair.subscribe_to(&["a"], small);
    pair.subscribe_to(&["a"], large);
    for payload in ["1", "2", "3"] {
        receive(&mut pair, "a", payload);
    }
    assert_eq!(pair.payloads_of(small), ["1"]);
    assert_eq!(pair.payloads_of(large), ["1", "2", "3"]);
    assert_eq!(pair.client.take_lost(small), 2);
    assert_eq!(pair.client.take_lost(large), 0);
}

/// Filters that another queue needs stay subscribed; messages of the others go to the default queue until UNSUBACK.
#[test]
fn closing_a_queue_names_the_filters_that_nobody_needs_any_more() {
    let mut pair = Pair::connected(options(V5));
    let one = pair.client.open_queue(QueueOptions::default());
    let two = pair.client.open_queue(QueueOptions::default());
    pair.subscribe_to(&["shared", "own"], one);
    pair.subscribe_to(&["shared"], two);
    receive(&mut pair, "own", "dropped with the queue");
    assert_eq!(pair.client.close_queue(one), [filter("own")]);
    assert_eq!(pair.client.next_message(one), None);
    assert_eq!(pair.client.queue_len(one), 0);
    receive(&mut pair, "shared", "x");
    receive(&mut pair, "own", "y");
    assert_eq!(pair.payloads_of(two), ["x"]);
    assert_eq!(pair.payloads(), ["y"]);
    assert!(pair.client.close_queue(one).is_empty(), "twice");
    assert!(pair.client.close_queue(QueueId::DEFAULT).is_empty());
    assert_eq!(pair.client.close_queue(two), [filter("shared")]);
}

/// A queue outlives connections with the messages in it.
#[test]
fn messages_survive_the_end_of_the_connection() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        receive(&mut pair, "t", "x");
        pair.cut();
        assert_eq!(pair.payloads(), ["x"]);
    }
}

fn ended(pair: &mut Pair) -> Vec<QueueId> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::Unsubscribed(queue) => Some(queue),
            _ => None,
        })
        .collect()
}

/// A reader that waits for messages of the queue has to know.
#[test]
fn the_end_of_the_last_subscription_of_a_queue_is_reported() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let [one, other, closed] =
            [(); 3].map(|()| pair.client.open_queue(QueueOptions::default()));
        pair.subscribe(&["a"]);
        pair.subscribe_to(&["a", "b"], one);
        pair.subscribe_to(&["a"], other);
        pair.subscribe_to(&["a"], closed);
        pair.events();
        pair.client.close_queue(closed);
        pair.unsubscribe(&["a"]);
        assert_eq!(ended(&mut pair), [], "the server may refuse");
        assert!(pair.client.is_unsubscribing(other));
        for (id, filters) in [(1, 1), (2, 2), (3, 1), (4, 1)] {
            pair.server_sends(suback(id, &vec![ReasonCode::Success; filters]));
        }
        let reasons = [ReasonCode::Success];
        pair.server_sends(unsuback(5, if version == V5 { &reasons } else { &[] }));
        assert!(!pair.client.is_unsubscribing(other));
        assert_eq!(
            ended(&mut pair),
            [other],
            "one has another, the default queue needs none"
        );
        pair.cut();
        pair.unsubscribe(&["b", "c"]);
        assert_eq!(ended(&mut pair), [], "it is not sent yet");
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert_eq!(pair.client.filters(one).next(), None);
        pair.cut();
        assert_eq!(ended(&mut pair), [], "it is sent again");
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        let reasons = [ReasonCode::Success; 2];
        let id = id_of(pair.sent().last().unwrap());
        pair.server_sends(unsuback(id, if version == V5 { &reasons } else { &[] }));
        assert_eq!(ended(&mut pair), [one]);
    }
}

/// The Packet Identifier of a packet as `sent` writes it.
fn id_of(packet: &str) -> u16 {
    packet.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Section 3.11.3: the messages go on, and somebody has to be there to read them.
#[test]
fn a_queue_whose_unsubscribe_is_refused_has_not_ended() {
    let mut pair = Pair::connected(resuming(V5));
    let queue = pair.client.open_queue(QueueOptions::default());
    pair.subscribe_to(&["a", "b"], queue);
    pair.server_sends(suback(1, &[ReasonCode::Success; 2]));
    pair.unsubscribe(&["a"]);
    pair.unsubscribe(&["b"]);
    pair.server_sends(unsuback(3, &[ReasonCode::Success]));
    assert_eq!(ended(&mut pair), [], "the other one may be refused");
    pair.server_sends(unsuback(2, &[ReasonCode::NotAuthorized]));
    assert_eq!(ended(&mut pair), []);
    assert!(!pair.client.is_unsubscribing(queue));
    receive(&mut pair, "a", "x");
    assert_eq!(pair.payloads_of(queue), ["x"]);
    pair.unsubscribe(&["a"]);
    pair.server_sends(unsuback(4, &[ReasonCode::Success]));
    assert_eq!(ended(&mut pair), [queue]);
}

/// The answer to an UNSUBSCRIBE that is not sent again does not come.
#[test]
fn a_queue_ends_with_the_connection_of_its_unsubscribe() {
    for (reconnects, abandoned) in [(false, false), (true, true)] {
        let mut options = options(V5);
        options.reconnect = reconnects.then(Default::default);
        let mut pair = Pair::connected(options);
        let queue = pair.client.open_queue(QueueOptions::default());
        pair.subscribe_to(&["a"], queue);
        pair.server_sends(suback(1, &[ReasonCode::Success]));
        let op = pair.unsubscribe(&["a"]);
        if abandoned {
            pair.client.abandon(op);
        }
        assert_eq!(ended(&mut pair), []);
        pair.cut();
        assert_eq!(ended(&mut pair), [queue]);
    }
}
