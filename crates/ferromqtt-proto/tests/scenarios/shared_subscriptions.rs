//! Shared Subscriptions (`$share/name/filter`, section 4.8.2) that several queues of one client have: at the server they are
//! one, and each of its messages is for one of the queues. Other filters that queues share are in `shared_filters.rs`:
//! there each queue gets every message.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{Event, Overflow, Properties, QueueId, QueueOptions, ReasonCode};

use crate::support::*;

const FILTER: &str = "$share/group/t/+";

fn sharing<const COUNT: usize>(pair: &mut Pair) -> [QueueId; COUNT] {
    std::array::from_fn(|_| pair.queue(&[FILTER], QueueOptions::default()))
}

fn receive_numbers(pair: &mut Pair, numbers: std::ops::Range<u16>) {
    for number in numbers {
        pair.receive("t/x", &number.to_string(), AtMostOnce, 0);
    }
}

/// The server sends a message for the subscriptions with these identifiers.
fn receive_for(pair: &mut Pair, payload: &str, identifiers: &[u32]) {
    let mut publish = message("t/x", payload, AtMostOnce, 0);
    publish.properties = Some(Box::new(Properties {
        subscription_identifiers: identifiers.to_vec().into(),
        ..Properties::default()
    }));
    pair.server_sends(Packet::Publish(publish));
}

/// Subscribes a queue, and tells the Subscription Identifier that was sent.
fn subscribe(pair: &mut Pair, name: &str, queue: QueueId) -> u32 {
    pair.bytes();
    pair.subscribe_to(&[name], queue);
    let subscribe = pair.subscribes().remove(0);
    pair.server_sends(suback(
        subscribe.packet_id.get(),
        &[ReasonCode::GrantedQos1],
    ));
    subscribe.properties.subscription_identifiers[0]
}

/// Section 4.8.2: one subscription of the client, so one of its queues.
#[test]
fn each_message_goes_to_one_queue_in_turn() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let queues: [_; 3] = sharing(&mut pair);
        receive_numbers(&mut pair, 0..7);
        assert_eq!(pair.payloads_of(queues[0]), ["0", "3", "6"]);
        assert_eq!(pair.payloads_of(queues[1]), ["1", "4"]);
        assert_eq!(pair.payloads_of(queues[2]), ["2", "5"]);
        assert!(pair.payloads().is_empty());
    }
}

#[test]
fn the_default_queue_takes_turns_too() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        pair.subscribe(&[FILTER]);
        let [own] = sharing(&mut pair);
        receive_numbers(&mut pair, 0..4);
        assert_eq!(pair.payloads(), ["0", "2"]);
        assert_eq!(pair.payloads_of(own), ["1", "3"]);
    }
}

#[test]
fn a_queue_that_joins_gets_its_share_from_then_on() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let [first] = sharing(&mut pair);
        receive_numbers(&mut pair, 0..3);
        let [second] = sharing(&mut pair);
        receive_numbers(&mut pair, 3..7);
        assert_eq!(pair.payloads_of(first), ["0", "1", "2", "4", "6"]);
        assert_eq!(pair.payloads_of(second), ["3", "5"]);
    }
}

/// Under every policy a full queue is passed over, for as long as another one has room.
#[test]
fn a_queue_with_room_comes_before_a_full_one() {
    for overflow in [
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::Wait,
        Overflow::Fail,
    ] {
        let mut pair = Pair::connected(options(V5));
        let full = pair.queue(&[FILTER], limited(1, overflow));
        let [free] = sharing(&mut pair);
        receive_numbers(&mut pair, 0..4);
        assert_eq!(pair.client.queue_lost(full), 0);
        assert_eq!(pair.payloads_of(full), ["0"], "{overflow:?}");
        assert_eq!(pair.payloads_of(free), ["1", "2", "3"]);
        receive_numbers(&mut pair, 4..6);
        assert_eq!(pair.payloads_of(full), ["4"], "its turn again");
        assert_eq!(pair.payloads_of(free), ["5"]);
    }
}

/// When nobody has room the bounds say what becomes of a message, in turn.
#[test]
fn when_all_are_full_the_losses_are_shared() {
    let mut pair = Pair::connected(options(V5));
    let queues = [(); 2].map(|()| pair.queue(&[FILTER], limited(1, Overflow::DropNewest)));
    receive_numbers(&mut pair, 0..6);
    for (queue, kept) in queues.into_iter().zip(["0", "1"]) {
        assert_eq!(pair.payloads_of(queue), [kept]);
        assert_eq!(pair.client.queue_lost(queue), 2);
    }
}

