//! What a store has recorded makes a session again, wherever the record ends.

use ferromqtt_proto::packet::{Ack, Packet};
use ferromqtt_proto::{Properties, ProtocolVersion, QueueId, ReasonCode, SessionChange};

use crate::support::store::*;
use crate::support::*;

/// All kinds of changes, written one by one; the comment names the entries. What the server would get after each prefix.
fn script(version: ProtocolVersion) -> (Store, Vec<Vec<&'static str>>) {
    let (mut pair, mut store) = connected(journaled(version));
    store.entries.clear(); // of connecting: there was no session before
    let mut expected = vec![vec![]];
    let mut step = |pair: &mut Pair, resends: Vec<&'static str>| {
        let changes = store.write(pair);
        assert_eq!(changes.len(), 1, "{changes:?}");
        expected.push(resends);
    };
    let (a, b) = ("PUBLISH q1 1 DUP a", "PUBLISH q2 2 DUP b");
    let c = "PUBLISH q2 3 DUP c";
    pair.publish("t", "a", AtLeastOnce);
    step(&mut pair, vec![a]);
    pair.publish("t", "b", ExactlyOnce);
    step(&mut pair, vec![a, b]);
    pair.receive("t", "x", ExactlyOnce, 9);
    step(&mut pair, vec![a, b]);
    pair.publish("t", "c", ExactlyOnce);
    step(&mut pair, vec![a, b, c]);
    pair.server_sends(pubrec(2));
    step(&mut pair, vec!["PUBREL 2", a, c]);
    pair.server_sends(puback(1));
    step(&mut pair, vec!["PUBREL 2", c]);
    pair.server_sends(pubrel(9));
    step(&mut pair, vec!["PUBREL 2", c]);
    pair.server_sends(pubrec(3));
    step(&mut pair, vec!["PUBREL 2", "PUBREL 3"]);
    pair.server_sends(pubcomp(2));
    step(&mut pair, vec!["PUBREL 3"]);
    pair.server_sends(pubcomp(3));
    step(&mut pair, vec![]);
    (store, expected)
}

/// The steps of the script between which QoS 2 message 9 is known.
const RECEIVED: std::ops::Range<usize> = 3..7;

/// MQTT-4.4.0-1, MQTT-4.6.0-1, MQTT-4.6.0-4, MQTT-4.3.3-6; 3.1.1: MQTT-4.4.0-1, MQTT-4.6.0-1, MQTT-4.6.0-4. Pitfalls 2 to 5: the
/// process may end after any entry.
#[test]
fn every_prefix_of_the_record_resumes_right() {
    for version in VERSIONS {
        let (store, expected) = script(version);
        assert_eq!(store.entries.len() + 1, expected.len());
        for (count, resends) in expected.iter().enumerate() {
            let mut pair = resumed(journaled(version), store.session(count));
            assert_eq!(pair.sent(), *resends, "after {count} entries");
            assert_eq!(pair.client.poll_journal(), None, "nothing has changed");
            assert_eq!(pair.events(), []);
        }
    }
}

/// MQTT-4.3.3-10; 3.1.1: MQTT-4.3.3-2: between PUBREC and PUBCOMP a QoS 2 message is not handed out again; before, it is.
#[test]
fn every_prefix_of_the_record_knows_what_was_received() {
    for version in VERSIONS {
        let (store, expected) = script(version);
        for count in 0..expected.len() {
            let mut more = store.clone();
            more.entries.truncate(count);
            let mut pair = resumed_on(journaled(version), store.session(count), &mut more);
            pair.bytes();
            pair.server_sends(again("t", "x", ExactlyOnce, 9));
            more.write(&mut pair);
            assert_eq!(pair.sent(), ["PUBREC 9"], "answered in any case");
            let known = RECEIVED.contains(&count);
            assert_eq!(pair.payloads().is_empty(), known, "after {count} entries");
            pair.server_sends(pubrel(9));
            more.write(&mut pair);
            assert_eq!(pair.sent(), ["PUBCOMP 9"]);
        }
    }
}

/// MQTT-2.2.1-3; 3.1.1: MQTT-2.3.1-2. Pitfall 1: nothing new gets an identifier, or a key, that is in use.
#[test]
fn every_prefix_of_the_record_keeps_its_identifiers_and_keys() {
    for version in VERSIONS {
        let (store, expected) = script(version);
        for (count, resends) in expected.iter().enumerate() {
            let mut more = store.clone();
            more.entries.truncate(count);
            let mut pair = resumed_on(journaled(version), store.session(count), &mut more);
            pair.bytes();
            pair.publish("t", "new", AtLeastOnce);
            let changes = more.write(&mut pair);
            let [
                SessionChange::Publishing {
                    key: new_key,
                    packet_id,
                    ..
                },
            ] = &changes[..]
            else {
                panic!("{changes:?}");
            };
            assert_eq!(pair.sent(), [format!("PUBLISH q1 {packet_id} new")]);
            let in_use = format!(" {packet_id} ");
            let busy = |resend: &&str| format!("{resend} ").contains(&in_use);
            assert!(
                !resends.iter().any(busy),
                "{packet_id} after {count} entries"
            );
            let old_keys = (store.entries[..count].iter()).filter_map(|entry| match entry.change {
                SessionChange::Publishing { key, .. } => Some(key),
                _ => None,
            });
            assert!(!old_keys.into_iter().any(|key| key == *new_key));
        }
    }
}

