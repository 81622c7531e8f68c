//! A session that the server has lost, while the process may end at any moment: what is sent before that is on record, and what
//! an identifier means of which nobody knows whether it is still that of an earlier message.

use ferromqtt_proto::packet::{Disconnect, Packet, PublishRef, ReasonCode};
use ferromqtt_proto::{
    CleanStart, ConnectionError, Direction, Event, Outcome, Properties, ProtocolVersion,
    SessionChange,
};

use crate::support::store::*;
use crate::support::*;

/// A client whose record has the QoS 2 message 9 as received and not released, and which has just sent CONNECT.
fn connecting(version: ProtocolVersion) -> (Pair, Store) {
    let (mut pair, mut store) = connected(journaled(version));
    pair.receive("t", "old", ExactlyOnce, 9);
    assert_eq!(pair.payloads(), ["old"]);
    store.write(&mut pair);
    pair.bytes();
    pair.cut();
    pair.wait_for_transport();
    store.write(&mut pair);
    (pair, store)
}

fn duplicates(pair: &mut Pair) -> usize {
    let is_duplicate = |it: &Event| matches!(it, Event::PossibleDuplicate { packet_id, .. } if *packet_id == id(9));
    pair.events().iter().filter(|it| is_duplicate(it)).count()
}

/// Otherwise a process that dies then finds the new session resumed, and takes it for the old one.
#[test]
fn after_a_lost_session_only_ping_auth_and_disconnect_leave_before_that_is_on_record() {
    for version in VERSIONS {
        let mut options = journaled(version);
        options.keep_alive = 10;
        let mut pair = Pair::new(options);
        let mut store = Store::default();
        pair.connect();
        pair.accept(false, Properties::default());
        for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            pair.publish("t", "a", qos);
        }
        pair.subscribe(&["s"]);
        pair.unsubscribe(&["u"]);
        pair.receive("t", "x", AtLeastOnce, 9);
        pair.receive("t", "y", ExactlyOnce, 10);
        pair.server_sends(pubrel(11));
        pair.server_sends(pubrec(12));
        let at_once = PublishRef {
            dup: false,
            qos: AtMostOnce,
            retain: false,
            topic: b"t",
            packet_id: None,
            properties: None,
            payload_len: 1,
        };
        assert_eq!(pair.client.publish_at_once(at_once, b"z"), Ok(false));
        pair.advance(10 * SECOND);
        assert_eq!(pair.sent(), ["PINGREQ"]);
        pair.server_sends(Packet::PingResp);
        assert!(store.collect(&mut pair).starts_with(&session_lost()));
        let [sent, received] = DIRECTIONS.map(|direction| {
            store
                .entries
                .iter()
                .position(|it| it.change == SessionChange::SessionLost { direction })
        });
        let number = |at: Option<usize>| store.entries[at.unwrap()].sequence;
        (pair.client).journal_written(Direction::Sent, number(sent));
        pair.pump();
        assert!(pair.bytes().is_empty(), "one row alone opens nothing");
        (pair.client).journal_written(Direction::Received, number(received));
        pair.pump();
        let expected = [
            "SUBSCRIBE 1 s",
            "UNSUBSCRIBE 2 u",
            "PUBACK 9",
            "PUBREL 12 0x92",
            "PUBLISH q0 a",
        ];
        let in_version = |text: &str| match version {
            V5 => text.to_owned(),
            _ => text.replace(" 0x92", ""),
        };
        assert_eq!(pair.sent(), expected.map(in_version));
        store.write(&mut pair);
        let mut sent = pair.sent();
        sent.sort();
        let expected = [
            "PUBCOMP 11 0x92",
            "PUBLISH q1 3 a",
            "PUBLISH q2 4 a",
            "PUBREC 10",
        ];
        assert_eq!(sent, expected.map(in_version));
        assert_eq!(pair.client.held_packets(), 0);
    }
}

#[test]
fn disconnect_leaves_before_the_end_of_a_session_is_on_record() {
    for version in VERSIONS {
        let mut pair = Pair::new(journaled(version));
        pair.connect();
        pair.accept(false, Properties::default());
        pair.publish("t", "a", AtMostOnce);
        pair.client.disconnect(pair.now, Disconnect::normal());
        pair.pump();
        assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
        assert!(pair.client.is_idle());
    }
}

