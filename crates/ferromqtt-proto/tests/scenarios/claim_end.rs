//! Messages that are held to be claimed: for how long, how many, and across what.

use std::time::Duration;

use ferromqtt_proto::{Event, Overflow, Properties, QueueId, QueueOptions, Session};

use crate::support::claiming::*;
use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;
const CLAIM_WITHIN: Duration = Duration::from_secs(30);

/// MQTT-4.6.0-2: acknowledgements leave in order, so one message that nobody claims would hold up all that come later.
#[test]
fn what_nobody_claims_in_time_goes_to_the_default_queue_and_is_told() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("forgotten", [1]);
        let queue = pair.claim(&["t"], QueueOptions::default());
        pair.stored("t", [2]);
        pair.advance(CLAIM_WITHIN - Duration::from_millis(1));
        pair.receive("forgotten", "3", ExactlyOnce, 3);
        assert!(pair.answers().is_empty());
        assert_eq!(pair.unclaimed_events(), [] as [u64; 0]);
        pair.advance(Duration::from_millis(1));
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2", "PUBREC 3"]);
        let events = pair.events();
        assert!(
            events.contains(&Event::Unclaimed { messages: 2 }),
            "{events:?}"
        );
        assert!(events.contains(&Event::MessageReady(DEFAULT)), "{events:?}");
        assert_eq!(pair.client.stats().unclaimed, 2);
        assert_eq!(pair.payloads(), ["1", "3"]);
        assert_eq!(pair.payloads_of(queue), ["2"]);
        assert_eq!(
            pair.client.poll_timeout(),
            None,
            "an idle client is not woken"
        );
        pair.stored("forgotten", [4]);
        assert_eq!(pair.sent(), ["PUBACK 4"]);
        assert_eq!(pair.unclaimed_events(), [] as [u64; 0], "told once");
        assert_eq!(pair.client.stats().unclaimed, 3);
    }
}

/// When nothing was held, the first message that comes too late is reported.
#[test]
fn the_first_message_that_comes_after_the_time_is_told() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.advance(CLAIM_WITHIN);
        pair.stored("t", [1]);
        pair.stored("t", [2]);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
        assert_eq!(pair.unclaimed_events(), [1]);
        assert_eq!(pair.client.stats().unclaimed, 2);
        assert_eq!(pair.payloads(), ["1", "2"]);
    }
}

/// A message that is read when the time is over, before the driver has said that it is.
#[test]
fn a_late_driver_holds_nothing_beyond_the_time() {
    let mut pair = resumed(resuming(V5));
    pair.stored("t", [1]);
    pair.now += CLAIM_WITHIN;
    pair.stored("t", [2]);
    assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
}

#[test]
fn without_a_limit_messages_are_held_until_they_are_claimed() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.claim_within = None;
        let mut pair = resumed(options);
        pair.stored("t", [1, 2]);
        assert_eq!(pair.client.poll_timeout(), None);
        pair.advance(1_000 * CLAIM_WITHIN);
        assert!(pair.bytes().is_empty());
        let queue = pair.claim(&["t"], QueueOptions::default());
        assert_eq!(pair.payloads_of(queue), ["1", "2"]);
        assert_eq!(pair.answers(), ["PUBACK 1", "PUBACK 2"]);
    }
}

/// MQTT-4.4.0-1: they come again, with DUP at QoS 1 and by their Packet Identifier at QoS 2, and are the same messages.
#[test]
fn a_lost_connection_neither_doubles_nor_loses_what_is_held() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.receive("t", "1", AtLeastOnce, 1);
        pair.receive("t", "2", ExactlyOnce, 2);
        pair.receive("t", "3", AtLeastOnce, 3);
        pair.reconnect(true);
        pair.server_sends(again("t", "1", AtLeastOnce, 1));
        pair.server_sends(again("t", "2", ExactlyOnce, 2));
        assert!(pair.bytes().is_empty());
        let queue = pair.claim(&["t"], by_application());
        pair.server_sends(again("t", "3", AtLeastOnce, 3)); // claimed by now
        pair.stored("t", [4]);
        let messages = pair.messages_of(queue);
        let payloads: Vec<_> = messages.iter().map(|it| &it.payload[..]).collect();
        assert_eq!(payloads, [b"1", b"2", b"3", b"4"]);
        for message in messages {
            pair.acknowledge(message.delivery.unwrap());
        }
        let expected = ["PUBACK 1", "PUBREC 2", "PUBACK 3", "PUBACK 4"];
        assert_eq!(pair.answers(), expected);
    }
}

