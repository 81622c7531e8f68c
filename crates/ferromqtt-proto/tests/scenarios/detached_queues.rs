//! Queues that are given up while their subscriptions stay: nothing that has come, or will come, is lost by that.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    Acknowledge, Event, FilterRefusal, Options, Overflow, Properties, ProtocolVersion, QueueId,
    QueueOptions, ReasonCode,
};

use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;

/// Options of a client that resumes its session, and whose default queue is this one.
fn with_default(version: ProtocolVersion, queue: QueueOptions) -> Options {
    let mut options = resuming(version);
    options.incoming = queue;
    options
}

fn detach(pair: &mut Pair, queue: QueueId) {
    pair.client.detach_queue(pair.now, queue);
    pair.pump();
}

/// Behind what the default queue has already, which is announced if it had nothing.
#[test]
fn what_was_not_taken_goes_to_the_default_queue_in_order() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let queue = pair.queue(&["t"], QueueOptions::default());
        for payload in ["1", "2", "3"] {
            pair.receive("t", payload, AtMostOnce, 0);
        }
        pair.take(queue);
        pair.events();
        detach(&mut pair, queue);
        assert_eq!(pair.events(), [Event::MessageReady(DEFAULT)]);
        assert_eq!(pair.client.queue_len(queue), 0);
        assert!(pair.bytes().is_empty(), "it stays subscribed");
        pair.receive("t", "4", AtMostOnce, 0);
        assert_eq!(pair.payloads(), ["2", "3", "4"]);
        detach(&mut pair, queue); // twice
        detach(&mut pair, DEFAULT);
        pair.receive("t", "5", AtMostOnce, 0);
        assert_eq!(pair.payloads(), ["5"]);
    }
}

/// MQTT-4.6.0-2: neither detaching nor taking acknowledges what the application is to acknowledge.
#[test]
fn deliveries_stay_valid_and_unacknowledged() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let queue = pair.queue(&["t"], by_application());
        for (qos, packet_id) in [(AtLeastOnce, 1), (ExactlyOnce, 2), (AtLeastOnce, 3)] {
            pair.receive("t", &packet_id.to_string(), qos, packet_id);
        }
        let taken = pair.take(queue).delivery.unwrap();
        detach(&mut pair, queue);
        pair.receive("t", "4", AtLeastOnce, 4); // acknowledged on receipt, behind the others
        let left = pair.messages();
        let payloads: Vec<_> = left.iter().map(|message| &message.payload[..]).collect();
        assert_eq!(payloads, [b"2", b"3", b"4"]);
        assert!(pair.bytes().is_empty());
        pair.acknowledge(left[0].delivery.unwrap());
        assert!(pair.bytes().is_empty());
        pair.acknowledge(taken);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2"]);
        pair.acknowledge(left[1].delivery.unwrap());
        assert_eq!(pair.sent(), ["PUBACK 3", "PUBACK 4"]);
        assert_eq!(left[2].delivery, None);
    }
}

/// The same when the default queue leaves it to the application too: the names are those that were given first.
#[test]
fn deliveries_keep_their_names_in_a_default_queue_that_gives_some_of_its_own() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_default(version, by_application()));
        let queue = pair.queue(&["t"], by_application());
        pair.receive("t", "1", AtLeastOnce, 1);
        pair.receive("other", "2", ExactlyOnce, 2);
        detach(&mut pair, queue);
        pair.receive("t", "3", AtLeastOnce, 3);
        let deliveries = pair.take_deliveries(DEFAULT);
        for delivery in deliveries.into_iter().rev() {
            pair.acknowledge(delivery);
        }
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2", "PUBACK 3"]);
    }
}

/// A program that ends: the server sends again to the next one what nobody has acknowledged, and what came meanwhile.
#[test]
fn what_nobody_acknowledged_comes_again_to_the_next_program() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let queue = pair.queue(&["t"], by_application());
        pair.receive("t", "1", AtLeastOnce, 1);
        pair.receive("t", "2", AtLeastOnce, 2);
        let first = pair.take(queue).delivery.unwrap();
        pair.acknowledge(first);
        detach(&mut pair, queue);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        let mut next = Pair::new(resuming(version)); // nothing but the server remembers
        next.connect();
        next.accept(true, Properties::default());
        next.server_sends(again("t", "2", AtLeastOnce, 2));
        next.receive("t", "meanwhile", AtLeastOnce, 3);
        assert_eq!(next.payloads(), ["2", "meanwhile"]);
        assert_eq!(next.sent(), ["PUBACK 2", "PUBACK 3"]);
    }
}

