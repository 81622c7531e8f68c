//! Messages of a resumed session are held, unacknowledged, until somebody claims them.

use std::time::Duration;

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    Event, Options, Overflow, Properties, ProtocolVersion, Publish, QueueId, QueueOptions,
    ReasonCode, Session, TopicName,
};

use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;
const CLAIM_WITHIN: Duration = Duration::from_secs(30);

/// A client whose session the server has resumed, and whose application has not claimed anything yet.
fn resumed(options: Options) -> Pair {
    resumed_with(options, Session::default())
}

fn resumed_with(options: Options, session: Session) -> Pair {
    let mut pair = Pair::unclaimed(options, session);
    pair.connect();
    pair.accept(true, Properties::default());
    pair.events();
    pair
}

fn with_default(version: ProtocolVersion, queue: QueueOptions) -> Options {
    let mut options = resuming(version);
    options.incoming = queue;
    options
}

/// The server sends messages at QoS 1, whose payloads are their Packet Identifiers.
fn stored(pair: &mut Pair, topic: &str, packet_ids: impl IntoIterator<Item = u16>) {
    for packet_id in packet_ids {
        pair.receive(topic, &packet_id.to_string(), AtLeastOnce, packet_id);
    }
}

/// Subscribes a new queue and answers nothing: acceptance is enough.
fn subscribe(pair: &mut Pair, filters: &[&str], options: QueueOptions) -> QueueId {
    let queue = pair.client.open_queue(options);
    pair.subscribe_to(filters, queue);
    queue
}

/// The packets since the last look, SUBSCRIBE left out.
fn answers(pair: &mut Pair) -> Vec<String> {
    let mut sent = pair.sent();
    sent.retain(|packet| !packet.starts_with("SUBSCRIBE"));
    sent
}

fn unclaimed(pair: &mut Pair) -> Vec<u64> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::Unclaimed { messages } => Some(messages),
            _ => None,
        })
        .collect()
}

/// MQTT-4.6.0-2: the stream of a program that subscribes 20 ms after it has connected gets all that the server had stored,
/// and nothing has been acknowledged before the application has.
#[test]
fn a_subscription_claims_what_the_server_had_stored() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        stored(&mut pair, "jobs", 1..=100);
        pair.advance(Duration::from_millis(20));
        assert!(
            pair.bytes().is_empty(),
            "acknowledged before it was claimed"
        );
        assert_eq!(pair.client.stats().awaiting_claim, 100);
        let queue = subscribe(&mut pair, &["jobs"], by_application());
        assert!(pair.events().contains(&Event::MessageReady(queue)));
        assert!(answers(&mut pair).is_empty());
        stored(&mut pair, "jobs", 101..=103);
        let deliveries = pair.take_deliveries(queue);
        assert_eq!(deliveries.len(), 103);
        for delivery in deliveries {
            pair.acknowledge(delivery);
        }
        let expected: Vec<_> = (1..=103).map(|id| format!("PUBACK {id}")).collect();
        assert_eq!(pair.sent(), expected);
        assert_eq!(pair.client.queue_len(DEFAULT), 0);
        assert_eq!(pair.client.stats().awaiting_claim, 0);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// MQTT-4.3.2-4, MQTT-4.3.3-8: one that acknowledges on receipt does so when it gets them, in the order of all.
#[test]
fn what_is_claimed_is_acknowledged_by_the_rules_of_its_queue() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.receive("a", "1", AtLeastOnce, 1);
        pair.receive("b", "2", ExactlyOnce, 2);
        pair.receive("a", "3", ExactlyOnce, 3);
        pair.receive("b", "4", AtLeastOnce, 4);
        let a = subscribe(&mut pair, &["a"], QueueOptions::default());
        assert_eq!(answers(&mut pair), ["PUBACK 1"]);
        assert_eq!(pair.payloads_of(a), ["1", "3"]);
        let b = subscribe(&mut pair, &["b"], limited(1, Overflow::Wait));
        assert_eq!(answers(&mut pair), ["PUBREC 2", "PUBREC 3"]);
        assert_eq!(pair.take(b).payload, "2");
        assert_eq!(pair.sent(), ["PUBACK 4"]);
        assert_eq!(pair.payloads_of(b), ["4"]);
    }
}