/// The next CONNACK says that the session is there: it is the one that has begun. To have its server send anything before that is
/// on record is what the process behind this one could not tell from the lost session.
#[test]
fn the_next_connection_waits_too_until_the_end_of_a_session_is_on_record() {
    for version in VERSIONS {
        let (mut pair, mut store) = connecting(version);
        pair.accept(false, Properties::default());
        pair.reconnect(true);
        assert!(store.collect(&mut pair).ends_with(&session_lost()));
        pair.subscribe(&["s"]);
        pair.publish("t", "a", AtMostOnce);
        assert!(pair.bytes().is_empty());
        store.write_row(&mut pair, Direction::Sent);
        assert!(pair.bytes().is_empty());
        store.write_row(&mut pair, Direction::Received);
        assert_eq!(pair.sent(), ["SUBSCRIBE 1 s", "PUBLISH q0 a"]);
        pair.reconnect(true);
        pair.publish("t", "b", AtMostOnce);
        assert!(
            pair.sent().contains(&"PUBLISH q0 b".to_owned()),
            "it is on record"
        );
    }
}

/// A store that has failed holds up nothing but what would have the server send, on the next connection as on the first.
#[test]
fn subscribe_waits_on_the_next_connection_too_for_a_store_that_failed_as_the_session_was_lost() {
    for version in VERSIONS {
        let (mut pair, _) = connecting(version);
        pair.accept(false, Properties::default());
        pair.client.journal_failed(Direction::Received);
        pair.client.journal_failed(Direction::Sent);
        pair.reconnect(true);
        pair.subscribe(&["s"]);
        pair.publish("t", "a", AtLeastOnce);
        assert_eq!(pair.sent(), ["PUBLISH q1 2 a"]);
        let now = pair.now;
        let (sequence, state) = pair.client.begin_record(now, Direction::Received);
        assert_eq!(state, [], "no message of the lost session is remembered");
        pair.reconnect(true);
        assert!(!pair.sent().contains(&"SUBSCRIBE 1 s".to_owned()));
        (pair.client).journal_written(Direction::Received, sequence);
        pair.pump();
        let sent = pair.sent();
        assert!(
            sent.iter().any(|it| it.starts_with("SUBSCRIBE")),
            "{sent:?}"
        );
    }
}

/// While identifiers are remembered, a CONNECT may end what they mean. One that no entry answers needs no second entry.
#[test]
fn connect_waits_for_its_record_while_identifiers_are_remembered() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.reconnect(true);
        assert_eq!(store.collect(&mut pair), [], "nothing is remembered");
        pair.receive("t", "x", ExactlyOnce, 9);
        store.write(&mut pair);
        pair.bytes();
        pair.cut();
        pair.wait_for_transport();
        assert!(pair.bytes().is_empty());
        assert_eq!(store.write(&mut pair), [SessionChange::Connecting]);
        assert_eq!(pair.sent(), ["CONNECT"]);
        pair.cut();
        pair.wait_for_transport();
        assert_eq!(pair.sent(), ["CONNECT"], "it is on record");
        pair.server_sends(accepted(true, Properties::default()));
        assert_eq!(
            store.collect(&mut pair),
            [],
            "nobody knows what became of the first"
        );
        pair.receive("t", "new", ExactlyOnce, 9);
        assert_eq!(duplicates(&mut pair), 1);
    }
    let (mut pair, mut store) = connecting(V5);
    pair.accept(true, Properties::default());
    assert_eq!(store.collect(&mut pair), [SessionChange::Resumed]);
}

/// MQTT-3.1.0-1: whatever a server sends before it has CONNECT, nothing goes out before that.
#[test]
fn a_server_that_accepts_before_connect_was_sent_is_refused() {
    for version in VERSIONS {
        for (answer, is_refusal) in [
            (accepted(true, Properties::default()), false),
            (refused(ReasonCode::ServerUnavailable), true),
        ] {
            let (mut pair, mut store) = connected(journaled(version));
            pair.receive("t", "x", ExactlyOnce, 9);
            store.write(&mut pair);
            pair.bytes();
            pair.cut();
            pair.wait_for_transport();
            pair.server_sends(answer);
            assert!(pair.bytes().is_empty(), "CONNECT waits for the store");
            let cause = pair.causes().pop().unwrap(); // behind that of the cut
            match is_refusal {
                true => assert!(
                    matches!(cause, ConnectionError::Refused { .. }),
                    "{cause:?}"
                ),
                false => assert!(
                    matches!(cause, ConnectionError::ProtocolViolation(_)),
                    "{cause:?}"
                ),
            }
        }
    }
}

