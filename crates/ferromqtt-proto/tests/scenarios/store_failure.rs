//! A store that fails: what depended on it is not sent, everything else goes on. And one that comes back.

use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{
    Delivery, Direction, Event, InvalidPublish, OpId, Outcome, Properties, ProtocolVersion, QoS,
    SessionChange,
};

use crate::support::store::*;
use crate::support::*;

const NOT_SENT: Outcome = Outcome::NotStored {
    delivery: Delivery::NotSent,
};

const MAY_HAVE_COME: Outcome = Outcome::NotStored {
    delivery: Delivery::Unknown,
};

fn fail(pair: &mut Pair, direction: Direction) {
    pair.client.journal_failed(direction);
    pair.pump();
}

/// Messages by their keys, operations, and how often the store has failed.
type Ends = (Vec<(u64, Outcome)>, Vec<(OpId, Outcome)>, usize);

/// How messages and operations have ended since the last look.
fn ends(pair: &mut Pair) -> Ends {
    let (mut keys, mut ops, mut failures) = (Vec::new(), Vec::new(), 0);
    for event in pair.events() {
        match event {
            Event::Ended { key, outcome } => keys.push((key, outcome)),
            Event::Completed { op, outcome } => ops.push((op, outcome)),
            Event::StoreFailed { .. } => failures += 1,
            _ => {}
        }
    }
    (keys, ops, failures)
}

fn accept(pair: &mut Pair, payload: &'static str, qos: QoS) -> u64 {
    let mut message = publish(payload, qos);
    let key = pair.client.record_accepted(&mut message, None, false);
    let key = key.unwrap();
    (pair.client)
        .publish_recorded(pair.now, key, message, None)
        .unwrap();
    pair.pump();
    key
}

/// The store begins its record again, and puts that on record.
fn come_back(pair: &mut Pair, direction: Direction) -> Store {
    let (sequence, changes) = pair.client.begin_record(pair.now, direction);
    let entries = changes
        .into_iter()
        .map(|change| ferromqtt_proto::JournalEntry {
            sequence,
            change,
            holds: true,
        });
    let store = Store {
        entries: entries.collect(),
    };
    pair.client.journal_written(direction, sequence);
    pair.pump();
    store
}

#[test]
fn messages_that_wait_for_a_failed_store_end_at_qos_2_and_go_on_at_qos_1() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let recorded = accept(&mut pair, "a", ExactlyOnce);
        let op = pair.publish("t", "b", ExactlyOnce);
        pair.publish("t", "c", AtLeastOnce);
        let qos1 = accept(&mut pair, "d", AtLeastOnce);
        store.collect(&mut pair);
        assert!(pair.bytes().is_empty());
        fail(&mut pair, Direction::Sent);
        assert_eq!(pair.sent(), ["PUBLISH q1 3 c", "PUBLISH q1 4 d"]);
        let (keys, ops, failures) = ends(&mut pair);
        assert_eq!(keys, [(recorded, NOT_SENT)]);
        assert_eq!(ops, [(op, NOT_SENT)]);
        assert_eq!(failures, 1);
        // Nothing that is published from now on is held.
        let op = pair.publish("t", "e", ExactlyOnce);
        pair.publish("t", "f", AtLeastOnce);
        pair.publish("t", "g", AtMostOnce);
        assert_eq!(pair.sent(), ["PUBLISH q1 5 f", "PUBLISH q0 g"]);
        let mut message = publish("h", AtLeastOnce);
        let refused = pair.client.record_accepted(&mut message, None, false);
        assert_eq!(refused, Err(InvalidPublish::StoreFailed));
        for id in [3, 4, 5] {
            pair.server_sends(puback(id));
        }
        let (keys, ops, _) = ends(&mut pair);
        assert!(matches!(keys[..], [(key, Outcome::Acknowledged { .. })] if key == qos1));
        assert_eq!(ops.len(), 4, "c, e, f and g: {ops:?}");
        assert!(ops.contains(&(op, NOT_SENT)));
        assert_eq!(
            store.collect(&mut pair),
            [],
            "a failed store is given nothing"
        );
        assert!(pair.client.is_connected());
        fail(&mut pair, Direction::Sent);
        assert_eq!(ends(&mut pair).2, 0, "it is reported once");
    }
}