/// What was resumed goes on to its end, on record under the keys that it had, and can be resumed again in between.
#[test]
fn a_restored_session_is_recorded_on() {
    for version in VERSIONS {
        let (mut store, _) = script(version);
        store.entries.truncate(5); // a and c are PUBLISH, b is PUBREL
        let key_of = |payload: &str| {
            let keys = store
                .entries
                .iter()
                .filter_map(|entry| match &entry.change {
                    SessionChange::Publishing { key, publish, .. } => {
                        (publish.payload == payload.as_bytes()).then_some(*key)
                    }
                    _ => None,
                });
            keys.last().unwrap()
        };
        let (a, b, c) = (key_of("a"), key_of("b"), key_of("c"));
        let mut pair = resumed_on(journaled(version), store.session(5), &mut store);
        pair.server_sends(pubcomp(2));
        assert_eq!(store.write(&mut pair), [SessionChange::Finished { key: b }]);
        pair.server_sends(puback(1));
        assert_eq!(store.write(&mut pair), [SessionChange::Finished { key: a }]);
        pair.server_sends(pubrec(3));
        assert_eq!(
            store.write(&mut pair),
            [SessionChange::Releasing { key: c }]
        );
        assert_eq!(pair.outcomes(), [], "nobody waits for them");
        let mut pair = resumed(journaled(version), store.session(store.entries.len()));
        assert_eq!(pair.sent(), ["PUBREL 3"]);
        pair.server_sends(pubcomp(3));
        assert_eq!(store.write(&mut pair), [SessionChange::Finished { key: c }]);
    }
}

/// A store need not grow forever.
#[test]
fn entries_of_what_is_finished_can_be_forgotten() {
    for version in VERSIONS {
        let (store, expected) = script(version);
        for (count, resends) in expected.iter().enumerate() {
            let entries = &store.entries[..count];
            let finished: Vec<_> = (entries.iter())
                .filter_map(|entry| match entry.change {
                    SessionChange::Finished { key } => Some(key),
                    _ => None,
                })
                .collect();
            let needed = entries.iter().filter(|entry| match &entry.change {
                SessionChange::Publishing { key, .. }
                | SessionChange::Sending { key, .. }
                | SessionChange::Releasing { key }
                | SessionChange::Finished { key } => !finished.contains(key),
                _ => true,
            });
            let session = restore(needed.cloned());
            let mut pair = resumed(journaled(version), session);
            assert_eq!(pair.sent(), *resends, "after {count} entries");
        }
    }
}

/// As `docs/design/0005-lost-sessions.md` says, across the end of the process: QoS 1 goes out again, once; of QoS 2 it is unknown.
#[test]
fn a_session_that_the_server_lost_after_a_restart() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        store.entries.clear();
        for (payload, qos) in [("a", AtLeastOnce), ("b", ExactlyOnce), ("c", AtLeastOnce)] {
            pair.publish("t", payload, qos);
            store.write(&mut pair);
        }
        let mut pair = Pair::with_session(journaled(version), store.session(3));
        pair.connect();
        store.write(&mut pair);
        pair.accept(false, Properties::default());
        assert!(pair.bytes().is_empty(), "not before it is on record");
        assert!(store.write(&mut pair).ends_with(&session_lost()));
        let changes = store.write(&mut pair);
        let anew = |it: &SessionChange| matches!(it, SessionChange::Sending { .. });
        assert_eq!(changes.iter().filter(|it| anew(it)).count(), 2);
        assert_eq!(pair.sent(), ["PUBLISH q1 4 a", "PUBLISH q1 5 c"]);
        // The server has the new session now, whatever of this was written when the process ended.
        for count in 3..=store.entries.len() {
            let mut more = store.clone();
            more.entries.truncate(count);
            let mut pair = resumed_on(journaled(version), store.session(count), &mut more);
            more.write(&mut pair);
            let sent = pair.sent();
            for payload in ["a", "c"] {
                let times = sent.iter().filter(|it| it.ends_with(payload)).count();
                assert_eq!(times, 1, "{payload} after {count} entries: {sent:?}");
            }
            if count == store.entries.len() {
                assert_eq!(sent, ["PUBLISH q1 4 DUP a", "PUBLISH q1 5 DUP c"]);
            }
        }
    }
}