/// In the same program the message is known, and neither handed out twice nor forgotten.
#[test]
fn a_delivery_of_a_detached_queue_outlives_the_connection() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let queue = pair.queue(&["t"], by_application());
        pair.receive("t", "x", ExactlyOnce, 7);
        detach(&mut pair, queue);
        pair.reconnect(true);
        pair.server_sends(again("t", "x", ExactlyOnce, 7));
        let deliveries = pair.take_deliveries(DEFAULT);
        assert_eq!(deliveries.len(), 1);
        assert!(pair.bytes().is_empty());
        pair.acknowledge(deliveries[0]);
        assert_eq!(pair.sent(), ["PUBREC 7"]);
    }
}

/// The default queue's own bounds count, and its losses are told; what is lost is acknowledged (MQTT-4.5.0-2).
#[test]
fn what_the_default_queue_has_no_room_for_is_lost_as_its_bounds_say() {
    for (overflow, kept, sent, lost) in [
        (
            Overflow::DropOldest,
            ["3", "4"],
            &["PUBACK 1", "PUBACK 2"][..],
            3,
        ),
        (Overflow::DropNewest, ["0", "1"], &[], 3),
        (Overflow::Fail, ["0", "1"], &[], 3),
    ] {
        let mut pair = Pair::connected(with_default(V5, limited(2, overflow)));
        pair.receive("other", "0", AtMostOnce, 0);
        let queue = pair.queue(&["t"], by_application());
        for packet_id in 1..=4 {
            pair.receive("t", &packet_id.to_string(), AtLeastOnce, packet_id);
        }
        pair.events();
        detach(&mut pair, queue);
        assert_eq!(pair.lagged(), [DEFAULT], "{overflow:?}");
        assert_eq!(pair.sent(), sent, "{overflow:?}");
        assert_eq!(pair.payloads(), kept, "{overflow:?}");
        assert_eq!(pair.client.take_lost(DEFAULT), lost, "{overflow:?}");
    }
}

/// Holds of a full queue that waits: the default queue has room, has none and waits too, or leaves it to the application.
#[test]
fn what_waited_for_room_is_acknowledged_as_the_default_queue_says() {
    for version in VERSIONS {
        let defaults = [
            QueueOptions::UNBOUNDED,
            limited(1, Overflow::Wait),
            by_application(),
        ];
        for (index, default) in defaults.into_iter().enumerate() {
            let mut pair = Pair::connected(with_default(version, default));
            let queue = pair.queue(&["t"], limited(1, Overflow::Wait));
            for packet_id in 1..=3 {
                pair.receive("t", &packet_id.to_string(), AtLeastOnce, packet_id);
            }
            assert_eq!(pair.sent(), ["PUBACK 1"]);
            detach(&mut pair, queue);
            match index {
                0 => assert_eq!(pair.sent(), ["PUBACK 2", "PUBACK 3"]),
                _ => assert!(pair.bytes().is_empty()),
            }
            let mut taken = Vec::new();
            for payload in ["1", "2", "3"] {
                let message = pair.take(DEFAULT);
                assert_eq!(message.payload, payload);
                taken.extend(message.delivery);
                let next = payload.parse::<u16>().unwrap() + 1;
                match index {
                    1 if next < 4 => assert_eq!(pair.sent(), [format!("PUBACK {next}")]),
                    _ => assert!(pair.bytes().is_empty()),
                }
            }
            let by_hand = default.acknowledge == Acknowledge::ByApplication;
            assert_eq!(taken.len(), if by_hand { 2 } else { 0 });
            for delivery in taken {
                pair.acknowledge(delivery);
            }
            match by_hand {
                true => assert_eq!(pair.sent(), ["PUBACK 2", "PUBACK 3"]),
                false => assert!(pair.bytes().is_empty()),
            }
            pair.receive("t", "4", AtLeastOnce, 4);
            assert_eq!(pair.payloads(), ["4"]);
        }
    }
}