/// MQTT-4.3.3-6: a PUBREL that is not on record would let the next process send the message again.
#[test]
fn an_exchange_waits_for_the_store_and_its_caller_does_not() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let early = pair.publish("t", "a", ExactlyOnce);
        let late = pair.publish("t", "b", ExactlyOnce);
        let key = accept(&mut pair, "c", ExactlyOnce);
        store.write(&mut pair);
        assert_eq!(pair.sent().len(), 3);
        pair.server_sends(pubrec(1));
        fail(&mut pair, Direction::Sent);
        assert_eq!(ends(&mut pair).1, [(early, MAY_HAVE_COME)]);
        pair.server_sends(pubrec(2));
        assert_eq!(ends(&mut pair).1, [(late, MAY_HAVE_COME)]);
        pair.server_sends(pubrec(3));
        assert_eq!(ends(&mut pair).0, [], "it is on record, and a store waits");
        assert!(pair.bytes().is_empty());
        // The next process has what is on record, and completes it.
        let mut next = resumed(journaled(version), store.session(store.entries.len()));
        assert_eq!(next.sent().len(), 3);
        // So does this one, once the store is back.
        let mut store = come_back(&mut pair, Direction::Sent);
        assert_eq!(pair.sent(), ["PUBREL 1", "PUBREL 2", "PUBREL 3"]);
        for id in [1, 2, 3] {
            pair.server_sends(pubcomp(id));
        }
        let (keys, ops, _) = ends(&mut pair);
        assert!(matches!(keys[..], [(it, Outcome::Acknowledged { .. })] if it == key));
        assert_eq!(ops, [], "nobody waits any more");
        store.write(&mut pair);
        let mut next = resumed(journaled(version), store.session(store.entries.len()));
        assert!(next.bytes().is_empty(), "all have ended on record");
    }
}

/// The record that a store begins with has what was in flight and what waits, and nothing that has ended.
#[test]
fn a_store_that_comes_back_has_the_session_as_it_is() {
    for version in VERSIONS {
        let mut options = journaled(version);
        options.max_in_flight = Some(2.try_into().unwrap());
        let (mut pair, mut store) = connected(options.clone());
        let first = accept(&mut pair, "a", AtLeastOnce);
        let second = accept(&mut pair, "b", AtLeastOnce);
        let waits = accept(&mut pair, "c", AtLeastOnce);
        store.write(&mut pair);
        fail(&mut pair, Direction::Sent);
        pair.server_sends(puback(1));
        pair.server_sends(puback(2));
        accept_after_failure(&mut pair);
        let last = pair.client.journal_end(Direction::Sent);
        let mut store = come_back(&mut pair, Direction::Sent);
        assert_eq!(pair.client.journal_end(Direction::Sent), last + 1);
        let named: Vec<_> = store
            .entries
            .iter()
            .filter_map(|it| key(&it.change))
            .collect();
        assert!(!named.contains(&first) && !named.contains(&second));
        assert!(named.contains(&waits), "{named:?}");
        pair.publish("t", "d", ExactlyOnce);
        store.write(&mut pair);
        let mut next = resumed(options.clone(), store.session(store.entries.len()));
        let sent = next.sent();
        assert!(sent.contains(&"PUBLISH q1 3 DUP c".to_owned()), "{sent:?}");
    }
}

/// Publishes at QoS 2 what has to be refused.
fn accept_after_failure(pair: &mut Pair) {
    let op = pair.publish("t", "x", ExactlyOnce);
    assert_eq!(ends(pair).1, [(op, NOT_SENT)]);
}

/// What was written while the store had failed, or before it began again, opens nothing.
#[test]
fn only_the_new_record_lets_packets_go() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.receive("t", "x", ExactlyOnce, 9);
        store.collect(&mut pair);
        fail(&mut pair, Direction::Received);
        pair.receive("t", "y", ExactlyOnce, 10);
        pair.client.journal_written(Direction::Received, u64::MAX);
        pair.pump();
        assert!(pair.bytes().is_empty());
        let (sequence, changes) = pair.client.begin_record(pair.now, Direction::Received);
        let received = |value| SessionChange::Received {
            packet_id: id(value),
        };
        assert!(changes.contains(&received(9)) && changes.contains(&received(10)));
        assert_eq!(changes.len(), 2);
        (pair.client).journal_written(Direction::Received, sequence - 1);
        pair.pump();
        assert!(pair.bytes().is_empty());
        (pair.client).journal_written(Direction::Received, sequence);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBREC 9", "PUBREC 10"]);
        pair.receive("t", "z", ExactlyOnce, 11);
        Store::default().collect(&mut pair);
        let next = pair.client.journal_end(Direction::Received);
        assert_eq!(next, sequence + 1);
    }
}

/// The two rows may be kept by two stores: one goes on when the other fails.
#[test]
fn the_failure_of_one_row_does_not_concern_the_other() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        fail(&mut pair, Direction::Received);
        pair.publish("t", "a", ExactlyOnce);
        pair.receive("t", "x", ExactlyOnce, 9);
        store.collect(&mut pair);
        store.write_row(&mut pair, Direction::Sent);
        assert_eq!(pair.sent(), ["PUBLISH q2 1 a"]);
        let (mut pair, mut store) = connected(journaled(version));
        fail(&mut pair, Direction::Sent);
        pair.receive("t", "x", ExactlyOnce, 9);
        pair.receive("t", "y", AtLeastOnce, 10);
        store.write(&mut pair);
        assert_eq!(pair.sent(), ["PUBACK 10", "PUBREC 9"]);
    }
}