/// Pitfall 6: the fresh session knows nothing that was received in the old one.
#[test]
fn with_the_session_what_was_received_is_forgotten_on_record() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.receive("t", "old", ExactlyOnce, 9);
        store.write(&mut pair);
        pair.bytes();
        pair.cut();
        pair.wait_for_transport();
        store.write(&mut pair);
        pair.accept(false, Properties::default());
        store.write(&mut pair);
        let mut pair = resumed(journaled(version), store.session(store.entries.len()));
        pair.receive("t", "new", ExactlyOnce, 9);
        assert_eq!(pair.payloads(), ["new"]);
    }
}

/// Exactly once to the application's own record: the process ends before it acknowledges, so the message comes again.
#[test]
fn a_message_that_was_not_acknowledged_is_handed_out_again_after_a_restart() {
    for version in VERSIONS {
        let mut options = journaled(version);
        options.incoming = by_application();
        let (mut pair, mut store) = connected(options.clone());
        pair.receive("t", "x", ExactlyOnce, 9);
        let delivery = pair.take_deliveries(QueueId::DEFAULT)[0];
        assert_eq!(store.write(&mut pair), [], "nothing to record yet");
        let mut crashed = resumed(options.clone(), store.session(store.entries.len()));
        crashed.server_sends(again("t", "x", ExactlyOnce, 9));
        assert_eq!(crashed.take_deliveries(QueueId::DEFAULT).len(), 1);
        pair.acknowledge(delivery);
        assert!(pair.bytes().is_empty(), "not before it is on record");
        let packet_id = id(9);
        assert_eq!(
            store.write(&mut pair),
            [SessionChange::Received { packet_id }]
        );
        assert_eq!(pair.sent(), ["PUBREC 9"]);
        let mut crashed = resumed(options, store.session(store.entries.len()));
        crashed.server_sends(again("t", "x", ExactlyOnce, 9));
        assert_eq!(crashed.messages(), []);
    }
}

/// MQTT-4.3.3-9: a PUBREC that refuses ends the exchange, and leaves nothing to remember.
#[test]
fn a_refusal_has_nothing_to_record() {
    let mut options = journaled(V5);
    options.incoming = by_application();
    let (mut pair, mut store) = connected(options);
    pair.receive("t", "x", ExactlyOnce, 9);
    let delivery = pair.take_deliveries(QueueId::DEFAULT)[0];
    let refusal = ReasonCode::QuotaExceeded;
    let result = pair
        .client
        .acknowledge_with(delivery, refusal, Properties::default());
    assert_eq!(result, Ok(()));
    pair.pump();
    assert_eq!(pair.sent(), ["PUBREC 9 0x97"]);
    assert_eq!(store.write(&mut pair), []);
}

/// MQTT-4.4.0-2: a refused publish is finished, and not sent again after a restart.
#[test]
fn a_refused_publish_is_finished() {
    for (qos, packet) in [
        (
            AtLeastOnce,
            Packet::PubAck(Ack::new(id(1), ReasonCode::NotAuthorized)),
        ),
        (
            ExactlyOnce,
            Packet::PubRec(Ack::new(id(1), ReasonCode::NotAuthorized)),
        ),
    ] {
        let (mut pair, mut store) = connected(journaled(V5));
        pair.publish("t", "a", qos);
        let changes = store.write(&mut pair);
        let key = key_of(&changes, 1, &publish("a", qos));
        pair.server_sends(packet);
        assert_eq!(store.write(&mut pair), [SessionChange::Finished { key }]);
        let mut pair = resumed(journaled(V5), store.session(store.entries.len()));
        assert!(pair.bytes().is_empty());
    }
}

/// The properties of a message, and its payload as a whole, are on record.
#[test]
fn a_restored_message_is_as_it_was() {
    let mut message = publish("payload", AtLeastOnce);
    message.retain = true;
    message.properties = Some(Box::new(Properties {
        content_type: Some(text("text/plain")),
        user_properties: [(text("b"), text("1")), (text("a"), text("2"))].into(),
        ..Properties::default()
    }));
    let (mut pair, mut store) = connected(journaled(V5));
    pair.client.publish(pair.now, message).unwrap();
    pair.pump();
    store.write(&mut pair);
    let mut before = pair.packets();
    let mut pair = resumed(journaled(V5), store.session(store.entries.len()));
    let after = pair.packets();
    let [Packet::Publish(publish)] = &mut before[..] else {
        panic!("{before:?}");
    };
    publish.dup = true;
    assert_eq!(before, after);
}

/// Another client in the same process goes on with the numbers of the one before.
#[test]
fn a_session_that_is_passed_on_is_recorded_on() {
    for version in VERSIONS {
        let (mut pair, mut store) = connected(journaled(version));
        pair.publish("t", "a", AtLeastOnce);
        store.write(&mut pair);
        pair.cut();
        let mut pair = resumed(journaled(version), pair.client.into_session());
        assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP a"]);
        pair.publish("t", "b", AtLeastOnce);
        assert!(pair.bytes().is_empty());
        store.write(&mut pair); // asserts that the numbers go on
        assert_eq!(pair.sent(), ["PUBLISH q1 2 b"]);
    }
}
