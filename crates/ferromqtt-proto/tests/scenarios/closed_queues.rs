//! Queues that are closed while a SUBSCRIBE for them is under way, and filters that are given up for all queues.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{Properties, QueueOptions, ReasonCode};

use crate::support::*;

/// Grants every SUBSCRIBE on the wire.
fn grant_all(pair: &mut Pair) {
    for packet in pair.packets() {
        if let Packet::Subscribe(subscribe) = packet {
            let granted = vec![ReasonCode::GrantedQos1; subscribe.filters.len()];
            pair.server_sends(suback(subscribe.packet_id.get(), &granted));
        }
    }
}

/// SUBACK comes for a queue that is gone: until UNSUBACK its messages go where those go that no queue asked for.
#[test]
fn closing_before_suback_leaves_the_messages_to_the_default_queue() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let own = pair.client.open_queue(QueueOptions::default());
        pair.subscribe_to(&["a"], own);
        assert_eq!(pair.client.close_queue(own), [filter("a")]);
        grant_all(&mut pair);
        pair.receive("a", "x", AtMostOnce, 0);
        assert_eq!(pair.payloads(), ["x"]);
        pair.reconnect(false);
        assert!(pair.bytes().is_empty(), "it is not made again");
    }
}

/// The connection ends before SUBACK, and the queue is closed before or after that. Whatever is asked for again, the
/// operation ends once, and no message vanishes in a queue that nobody can read.
#[test]
fn a_subscribe_that_is_sent_again_feeds_no_closed_queue() {
    for version in VERSIONS {
        for session_present in [true, false] {
            for closed_first in [true, false] {
                let mut pair = Pair::connected(resuming(version));
                let own = pair.client.open_queue(QueueOptions::default());
                let op = pair.subscribe_to(&["a"], own);
                assert_eq!(pair.sent(), ["SUBSCRIBE 1 a"]);
                if closed_first {
                    pair.client.close_queue(own);
                }
                pair.cut();
                if !closed_first {
                    pair.client.close_queue(own);
                }
                pair.wait_for_transport();
                pair.accept(session_present, Properties::default());
                grant_all(&mut pair);
                let ended: Vec<_> = pair.outcomes().into_iter().map(|(op, _)| op).collect();
                assert_eq!(ended, [op], "{closed_first}");
                pair.receive("a", "x", AtMostOnce, 0);
                assert_eq!(pair.payloads(), ["x"], "{closed_first}");
            }
        }
    }
}

/// UNSUBSCRIBE is for a filter, so it ends for all queues; the server's refusal leaves all as they were.
#[test]
fn unsubscribing_is_for_all_queues_that_share_a_filter() {
    for (version, reasons, ends) in [
        (V311, &[][..], true),
        (V5, &[ReasonCode::Success], true),
        (V5, &[ReasonCode::NotAuthorized], false),
    ] {
        let mut pair = Pair::connected(options(version));
        let queues = [0; 2].map(|_| pair.queue(&["t"], QueueOptions::default()));
        pair.unsubscribe(&["t"]);
        assert_eq!(pair.sent(), ["UNSUBSCRIBE 3 t"]);
        pair.server_sends(unsuback(3, reasons));
        pair.receive("t", "x", AtMostOnce, 0);
        let expected = if ends { &[][..] } else { &["x"] };
        for queue in queues {
            assert_eq!(pair.payloads_of(queue), expected);
        }
        assert_eq!(pair.payloads().is_empty(), !ends);
    }
}

/// Without a connection a queue is closed whose filter another one has asked for meanwhile: that one keeps it.
#[test]
fn closing_does_not_end_what_another_queue_waits_for() {
    for version in VERSIONS {
        for session_present in [true, false] {
            let mut pair = Pair::connected(resuming(version));
            let one = pair.queue(&["a"], QueueOptions::default());
            pair.bytes();
            pair.cut();
            let two = pair.client.open_queue(QueueOptions::default());
            pair.subscribe_to(&["a"], two);
            assert!(pair.client.close_queue(one).is_empty());
            pair.wait_for_transport();
            pair.accept(session_present, Properties::default());
            grant_all(&mut pair);
            pair.receive("a", "x", AtMostOnce, 0);
            assert_eq!(pair.payloads_of(two), ["x"]);
        }
    }
}

/// What is subscribed for a queue can be looked up, so that nobody waits for messages that cannot come.
#[test]
fn the_filters_of_a_queue_are_known() {
    let mut pair = Pair::connected(resuming(V5));
    let own = pair.queue(&["a", "b"], QueueOptions::default());
    let filters = |pair: &Pair| -> Vec<_> { pair.client.filters(own).cloned().collect() };
    assert_eq!(filters(&pair), [filter("a"), filter("b")]);
    pair.unsubscribe(&["a"]);
    assert_eq!(filters(&pair), [filter("b")]);
    pair.bytes();
    pair.server_sends(unsuback(2, &[ReasonCode::Success]));
    pair.reconnect(false);
    let restored = pair.subscribes().pop().unwrap();
    let refused = suback(restored.packet_id.get(), &[ReasonCode::NotAuthorized]);
    pair.server_sends(refused);
    assert!(filters(&pair).is_empty());
}