/// What is claimed without a connection is acknowledged when the server sends it again.
#[test]
fn messages_are_claimed_between_two_connections() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("t", [1]);
        pair.cut();
        let queue = pair.claim(&["t"], QueueOptions::default());
        assert_eq!(pair.payloads_of(queue), ["1"]);
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        pair.server_sends(again("t", "1", AtLeastOnce, 1));
        assert_eq!(pair.answers(), ["PUBACK 1"]);
        assert!(pair.payloads_of(queue).is_empty());
    }
}

/// The time of a message goes on, connected or not: a link that comes and goes does not hold up the others forever. What
/// comes on the next connection has its own.
#[test]
fn the_time_for_claiming_goes_on_without_a_connection() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("t", [1]);
        pair.advance(CLAIM_WITHIN - SECOND);
        pair.reconnect(true);
        pair.server_sends(again("t", "1", AtLeastOnce, 1));
        pair.stored("t", [2]);
        pair.events();
        pair.advance(SECOND);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert_eq!(pair.unclaimed_events(), [1]);
        pair.advance(CLAIM_WITHIN);
        assert_eq!(pair.sent(), ["PUBACK 2"]);
        assert_eq!(pair.payloads(), ["1", "2"]);
        pair.stored("t", [3]); // at once
        pair.reconnect(true);
        pair.stored("t", [4]);
        pair.opens = false;
        pair.cut();
        pair.advance(CLAIM_WITHIN);
        assert_eq!(pair.payloads(), ["3", "4"], "while the server is away");
        assert_eq!(pair.client.stats().unclaimed, 4);
    }
}

/// The server has forgotten them, and nobody else has: they can still be claimed, and nothing is acknowledged for them.
#[test]
fn what_is_held_outlives_a_lost_session() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("t", [1]);
        pair.receive("t", "2", ExactlyOnce, 2);
        pair.stored("other", [3]);
        pair.reconnect(false);
        pair.stored("new", [1]); // the identifier names another message now
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert_eq!(pair.payloads(), ["1"]);
        let queue = pair.claim(&["t"], by_application());
        for delivery in pair.take_deliveries(queue) {
            pair.acknowledge(delivery);
        }
        pair.advance(CLAIM_WITHIN);
        assert_eq!(pair.payloads(), ["3"]);
        assert!(pair.answers().is_empty());
        assert_eq!(pair.unclaimed_events(), [1]);
    }
}

/// A program that begins again with the session of the one before has its own time to claim.
#[test]
fn the_next_client_claims_what_the_one_before_has_held() {
    for version in VERSIONS {
        let mut before = resumed(resuming(version));
        before.stored("t", [1, 2]);
        let now = before.now + 2 * CLAIM_WITHIN;
        let session = before.client.into_session();
        let mut pair = Pair::unclaimed(resuming(version), session);
        pair.now = now;
        pair.client.handle_timeout(now);
        pair.connect();
        pair.advance(SECOND);
        pair.accept(true, Properties::default());
        pair.server_sends(again("t", "1", AtLeastOnce, 1));
        assert!(pair.bytes().is_empty());
        assert_eq!(pair.client.stats().awaiting_claim, 2);
        pair.advance(CLAIM_WITHIN - SECOND);
        let queue = pair.claim(&["t"], QueueOptions::default());
        pair.server_sends(again("t", "2", AtLeastOnce, 2));
        assert_eq!(pair.payloads_of(queue), ["1", "2"]);
        assert_eq!(pair.answers(), ["PUBACK 1", "PUBACK 2"]);
    }
}

/// So has one that connects again: while it is idle it cannot subscribe.
#[test]
fn a_client_that_is_idle_has_time_when_it_connects_again() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.reconnect = None;
        let mut pair = resumed(options);
        pair.stored("t", [1]);
        pair.cut();
        assert!(pair.client.is_idle());
        assert_eq!(pair.client.poll_timeout(), None);
        pair.advance(2 * CLAIM_WITHIN);
        pair.connect();
        pair.accept(true, Properties::default());
        pair.advance(CLAIM_WITHIN - SECOND);
        let queue = pair.claim(&["t"], QueueOptions::default());
        assert_eq!(pair.payloads_of(queue), ["1"]);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// What is held takes its part of the default queue's bounds; beyond them its policy says what is lost, which is reported, and