/// The bounds of the queue that claims count, and what it loses is acknowledged (MQTT-4.5.0-2).
#[test]
fn what_a_queue_claims_beyond_its_bounds_is_lost_as_its_policy_says() {
    for (overflow, kept) in [
        (Overflow::DropOldest, ["2", "3"]),
        (Overflow::DropNewest, ["1", "2"]),
        (Overflow::Fail, ["1", "2"]),
    ] {
        let mut pair = resumed(resuming(V5));
        stored(&mut pair, "t", 1..=3);
        let queue = subscribe(&mut pair, &["t"], limited(2, overflow));
        assert_eq!(pair.lagged(), [queue], "{overflow:?}");
        assert_eq!(answers(&mut pair).len(), 3, "{overflow:?}");
        assert_eq!(pair.payloads_of(queue), kept, "{overflow:?}");
        assert_eq!(pair.client.take_lost(queue), 1, "{overflow:?}");
    }
}

#[test]
fn of_several_matching_queues_the_first_that_subscribes_gets_a_message() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        stored(&mut pair, "t/1", [1]);
        stored(&mut pair, "t/2", [2]);
        let narrow = subscribe(&mut pair, &["t/1"], QueueOptions::default());
        let wide = subscribe(&mut pair, &["t/#"], QueueOptions::default());
        let late = subscribe(&mut pair, &["t/2"], QueueOptions::default());
        assert_eq!(pair.payloads_of(narrow), ["1"]);
        assert_eq!(pair.payloads_of(wide), ["2"]);
        assert!(pair.payloads_of(late).is_empty());
    }
}

/// A SUBSCRIBE with several filters, one of them shared: a message that several match is claimed once.
#[test]
fn a_message_is_claimed_once_by_all_filters_of_a_subscribe() {
    let mut pair = resumed(resuming(V5));
    stored(&mut pair, "t", [1, 2]);
    let queue = subscribe(&mut pair, &["$share/group/t", "#"], QueueOptions::default());
    assert_eq!(pair.payloads_of(queue), ["1", "2"]);
}

/// The default queue is a queue like any other when it subscribes.
#[test]
fn a_subscription_of_the_default_queue_claims_what_it_matches_alone() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        stored(&mut pair, "a", [1]);
        stored(&mut pair, "b", [2]);
        pair.subscribe(&["a"]);
        assert_eq!(pair.payloads(), ["1"]);
        stored(&mut pair, "a", [3]);
        assert_eq!(pair.payloads(), ["3"]);
        assert_eq!(answers(&mut pair), ["PUBACK 1"]);
        assert_eq!(pair.client.stats().awaiting_claim, 1);
    }
}

/// It gets everything that is held, and from then on nothing is held.
#[test]
fn the_default_queue_claims_everything() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        stored(&mut pair, "a", [1]);
        pair.receive("b", "2", ExactlyOnce, 2);
        pair.client.claim_default();
        pair.pump();
        assert!(pair.events().contains(&Event::MessageReady(DEFAULT)));
        stored(&mut pair, "c", [3]);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2", "PUBACK 3"]);
        assert_eq!(pair.payloads(), ["1", "2", "3"]);
        pair.reconnect(true);
        stored(&mut pair, "d", [4]);
        assert_eq!(pair.sent(), ["PUBACK 4"]);
        pair.advance(2 * CLAIM_WITHIN);
        assert_eq!(unclaimed(&mut pair), [] as [u64; 0]);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// A default queue whose messages the application acknowledges gets them unacknowledged.