/// A broken disk ends no connection, and keeps nobody from ending one (MQTT-3.1.2-23; 3.1.1: MQTT-3.1.2-23).
#[test]
fn a_connection_outlives_its_store() {
    for version in VERSIONS {
        let mut options = journaled(version);
        options.keep_alive = 10;
        let (mut pair, mut store) = connected(options);
        pair.receive("t", "x", ExactlyOnce, 9);
        pair.publish("t", "a", ExactlyOnce);
        store.collect(&mut pair);
        for direction in DIRECTIONS {
            fail(&mut pair, direction);
        }
        for _ in 0..5 {
            pair.advance(10 * SECOND);
            assert_eq!(pair.sent(), ["PINGREQ"]);
            pair.server_sends(ferromqtt_proto::packet::Packet::PingResp);
        }
        pair.client.disconnect(pair.now, Disconnect::normal());
        pair.pump();
        assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
        assert!(pair.client.is_idle());
    }
}

/// What protects received messages waits for the store, as CONNECT does, and SUBSCRIBE after a lost session; publishing does not.
#[test]
fn while_a_store_has_failed_a_new_connection_does_what_needs_no_record() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        store.write(&mut pair);
        for direction in DIRECTIONS {
            fail(&mut pair, direction);
        }
        pair.cut();
        pair.wait_for_transport();
        pair.accept(false, Properties::default());
        pair.publish("t", "a", AtLeastOnce);
        pair.publish("t", "b", AtMostOnce);
        pair.receive("t", "x", AtLeastOnce, 10);
        pair.subscribe(&["s"]);
        let mut sent = pair.sent();
        sent.sort();
        assert_eq!(sent, ["PUBACK 10", "PUBLISH q0 b", "PUBLISH q1 1 a"]);
        pair.receive("t", "y", ExactlyOnce, 9);
        pair.cut();
        pair.wait_for_transport();
        assert!(pair.bytes().is_empty(), "9 is remembered");
        come_back(&mut pair, Direction::Received);
        assert_eq!(pair.sent(), ["CONNECT"]);
        pair.server_sends(accepted(false, Properties::default()));
        let op = pair.subscribe(&["s"]);
        assert!(pair.bytes().is_empty());
        come_back(&mut pair, Direction::Received);
        assert_eq!(
            pair.sent().len(),
            3,
            "the message, and two requests: {op:?}"
        );
    }
}

/// Resends that are on record wait for no store, and new messages pass those that are not (MQTT-4.4.0-1).
#[test]
fn after_a_failure_a_resumed_session_goes_on_as_far_as_it_is_on_record() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", ExactlyOnce);
        pair.publish("t", "b", ExactlyOnce);
        store.write(&mut pair);
        pair.server_sends(pubrec(1));
        fail(&mut pair, Direction::Sent);
        pair.publish("t", "c", AtLeastOnce);
        pair.bytes();
        reconnect(&mut pair, &mut store, true);
        assert_eq!(pair.sent(), ["PUBLISH q2 2 DUP b", "PUBLISH q1 3 DUP c"]);
        come_back(&mut pair, Direction::Sent);
        assert_eq!(pair.sent(), ["PUBREL 1"]);
    }
}

/// A QoS 0 message that a store has accepted must not come twice either: it leaves once its end is on record.
#[test]
fn a_recorded_message_of_qos_0_comes_at_most_once() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let key = accept(&mut pair, "a", AtMostOnce);
        assert!(pair.bytes().is_empty());
        assert_eq!(ends(&mut pair).0, [(key, Outcome::Sent)]);
        store.write(&mut pair);
        assert_eq!(pair.sent(), ["PUBLISH q0 a"]);
        accept(&mut pair, "b", AtMostOnce);
        store.collect(&mut pair);
        fail(&mut pair, Direction::Sent);
        assert!(pair.bytes().is_empty());
        let unflushed = |it: &Event| *it == Event::Unflushed { messages: 1 };
        assert!(pair.events().iter().any(unflushed));
        assert_eq!(pair.client.stats().unflushed, 1);
    }
}

/// A store may begin again whenever it likes: to get rid of what it does not need.
#[test]
fn a_record_may_begin_again_without_a_failure() {
    fn play(version: ProtocolVersion, begins: bool) -> Vec<String> {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", ExactlyOnce);
        store.write(&mut pair);
        pair.server_sends(pubrec(1));
        pair.publish("t", "b", ExactlyOnce);
        if begins {
            come_back(&mut pair, Direction::Sent);
        } else {
            store.write(&mut pair);
        }
        pair.sent()
    }
    for version in VERSIONS {
        assert_eq!(play(version, true), play(version, false));
    }
}

/// MQTT-4.3.3-8: what the application still holds was not answered, and is no part of the record: it comes again after a crash.
#[test]
fn a_message_that_the_application_holds_is_in_no_record() {
    for version in VERSIONS {
        let mut options = journaled(version);
        options.incoming = by_application();
        let (mut pair, mut store) = connected(options.clone());
        pair.receive("t", "x", ExactlyOnce, 9);
        let delivery = pair.take_deliveries(ferromqtt_proto::QueueId::DEFAULT)[0];
        store.collect(&mut pair);
        let received = SessionChange::Received { packet_id: id(9) };
        let (_, changes) = pair.client.begin_record(pair.now, Direction::Received);
        assert!(!changes.contains(&received));
        pair.acknowledge(delivery);
        let (_, changes) = pair.client.begin_record(pair.now, Direction::Received);
        assert!(changes.contains(&received));
    }
}