/// A default queue that waits gets more at once than it has room for: messages that hold nothing are among those beyond.
#[test]
fn acknowledged_messages_may_lie_beyond_the_bounds_of_a_queue_that_waits() {
    for version in VERSIONS {
        let mut pair = Pair::connected(with_default(version, limited(1, Overflow::Wait)));
        let queue = pair.queue(&["t"], QueueOptions::UNBOUNDED);
        for packet_id in 1..=3 {
            pair.receive("t", &packet_id.to_string(), AtLeastOnce, packet_id);
        }
        pair.bytes();
        detach(&mut pair, queue);
        pair.receive("t", "4", AtLeastOnce, 4);
        assert!(pair.bytes().is_empty());
        for (payload, sent) in [("1", 0), ("2", 0), ("3", 1), ("4", 0)] {
            assert_eq!(pair.take(DEFAULT).payload, payload);
            assert_eq!(pair.sent().len(), sent, "after {payload}");
        }
        assert_eq!(pair.client.take_lost(DEFAULT), 0);
    }
}

/// Another queue that wants the messages gets them, and the default queue does not.
#[test]
fn the_default_queue_gets_what_no_other_queue_wants() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let gone = pair.queue(&["t/#"], QueueOptions::default());
        let narrow = pair.queue(&["t/1"], QueueOptions::default());
        detach(&mut pair, gone);
        pair.receive("t/1", "a", AtMostOnce, 0);
        pair.receive("t/2", "b", AtMostOnce, 0);
        assert_eq!(pair.payloads_of(narrow), ["a"]);
        assert_eq!(pair.payloads(), ["b"]);
    }
}

/// MQTT-3.3.4-3: a server that sends a message once for each subscription says by the Subscription Identifier for which. What
/// it sends for the one that was given up is nobody's duplicate.
#[test]
fn a_copy_for_a_detached_subscription_goes_to_the_default_queue() {
    let mut pair = Pair::connected(resuming(V5));
    let mut identifiers = Vec::new();
    let mut queues = Vec::new();
    for filter in ["t/#", "t/1"] {
        let queue = pair.client.open_queue(QueueOptions::default());
        pair.bytes();
        pair.subscribe_to(&[filter], queue);
        let subscribe = pair.subscribes().pop().unwrap();
        identifiers.extend_from_slice(&subscribe.properties.subscription_identifiers);
        queues.push(queue);
    }
    detach(&mut pair, queues[0]);
    for (payload, identifiers) in [
        ("gone", &identifiers[..1]),
        ("kept", &identifiers[1..]),
        ("both", &identifiers[..]),
    ] {
        let mut publish = message("t/1", payload, AtMostOnce, 0);
        publish.properties = Some(Box::new(Properties {
            subscription_identifiers: identifiers.to_vec().into(),
            ..Properties::default()
        }));
        pair.server_sends(Packet::Publish(publish));
    }
    assert_eq!(pair.payloads(), ["gone"]);
    assert_eq!(pair.payloads_of(queues[1]), ["kept", "both"]);
}

/// The subscription stays in the session, so it is among what a lost one is restored with; still for the default queue.
#[test]
fn a_detached_subscription_is_restored_in_the_next_session() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let gone = pair.queue(&["t/#"], QueueOptions::default());
        let kept = pair.queue(&["t/1"], QueueOptions::default());
        detach(&mut pair, gone);
        assert_eq!(pair.client.filters(gone).count(), 0);
        assert_eq!(pair.client.filters(DEFAULT).count(), 0);
        for _ in 0..2 {
            pair.reconnect(false);
            let mut restored = Vec::new();
            for subscribe in pair.subscribes() {
                restored.extend(
                    subscribe
                        .filters
                        .iter()
                        .map(|(filter, _)| filter.to_string()),
                );
                let granted = vec![ReasonCode::GrantedQos1; subscribe.filters.len()];
                pair.server_sends(suback(subscribe.packet_id.get(), &granted));
            }
            restored.sort();
            assert_eq!(restored, ["t/#", "t/1"]);
            pair.receive("t/1", "a", AtMostOnce, 0);
            pair.receive("t/2", "b", AtMostOnce, 0);
            assert_eq!(pair.payloads_of(kept), ["a"]);
            assert_eq!(pair.payloads(), ["b"]);
        }
    }
}

