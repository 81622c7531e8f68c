//! A queue under [`Overflow::Wait`] that withholds acknowledgements for 5 s is named, since it holds up all others.

use std::time::Duration;

use ferromqtt_proto::{Event, Overflow, Properties, QueueId};

use crate::support::*;

fn stalled(pair: &mut Pair) -> Vec<QueueId> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::Stalled(queue) => Some(queue),
            _ => None,
        })
        .collect()
}

#[test]
fn a_queue_that_withholds_acknowledgements_for_5_seconds_is_named_once() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let free = pair.queue(&["other"], limited(5, Overflow::Wait));
        let full = pair.queue(&["t"], limited(1, Overflow::Wait));
        pair.receive("t", "1", AtLeastOnce, 1);
        pair.advance(60 * SECOND);
        assert_eq!(stalled(&mut pair), [], "full, and nothing is withheld");
        pair.receive("t", "2", ExactlyOnce, 2);
        pair.receive("other", "3", AtLeastOnce, 3);
        pair.advance(Duration::from_millis(4_999));
        assert_eq!(stalled(&mut pair), []);
        pair.advance(Duration::from_millis(1));
        assert_eq!(stalled(&mut pair), [full]);
        assert_eq!(pair.client.stats().stalls, 1);
        pair.advance(3_600 * SECOND);
        pair.receive("t", "4", AtLeastOnce, 4);
        pair.advance(3_600 * SECOND);
        assert_eq!(stalled(&mut pair), [], "once");
        assert_eq!(pair.sent(), ["PUBACK 1"], "however long");
        assert_eq!(pair.payloads_of(full), ["1", "2", "4"]);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBREC 2", "PUBACK 3", "PUBACK 4"]);
        assert_eq!(pair.payloads_of(free), ["3"]);
    }
}

/// Once it has withheld none in between, it is named again.
#[test]
fn a_queue_that_stalls_again_is_named_again() {
    let mut pair = Pair::connected(options(V5));
    let queue = pair.queue(&["t"], limited(1, Overflow::Wait));
    let mut id = 0;
    for _ in 0..3 {
        for _ in 0..2 {
            id += 1;
            pair.receive("t", "x", AtLeastOnce, id);
        }
        pair.advance(5 * SECOND);
        assert_eq!(stalled(&mut pair), [queue]);
        assert_eq!(pair.payloads_of(queue).len(), 2);
        pair.pump();
    }
    assert_eq!(pair.client.stats().stalls, 3);
}

/// A reader that keeps up after a while is no news.
#[test]
fn a_queue_that_has_room_in_time_is_not_named() {
    let mut pair = Pair::connected(options(V5));
    let queue = pair.queue(&["t"], limited(1, Overflow::Wait));
    for id in 1..100 {
        pair.receive("t", "x", AtLeastOnce, 2 * id - 1);
        pair.receive("t", "x", AtLeastOnce, 2 * id);
        pair.advance(4 * SECOND);
        assert_eq!(pair.payloads_of(queue).len(), 2);
        pair.pump();
    }
    assert_eq!(stalled(&mut pair), []);
    assert_eq!(pair.client.stats().stalls, 0);
}

/// Without a connection nothing is held up.
#[test]
fn a_queue_stalls_only_while_there_is_a_connection() {
    let mut pair = Pair::connected(resuming(V5));
    let queue = pair.queue(&["t"], limited(1, Overflow::Wait));
    pair.receive("t", "1", AtLeastOnce, 1);
    pair.receive("t", "2", AtLeastOnce, 2);
    pair.opens = false;
    pair.cut();
    pair.advance(8 * SECOND);
    assert_eq!(stalled(&mut pair), []);
    pair.opens = true;
    pair.transport_opens();
    pair.accept(true, Properties::default());
    pair.advance(SECOND);
    assert_eq!(stalled(&mut pair), [queue]);
}

/// A queue that is gone is named no more.
#[test]
fn a_closed_queue_does_not_stall() {
    let mut pair = Pair::connected(options(V5));
    let queue = pair.queue(&["t"], limited(1, Overflow::Wait));
    pair.receive("t", "1", AtLeastOnce, 1);
    pair.receive("t", "2", AtLeastOnce, 2);
    pair.client.close_queue(queue);
    pair.advance(60 * SECOND);
    assert_eq!(stalled(&mut pair), []);
    assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
}