#[test]
fn the_default_queue_claims_by_its_own_rules() {
    let mut pair = resumed(with_default(V5, by_application()));
    stored(&mut pair, "t", 1..=3);
    pair.client.claim_default();
    pair.pump();
    assert!(pair.bytes().is_empty());
    for delivery in pair.take_deliveries(DEFAULT) {
        pair.acknowledge(delivery);
    }
    assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2", "PUBACK 3"]);
    let mut pair = resumed(with_default(V5, limited(1, Overflow::Wait)));
    stored(&mut pair, "t", 1..=3);
    assert_eq!(pair.client.stats().awaiting_claim, 3, "nothing is lost");
    pair.client.claim_default();
    pair.pump();
    assert_eq!(pair.sent(), ["PUBACK 1"]);
    assert_eq!(pair.take(DEFAULT).payload, "1");
    assert_eq!(pair.sent(), ["PUBACK 2"]);
}

/// MQTT-4.6.0-2: acknowledgements leave in order, so one message that nobody claims would hold up all that come later.
#[test]
fn what_nobody_claims_in_time_goes_to_the_default_queue_and_is_told() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        stored(&mut pair, "forgotten", [1]);
        let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
        stored(&mut pair, "t", [2]);
        pair.advance(CLAIM_WITHIN - Duration::from_millis(1));
        pair.receive("forgotten", "3", ExactlyOnce, 3);
        assert!(answers(&mut pair).is_empty());
        assert_eq!(unclaimed(&mut pair), [] as [u64; 0]);
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
        stored(&mut pair, "forgotten", [4]);
        assert_eq!(pair.sent(), ["PUBACK 4"]);
        assert_eq!(unclaimed(&mut pair), [] as [u64; 0], "told once");
        assert_eq!(pair.client.stats().unclaimed, 3);
    }
}

/// When nothing was held, the first message that comes too late is told.
#[test]
fn the_first_message_that_comes_after_the_time_is_told() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.advance(CLAIM_WITHIN);
        stored(&mut pair, "t", [1]);
        stored(&mut pair, "t", [2]);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
        assert_eq!(unclaimed(&mut pair), [1]);
        assert_eq!(pair.client.stats().unclaimed, 2);
        assert_eq!(pair.payloads(), ["1", "2"]);
    }
}

/// A message that is read when the time is over, before the driver has said that it is.
#[test]
fn a_late_driver_holds_nothing_beyond_the_time() {
    let mut pair = resumed(resuming(V5));
    stored(&mut pair, "t", [1]);
    pair.now += CLAIM_WITHIN;
    stored(&mut pair, "t", [2]);
    assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
}

#[test]
fn without_a_limit_messages_are_held_until_they_are_claimed() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.claim_within = None;
        let mut pair = resumed(options);
        stored(&mut pair, "t", [1, 2]);
        assert_eq!(pair.client.poll_timeout(), None);
        pair.advance(1_000 * CLAIM_WITHIN);
        assert!(pair.bytes().is_empty());
        let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
        assert_eq!(pair.payloads_of(queue), ["1", "2"]);
        assert_eq!(answers(&mut pair), ["PUBACK 1", "PUBACK 2"]);
    }
}