/// acknowledged (MQTT-4.5.0-2).
#[test]
fn what_is_held_beyond_the_bounds_is_lost_as_their_policy_says() {
    let by_bytes = QueueOptions {
        limit: None,
        bytes: Some(counted(&[1, 1])),
        ..QueueOptions::UNBOUNDED
    };
    for (bounds, kept, sent) in [
        (
            limited(2, Overflow::DropOldest),
            ["3", "4"],
            ["PUBACK 1", "PUBACK 2"].as_slice(),
        ),
        (by_bytes, ["3", "4"], &["PUBACK 1", "PUBACK 2"]),
        (limited(2, Overflow::DropNewest), ["1", "2"], &[]),
        (limited(2, Overflow::Fail), ["1", "2"], &[]),
    ] {
        let overflow = bounds.overflow;
        let mut pair = resumed(with_default(V5, bounds));
        pair.stored("t", 1..=4);
        assert_eq!(pair.lagged(), [DEFAULT], "{overflow:?}");
        assert_eq!(pair.client.queue_lost(DEFAULT), 2, "{overflow:?}");
        assert_eq!(pair.sent(), sent, "{overflow:?}");
        pair.client.claim_default();
        pair.pump();
        assert_eq!(pair.payloads(), kept, "{overflow:?}");
        assert_eq!(pair.sent().len(), 4 - sent.len(), "{overflow:?}");
        assert_eq!(pair.client.has_failed(DEFAULT), overflow == Overflow::Fail);
        assert_eq!(pair.client.take_lost(DEFAULT), 2, "{overflow:?}");
        pair.stored("t", [5]);
        assert_eq!(pair.payloads(), ["5"], "{overflow:?}");
    }
}

/// Both together have the bounds of one: a QoS 0 message that nobody asked for takes the place of another, not one more.
#[test]
fn the_default_queue_and_what_is_held_share_their_bounds() {
    let mut pair = resumed(with_default(V5, limited(2, Overflow::DropOldest)));
    pair.receive("q0", "a", AtMostOnce, 0);
    pair.stored("t", [1, 2]);
    assert_eq!(pair.client.queue_len(DEFAULT), 0, "the oldest has left");
    pair.receive("q0", "b", AtMostOnce, 0);
    assert_eq!(pair.client.queue_lost(DEFAULT), 2);
    assert_eq!(pair.sent(), ["PUBACK 1"]);
    pair.client.claim_default();
    assert_eq!(pair.payloads(), ["b", "2"]);
}

/// It had come, but left before the application could look.
#[test]
fn a_queue_that_is_empty_again_is_not_announced() {
    let mut pair = resumed(with_default(V5, limited(1, Overflow::DropOldest)));
    pair.events();
    let messages = [
        message("q0", "a", AtMostOnce, 0),
        message("t", "1", AtLeastOnce, 1),
    ];
    let bytes = in_one_read(V5, messages.map(ferromqtt_proto::packet::Packet::Publish));
    pair.server_sends_bytes(&bytes);
    assert_eq!(pair.client.queue_len(DEFAULT), 0, "the oldest has left");
    assert_eq!(pair.events(), [Event::Lagged(DEFAULT)]);
}

/// A message that is held has a slot of our Receive Maximum (MQTT-3.3.4-9): claiming gives it back.
#[test]
fn what_is_held_takes_its_part_of_our_receive_maximum() {
    let mut options = resuming(V5);
    options.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let mut pair = resumed(options.clone());
    pair.stored("t", [1, 2]);
    pair.claim(&["t"], QueueOptions::default());
    pair.stored("t", [3, 4]);
    assert_eq!(pair.answers().len(), 4);
    let mut pair = resumed(options);
    pair.stored("t", [1, 2, 3]);
    assert_eq!(pair.sent(), ["DISCONNECT 0x93"]);
}