/// Another filter of another queue is another subscription: that one gets every message.
#[test]
fn a_queue_with_another_filter_gets_every_message_beside() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let all = pair.queue(&["t/#"], QueueOptions::default());
        let [first, second] = sharing(&mut pair);
        receive_numbers(&mut pair, 0..4);
        assert_eq!(pair.payloads_of(all), ["0", "1", "2", "3"]);
        assert_eq!(pair.payloads_of(first), ["0", "2"]);
        assert_eq!(pair.payloads_of(second), ["1", "3"]);
    }
}

/// MQTT-3.3.4-3 to MQTT-3.3.4-5: the server sends one copy for each subscription, or one for both.
#[test]
fn identifiers_tell_the_share_from_the_copy_for_another_filter() {
    let mut pair = Pair::connected(options(V5));
    let [first, second] = [(); 2].map(|()| pair.client.open_queue(QueueOptions::default()));
    let share = subscribe(&mut pair, FILTER, first);
    assert_eq!(subscribe(&mut pair, FILTER, second), share);
    let all = subscribe(&mut pair, "t/#", first);
    for round in 0..2 {
        receive_for(&mut pair, &format!("share {round}"), &[share]);
        receive_for(&mut pair, &format!("all {round}"), &[all]);
    }
    assert_eq!(pair.payloads_of(first), ["share 0", "all 0", "all 1"]);
    assert_eq!(pair.payloads_of(second), ["share 1"]);
    for _ in 0..2 {
        receive_for(&mut pair, "both", &[share, all]);
    }
    assert_eq!(
        pair.payloads_of(first),
        ["both", "both"],
        "it has it anyway"
    );
    assert!(
        pair.payloads_of(second).is_empty(),
        "so this one does not work on it too"
    );
}

/// MQTT-4.8.2-1: names and filters make different subscriptions.
#[test]
fn other_names_and_filters_are_dealt_out_by_themselves() {
    let mut pair = Pair::connected(options(V5));
    let mut queues = Vec::new();
    let mut identifiers = Vec::new();
    for name in ["$share/one/t/+", "$share/two/t/+", "$share/one/t/#"] {
        for _ in 0..2 {
            let queue = pair.client.open_queue(QueueOptions::default());
            identifiers.push(subscribe(&mut pair, name, queue));
            queues.push(queue);
        }
    }
    for round in 0..2 {
        for identifier in [0, 2, 4].map(|at| identifiers[at]) {
            receive_for(&mut pair, &round.to_string(), &[identifier]);
        }
    }
    for (at, queue) in queues.into_iter().enumerate() {
        assert_eq!(pair.payloads_of(queue), [(at % 2).to_string()]);
    }
}

/// Section 3.9.3: who was refused does not take part.
#[test]
fn a_refused_queue_has_no_share() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let [first] = sharing(&mut pair);
        let second = pair.client.open_queue(QueueOptions::default());
        pair.subscribe_to(&[FILTER], second);
        pair.server_sends(suback(2, &[ReasonCode::UnspecifiedError]));
        receive_numbers(&mut pair, 0..2);
        assert_eq!(pair.payloads_of(first), ["0", "1"]);
    }
}

#[test]
fn the_turns_go_on_in_the_next_session() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let [first, second] = sharing(&mut pair);
        receive_numbers(&mut pair, 0..1);
        pair.reconnect(false);
        assert_eq!(pair.subscribes().len(), 2);
        receive_numbers(&mut pair, 1..4);
        assert_eq!(pair.payloads_of(first), ["0", "2"]);
        assert_eq!(pair.payloads_of(second), ["1", "3"]);
    }
}

/// MQTT-4.4.0-1: a message that comes again is the same one, and stays with the queue that has it.
#[test]
fn a_message_that_comes_again_is_not_dealt_out_again() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected(resuming(V5));
        let [first, second] = [(); 2].map(|()| pair.queue(&[FILTER], by_application()));
        pair.receive("t/x", "0", qos, 9);
        pair.reconnect(true);
        pair.server_sends(again("t/x", "0", qos, 9));
        assert_eq!(pair.payloads_of(first), ["0"]);
        assert!(pair.payloads_of(second).is_empty());
    }
}

fn close(pair: &mut Pair, queue: QueueId) {
    assert!(pair.client.close_queue(queue).is_empty(), "others have it");
    pair.pump();
}

fn detach(pair: &mut Pair, queue: QueueId) {
    pair.client.detach_queue(pair.now, queue);
    pair.pump();
}

const GIVING_UP: [fn(&mut Pair, QueueId); 2] = [close, detach];