/// A server that refuses to renew it says so.
#[test]
fn a_detached_subscription_that_is_not_restored_is_told() {
    let mut pair = Pair::connected(resuming(V5));
    let gone = pair.queue(&["t"], QueueOptions::default());
    detach(&mut pair, gone);
    pair.reconnect(false);
    let packet_id = pair.subscribes().pop().unwrap().packet_id.get();
    pair.events();
    pair.server_sends(suback(packet_id, &[ReasonCode::NotAuthorized]));
    let reported = Event::NotResubscribed {
        queue: DEFAULT,
        filter: filter("t"),
        refusal: FilterRefusal::ByServer(ReasonCode::NotAuthorized),
    };
    assert_eq!(pair.events(), [reported]);
    pair.reconnect(false);
    assert!(pair.bytes().is_empty());
}

/// Another queue takes the subscription over: its messages go there alone, and closing that one ends it.
#[test]
fn subscribing_again_takes_a_detached_subscription_over() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let one = pair.queue(&["t"], QueueOptions::default());
        detach(&mut pair, one);
        let two = pair.queue(&["t"], QueueOptions::default());
        pair.receive("t", "x", AtMostOnce, 0);
        assert_eq!(pair.payloads_of(two), ["x"]);
        assert!(pair.payloads().is_empty());
        assert_eq!(pair.client.close_queue(two), [filter("t")]);
    }
}

/// A queue that shares the filter keeps it, and alone.
#[test]
fn detaching_one_of_two_queues_leaves_the_filter_to_the_other() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let [one, two] = [0; 2].map(|_| pair.queue(&["t"], QueueOptions::default()));
        detach(&mut pair, one);
        pair.receive("t", "x", AtMostOnce, 0);
        assert_eq!(pair.payloads_of(two), ["x"]);
        assert!(pair.payloads().is_empty());
        assert_eq!(pair.client.close_queue(two), [filter("t")]);
    }
}

/// UNSUBSCRIBE ends it like any other.
#[test]
fn a_detached_subscription_can_be_unsubscribed() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let queue = pair.queue(&["t"], QueueOptions::default());
        detach(&mut pair, queue);
        pair.unsubscribe(&["t"]);
        assert_eq!(pair.sent(), ["UNSUBSCRIBE 2 t"]);
        let reasons = [ReasonCode::Success; 1];
        pair.server_sends(unsuback(2, if version == V5 { &reasons } else { &[] }));
        pair.reconnect(false);
        assert!(pair.bytes().is_empty(), "it is not made again");
    }
}

/// Detached before SUBACK: the operation ends once, and a refusal leaves nothing behind that would be restored.
#[test]
fn a_queue_may_be_detached_before_suback() {
    for version in VERSIONS {
        for (reason, restored) in [
            (ReasonCode::GrantedQos1, 1),
            (ReasonCode::UnspecifiedError, 0),
        ] {
            let mut pair = Pair::connected(resuming(version));
            let queue = pair.client.open_queue(QueueOptions::default());
            let op = pair.subscribe_to(&["t"], queue);
            detach(&mut pair, queue);
            pair.bytes();
            pair.server_sends(suback(1, &[reason]));
            pair.outcome(op);
            pair.receive("t", "x", AtMostOnce, 0);
            assert_eq!(pair.payloads(), ["x"]);
            pair.reconnect(false);
            assert_eq!(pair.subscribes().len(), restored);
        }
    }
}

/// Closing, unlike detaching, says what is lost by it: not what was taken, and not what no acknowledgement was awaited for.
#[test]
fn closing_a_queue_tells_what_the_application_never_acknowledged() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let queue = pair.queue(&["t", "u"], by_application());
        let automatic = pair.queue(&["a"], limited(1, Overflow::Wait));
        for packet_id in 1..=3 {
            pair.receive("t", "x", AtLeastOnce, packet_id);
        }
        pair.receive("t", "x", AtMostOnce, 0);
        pair.receive("a", "x", AtLeastOnce, 4);
        pair.receive("a", "x", AtLeastOnce, 5);
        pair.take(queue);
        pair.events();
        pair.client.close_queue(queue);
        pair.pump();
        let reported = Event::Discarded {
            queue,
            filters: vec![filter("t"), filter("u")],
            messages: 2,
        };
        assert_eq!(pair.events(), [reported]);
        pair.client.close_queue(queue);
        pair.client.close_queue(automatic);
        pair.pump();
        assert_eq!(pair.events(), []);
    }
}