/// The server's answer, that it had no session, is lost with the process: the next CONNACK says that the session is there.
#[test]
fn a_message_without_dup_under_an_identifier_in_doubt_is_new_and_reported() {
    for version in VERSIONS {
        let (_, store) = connecting(version);
        let session = || store.session(store.entries.len());
        let mut pair = resumed(journaled(version), session());
        pair.receive("t", "new", ExactlyOnce, 9);
        assert_eq!(pair.payloads(), ["new"]);
        assert_eq!(duplicates(&mut pair), 1);
        pair.server_sends(again("t", "new", ExactlyOnce, 9));
        assert!(pair.payloads().is_empty(), "that one is known");
        // With DUP it is what it was (MQTT-3.3.1-1).
        let mut pair = resumed(journaled(version), session());
        pair.server_sends(again("t", "old", ExactlyOnce, 9));
        assert!(pair.payloads().is_empty());
        assert_eq!(duplicates(&mut pair), 0);
    }
}

/// Wherever the record ends, the message of the new session comes, and that of the old one does not come again.
#[test]
fn what_was_received_in_a_lost_session_hides_no_message_of_the_next() {
    for version in VERSIONS {
        let (mut pair, mut store) = connecting(version);
        pair.accept(false, Properties::default());
        store.write(&mut pair);
        pair.receive("t", "new", ExactlyOnce, 9);
        assert_eq!(pair.payloads(), ["new"]);
        let all = store.entries.len();
        store.write(&mut pair);
        for count in 0..=all {
            let is_told = |it: &SessionChange| *it == SessionChange::Connecting;
            if !store.entries[..count].iter().any(|it| is_told(&it.change)) {
                continue; // CONNECT had not left
            }
            let mut pair = resumed(journaled(version), store.session(count));
            pair.receive("t", "new", ExactlyOnce, 9);
            assert_eq!(pair.payloads(), ["new"], "after {count} entries");
        }
        let mut pair = resumed(journaled(version), store.session(store.entries.len()));
        pair.server_sends(again("t", "new", ExactlyOnce, 9));
        assert!(pair.payloads().is_empty());
    }
}

/// MQTT-4.3.3-10; 3.1.1: MQTT-4.3.3-2: an answer ends the doubt, also in the record that a store begins with.
#[test]
fn an_answered_connect_leaves_no_doubt() {
    for version in VERSIONS {
        let (mut pair, mut store) = connecting(version);
        let in_doubt: Vec<_> = pair.client.session().record().collect();
        pair.accept(true, Properties::default());
        store.write(&mut pair);
        let known: Vec<_> = pair.client.session().record().collect();
        for (record, hands_out) in [(in_doubt, true), (known, false)] {
            let mut pair = Pair::with_session(journaled(version), restore(entries(record)));
            pair.connect();
            let mut store = Store::default();
            store.write(&mut pair);
            pair.accept(true, Properties::default());
            pair.receive("t", "x", ExactlyOnce, 9);
            assert_eq!(!pair.payloads().is_empty(), hands_out);
        }
    }
}

/// PUBACK frees the identifier at the server, so nothing of the QoS 2 message may be left by then.
#[test]
fn a_puback_waits_until_its_identifier_stands_for_no_other_message() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.receive("t", "x", ExactlyOnce, 9);
        store.write(&mut pair);
        pair.bytes();
        pair.receive("t", "y", AtLeastOnce, 9);
        pair.receive("t", "z", AtLeastOnce, 10);
        assert!(pair.bytes().is_empty());
        store.write(&mut pair);
        assert_eq!(pair.sent(), ["PUBACK 9", "PUBACK 10"]);
    }
}

/// Outcome and record say that nobody knows: whether the server has lost the session, or the client asks for a new one, as it does
/// after each start with Clean Start or with a Session Expiry Interval of 0.
#[test]
fn a_recorded_message_of_qos_2_never_ends_silently_with_its_session() {
    for version in VERSIONS {
        for clean_start in [CleanStart::Never, CleanStart::FirstOnly, CleanStart::Always] {
            let (mut pair, mut store) = connected(journaled(version));
            let mut keys = Vec::new();
            for payload in ["a", "b"] {
                let mut message = publish(payload, ExactlyOnce);
                let key = pair.client.record_accepted(&mut message, None, false);
                keys.push(key.unwrap());
                (pair.client)
                    .publish_recorded(pair.now, *keys.last().unwrap(), message, None)
                    .unwrap();
            }
            store.write(&mut pair);
            pair.publish("t", "c", ExactlyOnce);
            store.write(&mut pair);
            pair.server_sends(pubrec(2));
            store.write(&mut pair);
            let mut options = journaled(version);
            options.clean_start = clean_start;
            let session = store.session(store.entries.len());
            let mut pair = Pair::with_session(options, session);
            pair.connect();
            let mut changes = store.write(&mut pair);
            pair.accept(false, Properties::default());
            changes.extend(store.write(&mut pair));
            let ended: Vec<_> = (pair.events().into_iter())
                .filter_map(|event| match event {
                    Event::Ended { key, outcome } => Some((key, outcome)),
                    _ => None,
                })
                .collect();
            let third = keys[1] + 1; // of the caller of an earlier process
            let expected = [keys[0], third, keys[1]].map(|key| (key, Outcome::Uncertain));
            assert_eq!(ended, expected, "{clean_start:?}");
            for (key, _) in expected {
                assert!(changes.contains(&SessionChange::Uncertain { key }));
                assert!(!changes.contains(&SessionChange::Finished { key }));
            }
            // Nothing of them is left, or comes back.
            let mut again = resumed(journaled(version), store.session(store.entries.len()));
            assert!(again.bytes().is_empty());
        }
    }
}