/// MQTT-3.2.2-2: Session Present 0, there is nothing from before.
#[test]
fn in_a_new_session_nothing_is_held() {
    for version in VERSIONS {
        let mut pair = Pair::unclaimed(resuming(version), Session::default());
        pair.connect();
        pair.accept(false, Properties::default());
        stored(&mut pair, "t", [1]);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert_eq!(pair.payloads(), ["1"]);
        assert_eq!(unclaimed(&mut pair), [] as [u64; 0]);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// 3.1 has no Session Present: the session that was asked for is taken to be there.
#[test]
fn mqtt_3_1_holds_in_each_session_that_it_asks_for() {
    let mut pair = Pair::unclaimed(resuming(V31), Session::default());
    pair.connect();
    pair.accept(false, Properties::default());
    stored(&mut pair, "t", [1]);
    assert!(pair.bytes().is_empty());
    let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
    assert_eq!(pair.payloads_of(queue), ["1"]);
    assert_eq!(answers(&mut pair), ["PUBACK 1"]);
}

/// They are not acknowledged, so there is nothing to withhold.
#[test]
fn qos_0_that_nobody_asked_for_goes_to_the_default_queue_at_once() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.receive("t", "0", AtMostOnce, 0);
        assert_eq!(pair.payloads(), ["0"]);
        assert_eq!(unclaimed(&mut pair), [] as [u64; 0]);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// What comes for a queue that is there is not held, not even behind a message that is: it only waits for its turn to be
/// acknowledged.
#[test]
fn queues_get_their_messages_while_others_are_held() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        let queue = pair.queue(&["t"], QueueOptions::default());
        stored(&mut pair, "forgotten", [1]);
        stored(&mut pair, "t", [2]);
        assert_eq!(pair.payloads_of(queue), ["2"]);
        assert!(pair.bytes().is_empty());
        pair.reconnect(true); // its queue exists then
        pair.server_sends(again("forgotten", "1", AtLeastOnce, 1));
        stored(&mut pair, "t", [3]);
        assert_eq!(pair.payloads_of(queue), ["3"]);
        assert_eq!(pair.client.stats().awaiting_claim, 1);
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
        let queue = subscribe(&mut pair, &["t"], by_application());
        pair.server_sends(again("t", "3", AtLeastOnce, 3)); // claimed by now
        stored(&mut pair, "t", [4]);
        let messages = pair.messages_of(queue);
        let payloads: Vec<_> = messages.iter().map(|it| &it.payload[..]).collect();
        assert_eq!(payloads, [b"1", b"2", b"3", b"4"]);
        for message in messages {
            pair.acknowledge(message.delivery.unwrap());
        }
        let expected = ["PUBACK 1", "PUBREC 2", "PUBACK 3", "PUBACK 4"];
        assert_eq!(answers(&mut pair), expected);
    }
}

/// What is claimed without a connection is acknowledged when the server sends it again.
#[test]
fn messages_are_claimed_between_two_connections() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        stored(&mut pair, "t", [1]);
        pair.cut();
        let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
        assert_eq!(pair.payloads_of(queue), ["1"]);
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        pair.server_sends(again("t", "1", AtLeastOnce, 1));
        assert_eq!(answers(&mut pair), ["PUBACK 1"]);
        assert!(pair.payloads_of(queue).is_empty());
    }
}

/// The time of a message goes on, connected or not: a link that comes and goes does not hold up the others for ever. What
/// comes on the next connection has its own.
#[test]
fn the_time_for_claiming_goes_on_without_a_connection() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        stored(&mut pair, "t", [1]);
        pair.advance(CLAIM_WITHIN - SECOND);
        pair.reconnect(true);
        pair.server_sends(again("t", "1", AtLeastOnce, 1));
        stored(&mut pair, "t", [2]);
        pair.events();
        pair.advance(SECOND);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert_eq!(unclaimed(&mut pair), [1]);
        pair.advance(CLAIM_WITHIN);
        assert_eq!(pair.sent(), ["PUBACK 2"]);
        assert_eq!(pair.payloads(), ["1", "2"]);
        stored(&mut pair, "t", [3]); // at once
        pair.reconnect(true);
        stored(&mut pair, "t", [4]);
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
        stored(&mut pair, "t", [1]);
        pair.receive("t", "2", ExactlyOnce, 2);
        stored(&mut pair, "other", [3]);
        pair.reconnect(false);
        stored(&mut pair, "new", [1]); // the identifier names another message now
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert_eq!(pair.payloads(), ["1"]);
        let queue = subscribe(&mut pair, &["t"], by_application());
        for delivery in pair.take_deliveries(queue) {
            pair.acknowledge(delivery);
        }
        pair.advance(CLAIM_WITHIN);
        assert_eq!(pair.payloads(), ["3"]);
        assert!(answers(&mut pair).is_empty());
        assert_eq!(unclaimed(&mut pair), [1]);
    }
}

