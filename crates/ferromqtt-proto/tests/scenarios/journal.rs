//! The seam to a store: packets wait until the changes they depend on are on record.

use ferromqtt_proto::{CleanStart, Direction, Outcome, Properties, SessionChange};

use crate::support::store::*;
use crate::support::*;

/// Section 4.1: the sender's state is on record before the packet leaves.
#[test]
fn a_publish_waits_for_its_record() {
    for version in VERSIONS {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let (mut pair, mut store) = connected(journaled(version));
            pair.publish("t", "a", qos);
            assert!(pair.bytes().is_empty());
            let changes = store.collect(&mut pair);
            key_of(&changes, 1, &publish("a", qos));
            pair.advance(1_000 * SECOND);
            assert!(pair.bytes().is_empty(), "taken is not written");
            store.write_row(&mut pair, Direction::Sent);
            let expected = format!("PUBLISH q{} 1 a", qos.value());
            assert_eq!(pair.sent(), [expected]);
        }
    }
}

/// MQTT-4.3.3-6: once PUBREL has left, the message must not be sent again, so that goes on record first.
#[test]
fn a_pubrel_waits_for_its_record() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        let op = pair.publish("t", "a", ExactlyOnce);
        let changes = store.write(&mut pair);
        let key = key_of(&changes, 1, &publish("a", ExactlyOnce));
        pair.bytes();
        pair.server_sends(pubrec(1));
        assert!(pair.bytes().is_empty());
        assert_eq!(store.write(&mut pair), [SessionChange::Releasing { key }]);
        assert_eq!(pair.sent(), ["PUBREL 1"]);
        pair.server_sends(pubcomp(1));
        assert_eq!(store.write(&mut pair), [SessionChange::Finished { key }]);
        assert!(matches!(pair.outcome(op), Outcome::Acknowledged { .. }));
    }
}

/// MQTT-4.3.3-10: what PUBREC has answered must not be handed out again, so that goes on record first; likewise PUBCOMP.
#[test]
fn pubrec_and_pubcomp_wait_for_their_records() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.receive("t", "x", ExactlyOnce, 9);
        assert!(pair.bytes().is_empty());
        let packet_id = id(9);
        assert_eq!(
            store.write(&mut pair),
            [SessionChange::Received { packet_id }]
        );
        assert_eq!(pair.sent(), ["PUBREC 9"]);
        pair.server_sends(pubrel(9));
        assert!(pair.bytes().is_empty());
        assert_eq!(
            store.write(&mut pair),
            [SessionChange::Released { packet_id }]
        );
        assert_eq!(pair.sent(), ["PUBCOMP 9"]);
    }
}

/// A receiver has no state at QoS 1 (section 4.1), QoS 0 and requests have none anywhere.
#[test]
fn what_has_no_state_waits_for_nothing() {
    for version in VERSIONS {
        let mut options = journaled(version);
        options.keep_alive = 10;
        let (mut pair, mut store) = connected(options);
        pair.receive("t", "x", AtLeastOnce, 9);
        pair.publish("t", "a", AtMostOnce);
        pair.subscribe(&["s"]);
        pair.unsubscribe(&["u"]);
        pair.advance(10 * SECOND);
        let sent = [
            "PUBACK 9",
            "PUBLISH q0 a",
            "SUBSCRIBE 1 s",
            "UNSUBSCRIBE 2 u",
            "PINGREQ",
        ];
        assert_eq!(pair.sent(), sent);
        assert_eq!(store.collect(&mut pair), []);
    }
}

/// An unknown PUBREL, and a PUBREC or PUBREL that is repeated, change nothing.
#[test]
fn repeats_change_nothing() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", ExactlyOnce);
        store.write(&mut pair);
        pair.server_sends(pubrec(1));
        store.write(&mut pair);
        pair.bytes();
        pair.server_sends(pubrec(1));
        pair.server_sends(pubrel(77));
        assert_eq!(pair.sent().len(), 2, "a PUBREL and a PUBCOMP");
        assert_eq!(store.collect(&mut pair), []);
    }
}

/// What is there leaves as soon as its own change is on record.
#[test]
fn later_packets_do_not_hold_earlier_ones() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", AtLeastOnce);
        store.collect(&mut pair);
        let first = store.entries.last().unwrap().sequence;
        pair.publish("t", "b", ExactlyOnce);
        store.collect(&mut pair);
        let second = store.entries.last().unwrap().sequence;
        assert!(second > first);
        pair.client.journal_written(Direction::Sent, first);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBLISH q1 1 a"]);
        pair.client.journal_written(Direction::Sent, first); // again
        pair.pump();
        assert!(pair.bytes().is_empty());
        pair.client.journal_written(Direction::Sent, second);
        pair.pump();
        assert_eq!(pair.sent(), ["PUBLISH q2 2 b"]);
    }
}