/// A client whose record has these QoS 2 messages: one that the server has answered by PUBREC, and one that it has not. Its
/// CONNECT has just left. Returns their keys.
fn connecting_with_sent(version: ProtocolVersion) -> (Pair, Store, [u64; 2]) {
    let (mut pair, mut store) = connected(journaled(version));
    let keys = ["a", "b"].map(|payload| publish_recorded(&mut pair, payload));
    store.write(&mut pair);
    pair.server_sends(pubrec(1));
    store.write(&mut pair);
    pair.bytes();
    pair.cut();
    pair.wait_for_transport();
    assert!(pair.bytes().is_empty(), "CONNECT waits for its record");
    assert_eq!(store.write(&mut pair), [SessionChange::Connecting]);
    assert_eq!(pair.sent(), ["CONNECT"]);
    (pair, store, keys)
}

fn publish_recorded(pair: &mut Pair, payload: &'static str) -> u64 {
    let mut message = publish(payload, ExactlyOnce);
    let key = pair.client.record_accepted(&mut message, None, false);
    let key = key.unwrap();
    (pair.client)
        .publish_recorded(pair.now, key, message, None)
        .unwrap();
    key
}

/// How recorded messages have ended.
fn ended(pair: &mut Pair) -> Vec<(u64, bool)> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::Ended { key, outcome } => Some((key, outcome == Outcome::Uncertain)),
            _ => None,
        })
        .collect()
}

/// A server that has lost the session answers PUBREL as if it had released the message before (section 3.7.2.1). If the process dies
/// before its Session Present 0 is on record, the next one is told that the session is there.
#[test]
fn a_message_of_qos_2_that_was_sent_in_a_session_in_doubt_ends_as_uncertain() {
    for version in VERSIONS {
        let (_, mut store, [released, sent]) = connecting_with_sent(version);
        let session = store.session(store.entries.len());
        let mut pair = resumed_on(journaled(version), session, &mut store);
        let later = publish_recorded(&mut pair, "c");
        store.write(&mut pair);
        store.write(&mut pair);
        assert_eq!(
            pair.sent(),
            ["PUBREL 1", "PUBLISH q2 2 DUP b", "PUBLISH q2 3 c"]
        );
        pair.server_sends(pubcomp(1));
        let uncertain = SessionChange::Uncertain { key: released };
        assert_eq!(store.write(&mut pair), [uncertain]);
        assert_eq!(ended(&mut pair), [(released, true)]);
        pair.server_sends(pubrec(2));
        store.write(&mut pair);
        pair.server_sends(pubcomp(2));
        let uncertain = SessionChange::Uncertain { key: sent };
        assert_eq!(
            store.write(&mut pair),
            [uncertain, SessionChange::Resumed],
            "nothing is in doubt any more"
        );
        assert_eq!(ended(&mut pair), [(sent, true)]);
        // What was sent since then is certain, also for the process behind this one.
        pair.server_sends(pubrec(3));
        store.write(&mut pair);
        let mut again = resumed(journaled(version), store.session(store.entries.len()));
        for pair in [&mut pair, &mut again] {
            pair.server_sends(pubcomp(3));
            assert_eq!(ended(pair), [(later, false)]);
        }
    }
}

#[test]
fn what_was_sent_is_certain_once_connect_is_answered() {
    for version in VERSIONS {
        let (mut pair, mut store, [released, _]) = connecting_with_sent(version);
        pair.server_sends(accepted(true, Properties::default()));
        assert_eq!(store.write(&mut pair), [SessionChange::Resumed]);
        let mut again = resumed(journaled(version), store.session(store.entries.len()));
        for pair in [&mut pair, &mut again] {
            pair.server_sends(pubcomp(1));
            assert_eq!(ended(pair), [(released, false)]);
        }
    }
}

/// A client whose disk has failed sends QoS 1 messages all the same.
#[test]
fn a_store_that_has_failed_holds_up_no_connect_for_messages_that_were_sent() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        publish_recorded(&mut pair, "a");
        store.write(&mut pair);
        for direction in DIRECTIONS {
            pair.client.journal_failed(direction);
        }
        pair.reconnect(true);
    }
}