/// A program that begins again with the session of the one before has its own time to claim.
#[test]
fn the_next_client_claims_what_the_one_before_has_held() {
    for version in VERSIONS {
        let mut before = resumed(resuming(version));
        stored(&mut before, "t", [1, 2]);
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
        let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
        pair.server_sends(again("t", "2", AtLeastOnce, 2));
        assert_eq!(pair.payloads_of(queue), ["1", "2"]);
        assert_eq!(answers(&mut pair), ["PUBACK 1", "PUBACK 2"]);
    }
}

/// So has one that connects again: while it is idle it cannot subscribe.
#[test]
fn a_client_that_is_idle_has_time_when_it_connects_again() {
    for version in VERSIONS {
        let mut options = resuming(version);
        options.reconnect = None;
        let mut pair = resumed(options);
        stored(&mut pair, "t", [1]);
        pair.cut();
        assert!(pair.client.is_idle());
        assert_eq!(pair.client.poll_timeout(), None);
        pair.advance(2 * CLAIM_WITHIN);
        pair.connect();
        pair.accept(true, Properties::default());
        pair.advance(CLAIM_WITHIN - SECOND);
        let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
        assert_eq!(pair.payloads_of(queue), ["1"]);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// What is held takes its part of the default queue's bounds; beyond them its policy says what is lost, which is told, and
/// acknowledged (MQTT-4.5.0-2).
#[test]
fn what_is_held_beyond_the_bounds_is_lost_as_their_policy_says() {
    let by_bytes = QueueOptions {
        limit: None,
        bytes: Some(2),
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
        stored(&mut pair, "t", 1..=4);
        assert_eq!(pair.lagged(), [DEFAULT], "{overflow:?}");
        assert_eq!(pair.client.queue_lost(DEFAULT), 2, "{overflow:?}");
        assert_eq!(pair.sent(), sent, "{overflow:?}");
        pair.client.claim_default();
        pair.pump();
        assert_eq!(pair.payloads(), kept, "{overflow:?}");
        assert_eq!(pair.sent().len(), 4 - sent.len(), "{overflow:?}");
        assert_eq!(pair.client.has_failed(DEFAULT), overflow == Overflow::Fail);
        assert_eq!(pair.client.take_lost(DEFAULT), 2, "{overflow:?}");
        stored(&mut pair, "t", [5]);
        assert_eq!(pair.payloads(), ["5"], "{overflow:?}");
    }
}

/// Both together have the bounds of one: a QoS 0 message that nobody asked for takes the place of another, not one more.
#[test]
fn the_default_queue_and_what_is_held_share_their_bounds() {
    let mut pair = resumed(with_default(V5, limited(2, Overflow::DropOldest)));
    pair.receive("q0", "a", AtMostOnce, 0);
    stored(&mut pair, "t", [1, 2]);
    assert_eq!(pair.client.queue_len(DEFAULT), 0, "the oldest has left");
    pair.receive("q0", "b", AtMostOnce, 0);
    assert_eq!(pair.client.queue_lost(DEFAULT), 2);
    assert_eq!(pair.sent(), ["PUBACK 1"]);
    pair.client.claim_default();
    assert_eq!(pair.payloads(), ["b", "2"]);
}

/// A message that is held has a slot of our Receive Maximum (MQTT-3.3.4-9): claiming gives it back.
#[test]
fn what_is_held_takes_its_part_of_our_receive_maximum() {
    let mut options = resuming(V5);
    options.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let mut pair = resumed(options.clone());
    stored(&mut pair, "t", [1, 2]);
    subscribe(&mut pair, &["t"], QueueOptions::default());
    stored(&mut pair, "t", [3, 4]);
    assert_eq!(answers(&mut pair).len(), 4);
    let mut pair = resumed(options);
    stored(&mut pair, "t", [1, 2, 3]);
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
        stored(&mut pair, "t", [1, 2]);
        pair.receive("t", "q0", AtMostOnce, 0);
        let first = pair.take(one).delivery.unwrap();
        pair.client.detach_queue(pair.now, one);
        pair.pump();
        stored(&mut pair, "t", [3]);
        stored(&mut pair, "other", [4]); // nobody has asked for it, in a session that is new
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
        stored(&mut pair, "t", [1]);
        pair.client.detach_queue(pair.now, queue);
        pair.advance(SECOND);
        pair.receive("t", "2", ExactlyOnce, 2);
        stored(&mut pair, "late", [3]); // the time of the session is over
        assert!(pair.bytes().is_empty());
        pair.events();
        pair.advance(CLAIM_WITHIN - SECOND);
        assert_eq!(unclaimed(&mut pair), [2]);
        let left = pair.messages();
        let payloads: Vec<_> = left.iter().map(|it| &it.payload[..]).collect();
        assert_eq!(payloads, [b"3", b"1", b"2"]);
        assert!(pair.bytes().is_empty());
        pair.acknowledge(left[1].delivery.unwrap());
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2", "PUBACK 3"]);
        stored(&mut pair, "t", [4]);
        assert_eq!(pair.sent(), ["PUBACK 4"]);
    }
}

/// Closing is not detaching: what is left is acknowledged, and nothing is held for anybody.
#[test]
fn closing_a_queue_that_has_claimed_messages_acknowledges_them() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        stored(&mut pair, "t", [1, 2]);
        let queue = subscribe(&mut pair, &["t"], by_application());
        pair.take(queue);
        pair.client.close_queue(queue);
        pair.pump();
        assert!(
            answers(&mut pair).is_empty(),
            "the application has the first one"
        );
        assert_eq!(pair.client.stats().awaiting_claim, 0);
    }
}