/// What a queue has not handed out nobody else has got: the others of the share do.
#[test]
fn what_a_queue_leaves_goes_to_the_others() {
    for (version, give_up) in [(V311, GIVING_UP[0]), (V5, GIVING_UP[0]), (V5, GIVING_UP[1])] {
        let mut pair = Pair::connected(options(version));
        let [first, second, third] = sharing(&mut pair);
        receive_numbers(&mut pair, 0..9);
        assert_eq!(pair.take(first).payload, "0");
        pair.events();
        give_up(&mut pair, first);
        assert!(!(pair.events().iter()).any(|event| matches!(event, Event::Discarded { .. })));
        assert_eq!(pair.payloads_of(second), ["1", "4", "7", "3"]);
        assert_eq!(pair.payloads_of(third), ["2", "5", "8", "6"]);
        assert!(pair.payloads().is_empty());
        receive_numbers(&mut pair, 9..11);
        assert_eq!(pair.payloads_of(second), ["9"]);
        assert_eq!(pair.payloads_of(third), ["10"]);
    }
}

/// A reader that waits learns of it.
#[test]
fn the_heir_is_told_of_what_it_gets() {
    for give_up in GIVING_UP {
        let mut pair = Pair::connected(options(V5));
        let [first, second] = sharing(&mut pair);
        receive_numbers(&mut pair, 0..1);
        pair.events();
        give_up(&mut pair, first);
        assert_eq!(pair.events(), [Event::MessageReady(second)]);
    }
}

/// Only what the other queue subscribes to as well.
#[test]
fn what_came_by_a_filter_of_its_own_alone_goes_to_nobody_else() {
    let mut pair = Pair::connected(options(V5));
    let [other] = sharing(&mut pair);
    let first = pair.queue(&["u", "$share/own/v", FILTER], by_application());
    pair.receive("u", "u", AtLeastOnce, 1);
    pair.receive("v", "v", AtLeastOnce, 2);
    pair.bytes();
    assert_eq!(
        pair.client.close_queue(first),
        [filter("u"), filter("$share/own/v")]
    );
    pair.pump();
    assert!(pair.payloads_of(other).is_empty());
    assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
}

/// MQTT-4.6.0-2: what the application was to acknowledge is still to be, by the reader of the other queue, under the same name.
#[test]
fn the_heir_acknowledges_what_the_application_has_not() {
    for (give_up, qos) in GIVING_UP.into_iter().zip([AtLeastOnce, ExactlyOnce]) {
        let mut pair = Pair::connected(options(V5));
        let [first, second] = [(); 2].map(|()| pair.queue(&[FILTER], by_application()));
        for id in 1..=4 {
            pair.receive("t/x", &id.to_string(), qos, id);
        }
        let taken = pair.take(first).delivery.unwrap();
        give_up(&mut pair, first);
        let deliveries = pair.take_deliveries(second);
        assert_eq!(deliveries.len(), 3);
        assert!(pair.sent().is_empty());
        pair.acknowledge(taken);
        for delivery in deliveries {
            pair.acknowledge(delivery);
        }
        assert_eq!(pair.packets().len(), 4);
    }
}

/// A queue that acknowledges on receipt does so with what it inherits; and so the acknowledgements go on.
#[test]
fn an_heir_that_acknowledges_on_receipt_acknowledges_what_it_gets() {
    for give_up in GIVING_UP {
        let mut pair = Pair::connected(options(V5));
        let first = pair.queue(&[FILTER], by_application());
        let [second] = sharing(&mut pair);
        pair.receive("t/x", "1", AtLeastOnce, 1);
        pair.receive("t/x", "2", AtLeastOnce, 2);
        assert!(pair.sent().is_empty());
        give_up(&mut pair, first);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
        assert!(
            pair.messages_of(second)
                .iter()
                .all(|it| it.delivery.is_none())
        );
    }
}

/// Under `Overflow::Wait` what an heir has no room for is acknowledged when it has.
#[test]
fn what_an_heir_has_no_room_for_waits_as_its_bounds_say() {
    for give_up in GIVING_UP {
        let mut pair = Pair::connected(options(V5));
        let first = pair.queue(&[FILTER], by_application());
        let second = pair.queue(&[FILTER], limited(1, Overflow::Wait));
        pair.receive("t/x", "1", AtLeastOnce, 1);
        pair.receive("t/x", "2", AtLeastOnce, 2);
        give_up(&mut pair, first);
        assert!(pair.sent().is_empty());
        assert_eq!(pair.take(second).payload, "2");
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2"]);
        assert_eq!(pair.take(second).payload, "1");
    }
}

/// The last one to be detached has nobody to leave it to: the default queue gets what it holds, and what comes for it.
#[test]
fn the_last_detached_queue_leaves_the_share_to_the_default_queue() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let [first, second] = sharing(&mut pair);
        receive_numbers(&mut pair, 0..2);
        detach(&mut pair, first);
        assert!(pair.payloads().is_empty());
        detach(&mut pair, second);
        receive_numbers(&mut pair, 2..3);
        assert_eq!(pair.payloads(), ["1", "0", "2"]);
        let [third] = sharing(&mut pair);
        receive_numbers(&mut pair, 3..5);
        assert_eq!(pair.payloads_of(third), ["3", "4"]);
        assert!(pair.payloads().is_empty());
    }
}