/// A queue that was detached: what it holds and what comes for it waits for the next one, in order.
#[test]
fn a_queue_that_subscribes_again_gets_what_the_detached_one_has_left() {
    for version in VERSIONS {
        let mut pair = Pair::unclaimed(resuming(version), Session::default());
        pair.connect();
        pair.accept(false, Properties::default());
        let one = pair.queue(&["t"], by_application());
        pair.stored("t", [1, 2]);
        pair.receive("t", "q0", AtMostOnce, 0);
        let first = pair.take(one).delivery.unwrap();
        pair.client.detach_queue(pair.now, one);
        pair.pump();
        pair.stored("t", [3]);
        pair.stored("other", [4]); // nobody has asked for it, in a session that is new
        assert!(pair.bytes().is_empty());
        assert_eq!(pair.payloads(), ["4"]);
        let two = pair.queue(&["t"], QueueOptions::default());
        assert_eq!(pair.payloads_of(two), ["2", "q0", "3"]);
        assert!(pair.bytes().is_empty(), "the application has the first one");
        pair.acknowledge(first);
        let expected = ["PUBACK 1", "PUBACK 2", "PUBACK 3", "PUBACK 4"];
        assert_eq!(pair.sent(), expected);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// Its time begins with detaching. What it has left for the application to acknowledge still is to be, as ever.
#[test]
fn what_comes_for_a_detached_queue_goes_to_the_default_queue_in_the_end() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.advance(2 * CLAIM_WITHIN);
        let queue = pair.queue(&["t"], by_application());
        pair.stored("t", [1]);
        pair.client.detach_queue(pair.now, queue);
        pair.advance(SECOND);
        pair.receive("t", "2", ExactlyOnce, 2);
        pair.stored("late", [3]); // the time of the session is over
        assert!(pair.bytes().is_empty());
        pair.events();
        pair.advance(CLAIM_WITHIN - SECOND);
        assert_eq!(pair.unclaimed_events(), [2]);
        let left = pair.messages();
        let payloads: Vec<_> = left.iter().map(|it| &it.payload[..]).collect();
        assert_eq!(payloads, [b"3", b"1", b"2"]);
        assert!(pair.bytes().is_empty());
        pair.acknowledge(left[1].delivery.unwrap());
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2", "PUBACK 3"]);
        pair.stored("t", [4]);
        assert_eq!(pair.sent(), ["PUBACK 4"]);
    }
}

/// Section 3.10.4: a server may go on to send what it had stored for a filter, and nobody is going to claim that: it must not
/// hold up the others until the time for claiming is over.
#[test]
fn what_comes_for_a_filter_that_was_unsubscribed_is_not_held() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        let gone = pair.queue(&["t/1"], QueueOptions::default());
        let kept = pair.queue(&["kept"], QueueOptions::default());
        pair.stored("old", [1]);
        let filters = pair.client.close_queue(gone);
        assert_eq!(filters, [filter("t/1")]);
        pair.unsubscribe(&["t/1"]);
        pair.stored("t/1", [2]);
        assert!(pair.sent().iter().all(|it| it.starts_with("UNSUBSCRIBE")));
        pair.unsubscribe(&["old"]); // one that an earlier program has left
        assert!(
            pair.sent()
                .ends_with(&["PUBACK 1".into(), "PUBACK 2".into()])
        );
        pair.reconnect(true);
        pair.stored("t/1", [3]);
        pair.stored("kept", [4]);
        assert!(
            pair.sent()
                .ends_with(&["PUBACK 3".into(), "PUBACK 4".into()])
        );
        assert_eq!(pair.payloads_of(kept), ["4"]);
        assert_eq!(pair.payloads(), ["2", "1", "3"]);
        assert_eq!(pair.unclaimed_events(), [] as [u64; 0]);
        pair.subscribe_to(&["t/#"], kept);
        pair.client.detach_queue(pair.now, kept);
        pair.stored("t/1", [5]);
        assert_eq!(pair.client.stats().awaiting_claim, 1, "it is wanted again");
    }
}

/// What was stored for a subscription that has not been unsubscribed: a wildcard that covers it says nothing about it.
#[test]
fn what_another_subscription_may_want_is_held_after_unsubscribing_a_wildcard() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("relic/1", [1]);
        pair.unsubscribe(&["relic/#"]);
        pair.stored("relic/1", [2]);
        let queue = pair.claim(&["relic/1"], QueueOptions::default());
        assert_eq!(pair.payloads_of(queue), ["1", "2"]);
    }
}

/// The same of one that this program has left to the session.
#[test]
fn what_a_detached_subscription_wants_is_held_after_unsubscribing_a_wildcard() {
    for unsubscribed in ["t/#", "t/1"] {
        let mut pair = Pair::unclaimed(resuming(V5), Session::default());
        pair.connect();
        pair.accept(false, Properties::default());
        let all = pair.queue(&[unsubscribed], QueueOptions::default());
        let wanted = if unsubscribed == "t/1" { "t/+" } else { "t/1" };
        let one = pair.queue(&[wanted], QueueOptions::default());
        pair.client.close_queue(all);
        pair.unsubscribe(&[unsubscribed]);
        pair.client.detach_queue(pair.now, one);
        pair.stored("t/1", 1..=3);
        let again = pair.claim(&[wanted], QueueOptions::default());
        assert_eq!(pair.payloads_of(again), ["1", "2", "3"], "{unsubscribed}");
    }
}