/// A stream that the server refuses is given up by its driver: what it had claimed can be claimed again.
#[test]
fn what_a_refused_subscription_has_claimed_can_be_claimed_again() {
    let mut pair = resumed(resuming(V5));
    stored(&mut pair, "t", [1]);
    let refused = pair.client.open_queue(by_application());
    pair.subscribe_to(&["t"], refused);
    let packet_id = pair.subscribes().pop().unwrap().packet_id.get();
    pair.server_sends(suback(packet_id, &[ReasonCode::NotAuthorized]));
    pair.client.detach_queue(pair.now, refused);
    pair.pump();
    let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
    assert_eq!(pair.payloads_of(queue), ["1"]);
    assert_eq!(answers(&mut pair), ["PUBACK 1"]);
}

/// One that was refused at once was not accepted, and claims nothing.
#[test]
fn a_subscribe_that_is_not_accepted_claims_nothing() {
    let mut pair = resumed(resuming(V5));
    stored(&mut pair, "t", [1]);
    let queue = pair.client.open_queue(QueueOptions::default());
    let mut options = at(AtLeastOnce);
    options.no_local = true;
    let subscribe = ferromqtt_proto::Subscribe {
        filters: vec![(filter("$share/group/t"), options)],
        properties: Properties::default(),
        queue,
    };
    pair.client.subscribe(pair.now, subscribe).unwrap_err();
    assert_eq!(pair.client.stats().awaiting_claim, 1);
}

/// A response to an earlier run of the program answers nothing: it is acknowledged as soon as responses are subscribed to.
#[test]
fn stored_responses_are_claimed_by_the_first_request() {
    let mut options = resuming(V5);
    options.response_topic = Some(TopicName::new("mine").unwrap());
    let mut pair = resumed(options);
    stored(&mut pair, "mine", [1]);
    let request = Publish::new(TopicName::new("service").unwrap(), "?");
    pair.client.request(pair.now, request).unwrap();
    pair.pump();
    let sent = pair.sent();
    assert!(sent.contains(&"PUBACK 1".to_owned()), "{sent:?}");
    assert_eq!(pair.client.stats().awaiting_claim, 0);
    assert_eq!(pair.client.queue_len(DEFAULT), 0);
}