/// One write to the store serves many packets; the order on the wire is that of the calls, and nothing overtakes.
#[test]
fn many_packets_need_one_write_and_keep_their_order() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        for payload in ["a", "b", "c"] {
            pair.publish("t", payload, AtLeastOnce);
        }
        pair.receive("t", "x", AtLeastOnce, 9);
        pair.publish("t", "d", AtMostOnce);
        assert!(pair.sent().iter().all(|packet| packet == "PUBACK 9"));
        assert_eq!(store.collect(&mut pair).len(), 3);
        store.write_row(&mut pair, Direction::Sent);
        let publishes = |packet: &String| packet.starts_with("PUBLISH");
        let sent: Vec<_> = pair.sent().into_iter().filter(publishes).collect();
        let expected = [
            "PUBLISH q1 1 a",
            "PUBLISH q1 2 b",
            "PUBLISH q1 3 c",
            "PUBLISH q0 d",
        ];
        assert_eq!(sent, expected);
    }
}

/// A store cannot have written what it has not been given.
#[test]
fn a_number_from_the_future_opens_nothing() {
    let (mut pair, _) = connected(journaled(V5));
    for direction in DIRECTIONS {
        pair.client.journal_written(direction, u64::MAX);
    }
    pair.publish("t", "a", AtLeastOnce);
    assert!(pair.bytes().is_empty());
}

/// Without a store nothing is recorded, and nothing is held.
#[test]
fn without_a_store_nothing_is_held() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        pair.publish("t", "a", AtLeastOnce);
        pair.publish("t", "b", ExactlyOnce);
        pair.server_sends(pubrec(2));
        pair.receive("t", "x", ExactlyOnce, 9);
        pair.server_sends(pubrel(9));
        let sent = [
            "PUBLISH q1 1 a",
            "PUBLISH q2 2 b",
            "PUBREL 2",
            "PUBREC 9",
            "PUBCOMP 9",
        ];
        assert_eq!(pair.sent(), sent);
        pair.reconnect(false);
        assert_eq!(pair.client.poll_journal(), None);
    }
}

/// MQTT-4.4.0-1: a change of the connection before may be unwritten still when its PUBREL is due again.
#[test]
fn resends_wait_for_changes_of_the_connection_before() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", ExactlyOnce);
        store.write(&mut pair);
        pair.server_sends(pubrec(1));
        reconnect(&mut pair, &mut store, true);
        assert!(pair.bytes().is_empty(), "CONNECT alone has left");
        store.write(&mut pair);
        assert_eq!(pair.sent(), ["PUBREL 1"]);
    }
}

/// MQTT-3.1.2-4; 3.1.1: MQTT-3.1.2-6: CONNECT with Clean Start ends the session at the server. A process that dies after it
/// and has no record of that would send the old session's messages again, and take new QoS 2 messages for old ones.
#[test]
fn connect_with_clean_start_waits_for_the_end_of_the_old_session() {
    for version in VERSIONS {
        let mut options = journaled(version);
        options.clean_start = CleanStart::Always;
        let (mut pair, mut store) = connected(options);
        pair.publish("t", "a", ExactlyOnce);
        store.write(&mut pair);
        pair.bytes();
        pair.cut();
        pair.wait_for_transport();
        assert!(
            pair.bytes().is_empty(),
            "the session is not on record as lost"
        );
        assert!(store.collect(&mut pair).ends_with(&session_lost()));
        store.write_row(&mut pair, Direction::Sent);
        assert!(pair.bytes().is_empty(), "nor is it in the other row");
        store.write_row(&mut pair, Direction::Received);
        assert_eq!(pair.sent(), ["CONNECT"]);
    }
}

/// What was encoded and held, when the connection ended, never left: it goes out once, under the key it has.
#[test]
fn what_was_never_written_is_the_same_message_on_the_next_connection() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", AtLeastOnce);
        let first = store.collect(&mut pair);
        pair.cut();
        pair.wait_for_transport();
        store.write(&mut pair);
        pair.accept(true, Properties::default());
        let again = store.write(&mut pair);
        assert_eq!(
            pair.sent(),
            ["PUBLISH q1 2 a"],
            "DUP 0, as it never was sent"
        );
        let message = publish("a", AtLeastOnce);
        let (key, packet_id) = (key_of(&first, 1, &message), id(2));
        assert_eq!(again, [SessionChange::Sending { key, packet_id }]);
        let mut pair = resumed(journaled(version), store.session(store.entries.len()));
        store.write(&mut pair);
        assert_eq!(pair.sent(), ["PUBLISH q1 2 DUP a"], "one message");
    }
}