/// A message that was retained is one like any other when it was stored, and those that a SUBSCRIBE brings are not held.
#[test]
fn retained_messages_go_to_the_queue_that_subscribes() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        let retained = |packet_id: u16| {
            let mut publish = message("t", &packet_id.to_string(), AtLeastOnce, packet_id);
            publish.retain = true;
            Packet::Publish(publish)
        };
        pair.server_sends(retained(1));
        let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
        pair.server_sends(retained(2)); // before SUBACK
        let messages = pair.messages_of(queue);
        assert!(messages.iter().all(|message| message.retain));
        assert_eq!(messages.len(), 2);
        assert_eq!(answers(&mut pair), ["PUBACK 1", "PUBACK 2"]);
    }
}

/// Section 3.10.4: a server may go on to send what it had stored for a filter, and nobody is going to claim that: it must not
/// hold up the others until the time for claiming is over.
#[test]
fn what_comes_for_a_filter_that_was_unsubscribed_is_not_held() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        let gone = pair.queue(&["t/#"], QueueOptions::default());
        let kept = pair.queue(&["kept"], QueueOptions::default());
        stored(&mut pair, "old", [1]);
        let filters = pair.client.close_queue(gone);
        assert_eq!(filters, [filter("t/#")]);
        pair.unsubscribe(&["t/#"]);
        stored(&mut pair, "t/1", [2]);
        assert!(pair.sent().iter().all(|it| it.starts_with("UNSUBSCRIBE")));
        pair.unsubscribe(&["old"]); // one that an earlier program has left
        assert!(
            pair.sent()
                .ends_with(&["PUBACK 1".into(), "PUBACK 2".into()])
        );
        pair.reconnect(true);
        stored(&mut pair, "t/1", [3]);
        stored(&mut pair, "kept", [4]);
        assert!(
            pair.sent()
                .ends_with(&["PUBACK 3".into(), "PUBACK 4".into()])
        );
        assert_eq!(pair.payloads_of(kept), ["4"]);
        assert_eq!(pair.payloads(), ["2", "1", "3"]);
        assert_eq!(unclaimed(&mut pair), [] as [u64; 0]);
        pair.subscribe_to(&["t/#"], kept);
        pair.client.detach_queue(pair.now, kept);
        stored(&mut pair, "t/1", [5]);
        assert_eq!(pair.client.stats().awaiting_claim, 1, "it is wanted again");
    }
}

/// Identifiers that nobody asked for are not shown; those of a program before may be this one's too.
#[test]
fn what_is_claimed_shows_no_identifier_of_ours() {
    let mut before = Pair::connected(resuming(V5));
    let queue = before.client.open_queue(QueueOptions::default());
    before.bytes();
    before.subscribe_to(&["t"], queue);
    let identifiers = before
        .subscribes()
        .remove(0)
        .properties
        .subscription_identifiers;
    let mut pair = resumed(resuming(V5));
    let mut publish = message("t", "1", AtLeastOnce, 1);
    publish.properties = Some(Box::new(Properties {
        subscription_identifiers: identifiers,
        ..Properties::default()
    }));
    pair.server_sends(Packet::Publish(publish));
    let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
    assert_eq!(pair.take(queue).properties, None);
}

/// What is subscribed before there is a connection, as a declared subscription is, has nothing to claim: its messages come
/// to its queue from the first byte.
#[test]
fn what_is_subscribed_before_connecting_gets_stored_messages_at_once() {
    for version in VERSIONS {
        let mut pair = Pair::unclaimed(resuming(version), Session::default());
        pair.opens = false;
        pair.connect();
        let queue = subscribe(&mut pair, &["t"], QueueOptions::default());
        pair.transport_opens();
        pair.accept(true, Properties::default());
        stored(&mut pair, "t", [1]);
        assert_eq!(pair.payloads_of(queue), ["1"]);
        assert_eq!(answers(&mut pair), ["PUBACK 1"]);
    }
}
